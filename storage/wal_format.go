package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// The bytes of the WAL; FORMAT.md draws them. Numbers are little-endian, varints are Go's.
const (
	walMagic       = "troupwal"
	walVersion     = 1
	walHeaderBytes = 8 + 4 + 4 + 8 // magic, version, checksum, sequence

	walFrameMagic       = 0xF1A3E57A
	walFrameHeaderBytes = 4 + 4 + 4 // magic, length, checksum

	// An Append of more is refused, and files that are larger than any could be are not ours.
	maxWALAppendBytes   = 256 << 20
	maxWALSegmentBytes  = 1 << 30
	maxWALSnapshotBytes = 2 << 30

	walSnapshotMagic       = "troupsnp"
	walSnapshotHeaderBytes = 8 + 4 + 4 + 8 + 8 + 8 // magic, version, checksum, index, term, length
)

// The items of a frame.
const (
	walHardState = 1
	walEntry     = 2
	walMarkItem  = 3 // this snapshot counts
	walReplaced  = 4 // a snapshot took the place of all entries before
)

// walMark names a snapshot.
type walMark struct{ index, term uint64 }

func (m walMark) file() string {
	return fmt.Sprintf("%020d-%016d%s", m.index, m.term, walSnapshotSuffix)
}

// walFrame is what one write to a segment holds.
type walFrame struct {
	hardState []byte // nil: as before
	marks     []walMark
	replaces  bool
	entries   []WALEntry
}

func appendWALHeader(b []byte, sequence uint64) []byte {
	start := len(b)
	b = append(b, walMagic...)
	b = binary.LittleEndian.AppendUint32(b, walVersion)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, sequence)
	binary.LittleEndian.PutUint32(b[start+12:], walHeaderChecksum(b[start:start+walHeaderBytes]))
	return b
}

// walHeaderChecksum covers all but itself.
func walHeaderChecksum(header []byte) uint32 {
	return crc32.Update(crc32.Checksum(header[:12], castagnoli), castagnoli, header[16:])
}

func walHeaderChecks(b []byte) bool {
	return len(b) >= walHeaderBytes && string(b[:8]) == walMagic &&
		walHeaderChecksum(b[:walHeaderBytes]) == binary.LittleEndian.Uint32(b[12:])
}

// checkWALHeader says what is wrong with a segment's first bytes.
func checkWALHeader(b []byte, sequence uint64) error {
	switch {
	case !walHeaderChecks(b):
		return errors.New("the header does not check")
	case binary.LittleEndian.Uint32(b[8:]) != walVersion:
		return fmt.Errorf("it is of version %d, of which this program knows nothing", binary.LittleEndian.Uint32(b[8:]))
	case binary.LittleEndian.Uint64(b[16:]) != sequence:
		return fmt.Errorf("it is segment %d under the name of another", binary.LittleEndian.Uint64(b[16:]))
	}
	return nil
}

// walFrameChecksum also covers where the frame belongs, so that what an earlier use of the same blocks left
// behind never passes for a frame.
func walFrameChecksum(sequence uint64, position int64, payload []byte) uint32 {
	var place [20]byte
	binary.LittleEndian.PutUint64(place[0:], sequence)
	binary.LittleEndian.PutUint64(place[8:], uint64(position))
	binary.LittleEndian.PutUint32(place[16:], uint32(len(payload)))
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, payload)
}

