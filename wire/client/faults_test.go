package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// fault is how a broker misbehaves at one produce.
type fault int

const (
	noFault      fault = iota
	dropBefore         // the connection breaks before the append
	dropAfter          // and after it, with the answer lost
	notLeader          // refused
	timedOut           // appended, but said to have timed out
	answerLater        // appended, answered after those that come behind it
	lostSilently       // never answered: the connection breaks much later
)

// inject makes a broker misbehave at each produce as next says.
func inject(n *network, b *nativetest.Broker, next func() fault) {
	b.Intercept(func(p *wire.Produce) bool {
		refuse := func(err error) {
			p.Buffer.Release()
			p.Done.ProduceDone(p.Slot, wire.ProduceReply{Err: err, BaseOffset: -1, LogStartOffset: -1, Leader: wire.NoHint})
		}
		switch next() {
		case dropBefore:
			n.cut()
			refuse(wire.RequestTimedOut)
		case dropAfter:
			reply := b.Append(p)
			n.cut()
			p.Done.ProduceDone(p.Slot, reply)
		case notLeader:
			refuse(wire.NotLeaderOrFollower)
		case timedOut:
			b.Append(p)
			p.Done.ProduceDone(p.Slot, wire.ProduceReply{Err: wire.RequestTimedOut, BaseOffset: -1, LogStartOffset: -1, Leader: wire.NoHint})
		case answerLater:
			reply := b.Append(p)
			time.AfterFunc(3*time.Millisecond, func() { p.Done.ProduceDone(p.Slot, reply) })
		case lostSilently:
			b.Append(p)
			time.AfterFunc(7*time.Millisecond, n.cut)
			time.AfterFunc(9*time.Millisecond, func() { p.Done.ProduceDone(p.Slot, wire.ProduceReply{Leader: wire.NoHint}) })
		default:
			return false
		}
		return true
	})
}

func TestWhateverFailsEachRecordIsWrittenOnceInOrderAndToldOnce(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
				b.CreateTopic("t", 1)
				random := rand.New(rand.NewPCG(seed, 0))
				var mu sync.Mutex
				left := 60
				inject(n, b, func() fault {
					mu.Lock()
					defer mu.Unlock()
					if left == 0 || random.IntN(3) == 0 {
						return noFault
					}
					left--
					return fault(random.IntN(int(lostSilently) + 1))
				})
				c := n.client()
				p := newProducer(t, c, client.WithBatchBytes(300), client.WithLinger(time.Duration(seed%3)*time.Millisecond))
				want := numbered(400)
				o := produce(t, p, want...)
				closeAll(t, p, c)
				if err := o.err(); err != nil {
					t.Fatal(err)
				}
				if got := b.Values("t", 0); !slices.Equal(got, want) {
					t.Errorf("the log has %d records, which are not the %d produced in their order", len(got), len(want))
				}
				if got := o.values(); !slices.Equal(got, want) {
					t.Errorf("%d callbacks, not %d in the order of the records", len(got), len(want))
				}
				for i, r := range o.records {
					if r.Offset != client.Offset(i) && r.Offset != -1 {
						t.Fatalf("record %d was told the offset %d", i, r.Offset)
					}
				}
			})
		})
	}
}

func TestARecordTheBrokerRefusesFailsAloneAndLaterOnesGoOn(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		var produced int
		b.Intercept(func(p *wire.Produce) bool {
			produced++
			if produced != 3 {
				return false
			}
			p.Buffer.Release()
			p.Done.ProduceDone(p.Slot, wire.ProduceReply{Err: wire.MessageTooLarge, BaseOffset: -1, Leader: wire.NoHint})
			return true
		})
		c := n.client()
		p := newProducer(t, c, client.WithBatchBytes(1)) // each record is a batch
		o := produce(t, p, numbered(10)...)
		closeAll(t, p, c)
		if got := o.values(); !slices.Equal(got, numbered(10)) {
			t.Errorf("callbacks for %q", got)
		}
		for i, err := range o.errs {
			if (err != nil) != (i == 2) {
				t.Errorf("record %d: %v", i, err)
			}
		}
		if !errors.Is(o.errs[2], client.ErrMessageTooLarge) {
			t.Errorf("the refused record failed with %v", o.errs[2])
		}
		if got, want := b.Values("t", 0), slices.Delete(numbered(10), 2, 3); !slices.Equal(got, want) {
			t.Errorf("the log has %q", got)
		}
	})
}

