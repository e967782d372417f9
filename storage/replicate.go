package storage

import (
	"math"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// AppendReplicated writes whole record batches at the end of the log as the leader has them: with
// their offsets and leader epochs. It returns the log's new end. Offsets may leave a gap, as
// compaction does, but not begin below the end, unless the log is empty and its end lies in the first
// batch: see straddle.go. Epochs may not go down; checksums must hold.
//
// Segments are begun where size and age say, so what one call brings may go into several of them.
// When it returns an error nothing was written, except that of batches for several segments those
// for the first ones may have been: EndOffset tells.
func (l *Log) AppendReplicated(batches []byte) (next wire.Offset, err error) {
	if err := l.admit(len(batches)); err != nil {
		return 0, err
	}
	if err := l.checkReplicated(batches); err != nil {
		return 0, err
	}
	cfg, rest := l.config.Load(), batches
	if h, first, after, _ := record.Next(batches); l.straddles(&h) {
		if err := l.beginInside(cfg, &h, first); err != nil {
			return 0, l.failed("begin the log of", l.EndOffset(), err)
		}
		rest = after
	}
	for len(rest) > 0 {
		stretch, err := l.stretch(cfg, rest)
		if err == nil {
			err = l.prepare(stretch.roll)
		}
		if err == nil {
			err = l.write(cfg, rest[:stretch.bytes], stretch.next)
		}
		if err != nil {
			return 0, l.failed("append", l.EndOffset(), err)
		}
		rest = rest[stretch.bytes:]
	}
	if cfg.Fsync {
		l.RequestSync()
	}
	return l.EndOffset(), nil
}

// checkReplicated refuses batches that cannot follow what is in the log.
func (l *Log) checkReplicated(batches []byte) error {
	end, epoch := l.EndOffset(), l.lastEpoch()
	for rest := batches; ; {
		h, batch, after, err := record.Next(rest)
		if err == nil {
			err = h.Consistent()
		}
		switch {
		case err != nil:
			return err
		case !record.VerifyCRC(batch):
			return record.ErrCRC
		case h.BaseOffset < end && (len(rest) < len(batches) || !l.straddles(&h)):
			return wire.Errorf(wire.OffsetOutOfRange, "append to %s: the batch begins at %d, below the end %d", l.ref, h.BaseOffset, end)
		case h.LastOffset()-end > math.MaxInt32:
			// A segment is named by the end of the log, and none reaches that far.
			return wire.Errorf(wire.OffsetOutOfRange, "append to %s: the batch ends at %d, too far beyond the end %d", l.ref, h.LastOffset(), end)
		case h.LeaderEpoch < 0 || h.LeaderEpoch < epoch:
			return wire.Errorf(wire.FencedLeaderEpoch, "append to %s: a batch of epoch %d behind one of %d", l.ref, h.LeaderEpoch, epoch)
		}
		end, epoch = h.NextOffset(), h.LeaderEpoch
		if len(after) == 0 {
			return nil
		}
		rest = after
	}
}

// stretch is the beginning of some batches that goes into one segment.
type stretch struct {
	bytes int
	next  wire.Offset // after its last record
	roll  bool        // the segment is a new one
}

// stretch returns how much of the batches, which were checked, the next write takes.
func (l *Log) stretch(cfg *LogConfig, batches []byte) (stretch, error) {
	room, err := l.room()
	s := stretch{}
	for rest := batches; err == nil && len(rest) > 0; {
		h, batch, after, _ := record.Next(rest)
		timestamp := l.ageFrom(h.MaxTimestamp)
		if !room.takes(cfg, int64(len(batch)), h.NextOffset(), timestamp) {
			if s.bytes > 0 {
				break
			}
			s.roll = true
			room.base, room.size = l.EndOffset(), 0
		}
		if room.size == 0 {
			room.firstTimestamp = timestamp
		}
		room.size += int64(len(batch))
		s.bytes += len(batch)
		s.next = h.NextOffset()
		rest = after
	}
	return s, err
}

// ReadBuffer copies whole batches, about maxBytes of them but at least one, from the one that
// holds offset from, or the first after it, on: for a follower that is far behind. It
// returns the offset after the last one, and its leader epoch. Nothing of a batch that reaches to upTo or
// beyond is read: when there is nothing else, the buffer is nil and next is from.
func (l *Log) ReadBuffer(from, upTo wire.Offset, maxBytes int) (b *wire.Buffer, next wire.Offset, epoch wire.LeaderEpoch, err error) {
	generation := l.Generation()
	records, err := l.Read(from, upTo, maxBytes, true)
	if err != nil || records.Length == 0 {
		return nil, from, wire.NoEpoch, err
	}
	defer records.Release()
	b = wire.NewBuffer(records.Length)
	err = records.ReadInto(b.Bytes)
	if l.wasCut(generation) {
		err = l.errCut() // others may lie in their place already
	}
	if err != nil {
		b.Release()
		return nil, from, wire.NoEpoch, l.readFailed(from, err)
	}
	whole, next := 0, from
	for rest := b.Bytes; ; {
		h, batch, after, err := record.Next(rest)
		if err != nil {
			break // the last one is cut off
		}
		whole += len(batch)
		next, epoch, rest = h.NextOffset(), h.LeaderEpoch, after
	}
	if whole == 0 {
		b.Release()
		return nil, from, wire.NoEpoch, wire.Errorf(wire.CorruptMessage, "read %s at %d: the batch has changed since it was checked", l.ref, from)
	}
	b.Bytes = b.Bytes[:whole]
	return b, next, epoch, nil
}
