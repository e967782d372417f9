package actors

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// offsetsLoad folds a partition of the offsets topic into groups. It reads the disk, and runs on a goroutine of its own.
//
// It reads to where the log ended when it began, and so to what every coordinator before it may have acknowledged.
// What is not committed yet it waits for: as long as that could be lost, nobody may act on it.
type offsetsLoad struct {
	broker *Broker
	run    *shardRun
	log    *storage.Log
	end    wire.Offset
	only   wire.GroupID // "": all groups

	config  group.Config
	found   map[wire.GroupID]*group.Group
	last    *group.Group // of the last record: its neighbours are often of the same group
	lastID  wire.GroupID
	records int
	skipped int
	failure error // of the first record that could not be folded
	buffer  []byte
}

// groupsLoaded is what came of a load.
type groupsLoaded struct {
	groups  map[wire.GroupID]loadedGroup
	end     wire.Offset
	records int
	skipped int // that this version does not know
	took    time.Duration
	err     error
}

// loadedGroup is a group with the effects of having been loaded.
type loadedGroup struct {
	group   *group.Group
	effects group.Effects
}

const (
	// loadBytes is how much of the log is read at once.
	loadBytes = 1 << 20
	// maxLoadedBatch bounds what a compressed batch may become. Coordinators do not compress.
	maxLoadedBatch = 64 << 20
	// concurrentLoads is how many partitions are read at once.
	concurrentLoads = 4
)

var errLoadEnded = errors.New("the partition is not led here any more")

// all loads all groups, once nothing of the shard before can be appended any more.
func (l *offsetsLoad) all(before *appending) *groupsLoaded {
	if before != nil {
		select {
		case <-before.landed:
		case <-l.run.gone:
			return &groupsLoaded{err: errLoadEnded}
		}
	}
	l.end = l.log.EndOffset()
	return l.groups()
}

// groups does the load. Records that the rules cannot fold without a panic must not end the broker, and then the next one
// that leads the partition: nobody but its groups has to wait for a better version.
func (l *offsetsLoad) groups() (loaded *groupsLoaded) {
	defer func() {
		if r := recover(); r != nil {
			l.broker.logger.Error("groups cannot be loaded", "partition", l.run.part.tp.Partition, "err", r, "stack", string(debug.Stack()))
			loaded = &groupsLoaded{err: fmt.Errorf("fold the offsets topic: panic: %v", r)}
		}
	}()
	began := l.broker.now()
	l.found, l.config = make(map[wire.GroupID]*group.Group), *l.broker.groups.config.Load()
	loaded = &groupsLoaded{end: l.end, groups: make(map[wire.GroupID]loadedGroup)}
	if loaded.err = l.read(); loaded.err != nil {
		return loaded
	}
	now := l.broker.now()
	for id, g := range l.found {
		if effects := g.Loaded(l.broker.View(), now); !effects.Gone || len(effects.Records) > 0 {
			loaded.groups[id] = loadedGroup{g, effects}
		}
	}
	if l.failure != nil {
		l.broker.logger.Error("records of the offsets topic cannot be understood",
			"partition", l.run.part.tp.Partition, "skipped", l.skipped, "err", l.failure)
	}
	loaded.records, loaded.skipped, loaded.took = l.records, l.skipped, now.Sub(began)
	return loaded
}

// read reads the log from its start to the end of the load.
func (l *offsetsLoad) read() error {
	from := l.log.StartOffset()
	for from < l.end {
		upTo, err := l.committed(from)
		if err != nil {
			return err
		}
		if from, err = l.readTo(from, upTo); err != nil {
			return err
		}
	}
	return nil
}

// committed waits until something is committed at from, and returns how far it may be read.
func (l *offsetsLoad) committed(from wire.Offset) (wire.Offset, error) {
	w := wire.NewWaiter()
	defer l.broker.Unpark(w)
	for {
		view := l.run.part.view.Load()
		switch {
		case view == nil || view.leaderEpoch != l.run.epoch:
			return 0, errLoadEnded
		case view.highWatermark > from:
			return min(view.highWatermark, l.end), nil
		}
		l.broker.Park(w, l.run.part.tp.Topic, l.run.part.tp.Partition, from)
		select {
		case <-w.C():
		case <-l.run.gone:
			return 0, errLoadEnded
		}
	}
}

// readTo reads committed records, a piece at a time.
func (l *offsetsLoad) readTo(from, upTo wire.Offset) (wire.Offset, error) {
	if err := l.broker.loads.Acquire(l.broker.lost, 1); err != nil {
		return from, errLoadEnded
	}
	defer l.broker.loads.Release(1)
	for from < upTo {
		if l.run.over() {
			return from, errLoadEnded
		}
		records, err := l.log.Read(from, upTo, loadBytes, true)
		switch {
		case errors.Is(err, wire.OffsetOutOfRange) && from < l.log.StartOffset():
			from = l.log.StartOffset()
			continue
		case err != nil:
			return from, fmt.Errorf("read the offsets topic at %d: %w", from, err)
		case records.Length == 0: // all up to there was compacted away
			return upTo, nil
		}
		if cap(l.buffer) < records.Length {
			l.buffer = make([]byte, records.Length)
		}
		piece := l.buffer[:records.Length]
		err = records.ReadInto(piece)
		records.Release()
		if err == nil {
			from, err = l.fold(piece, from)
		}
		if err != nil {
			return from, fmt.Errorf("read the offsets topic at %d: %w", from, err)
		}
	}
	return from, nil
}

// fold folds the whole batches of a piece of the log, and returns the offset after them.
func (l *offsetsLoad) fold(piece []byte, from wire.Offset) (wire.Offset, error) {
	var reader record.Reader
	defer reader.Close()
	next := from
	for len(piece) > 0 {
		head, batch, rest, err := record.Next(piece)
		if err != nil {
			if next > from {
				return next, nil // the last one is cut
			}
			return from, err
		}
		piece = rest
		if !head.Control() {
			if err := reader.Reset(batch, maxLoadedBatch); err != nil {
				return next, err
			}
			var rec record.Record
			for reader.Next(&rec) {
				l.replay(group.Record{Key: rec.Key, Value: rec.Value})
			}
			if err := reader.Err(); err != nil {
				return next, err
			}
		}
		next = head.NextOffset()
	}
	return next, nil
}

// replay folds one record. One that is not understood, by a newer version or by somebody else, concerns nobody here.
func (l *offsetsLoad) replay(r group.Record) {
	id, known := group.GroupOf(r.Key)
	switch {
	case !known:
		l.skipped++
		return
	case l.only != "" && id != l.only:
		return
	case l.last == nil || id != l.lastID:
		g := l.found[id]
		if g == nil {
			g = group.New(id, l.config)
			l.found[id] = g
		}
		l.last, l.lastID = g, id
	}
	l.records++
	if err := l.last.Replay(r); err != nil {
		l.skipped++
		if l.failure == nil {
			l.failure = err
		}
	}
}
