package storage

import (
	"path/filepath"

	"github.com/troupe-mq/troupe/wire"
)

// points are what the checkpoints say of a partition.
type points struct {
	recovery, start, hw, cleaned wire.Offset
	recovered                    bool // since the machine started
	log                          *Log // nil: not open
}

func (d *Dir) setRecoveryPoint(l *Log, offset wire.Offset) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.points[l.ref.place()]; p != nil && p.log == l && p.recovery != offset {
		p.recovery = offset
		d.due.Or(duePoints)
	}
}

// recoveryPoint returns the durable point of an open log.
func (d *Dir) recoveryPoint(l *Log) wire.Offset {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.points[l.ref.place()]; p != nil && p.log == l {
		return p.recovery
	}
	return 0
}

// forgetPoints takes what the checkpoint files say of logs that are gone out of them, durably. It is
// called before a log is made: one with an older log's name must not be taken for that one.
func (d *Dir) forgetPoints() error {
	d.mu.Lock()
	stale := d.stalePoints
	d.mu.Unlock()
	if !stale {
		return nil
	}
	d.keeper.ticking.Lock()
	defer d.keeper.ticking.Unlock()
	d.mu.Lock()
	d.stalePoints = false
	d.mu.Unlock()
	d.due.Or(dueAll)
	err := d.writeCheckpoints()
	if err != nil {
		d.mu.Lock()
		d.stalePoints = true
		d.mu.Unlock()
	}
	return err
}

// correctPoints writes starts and durable points at once, as they are too high for a log that is
// about to be appended to. On a full disk they are written as soon as there is room, which appends
// wait for as well.
func (d *Dir) correctPoints() error {
	d.keeper.ticking.Lock()
	defer d.keeper.ticking.Unlock()
	d.due.Or(dueStarts | duePoints | dueCleaned)
	err := d.writeCheckpoints()
	if IsFull(err) {
		d.becomeFull()
		return nil
	}
	return err
}

// The checkpoint files that have something new to say, as bits of Dir.due.
const (
	dueStarts uint32 = 1 << iota
	duePoints
	dueWatermarks
	dueBoots
	dueCleaned

	dueAll = dueStarts | duePoints | dueWatermarks | dueBoots | dueCleaned
)

// writeCheckpoints writes those checkpoint files that have something new to say.
func (d *Dir) writeCheckpoints() error {
	due := d.due.Swap(0)
	for _, f := range []struct {
		bit     uint32
		name    string
		content func() []byte
	}{
		{dueStarts, logStartFile, d.startsContent},
		{duePoints, recoveryPointFile, d.recoveryContent},
		{dueWatermarks, highWatermarkFile, d.watermarksContent},
		{dueBoots, bootFile, d.bootsContent},
		{dueCleaned, cleanedFile, d.cleanedContent},
	} {
		if due&f.bit == 0 {
			continue
		}
		if err := writeFileAtomically(d.fsys, filepath.Join(d.path, f.name), f.content(), durably); err != nil {
			d.due.Or(due)
			return err
		}
	}
	return nil
}

func (d *Dir) startsContent() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := offsetCheckpoint{}
	for at, p := range d.points {
		if p.log != nil {
			p.start = p.log.StartOffset()
		}
		if p.start > 0 {
			c[at] = p.start
		}
	}
	return c.encode()
}

func (d *Dir) recoveryContent() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := make(offsetCheckpoint, len(d.points))
	for at, p := range d.points {
		c[at] = p.recovery
	}
	return c.encode()
}

func (d *Dir) watermarksContent() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := make(offsetCheckpoint, len(d.points))
	for at, p := range d.points {
		if p.log != nil {
			p.hw = p.log.watermark()
		}
		c[at] = p.hw
	}
	return c.encode()
}

func (d *Dir) cleanedContent() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := offsetCheckpoint{}
	for at, p := range d.points {
		if p.log != nil {
			p.cleaned = p.log.CleanedOffset()
		}
		if p.cleaned > 0 {
			c[at] = p.cleaned
		}
	}
	return c.encode()
}

func (d *Dir) bootsContent() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := bootCheckpoint{d.cfg.BootID, map[place]bool{}}
	for at, p := range d.points {
		if p.recovered {
			c.logs[at] = true
		}
	}
	return c.encode()
}
