package record

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// segment returns a file of batches with the given codec and numbers of records, from offset 0 on,
// and the position of each.
func segment(counts ...int) (file []byte, positions []int64) {
	next := wire.Offset(0)
	for _, n := range counts {
		batch := produced(Codec(n%5), n)
		SetBaseOffset(batch, next)
		next += wire.Offset(n)
		positions = append(positions, int64(len(file)))
		file = append(file, batch...)
	}
	return file, positions
}

// scanned returns the positions that Scan finds.
func scanned(file []byte, verify bool) (positions []int64, end int64, err error) {
	end, err = Scan(bytes.NewReader(file), 0, int64(len(file)), verify, func(at int64, _ Header) error {
		positions = append(positions, at)
		return nil
	})
	return positions, end, err
}

func TestScanFindsEveryBatch(t *testing.T) {
	// The largest batch is larger than the window.
	file, want := segment(1, 2, 3, 10, 1000, 30_000, 4, 5)
	for _, verify := range []bool{false, true} {
		got, end, err := scanned(file, verify)
		if err != nil || end != int64(len(file)) || len(got) != len(want) {
			t.Fatalf("verify %t: %d batches up to %d of %d, %v", verify, len(got), end, len(file), err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("verify %t: batch %d at %d, want %d", verify, i, got[i], want[i])
			}
		}
	}
}

func TestScanEndsAtATornTail(t *testing.T) {
	file, positions := segment(3, 2, 400)
	last := positions[2]
	for cut := last; cut < int64(len(file)); cut += 1 + (cut-last)/50 {
		for _, verify := range []bool{false, true} {
			got, end, err := scanned(file[:cut], verify)
			if cut == last {
				if err != nil || end != last {
					t.Errorf("cut between batches: %d, %v", end, err)
				}
				continue
			}
			var bad *ScanError
			if !errors.As(err, &bad) || !errors.Is(err, ErrTruncated) || bad.Position != last || end != last || len(got) != 2 {
				t.Fatalf("cut at %d: end %d, %v", cut, end, err)
			}
		}
	}
}

func TestScanTellsWhyABatchIsBad(t *testing.T) {
	for _, c := range []struct {
		name   string
		at     int
		bytes  []byte
		verify bool
		want   error
	}{
		{"a record's bit", HeaderBytes + 3, []byte{0xff}, true, ErrCRC},
		{"a header's bit", ProducerIDAt, []byte{0xff}, true, ErrCRC},
		{"magic", MagicAt, []byte{1}, false, ErrMagic},
		{"length 0", LengthAt, []byte{0, 0, 0, 0}, false, ErrLength},
		{"length -1", LengthAt, []byte{0xff, 0xff, 0xff, 0xff}, false, ErrLength},
		{"length of 2 GiB", LengthAt, []byte{0x7f, 0xff, 0xff, 0xff}, true, ErrTruncated},
		{"length of 2 GiB, headers only", LengthAt, []byte{0x7f, 0xff, 0xff, 0xff}, false, ErrTruncated},
		{"count", CountAt, []byte{0x7f}, false, ErrHeader},
		{"base offset", BaseOffsetAt, []byte{0x80}, false, ErrHeader},
		{"zeros", 0, make([]byte, 100), false, ErrMagic},
	} {
		file, positions := segment(3, 20, 4)
		copy(file[positions[1]+int64(c.at):], c.bytes)
		got, end, err := scanned(file, c.verify)
		if !errors.Is(err, c.want) || end != positions[1] || len(got) != 1 {
			t.Errorf("%s: %d batches up to %d, %v", c.name, len(got), end, err)
		}
	}
}

// faulty fails at a position, and measures how much is asked of it.
type faulty struct {
	io.ReaderAt
	failAt  int64
	largest int
	reads   int
}

var errDisk = errors.New("disk")

func (f *faulty) ReadAt(p []byte, at int64) (int, error) {
	f.reads++
	f.largest = max(f.largest, len(p))
	if f.failAt > 0 && at+int64(len(p)) > f.failAt {
		n, _ := f.ReaderAt.ReadAt(p[:max(0, f.failAt-at)], at)
		return n, errDisk
	}
	return f.ReaderAt.ReadAt(p, at)
}

func TestScanReadsLittleAndPassesFaultsOn(t *testing.T) {
	file, positions := segment(100, 50_000, 100)
	for _, verify := range []bool{false, true} {
		f := &faulty{ReaderAt: bytes.NewReader(file)}
		if _, err := Scan(f, 0, int64(len(file)), verify, func(int64, Header) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if f.largest > scanWindow || f.reads > len(file)/scanWindow+3 || !verify && f.reads > 3 {
			t.Errorf("verify %t: %d reads of up to %d bytes", verify, f.reads, f.largest)
		}
		f = &faulty{ReaderAt: bytes.NewReader(file), failAt: positions[2] + 5}
		end, err := Scan(f, 0, int64(len(file)), verify, func(int64, Header) error { return nil })
		var bad *ScanError
		if !errors.Is(err, errDisk) || errors.As(err, &bad) || end != positions[2] {
			t.Errorf("verify %t: end %d, %v", verify, end, err)
		}
	}
	_, err := Scan(bytes.NewReader(file), 0, int64(len(file))+10, true, func(int64, Header) error { return nil })
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file shorter than said: %v", err)
	}
}

func TestScanStopsWhereItsFunctionSays(t *testing.T) {
	file, positions := segment(1, 2, 3)
	stop := errors.New("stop")
	end, err := Scan(bytes.NewReader(file), positions[1], int64(len(file)), true, func(_ int64, h Header) error {
		if h.BaseOffset == 3 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || end != positions[2] {
		t.Errorf("end %d, %v", end, err)
	}
	if end, err := Scan(bytes.NewReader(file), 7, 7, true, nil); err != nil || end != 7 {
		t.Errorf("an empty stretch: %d, %v", end, err)
	}
}

func TestFindTellsATornTailFromDamage(t *testing.T) {
	file, positions := segment(3, 20, 4)
	file[positions[1]+LengthAt] = 0x7f // now nothing tells where the third batch begins
	_, end, err := scanned(file, true)
	if !errors.Is(err, ErrTruncated) || end != positions[1] {
		t.Fatalf("%d, %v", end, err)
	}
	later := func(h Header) bool { return h.BaseOffset >= 3 }
	at, h, found, err := Find(bytes.NewReader(file), end, int64(len(file)), later)
	if err != nil || !found || at != positions[2] || h.Count != 4 {
		t.Errorf("at %d, %+v, %t, %v", at, h, found, err)
	}
	file[len(file)-1] ^= 1
	if _, _, found, err := Find(bytes.NewReader(file), end, int64(len(file)), later); found || err != nil {
		t.Errorf("damaged: %t, %v", found, err)
	}
	SetBaseOffset(file, -1) // no CRC notices, but no log has such an offset
	if _, _, found, err := Find(bytes.NewReader(file), 0, positions[1], func(Header) bool { return true }); found || err != nil {
		t.Errorf("negative offset: %t, %v", found, err)
	}
	f := &faulty{ReaderAt: bytes.NewReader(file), failAt: positions[2]}
	if _, _, _, err := Find(f, end, int64(len(file)), later); !errors.Is(err, errDisk) {
		t.Errorf("%v", err)
	}
}
