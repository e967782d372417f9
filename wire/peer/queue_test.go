package peer

import (
	"errors"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

func appendOf(bytes int) (wire.Envelope, *wire.Buffer) {
	b := wire.NewBuffer(bytes)
	return wire.Envelope{To: "replica", Message: &wire.Append{Batches: b.Bytes, Buffer: b.Retain()}}, b
}

func TestAQueueIsBoundedInBytesAndTellsOfRoomBelowHalf(t *testing.T) {
	q := newQueue(10_000, 1<<20)
	sizes := 0
	for {
		e, _ := appendOf(1000)
		err := q.put(e)
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil || q.queued() > 10_000 {
			t.Fatalf("put = %v with %d bytes in the queue", err, q.queued())
		}
		sizes++
	}
	if sizes < 8 || sizes > 9 {
		t.Errorf("%d messages of a kilobyte are in 10,000 bytes", sizes)
	}
	b := q.take()
	if q.queued() == 0 || len(b.frames) != sizes {
		t.Errorf("taken are %d of %d frames, %d bytes are left to write", len(b.frames), sizes, q.queued())
	}
	told := 0
	for _, f := range b.frames {
		if q.written(f.size) {
			if told++; q.queued() >= 5000 {
				t.Errorf("with %d bytes it told of room", q.queued())
			}
		}
	}
	if told != 1 || q.queued() != 0 {
		t.Errorf("it told %d times, and has %d bytes", told, q.queued())
	}
}

func TestSmallMessagesAreBoundedToo(t *testing.T) {
	q := newQueue(10_000, 1<<20)
	for i := 0; ; i++ {
		err := q.put(wire.Envelope{Message: &wire.Watch{}})
		if errors.Is(err, ErrFull) {
			return
		}
		if err != nil || i > 10_000/frameOverhead {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}

func TestAMessageLargerThanTheQueueGoesAlone(t *testing.T) {
	q := newQueue(1000, 1<<20)
	large, _ := appendOf(5000)
	if err := q.put(large); err != nil {
		t.Errorf("into an empty queue: %v", err)
	}
	if err := q.put(wire.Envelope{Message: &wire.Watch{}}); !errors.Is(err, ErrFull) {
		t.Errorf("behind it: %v", err)
	}
}

func TestAMessageThatNoReaderWouldTakeIsRefused(t *testing.T) {
	q := newQueue(1<<20, 10_000)
	for _, e := range []wire.Envelope{
		{Message: &wire.Append{Batches: make([]byte, 10_001)}},
		{Message: &wire.Append{Batches: make([]byte, 9_999)}}, // with its head
		{Message: &wire.Forward{Body: make([]byte, 10_001)}},
	} {
		if err := q.put(e); !errors.Is(err, ErrTooLarge) || q.queued() != 0 {
			t.Errorf("put = %v, %d bytes are queued", err, q.queued())
		}
	}
	if err := q.put(wire.Envelope{To: "a", Message: &wire.Watch{}}); err != nil {
		t.Fatal(err)
	}
	if b := q.take(); len(b.frames) != 1 || b.frames[0].headEnd != len(b.heads) {
		t.Errorf("what was refused has left %d bytes of heads", len(b.heads))
	}
}

func TestAClosedQueueGivesBackWhatItHas(t *testing.T) {
	q := newQueue(1<<20, 1<<20)
	var buffers []*wire.Buffer
	for range 3 {
		e, b := appendOf(100)
		buffers = append(buffers, b)
		if err := q.put(e); err != nil {
			t.Fatal(err)
		}
	}
	q.close()
	late, b := appendOf(100)
	if err := q.put(late); !errors.Is(err, ErrDown) {
		t.Errorf("put = %v", err)
	}
	b.Release() // it is the sender's
	q.drop()
	solelyMine(t, append(buffers, b))
}
