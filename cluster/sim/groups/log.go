package groups

import (
	"time"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/wire"
)

// offsetsLog is one partition of __consumer_offsets, as replication promises it: what is committed stays, what is not
// may be lost when the leader changes, from some point on. How replication does it is another simulator's business.
//
//	[ committed, perhaps compacted ............ )[ appended in the present epoch )
//	                                     committed                               end
type offsetsLog struct {
	w         *World
	epoch     wire.LeaderEpoch
	leader    *broker // nil while there is none
	records   []logged
	end       int64   // the offset that the next record gets
	committed int64   // all below is
	ends      []int64 // of batches that were not committed when the epoch began: each is kept or lost as a whole
}

// logged is a record at its offset. Compaction takes records out and moves none.
type logged struct {
	offset int64
	record group.Record
}

// append takes a batch of the leader of an epoch. It is committed a while later, unless the epoch ends before; and may be
// committed though the leader was told that it failed.
func (l *offsetsLog) append(epoch wire.LeaderEpoch, records []group.Record, done func(ok bool)) {
	w := l.w
	if epoch != l.epoch {
		if w.mutant == OldEpochAppends && l.leader != nil {
			epoch = l.epoch
		} else {
			w.stats.Fenced++
			if w.Chance(50) {
				w.At(w.Between(0, 200*time.Millisecond), nil, func() { done(false) })
			}
			return // else nobody answers: its followers obey another
		}
	}
	if w.faulty(w.profile.AppendsFail, 1) {
		w.stats.FailedAppends++
		w.At(w.Between(0, time.Millisecond), nil, func() { done(false) })
		return
	}
	for _, r := range records {
		l.records = append(l.records, logged{l.end, r})
		l.end++
	}
	l.ends = append(l.ends, l.end)
	upTo := l.end
	took := w.Between(200*time.Microsecond, 5*time.Millisecond)
	if w.faulty(w.profile.SlowAppends, 5) {
		took = w.Between(20*time.Millisecond, 1500*time.Millisecond)
	}
	timesOut := w.faulty(w.profile.AppendsFail, 1)
	w.At(took, nil, func() {
		if l.epoch != epoch {
			done(false)
			return
		}
		l.commit(upTo)
		done(!timesOut)
	})
}

func (l *offsetsLog) commit(upTo int64) {
	for i := l.index(l.committed); i < len(l.records) && l.records[i].offset < upTo; i++ {
		l.w.committed(&l.records[i])
	}
	l.committed = max(l.committed, upTo)
}

// index is where in records the first one at an offset or beyond is.
func (l *offsetsLog) index(offset int64) int {
	i := len(l.records)
	for i > 0 && l.records[i-1].offset >= offset {
		i--
	}
	return i
}

// elect gives the log another leader, or the same one again, in a new epoch. Of what was not committed it has a part, which
// its epoch commits, too.
func (l *offsetsLog) elect(b *broker) {
	w := l.w
	keep := l.committed
	if l.end > l.committed {
		w.stats.Tails++
		for _, end := range l.ends {
			if end > keep && w.Chance(50) {
				keep = end
			}
		}
		w.stats.Lost += l.end - keep
	}
	l.ends = l.ends[:0]
	l.records = l.records[:l.index(keep)]
	l.end = keep
	l.epoch++
	l.leader = b
	w.stats.Moves++
	w.Note("log", "broker %d leads in epoch %d from %d on, %d are committed", b.id, l.epoch, keep, l.committed)
	epoch := l.epoch
	w.At(w.Between(time.Millisecond, 300*time.Millisecond), nil, func() {
		if l.epoch == epoch {
			l.commit(keep)
		}
	})
}

// compact takes out of the committed part what a later record of it replaces, and some of the tombstones.
func (l *offsetsLog) compact() {
	w := l.w
	w.stats.Compactions++
	from, upTo := 0, l.index(l.committed)
	if upTo > 0 {
		upTo = 1 + w.Random.IntN(upTo) // the rest is in the segment that is written
	}
	last := make(map[string]int64)
	for _, r := range l.records[:upTo] {
		last[string(r.record.Key)] = r.offset
	}
	tombstones := w.Chance(50)
	for _, r := range l.records {
		if r.offset < l.committed {
			if at, ok := last[string(r.record.Key)]; ok && r.offset < at || ok && tombstones && r.record.Value == nil && r.offset == at {
				continue
			}
		}
		l.records[from] = r
		from++
	}
	clear(l.records[from:])
	l.records = l.records[:from]
}