func TestABrokerThatForgotTheProducerIsGivenANewEpoch(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		var told bool
		b.Intercept(func(p *wire.Produce) bool {
			if told || len(b.Values("t", 0)) < 5 {
				return false
			}
			told = true
			p.Buffer.Release()
			p.Done.ProduceDone(p.Slot, wire.ProduceReply{Err: wire.UnknownProducerID, BaseOffset: -1, Leader: wire.NoHint})
			return true
		})
		c := n.client()
		p := newProducer(t, c, client.WithBatchBytes(1))
		o := produce(t, p, numbered(20)...)
		closeAll(t, p, c)
		if err := o.err(); err != nil {
			t.Error(err)
		}
		if got := b.Values("t", 0); !slices.Equal(got, numbered(20)) {
			t.Errorf("the log has %q", got)
		}
	})
}

func TestAMovedLeaderIsFollowedByItsHint(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		other := b.Join(2)
		n.add("b2", other)
		c := n.client()
		p := newProducer(t, c, client.WithLinger(0))
		r, err := c.NewConsumer(client.Topics("t"))
		if err != nil {
			t.Fatal(err)
		}
		o := produce(t, p, "before")
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := read(t, r, 1); string(got[0].Value) != "before" {
			t.Errorf("read %q", got[0].Value)
		}
		other.Lead("t", 0)
		began := time.Now()
		o2 := produce(t, p, "after")
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("it took %s to follow the leader", took)
		}
		if got := read(t, r, 1); string(got[0].Value) != "after" {
			t.Errorf("read %q", got[0].Value)
		}
		if err := errors.Join(o.err(), o2.err(), r.Close()); err != nil {
			t.Error(err)
		}
		closeAll(t, p, c)
	})
}

func TestProduceWaitsForRoomUntilItsContextEnds(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		var held []func()
		var mu sync.Mutex
		b.Intercept(func(p *wire.Produce) bool {
			mu.Lock()
			defer mu.Unlock()
			held = append(held, func() { p.Done.ProduceDone(p.Slot, b.Append(p)) })
			return true
		})
		c := n.client()
		p := newProducer(t, c, client.WithMaxBufferedBytes(4000))
		o := new(outcomes)
		value := make([]byte, 1000)
		taken := 0
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := p.Produce(ctx, client.Record{Topic: "t", Value: value}, o.done)
			cancel()
			if err != nil {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				break
			}
			if taken++; taken > 4 {
				t.Fatal("more records were taken than there is room for")
			}
		}
		if len(o.values()) != 0 {
			t.Error("a callback came before the acknowledgement")
		}
		waiting := make(chan error, 1)
		go func() { waiting <- p.Produce(t.Context(), client.Record{Topic: "t", Value: value}, o.done) }()
		synctest.Wait()
		select {
		case err := <-waiting:
			t.Fatalf("Produce returned %v while there was no room", err)
		default:
		}
		b.Intercept(nil)
		mu.Lock()
		for _, release := range held {
			release()
		}
		mu.Unlock()
		if err := <-waiting; err != nil {
			t.Error(err)
		}
		closeAll(t, p, c)
		if got := len(b.Values("t", 0)); got != taken+1 || len(o.values()) != taken+1 {
			t.Errorf("%d records and %d callbacks of %d", got, len(o.values()), taken+1)
		}
	})
}

func TestWhatCannotBeDeliveredInTimeIsGivenUp(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		c := n.client()
		p := newProducer(t, c, client.WithDeliveryTimeout(10*time.Second))
		o := produce(t, p, "delivered")
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.setDown(true)
		began := time.Now()
		lost := produce(t, p, "lost")
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 10*time.Second || took > 12*time.Second {
			t.Errorf("it was given up after %s", took)
		}
		if err := lost.err(); !errors.Is(err, client.ErrNotDelivered) {
			t.Errorf("it was given up with %v", err)
		}
		n.setDown(false)
		again := produce(t, p, "delivered again")
		closeAll(t, p, c)
		if err := errors.Join(o.err(), again.err()); err != nil {
			t.Error(err)
		}
		if got := b.Values("t", 0); !slices.Equal(got, []string{"delivered", "delivered again"}) {
			t.Errorf("the log has %q", got)
		}
	})
}

