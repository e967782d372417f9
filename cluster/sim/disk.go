package sim

import (
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// batch is a record batch: what a producer sent, where it lies, and in which leader epoch it was
// appended. Two batches are the same if all of this is.
type batch struct {
	base     wire.Offset
	count    int32
	epoch    wire.LeaderEpoch
	producer wire.ProducerID
	sequence wire.Sequence
}

func (b batch) next() wire.Offset { return b.base + wire.Offset(b.count) }

// content is what a log holds at one moment. It is a value: batches that are in one are never
// overwritten.
type content struct {
	start, end wire.Offset
	batches    []batch
	// verified says that what lies below is known to be what was committed, by the truth of that
	// age. It spares comparing all of it after every event.
	verified wire.Offset
	age      int
}

func (c *content) lastEpoch() wire.LeaderEpoch {
	if len(c.batches) == 0 {
		return wire.NoEpoch
	}
	return c.batches[len(c.batches)-1].epoch
}

// EpochEnd implements replica.Epochs.
func (c *content) EpochEnd(epoch wire.LeaderEpoch) wire.EpochEnd {
	i, _ := slices.BinarySearchFunc(c.batches, epoch, func(b batch, epoch wire.LeaderEpoch) int {
		if b.epoch <= epoch {
			return -1
		}
		return 1
	})
	switch {
	case i == 0:
		return wire.EpochEnd{LeaderEpoch: wire.NoEpoch, EndOffset: wire.NoOffset}
	case i == len(c.batches):
		return wire.EpochEnd{LeaderEpoch: c.batches[i-1].epoch, EndOffset: c.end}
	}
	return wire.EpochEnd{LeaderEpoch: c.batches[i-1].epoch, EndOffset: c.batches[i].base}
}

// from returns the index of the batch that holds an offset, or of the first one after it.
func (c *content) from(offset wire.Offset) int { return indexOf(c.batches, offset) }

func indexOf(batches []batch, offset wire.Offset) int {
	i, _ := slices.BinarySearchFunc(batches, offset, func(b batch, offset wire.Offset) int {
		if b.next() <= offset {
			return -1
		}
		return 1
	})
	return i
}

func (c *content) append(b batch) {
	c.batches = append(c.batches, b)
	c.end = b.next()
}

// cut takes away all from an offset on, and the batch that holds it as a whole.
func (c *content) cut(to wire.Offset) {
	i := c.from(to)
	if i < len(c.batches) {
		to = min(to, max(c.start, c.batches[i].base))
	}
	c.batches = slices.Clip(c.batches[:i])
	c.end = max(c.start, min(c.end, to))
	c.verified = min(c.verified, c.end)
}

func (c *content) reset(to wire.Offset) {
	*c = content{start: to, end: to, verified: to, age: c.age}
}

func (c *content) advanceStart(to wire.Offset) {
	c.start = max(c.start, to)
	c.batches = c.batches[c.from(c.start):]
}

// disk is one partition's log on one machine: what the process sees in the page cache, and what a
// loss of power leaves for certain.
type disk struct {
	cache   content
	durable content
	// checkpoint is the high watermark that a restart finds.
	checkpoint wire.Offset
}

// losePower leaves what was synced, and of what was appended since then as much as pleases the dice.
func (d *disk) losePower(w *World) {
	kept := d.durable
	if d.cache.start == kept.start && d.cache.end > kept.end && d.cache.from(kept.end) == len(kept.batches) {
		unsynced := d.cache.batches[len(kept.batches):]
		more := unsynced[:w.Random.IntN(len(unsynced)+1)]
		kept.batches = slices.Concat(kept.batches, more)
		if len(more) > 0 {
			kept.end = more[len(more)-1].next()
		}
	}
	d.cache = kept
}

// log is a process's hold of a disk. It syncs and cuts one after the other, and tells when that is done.
type log struct {
	*disk
	flushed    wire.Offset
	generation int
	syncing    bool
	again      bool // another sync was asked for meanwhile
	cutting    bool
}

// openLog recovers what the machine has: all of it is synced before anybody is told.
func openLog(d *disk) *log {
	d.durable = d.cache
	return &log{disk: d, flushed: d.cache.end}
}

// requestSync makes the log durable as it is when the sync begins. Completions are told late and in
// any order; what they are about is told by the generation.
func (r *replicaShell) requestSync() {
	l, w := r.log, r.w
	if l.syncing || l.cutting {
		l.again = true
		return
	}
	l.syncing = true
	image, generation := l.cache, l.generation
	w.At(w.syncTime(), nil, func() {
		if r.process.Dead {
			return
		}
		if l.generation == generation {
			l.durable = image
		}
		w.At(w.callbackTime(), &r.process.Process, func() { r.onSynced(generation, image.end) })
		w.At(0, &r.process.Process, func() {
			l.syncing = false
			if l.again {
				l.again = false
				r.requestSync()
			}
		})
	})
}

// requestCut cuts the log when the sync that is under way has ended.
func (r *replicaShell) requestCut(to wire.Offset, reset bool, done func()) {
	l, w := r.log, r.w
	l.cutting = true
	l.generation++
	w.At(w.syncTime(), &r.process.Process, func() {
		if reset {
			l.cache.reset(to)
		} else {
			l.cache.cut(to)
		}
		l.durable = l.cache
		l.flushed = min(l.flushed, l.cache.end)
		if reset {
			l.flushed = l.cache.end
		}
		l.cutting = false
		w.stats.Truncations++
		done()
		if l.again && !l.syncing {
			l.again = false
			r.requestSync()
		}
	})
}

func (w *World) syncTime() time.Duration {
	d := w.Between(200*time.Microsecond, 8*time.Millisecond)
	if w.profile.SlowDisks && !w.Calm && w.Random.IntN(20) == 0 {
		d = w.Between(8*time.Millisecond, 3*time.Second)
	}
	return d
}

func (w *World) callbackTime() time.Duration {
	if w.profile.LateCallbacks && w.Chance(25) {
		return w.Between(0, 300*time.Millisecond)
	}
	return w.Between(0, time.Millisecond)
}
