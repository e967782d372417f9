package storage

// Tick does what the keeper does every CheckpointInterval.
func (d *Dir) Tick() { d.keeper.tick() }

// OpenFiles returns how many files the cache holds.
func (d *Dir) OpenFiles() int {
	d.files.mu.Lock()
	defer d.files.mu.Unlock()
	return len(d.files.ring)
}

// Segments returns how many segments the log has.
func (l *Log) Segments() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.segments)
}