// appendWALFrame appends f as it belongs at a position of a segment.
func appendWALFrame(b []byte, sequence uint64, position int64, f *walFrame) []byte {
	start := len(b)
	b = append(b, make([]byte, walFrameHeaderBytes)...)
	if f.hardState != nil {
		b = append(b, walHardState)
		b = binary.AppendUvarint(b, uint64(len(f.hardState)))
		b = append(b, f.hardState...)
	}
	if f.replaces {
		b = append(b, walReplaced)
	}
	for _, m := range f.marks {
		b = append(b, walMarkItem)
		b = binary.AppendUvarint(b, m.index)
		b = binary.AppendUvarint(b, m.term)
	}
	for _, e := range f.entries {
		b = append(b, walEntry)
		b = binary.AppendUvarint(b, e.Index)
		b = binary.AppendUvarint(b, e.Term)
		b = binary.AppendUvarint(b, uint64(len(e.Data)))
		b = append(b, e.Data...)
	}
	payload := b[start+walFrameHeaderBytes:]
	binary.LittleEndian.PutUint32(b[start:], walFrameMagic)
	binary.LittleEndian.PutUint32(b[start+4:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[start+8:], walFrameChecksum(sequence, position, payload))
	return b
}

// walFrameAt returns the payload of the frame at a position, and false if none checks there.
func walFrameAt(segment []byte, sequence uint64, position int64) ([]byte, bool) {
	b := segment[position:]
	if len(b) < walFrameHeaderBytes || binary.LittleEndian.Uint32(b) != walFrameMagic {
		return nil, false
	}
	length := binary.LittleEndian.Uint32(b[4:])
	if uint64(length) > uint64(len(b)-walFrameHeaderBytes) {
		return nil, false
	}
	payload := b[walFrameHeaderBytes : walFrameHeaderBytes+int(length)]
	return payload, walFrameChecksum(sequence, position, payload) == binary.LittleEndian.Uint32(b[8:])
}

// nextWALFrame returns where the first frame that checks begins, from a position on.
func nextWALFrame(segment []byte, sequence uint64, position int64) (int64, bool) {
	magic := binary.LittleEndian.AppendUint32(nil, walFrameMagic)
	for position < int64(len(segment)) {
		found := bytes.Index(segment[position:], magic)
		if found < 0 {
			return 0, false
		}
		position += int64(found)
		if _, ok := walFrameAt(segment, sequence, position); ok {
			return position, true
		}
		position++
	}
	return 0, false
}

var errWALItem = errors.New("a frame that checks holds what no writer of this version writes")

// parseWALFrame reads a payload. The frame aliases it.
func parseWALFrame(payload []byte) (f walFrame, err error) {
	p := walParser{rest: payload}
	for len(p.rest) > 0 && !p.failed {
		kind := p.rest[0]
		p.rest = p.rest[1:]
		switch kind {
		case walHardState:
			f.hardState = p.bytes()
		case walReplaced:
			f.replaces = true
		case walMarkItem:
			f.marks = append(f.marks, walMark{index: p.uvarint(), term: p.uvarint()})
		case walEntry:
			f.entries = append(f.entries, WALEntry{Index: p.uvarint(), Term: p.uvarint(), Data: p.bytes()})
		default:
			p.failed = true
		}
	}
	if p.failed {
		return walFrame{}, errWALItem
	}
	return f, nil
}

type walParser struct {
	rest   []byte
	failed bool
}

func (p *walParser) uvarint() uint64 {
	v, n := binary.Uvarint(p.rest)
	if n <= 0 {
		p.failed = true
		return 0
	}
	p.rest = p.rest[n:]
	return v
}

func (p *walParser) bytes() []byte {
	n := p.uvarint()
	if p.failed || n > uint64(len(p.rest)) {
		p.failed = true
		return nil
	}
	b := p.rest[:n:n]
	p.rest = p.rest[n:]
	return b
}

func encodeWALSnapshotHeader(s WALSnapshot) []byte {
	b := make([]byte, 0, walSnapshotHeaderBytes)
	b = append(b, walSnapshotMagic...)
	b = binary.LittleEndian.AppendUint32(b, walVersion)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, s.Index)
	b = binary.LittleEndian.AppendUint64(b, s.Term)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s.Data)))
	binary.LittleEndian.PutUint32(b[12:], walSnapshotChecksum(b, s.Data))
	return b
}

// walSnapshotChecksum covers all but itself.
func walSnapshotChecksum(header, data []byte) uint32 {
	sum := crc32.Checksum(header[:12], castagnoli)
	return crc32.Update(crc32.Update(sum, castagnoli, header[16:walSnapshotHeaderBytes]), castagnoli, data)
}

// decodeWALSnapshot reads a snapshot file. The data alias b.
func decodeWALSnapshot(b []byte, m walMark) (WALSnapshot, error) {
	if len(b) < walSnapshotHeaderBytes || string(b[:8]) != walSnapshotMagic {
		return WALSnapshot{}, errors.New("it does not begin as a snapshot does")
	}
	data := b[walSnapshotHeaderBytes:]
	switch {
	case binary.LittleEndian.Uint64(b[32:]) != uint64(len(data)):
		return WALSnapshot{}, fmt.Errorf("it has %d bytes of %d", len(data), binary.LittleEndian.Uint64(b[32:]))
	case walSnapshotChecksum(b, data) != binary.LittleEndian.Uint32(b[12:]):
		return WALSnapshot{}, errors.New("the checksum is wrong")
	case binary.LittleEndian.Uint32(b[8:]) != walVersion:
		return WALSnapshot{}, fmt.Errorf("it is of version %d, of which this program knows nothing", binary.LittleEndian.Uint32(b[8:]))
	}
	s := WALSnapshot{Index: binary.LittleEndian.Uint64(b[16:]), Term: binary.LittleEndian.Uint64(b[24:]), Data: data}
	if s.Index != m.index || s.Term != m.term {
		return WALSnapshot{}, fmt.Errorf("it is the snapshot of index %d and term %d under the name of another", s.Index, s.Term)
	}
	return s, nil
}
