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

// Clean compacts what the cleaner would, at once.
func (d *Dir) Clean() { d.cleaner.pass(func(int64) bool { return true }) }

// CleanWith is Clean with memory for few keys, and calls pause each time that the cleaner would look
// whether it may go on.
func (d *Dir) CleanWith(memory int64, pause func() bool) {
	d.cfg.CleanMemory = memory
	d.cleaner.pass(func(int64) bool { return pause() })
}
