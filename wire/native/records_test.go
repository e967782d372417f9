package native_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/native"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// disk is a backend whose fetches lend stretches of a real file.
type disk struct {
	*nativetest.Broker

	file    *os.File
	lent    atomic.Int32
	stretch map[int32]wire.Records // by partition
}

type lentFile struct {
	*os.File

	back *atomic.Int32
}

func (f lentFile) Descriptor() (uintptr, bool) { return f.Fd(), true }
func (f lentFile) Release()                    { f.back.Add(-1) }

func (d *disk) Fetch(f *wire.Fetch) wire.Fetched {
	r := d.stretch[f.Partition]
	r.File = lentFile{d.file, &d.lent}
	d.lent.Add(1)
	return wire.Fetched{Records: r, Leader: wire.NoHint}
}

func newDisk(t *testing.T, size int) (*disk, []byte) {
	t.Helper()
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i * 31 >> 3)
	}
	path := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return &disk{Broker: nativetest.New(), file: file}, content
}

// overTCP serves a backend on a TCP port and connects to it.
func overTCP(t testing.TB, b native.Backend) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := native.New(native.DefaultConfig(), b, slog.New(slog.DiscardHandler), native.Metrics{}, time.Now)
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, nc)
}

func TestRecordsComeFromTheFileWhateverTheirLength(t *testing.T) {
	const large = 3 << 20
	for _, over := range []string{"tcp", "pipe"} {
		t.Run(over, func(t *testing.T) {
			d, content := newDisk(t, large+1000)
			d.stretch = map[int32]wire.Records{
				0: {Position: 7, Length: 100},
				1: {Position: 500, Length: large}, // sendfile, where there is one
				2: {Position: 0, Length: 0},
				3: {Position: 9, Length: 64<<10 - 1},
				4: {Position: 1, Length: 200 << 10},
				5: {Position: 0, Length: 1},
			}
			var p *peer
			if over == "tcp" {
				p = overTCP(t, d)
			} else {
				near, far := net.Pipe()
				s := native.New(native.DefaultConfig(), d, slog.New(slog.DiscardHandler), native.Metrics{}, time.Now)
				var serving sync.WaitGroup
				serving.Go(func() { s.ServeConn(far) })
				t.Cleanup(func() { _ = near.Close(); serving.Wait() })
				p = newPeer(t, near)
			}
			p.greet()
			req := &wire.FetchRequest{MaxBytes: 1 << 30}
			var want []byte
			for i := range int32(len(d.stretch)) {
				req.Partitions = append(req.Partitions, wire.Fetch{Partition: i, MaxBytes: 1 << 30})
				r := d.stretch[i]
				want = append(want, content[r.Position:r.Position+int64(r.Length)]...)
			}
			for range 3 {
				var reply wire.FetchReply
				if f := p.ask(wire.KindFetch, req, &reply); !bytes.Equal(f.Payload, want) {
					t.Errorf("%d bytes of records came, not the %d that the file has there", len(f.Payload), len(want))
				}
			}
			p.alive()
			if n := d.lent.Load(); n != 0 {
				t.Errorf("%d stretches were not given back", n)
			}
		})
	}
}

func TestAFileThatEndsTooEarlyClosesTheConnection(t *testing.T) {
	for _, length := range []int{1000, 1 << 20} {
		t.Run(fmt.Sprint(length), func(t *testing.T) {
			d, _ := newDisk(t, length-1)
			d.stretch = map[int32]wire.Records{0: {Length: length}}
			p := overTCP(t, d).greet()
			p.send(wire.KindFetch, &wire.FetchRequest{MaxBytes: 1 << 30, Partitions: []wire.Fetch{{MaxBytes: 1 << 30}}})
			if _, err := p.frames.Next(); err == nil {
				t.Error("a whole answer came")
			}
			if n := d.lent.Load(); n != 0 {
				t.Errorf("%d stretches were not given back", n)
			}
		})
	}
}
