package storage_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// damage is something that happens to a log of some segments that is all durable.
type damage struct {
	name string
	// do returns where the log ends that is left.
	do func(t *testing.T, fsys storage.FS, segments []string) wire.Offset
}

func damages() []damage {
	remove := func(t *testing.T, fsys storage.FS, names ...string) {
		t.Helper()
		for _, name := range names {
			if err := fsys.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		if err := fsys.SyncDir("data/orders-0"); err != nil {
			t.Fatal(err)
		}
	}
	return []damage{
		{"a header makes no sense", func(t *testing.T, fsys storage.FS, segments []string) wire.Offset {
			name := segments[len(segments)-1]
			var last record.Header
			rest := readFile(t, fsys, name)
			size := int64(len(rest))
			for len(rest) > 0 {
				h, _, after, err := record.Next(rest)
				if err != nil {
					t.Fatal(err)
				}
				last, rest = h, after
			}
			edit(t, fsys, name, func(f storage.File) error {
				_, err := f.WriteAt([]byte{0xff}, size-int64(last.Size())+record.MagicAt)
				return err
			})
			return last.BaseOffset
		}},
		{"the last segment is empty", func(t *testing.T, fsys storage.FS, segments []string) wire.Offset {
			name := segments[len(segments)-1]
			edit(t, fsys, name, func(f storage.File) error { return f.Truncate(0) })
			return baseOfFile(t, name)
		}},
		{"the last segment is missing", func(t *testing.T, fsys storage.FS, segments []string) wire.Offset {
			name := segments[len(segments)-1]
			remove(t, fsys, name)
			return baseOfFile(t, name)
		}},
		{"all segments are missing", func(t *testing.T, fsys storage.FS, segments []string) wire.Offset {
			remove(t, fsys, segments...)
			return 0
		}},
	}
}

// edit changes a file, durably.
func edit(t *testing.T, fsys storage.FS, name string, fn func(f storage.File) error) {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(fn(f), f.Sync(), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// durableLog makes a log, closes it and returns its segments' files.
func durableLog(t *testing.T, fsys storage.FS, h *history) (segments []string) {
	t.Helper()
	s, err := openSession(fsys, "boot-1", h)
	if err == nil {
		err = errors.Join(s.appendMany(14, 1), s.appendMany(9, 2), s.close())
	}
	if err != nil {
		t.Fatal(err)
	}
	entries, err := fsys.ReadDir("data/orders-0")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".log") {
			segments = append(segments, "data/orders-0/"+e.Name())
		}
	}
	if len(segments) < 3 {
		t.Fatalf("only %d segments", len(segments))
	}
	return segments
}

func baseOfFile(t *testing.T, name string) (base wire.Offset) {
	t.Helper()
	if _, err := fmt.Sscanf(strings.TrimPrefix(name, "data/orders-0/"), "%020d.log", &base); err != nil {
		t.Fatal(err)
	}
	return base
}

// salvaged opens the log in the mode that forgives, and expects it to end at end.
func salvaged(t *testing.T, fsys storage.FS, h *history, end wire.Offset) *session {
	t.Helper()
	h = h.clone()
	h.flushed, h.salvage = 0, true
	s, err := openSession(fsys, "boot-2", h)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for _, e := range h.batches {
		if e.base < end {
			want = append(want, e.bytes...)
		}
	}
	if s.log.EndOffset() != end || s.log.FlushedOffset() > end || !bytes.Equal(readBack(t, s.log), want) {
		t.Fatalf("the log ends at %d, want %d, or holds other bytes", s.log.EndOffset(), end)
	}
	if epochs := s.log.Epochs(); slices.ContainsFunc(epochs, func(e storage.EpochStart) bool { return e.StartOffset >= end }) {
		t.Fatalf("epochs are %v, the log ends at %d", epochs, end)
	}
	return s
}

func TestALogThatLostWhatWasDurableIsOpenedOnlyWhereOthersHaveIt(t *testing.T) {
	for _, damage := range damages() {
		t.Run(damage.name, func(t *testing.T) {
			fsys, h := crashfs.New(), &history{}
			segments := durableLog(t, fsys, h)
			end := damage.do(t, fsys, segments)
			var corrupt *storage.CorruptionError
			if _, err := openSession(fsys, "boot-2", h.clone()); !errors.As(err, &corrupt) {
				t.Fatalf("opened with %v", err)
			}
			s := salvaged(t, fsys, h, end)
			if !s.log.LostDurable() {
				t.Fatal("nothing is said of the loss")
			}
			if err := errors.Join(s.append(3), s.close()); err != nil {
				t.Fatal(err)
			}
			// It is remembered until it is repaired, whether another loss would be forgiven or not.
			s, err := openSession(fsys, "boot-2", &history{})
			if err != nil || !s.log.LostDurable() {
				t.Fatalf("opened again: %v", err)
			}
			if err := errors.Join(s.log.LossRepaired(), s.log.LossRepaired(), s.close()); err != nil {
				t.Fatal(err)
			}
			s, err = openSession(fsys.Crash(rand.New(rand.NewPCG(1, 1))), "boot-3", &history{})
			if err != nil || s.log.LostDurable() {
				t.Fatalf("opened after the repair: %v", err)
			}
			if err := s.close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestWhatLiesBehindDamageIsSetAside(t *testing.T) {
	fsys, h := crashfs.New(), &history{}
	segments := durableLog(t, fsys, h)
	n := len(segments)
	// Without a checkpoint all is read, so that damage in the middle is found at opening.
	for _, name := range []string{"data/recovery-point-offset-checkpoint", "data/orders-0/leader-epoch-checkpoint"} {
		if err := fsys.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	edit(t, fsys, segments[n-2], func(f storage.File) error { _, err := f.WriteAt([]byte{0xff, 0xff}, 100); return err })
	whole := map[string][]byte{}
	for _, name := range segments[n-2:] {
		whole[name+".0.damaged"] = readFile(t, fsys, name)
	}
	h.salvage = true
	s, err := openSession(fsys, "boot-1", h.clone())
	if err != nil {
		t.Fatal(err)
	}
	if end := baseOfFile(t, segments[n-2]); s.log.EndOffset() != end || !s.log.LostDurable() {
		t.Fatalf("the log ends at %d, want %d; lost %t", s.log.EndOffset(), end, s.log.LostDurable())
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range whole {
		if got := readFile(t, fsys, name); !bytes.Equal(got, want) {
			t.Errorf("%s has %d bytes, want the %d that there were", name, len(got), len(want))
		}
	}
}

func readFile(t *testing.T, fsys storage.FS, name string) []byte {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	content := make([]byte, size)
	if err == nil && size > 0 {
		_, err = f.ReadAt(content, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestALossIsToldWhereverThePowerWasCutWhileItWasFound(t *testing.T) {
	for _, damage := range damages() {
		for n := int64(1); ; n++ {
			fsys, h := crashfs.New(), &history{}
			segments := durableLog(t, fsys, h)
			end := damage.do(t, fsys, segments)
			before := fsys.Steps()
			fsys.AfterStep(before+n, nil)
			forgiving := h.clone()
			forgiving.salvage = true
			if s, err := openSession(fsys, "boot-1", forgiving); err == nil {
				_ = s.dir.Close()
			}
			for seed := range uint64(4) {
				found := fsys.Crash(rand.New(rand.NewPCG(uint64(n), seed)))
				t.Run(fmt.Sprintf("%s/step=%d/seed=%d", damage.name, n, seed), func(t *testing.T) {
					s := salvaged(t, found, h, end)
					if !s.log.LostDurable() {
						t.Error("nothing is said of the loss")
					}
					if err := errors.Join(s.append(3), s.sync(), s.close()); err != nil {
						t.Fatal(err)
					}
				})
			}
			if fsys.Steps() < before+n {
				break // the opening was over by then
			}
		}
	}
}
