package groups

import (
	"slices"
	"time"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/wire"
)

// shard is all that a broker coordinates by leading the log in one epoch. It does for the rules what the actors do: loads
// what was committed, appends what they emit, one batch at a time, and gives all up when that fails.
type shard struct {
	b       *broker
	epoch   wire.LeaderEpoch
	loading bool
	ended   bool
	groups  []*coordinator // in the order they came up
	queue   []emission
	waits   bool // for an append
}

// emission is what one call of the rules wants appended: all or none.
type emission struct {
	of      *coordinator
	records []group.Record
}

func newShard(b *broker, epoch wire.LeaderEpoch) *shard {
	return &shard{b: b, epoch: epoch, loading: true}
}

// load waits until all is committed that the epoch began with, or this shard's predecessor in it appended, and folds it.
func (s *shard) load() {
	w := s.b.w
	upTo := w.log.end
	if w.mutant == LoadToWatermark {
		upTo = w.log.committed
	}
	var try func()
	try = func() {
		if s.ended {
			return
		}
		if w.log.committed < upTo || w.log.epoch != s.epoch { // where another one leads by now, it will hear of that
			w.At(20*time.Millisecond, s.b.run, try)
			return
		}
		s.fold(upTo)
	}
	w.At(w.Between(time.Millisecond, 100*time.Millisecond), s.b.run, try)
}

func (s *shard) fold(upTo int64) {
	w := s.b.w
	w.stats.Loads++
	for _, r := range w.log.records {
		if r.offset >= upTo {
			break
		}
		id, known := group.GroupOf(r.record.Key)
		if !known {
			w.Violate("nobody knows whose record %x at %d is", r.record.Key, r.offset)
			return
		}
		record, drop := w.mutateReplay(r.record)
		if drop {
			continue
		}
		if err := s.coordinator(id).rules.Replay(record); err != nil {
			w.Violate("load %s: record at %d: %v", id, r.offset, err)
			return
		}
	}
	s.loading = false
	w.Note(s.b.name(), "has loaded epoch %d up to %d", s.epoch, upTo)
	for _, c := range s.groups {
		w.truth(c.id).loaded(c)
	}
	for _, c := range slices.Clone(s.groups) {
		now := s.b.clock()
		if w.mutant == SessionsNotRenewed {
			now = now.Add(-w.profile.Session)
		}
		c.fromLog = true
		c.perform(c.rules.Loaded(s.b.view, now))
	}
}

// coordinator is that of a group, which has one as soon as it is asked for.
func (s *shard) coordinator(id wire.GroupID) *coordinator {
	for _, c := range s.groups {
		if c.id == id {
			return c
		}
	}
	c := newCoordinator(s, id)
	s.groups = append(s.groups, c)
	return c
}

func (s *shard) topicsChanged() {
	for _, c := range slices.Clone(s.groups) {
		if !s.loading && !s.ended && s.b.w.mutant != TopicsUntold {
			c.perform(c.rules.TopicsChanged(s.b.view, s.b.clock()))
		}
	}
}

// flush appends all that has come together since the last append.
func (s *shard) flush() {
	if s.waits || s.ended || len(s.queue) == 0 {
		return
	}
	batch := s.queue
	s.queue, s.waits = nil, true
	var records []group.Record
	for _, e := range batch {
		records = append(records, e.records...)
	}
	if s.b.w.mutant == TornBatches && len(batch[0].records) > 1 {
		records = records[:1]
	}
	run := s.b.run
	s.b.w.log.append(s.epoch, records, func(ok bool) {
		s.b.w.At(0, run, func() { s.appended(batch, ok) })
	})
}

func (s *shard) appended(batch []emission, ok bool) {
	if s.ended {
		return
	}
	if !ok {
		s.fail()
		return
	}
	s.waits = false
	for _, e := range batch {
		e.of.committed += len(e.records)
		e.of.release()
	}
	s.flush()
	s.forget()
}

// forget drops groups that are no more, once nothing of them is on its way.
func (s *shard) forget() {
	kept := s.groups[:0]
	for _, c := range s.groups {
		if c.gone && c.idle() {
			c.stop()
			continue
		}
		kept = append(kept, c)
	}
	clear(s.groups[len(kept):])
	s.groups = kept
}

// fail gives up all that was coordinated here and, while the epoch lasts, loads it anew.
func (s *shard) fail() {
	b := s.b
	b.w.stats.Dropped++
	b.w.Note(b.name(), "gives epoch %d up, and loads anew", s.epoch)
	s.end(wire.NotCoordinator)
	b.load(s.epoch)
}

// end stops every coordinator. Without an error nobody is left to answer: the connections end, too.
func (s *shard) end(err error) {
	s.ended = true
	for _, c := range s.groups {
		c.end(err)
	}
	s.groups = nil
}
