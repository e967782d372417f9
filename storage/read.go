package storage

import (
	"errors"
	"io"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// Read lends the record batches from the one that holds offset from on, out of one segment file:
// about maxBytes, nothing at or beyond upTo, and with atLeastOne the first batch whole even if it
// is larger. The last batch may be cut by maxBytes, never by upTo. At upTo there are no records
// and no error. The caller releases what it was lent.
//
// Bytes that this process did not write are checked against their checksums once, before they
// are first lent. Damage is an error that wraps wire.CorruptMessage, from the first damaged batch
// on; batches before it are still lent.
func (l *Log) Read(from, upTo wire.Offset, maxBytes int, atLeastOne bool) (wire.Records, error) {
	for tries := 1; ; tries++ {
		generation, swaps := l.Generation(), l.swaps.Load()
		records, err := l.read(from, min(upTo, l.EndOffset()), maxBytes, atLeastOne)
		switch {
		case err == nil:
			return records, nil
		case l.swaps.Load() != swaps && !l.closed.Load():
			continue // another segment has it now
		case !l.wasCut(generation):
			return wire.Records{}, l.readFailed(from, err)
		case tries == readTries:
			return wire.Records{}, l.errCut()
		}
		// What it looked at went away; what it looks for may lie before that.
	}
}

// readTries is how often a read begins anew that a cut comes in the way of.
const readTries = 3

func (l *Log) read(from, upTo wire.Offset, maxBytes int, atLeastOne bool) (wire.Records, error) {
	if l.closed.Load() {
		return wire.Records{}, l.errClosed()
	}
	if start, end := l.StartOffset(), l.EndOffset(); from < start || from > end {
		return wire.Records{}, wire.Errorf(wire.OffsetOutOfRange, "offset %d of %s is outside %d to %d", from, l.ref, start, end)
	}
	if from >= upTo {
		return wire.Records{}, nil
	}
	v := l.viewAt(from, upTo)
	records, err := l.readSegment(v, from, maxBytes, atLeastOne)
	if errors.Is(err, io.EOF) && !v.last {
		err = l.corruption(v.s, v.size, from, errEnds)
	}
	return records, err
}

// errEnds says that a segment does not reach to the next one, which is named by the end of the log
// at the moment when this one was full: its last batches are missing.
var errEnds = errors.New("the segment ends before the next one begins")

// view is what a reader needs to know of one segment, copied under the mutex.
type view struct {
	s    *segment
	size int64
	last bool        // the segment is the active one
	next wire.Offset // where the next segment begins; meaningless for the last one
	// cut is where upTo lies in the file; -1: it must be searched for.
	cut  int64
	upTo wire.Offset
}

func (l *Log) viewAt(from, upTo wire.Offset) view {
	l.mu.RLock()
	defer l.mu.RUnlock()
	i := l.find(from)
	v := view{s: l.segments[i], size: l.segments[i].size, last: i == len(l.segments)-1, cut: -1, upTo: upTo}
	if !v.last {
		v.next = l.segments[i+1].base
	}
	switch {
	case v.last && upTo >= l.EndOffset(), !v.last && upTo >= v.next:
		v.cut = v.size
	case v.last && l.flushedSize >= 0 && upTo == l.FlushedOffset():
		v.cut = l.flushedSize
	}
	return v
}

// readSegment finds from in a segment and lends what follows it there. It returns io.EOF when the
// segment has nothing at or after from.
func (l *Log) readSegment(v view, from wire.Offset, maxBytes int, atLeastOne bool) (wire.Records, error) {
	if v.size == 0 {
		return wire.Records{}, io.EOF
	}
	f, err := l.openSegment(v.s)
	if err != nil {
		return wire.Records{}, err
	}
	records, err := l.lend(f, v, from, maxBytes, atLeastOne)
	if records.File == nil {
		f.Release()
	}
	return records, err
}

// lend returns records whose File is f, or none.
func (l *Log) lend(f *openFile, v view, from wire.Offset, maxBytes int, atLeastOne bool) (wire.Records, error) {
	position, h, err := l.locate(f, v.s, from, v.size)
	if err != nil {
		return wire.Records{}, err
	}
	if h.LastOffset() >= v.upTo {
		return wire.Records{}, nil // the batch that holds from is not readable yet, or from lies in a gap below upTo
	}
	want := int64(max(maxBytes, 0))
	if atLeastOne {
		want = max(want, int64(h.Size()))
	}
	if want < int64(h.Size()) {
		return wire.Records{}, nil
	}
	cut := v.cut
	if cut < 0 {
		if cut, err = l.cutAt(f, v, position, want); err != nil {
			return wire.Records{}, err
		}
	}
	length := min(want, cut-position)
	if length, err = l.verified(f, v, position, length, h.BaseOffset); err != nil {
		return wire.Records{}, err
	}
	return wire.Records{File: f, Position: position, Length: int(length)}, nil
}

// locate returns the position and header of the batch that holds offset, or of the first one
// after it. An index that leads astray is rebuilt; what is then still wrong is the log itself.
func (l *Log) locate(f *openFile, s *segment, offset wire.Offset, size int64) (int64, record.Header, error) {
	for repaired := false; ; repaired = true {
		entry, err := l.indexBelow(s, offset)
		if err != nil {
			return 0, record.Header{}, err
		}
		w := newWalker(f, s.base, int64(entry.position), size, lookupWindow)
		h, err := w.header()
		if err == nil && entry.position > 0 && s.relative(h.LastOffset()) != entry.offset {
			err = errIndex
		}
		if err == nil {
			h, err = w.seek(offset)
		}
		position, next := w.pos, w.next
		w.close()
		switch {
		case err == nil || errors.Is(err, io.EOF) || isReadError(err):
			return position, h, err
		case !repaired && entry.position > 0:
			if err := l.repairIndexes(s); err != nil {
				return 0, h, err
			}
		default:
			return 0, h, l.corruption(s, position, next, err)
		}
	}
}

var errIndex = errors.New("the index names another batch than the one in its place")

// cutAt returns where the batches end that lie wholly below upTo, or any position beyond what is
// wanted.
func (l *Log) cutAt(f *openFile, v view, position, want int64) (int64, error) {
	entry, err := l.indexBelow(v.s, v.upTo)
	if err != nil {
		return 0, err
	}
	if int64(entry.position) >= position+want {
		return int64(entry.position), nil // upTo lies further on than anybody wants
	}
	cut, h, err := l.locate(f, v.s, v.upTo, v.size)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return v.size, nil
		}
		return 0, err
	}
	_ = h // a batch that holds upTo begins at cut, as does one after it: neither is below upTo
	return cut, nil
}

