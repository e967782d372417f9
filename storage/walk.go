package storage

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"sync"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// CorruptionError names damaged bytes in a log. They are kept: nothing here deletes or overwrites
// what was once durable.
type CorruptionError struct {
	Path     string      // of the file
	Position int64       // of the batch in it
	Offset   wire.Offset // the first one that cannot be read
	Reason   string
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("%s is corrupt at position %d, offset %d: %s", e.Path, e.Position, e.Offset, e.Reason)
}

// Unwrap makes errors.Is(err, wire.CorruptMessage) hold.
func (e *CorruptionError) Unwrap() error { return wire.CorruptMessage }

// readError is a failure of the disk, as opposed to bytes that are read and make no sense.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

func isReadError(err error) bool {
	var failed *readError
	return errors.As(err, &failed)
}

var (
	errOverlap  = errors.New("the batch begins below the end of the one before")
	errFarAway  = errors.New("the batch lies too far from the segment's base offset")
	errBeyond   = errors.New("the batch is longer than the file")
	errEpoch    = errors.New("the batch's leader epoch is below that of the one before")
	errChecksum = errors.New("wrong checksum")
)

const (
	lookupWindow = 4 << 10  // when a header or two are wanted
	scanWindow   = 64 << 10 // when all is read
)

var windows = sync.Pool{New: func() any { return new([scanWindow]byte) }}

// walker steps through the batches of a segment from a known batch boundary on. It looks at headers
// and, where asked, at checksums. Its memory is one window, whatever the batches claim to be.
type walker struct {
	r      io.ReaderAt
	base   wire.Offset      // of the segment
	pos    int64            // of the next batch
	limit  int64            // where the file ends
	next   wire.Offset      // no batch may begin below
	epoch  wire.LeaderEpoch // nor have a smaller epoch
	window *[scanWindow]byte
	step   int
	at     int64 // file position of the window's first byte
	have   int
}

func newWalker(r io.ReaderAt, base wire.Offset, from, limit int64, step int) *walker {
	return &walker{
		r: r, base: base, pos: from, limit: limit, next: base, epoch: wire.NoEpoch,
		window: windows.Get().(*[scanWindow]byte), step: step,
	}
}

// close gives the window back.
func (w *walker) close() { windows.Put(w.window) }

// bytes returns what the window has from position at on, at least one byte, reading if it must.
func (w *walker) bytes(at int64) ([]byte, error) {
	if at < w.at || at >= w.at+int64(w.have) {
		if err := w.fill(at); err != nil {
			return nil, err
		}
	}
	return w.window[at-w.at : w.have], nil
}

func (w *walker) fill(at int64) error {
	n := int(min(int64(w.step), w.limit-at))
	w.at, w.have = at, 0
	if err := readFull(w.r, w.window[:n], at); err != nil {
		return &readError{err}
	}
	w.have = n
	return nil
}

// header reads the batch header at the present position. It returns io.EOF at the end of the
// file, a readError when the disk fails, and anything else for bytes that are no batch that may
// stand here.
func (w *walker) header() (record.Header, error) {
	if w.pos >= w.limit {
		return record.Header{}, io.EOF
	}
	b, err := w.bytes(w.pos)
	if err == nil && len(b) < record.HeaderBytes && w.pos+int64(len(b)) < w.limit {
		if err = w.fill(w.pos); err == nil {
			b = w.window[:w.have]
		}
	}
	if err != nil {
		return record.Header{}, err
	}
	h, err := record.ParseHeader(b)
	if err == nil {
		err = h.Consistent()
	}
	switch {
	case err != nil:
		return h, err
	case h.BaseOffset < w.next:
		return h, errOverlap
	case h.LastOffset()-w.base > math.MaxInt32:
		return h, errFarAway
	case h.LeaderEpoch < w.epoch:
		return h, errEpoch
	case w.pos+int64(h.Size()) > w.limit:
		return h, errBeyond
	}
	return h, nil
}

// verify compares the checksum of the batch at the present position, whose header is h.
func (w *walker) verify(h *record.Header) error {
	sum := uint32(0)
	end := w.pos + int64(h.Size())
	for at := w.pos + record.AttributesAt; at < end; {
		b, err := w.bytes(at)
		if err != nil {
			return err
		}
		b = b[:min(int64(len(b)), end-at)]
		sum = crc32.Update(sum, castagnoli, b)
		at += int64(len(b))
	}
	if sum != h.CRC {
		return errChecksum
	}
	return nil
}

// pass steps over the batch whose header is h.
func (w *walker) pass(h *record.Header) {
	w.pos += int64(h.Size())
	w.next = h.NextOffset()
	w.epoch = h.LeaderEpoch
}

// seek steps to the first batch that holds offset or comes after it, without looking at checksums.
// At the end of the file it returns io.EOF.
func (w *walker) seek(offset wire.Offset) (record.Header, error) {
	for {
		h, err := w.header()
		if err != nil || h.LastOffset() >= offset {
			return h, err
		}
		w.pass(&h)
	}
}