func TestAClosedClientFailsWhatIsUnacknowledged(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		b.Intercept(func(*wire.Produce) bool { return true }) // never answered
		c := n.client()
		p := newProducer(t, c, client.WithBatchBytes(1))
		r, err := c.NewConsumer(client.Topics("t"))
		if err != nil {
			t.Fatal(err)
		}
		o := produce(t, p, numbered(20)...)
		synctest.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if got := o.values(); !slices.Equal(got, numbered(20)) {
			t.Errorf("callbacks for %q", got)
		}
		for _, err := range o.errs {
			if !errors.Is(err, client.ErrClosed) {
				t.Errorf("a record failed with %v", err)
			}
		}
		if err := p.Produce(t.Context(), client.Record{Topic: "t"}, nil); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Produce = %v", err)
		}
		if _, err := r.Poll(t.Context()); !errors.Is(err, client.ErrClosed) {
			t.Errorf("Poll = %v", err)
		}
	})
}

func TestASilentBrokerIsGivenUpAndItsRequestsGoToANewConnection(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		c := n.client()
		p := newProducer(t, c)
		o := produce(t, p, "one")
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.mute()
		began := time.Now()
		o2 := produce(t, p, "two")
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 2*time.Second || took > 4*time.Second {
			t.Errorf("the silent connection was given up after %s", took)
		}
		closeAll(t, p, c)
		if got := b.Values("t", 0); o.err() != nil || o2.err() != nil || !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("the log has %q, %v, %v", got, o.err(), o2.err())
		}
	})
}

// A broker with as many unanswered requests as it takes stops reading, and so reads no pings.
func TestABusyBrokerIsNotTakenForADeadOne(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		cfg := native.DefaultConfig()
		cfg.MaxInFlight = 12
		n.addWith("b1", b, cfg)
		b.CreateTopic("t", 50)
		b.Intercept(func(p *wire.Produce) bool {
			time.AfterFunc(20*time.Second, func() { p.Done.ProduceDone(p.Slot, b.Append(p)) })
			return true
		})
		c := n.client()
		p := newProducer(t, c, client.WithPartitioner(client.RoundRobin()), client.WithDeliveryTimeout(time.Hour))
		o := produce(t, p, numbered(50)...)
		closeAll(t, p, c)
		if err := o.err(); err != nil || len(o.records) != 50 {
			t.Errorf("%d callbacks, %v", len(o.records), err)
		}
		if n.dials != 1 {
			t.Errorf("there were %d connections", n.dials)
		}
	})
}

// A partition that has too much under way holds up the reading of the connection, and so of pings.
func TestABrokerThatDoesNotReadForAWhileIsNotTakenForADeadOne(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		b.Intercept(func(*wire.Produce) bool {
			time.Sleep(20 * time.Second)
			return false
		})
		c := n.client()
		p := newProducer(t, c)
		o := produce(t, p, "one", "two")
		closeAll(t, p, c)
		if err := o.err(); err != nil || len(o.records) != 2 {
			t.Errorf("%d callbacks, %v", len(o.records), err)
		}
		if n.dials != 1 {
			t.Errorf("there were %d connections", n.dials)
		}
	})
}

func TestAckslessRecordsAreToldWhenTheyAreSent(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		c := n.client()
		p := newProducer(t, c, client.WithAcks(client.AcksNone))
		o := produce(t, p, "one", "two")
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := b.Values("t", 0); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("the log has %q", got)
		}
		if o.err() != nil || o.records[1].Offset != -1 {
			t.Errorf("told %+v, %v", o.records, o.errs)
		}
		closeAll(t, p, c)
	})
}

func TestAConsumerReadsOnOverBrokenConnections(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 2)
		c := n.client()
		want := values("v", 300)
		fill(t, c, "t", 0, want...)
		fill(t, c, "t", 1, want...)
		var fetches atomic.Int32
		b.FailFetch(func(*wire.Fetch) error {
			switch fetches.Add(1) % 4 {
			case 1:
				n.cut()
			case 2:
				return wire.NotLeaderOrFollower
			case 3:
				return wire.KafkaStorageError
			}
			return nil
		})
		r, err := c.NewConsumer(client.Topics("t"), client.WithConsumerConfig(smallFetches()))
		if err != nil {
			t.Fatal(err)
		}
		var got []client.Record
		for len(got) < 600 {
			records, err := r.Poll(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, records...)
		}
		for p := range int32(2) {
			if !slices.Equal(valuesOf(got, p), want) {
				t.Errorf("partition %d was read as %q", p, valuesOf(got, p))
			}
		}
		if err := errors.Join(r.Close(), c.Close()); err != nil {
			t.Error(err)
		}
	})
}

func smallFetches() client.ConsumerConfig {
	cfg := client.DefaultConsumerConfig()
	cfg.Topics = []string{"t"}
	cfg.MaxPartitionBytes, cfg.MaxBufferedBytes, cfg.MaxPollRecords = 3000, 4000, 50
	return cfg
}
