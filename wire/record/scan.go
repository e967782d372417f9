package record

import (
	"fmt"
	"hash/crc32"
	"io"

	"github.com/troupe-mq/troupe/wire"
)

// scanWindow is how much of a file is in memory during a scan.
const (
	scanWindow        = 256 << 10
	scanHeadersWindow = 16 << 10 // when batches are not read whole
)

// ScanError says where the batches of a file stop being valid, and why: ErrTruncated when the file
// ends within a batch, ErrLength, ErrMagic, ErrHeader or ErrCRC.
type ScanError struct {
	Position int64 // where the first bad batch begins
	Header   Header
	Reason   error
}

func (e *ScanError) Error() string {
	return fmt.Sprintf("batch at position %d: %v", e.Position, e.Reason)
}

// Unwrap makes errors.Is(err, ErrCRC) work.
func (e *ScanError) Unwrap() error { return e.Reason }

// Scan reads the batches that lie in r between from and to and calls fn for each, in order. It
// reads only their headers unless verify is set: then all bytes, and the CRC must hold. Whatever a
// length claims, Scan holds a small part of the file in memory.
//
// It returns where the valid batches end. The error is nil when that is to, a *ScanError when
// something else than a valid batch follows, otherwise what fn returned (validEnd is then where that
// batch begins) or the file's own error.
func Scan(r io.ReaderAt, from, to int64, verify bool, fn func(position int64, h Header) error) (validEnd int64, err error) {
	window := scanHeadersWindow
	if verify {
		window = scanWindow
	}
	s := newScanner(r, to, window)
	defer s.close()
	for at := from; at < to; {
		h, err := s.batch(at, verify)
		if err != nil {
			return at, err
		}
		if err := fn(at, h); err != nil {
			return at, err
		}
		at += int64(h.Size())
	}
	return max(from, to), nil
}

// Find looks at or after from for the first position where a whole valid batch begins that accept
// wants, and says false when there is none before to. After a scan it tells a torn tail from
// damage in the middle. Every byte may be the beginning of a batch, so accept should be choosy.
func Find(r io.ReaderAt, from, to int64, accept func(Header) bool) (position int64, h Header, found bool, err error) {
	s := newScanner(r, to, scanWindow)
	defer s.close()
	for at := from; at <= to-HeaderBytes; at++ {
		b, err := s.view(at, HeaderBytes)
		if err != nil {
			return 0, Header{}, false, err
		}
		if b[MagicAt] != Magic {
			continue
		}
		h, err := ParseHeader(b)
		if err != nil || h.Consistent() != nil || int64(h.Size()) > to-at || !accept(h) {
			continue
		}
		ok, err := s.verify(at, &h)
		if err != nil {
			return 0, Header{}, false, err
		}
		if ok {
			return at, h, true, nil
		}
	}
	return 0, Header{}, false, nil
}

// scanner is a window onto a file.
type scanner struct {
	r      io.ReaderAt
	to     int64
	buffer *wire.Buffer
	start  int64  // of held in the file
	held   []byte // part of buffer
}

func newScanner(r io.ReaderAt, to int64, window int) *scanner {
	return &scanner{r: r, to: to, buffer: wire.NewBuffer(window)}
}

func (s *scanner) close() { s.buffer.Release() }

// view returns the n bytes at a position. They lie before s.to and fit into the window.
func (s *scanner) view(at int64, n int) ([]byte, error) {
	if at < s.start || at+int64(n) > s.start+int64(len(s.held)) {
		want := int(min(int64(len(s.buffer.Bytes)), s.to-at))
		got, err := s.r.ReadAt(s.buffer.Bytes[:want], at)
		s.start, s.held = at, s.buffer.Bytes[:got]
		if got < n {
			s.held = nil
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF // the file is shorter than to says
			}
			return nil, fmt.Errorf("read %d bytes at %d: %w", n, at, err)
		}
	}
	i := int(at - s.start)
	return s.held[i : i+n : i+n], nil
}

func (s *scanner) batch(at int64, verify bool) (Header, error) {
	n := int(min(HeaderBytes, s.to-at))
	b, err := s.view(at, n)
	if err != nil {
		return Header{}, err
	}
	h, err := ParseHeader(b)
	if err == nil {
		err = h.Consistent()
	}
	if err == nil && int64(h.Size()) > s.to-at {
		err = ErrTruncated
	}
	if err != nil {
		return h, &ScanError{Position: at, Header: h, Reason: err}
	}
	if verify {
		ok, err := s.verify(at, &h)
		if err != nil {
			return h, err
		}
		if !ok {
			return h, &ScanError{Position: at, Header: h, Reason: ErrCRC}
		}
	}
	return h, nil
}

// verify reads a whole batch, piece by piece, and says whether its CRC holds.
func (s *scanner) verify(at int64, h *Header) (bool, error) {
	sum := uint32(0)
	end := at + int64(h.Size())
	for at += AttributesAt; at < end; {
		n := int(min(end-at, int64(len(s.buffer.Bytes))))
		b, err := s.view(at, n)
		if err != nil {
			return false, err
		}
		sum = crc32.Update(sum, castagnoli, b)
		at += int64(n)
	}
	return sum == h.CRC, nil
}