// verified returns how many of the length bytes from position on may be lent: all, once the
// checksums of every batch in them are known to be right, or those before the first damage.
func (l *Log) verified(f *openFile, v view, position, length int64, offset wire.Offset) (int64, error) {
	l.mu.RLock()
	known := v.s.verified.covers(position, position+length)
	l.mu.RUnlock()
	if known {
		return length, nil
	}
	w := newWalker(f, v.s.base, position, v.size, scanWindow)
	defer w.close()
	w.next = offset
	for w.pos < position+length {
		h, err := w.header()
		if err == nil {
			err = w.verify(&h)
		}
		if isReadError(err) {
			return 0, err
		}
		if err != nil {
			if err = l.corruption(v.s, w.pos, w.next, err); w.pos == position {
				return 0, err
			}
			length = w.pos - position
			break
		}
		w.pass(&h)
	}
	l.mu.Lock()
	v.s.verified.add(position, w.pos)
	l.mu.Unlock()
	return length, nil
}

// readFailed says what the failure of a read means to a client.
func (l *Log) readFailed(from wire.Offset, err error) error {
	switch {
	case l.closed.Load():
		return l.errClosed()
	case wire.Code(err) != wire.UnknownServerError:
		return err
	case l.cutting.Load():
		return l.errCut()
	case isMissing(err) && from < l.StartOffset():
		// Retention took the segment away between the look and the opening.
		return wire.Errorf(wire.OffsetOutOfRange, "offset %d of %s was just removed", from, l.ref)
	}
	l.dir.log.Error("log cannot be read", "topic", l.ref.Topic, "partition", l.ref.Partition, "offset", from, "err", err)
	return wire.Errorf(wire.KafkaStorageError, "read %s at %d: %v", l.ref, from, err)
}
