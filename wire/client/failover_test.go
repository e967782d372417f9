package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// stream has a record written every 10 ms, whether or not those before it have been acknowledged,
// and reads them back.
type stream struct {
	t        *testing.T
	client   *client.Client
	producer *client.Producer
	consumer *client.Consumer
	reading  sync.WaitGroup
	stop     context.CancelFunc
	sent     []string

	mu   sync.Mutex
	acks []time.Time
	got  []string
	gets []time.Time
}

// startStream runs for a moment, so that every connection is there.
func startStream(t *testing.T, n *network, addrs ...string) *stream {
	t.Helper()
	c, err := client.NewWith(client.Config{Addrs: addrs, Dial: n.dial})
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{t: t, client: c, producer: newProducer(t, c, client.WithLinger(0))}
	if s.consumer, err = c.NewConsumer(client.Topics("t")); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	s.stop = stop
	s.reading.Go(func() { s.readUntil(ctx) })
	s.run(100 * time.Millisecond)
	return s
}

func (s *stream) readUntil(ctx context.Context) {
	for {
		records, err := s.consumer.Poll(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.t.Error(err)
			return
		}
		s.mu.Lock()
		for _, r := range records {
			s.got = append(s.got, string(r.Value))
		}
		s.gets = append(s.gets, time.Now())
		s.mu.Unlock()
	}
}

// run produces for a while.
func (s *stream) run(d time.Duration) {
	s.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		value := fmt.Sprint("record ", len(s.sent))
		s.sent = append(s.sent, value)
		if err := s.producer.Produce(s.t.Context(), client.Record{Topic: "t", Value: []byte(value)}, s.acked); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *stream) acked(_ client.Record, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.t.Error(err)
	}
	s.acks = append(s.acks, time.Now())
}

// end checks that every record is in the log and was read, once and in order, and returns the
// longest time without an acknowledgement and without a read.
func (s *stream) end(b *nativetest.Broker) (produce, consume time.Duration) {
	s.t.Helper()
	if err := s.producer.Flush(s.t.Context()); err != nil {
		s.t.Error(err)
	}
	synctest.Wait()
	s.stop()
	s.reading.Wait()
	if err := errors.Join(s.consumer.Close(), s.producer.Close(), s.client.Close()); err != nil {
		s.t.Error(err)
	}
	if log := b.Values("t", 0); !slices.Equal(log, s.sent) || !slices.Equal(s.got, s.sent) {
		s.t.Errorf("of %d records the log has %d and %d were read, or in another order", len(s.sent), len(log), len(s.got))
	}
	return longest(s.acks), longest(s.gets)
}

func longest(times []time.Time) (gap time.Duration) {
	for i := 1; i < len(times); i++ {
		gap = max(gap, times[i].Sub(times[i-1]))
	}
	return gap
}

// threeBrokers are b1 to b3; b1 leads the one partition of t.
func threeBrokers(t *testing.T, f func(t *testing.T, n *network, b1, b2, b3 *nativetest.Broker)) {
	t.Helper()
	inNetwork(t, func(t *testing.T, n *network, b1 *nativetest.Broker) {
		b2, b3 := b1.Join(2), b1.Join(3)
		n.add("b2", b2)
		n.add("b3", b3)
		b1.CreateTopic("t", 1)
		f(t, n, b1, b2, b3)
	})
}

// The brokers' share of a failover is what passes until another one leads; the rest is the client's.
const (
	clientsShare = 150 * time.Millisecond
	session      = 3 * time.Second // of a broker that is silent at the controller
)

func TestAKilledLeaderCostsLittleMoreThanItTakesToElectAnother(t *testing.T) {
	for _, election := range []time.Duration{0, 70 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second} {
		t.Run(election.String(), func(t *testing.T) {
			threeBrokers(t, func(t *testing.T, n *network, _, b2, b3 *nativetest.Broker) {
				s := startStream(t, n, "b1:9092")
				n.kill("b1")
				s.run(election)
				b2.Lead("t", 0)
				s.run(time.Second)
				n.kill("b2")
				s.run(election)
				b3.Lead("t", 0)
				s.run(time.Second)
				produce, consume := s.end(b3)
				if limit := election + clientsShare; produce > limit || consume > limit {
					t.Errorf("nothing was acknowledged for %s, and nothing read for %s", produce, consume)
				}
			})
		})
	}
}

func TestAStoppedLeaderIsLeftWithinFourSeconds(t *testing.T) {
	threeBrokers(t, func(t *testing.T, n *network, _, b2, _ *nativetest.Broker) {
		s := startStream(t, n, "b1:9092")
		n.hang("b1")
		s.run(session)
		b2.Lead("t", 0)
		s.run(3 * time.Second)
		if produce, consume := s.end(b2); produce > 4*time.Second || consume > 4*time.Second {
			t.Errorf("nothing was acknowledged for %s, and nothing read for %s", produce, consume)
		}
	})
}

func TestAClientThatBeginsWithAStoppedBrokerGoesToAnother(t *testing.T) {
	threeBrokers(t, func(t *testing.T, n *network, _, b2, _ *nativetest.Broker) {
		b2.Lead("t", 0)
		n.hang("b1")
		began := time.Now()
		s := startStream(t, n, "b1:9092", "b3:9092")
		s.end(b2)
		if took := s.acks[0].Sub(began); took > 2*clientsShare {
			t.Errorf("the first record took %s", took)
		}
	})
}

// A leader that the others have lost goes on answering pings, and says that it leads.
func TestALeaderThatTheOthersHaveLostIsLeftWithinFourSeconds(t *testing.T) {
	threeBrokers(t, func(t *testing.T, n *network, b1, b2, _ *nativetest.Broker) {
		s := startStream(t, n, "b1:9092")
		b1.Freeze()
		var held []*wire.Produce
		var mu sync.Mutex
		b1.Intercept(func(p *wire.Produce) bool {
			mu.Lock()
			defer mu.Unlock()
			held = append(held, p)
			return true
		})
		s.run(session)
		b2.Lead("t", 0)
		s.run(2 * time.Second)
		mu.Lock()
		for _, p := range held { // at last it hears of it
			p.Done.ProduceDone(p.Slot, b1.Append(p))
		}
		mu.Unlock()
		if len(held) == 0 {
			t.Error("the leader was never asked")
		}
		s.run(time.Second)
		if produce, _ := s.end(b2); produce > 4*time.Second {
			t.Errorf("nothing was acknowledged for %s", produce)
		}
	})
}

// A cut between the client and one broker, of which the others know nothing.
func TestALeaderThatOnlyTheClientCannotReachIsAskedByWayOfAnother(t *testing.T) {
	threeBrokers(t, func(t *testing.T, n *network, b1, b2, _ *nativetest.Broker) {
		n.addWith("b2", nativetest.Forwarding{Broker: b2}, native.DefaultConfig())
		s := startStream(t, n, "b1:9092", "b2:9092")
		if _, _, err := s.client.ListOffset(t.Context(), "t", 0, client.Latest); err != nil {
			t.Error(err)
		}
		n.kill("b3")
		n.kill("b1")
		s.run(3 * time.Second)
		end, _, err := s.client.ListOffset(t.Context(), "t", 0, client.Earliest)
		if err != nil || end != 0 {
			t.Errorf("the log begins at %d, %v", end, err)
		}
		n.restart("b1")
		s.run(time.Second)
		if produce, consume := s.end(b1); produce > 2*time.Second || consume > 3*time.Second {
			t.Errorf("nothing was acknowledged for %s, and nothing read for %s", produce, consume)
		}
	})
}

func TestAStaleBrokerDoesNotTakeALeaderBack(t *testing.T) {
	threeBrokers(t, func(t *testing.T, n *network, _, b2, b3 *nativetest.Broker) {
		b3.Freeze()
		s := startStream(t, n, "b1:9092")
		b2.Lead("t", 0)
		n.kill("b1")
		s.run(5 * time.Second) // each broker is asked for metadata in its turn
		if produce, consume := s.end(b2); produce > clientsShare || consume > clientsShare {
			t.Errorf("nothing was acknowledged for %s, and nothing read for %s", produce, consume)
		}
	})
}

func TestAllBrokersDeadAndBackAreFoundAgain(t *testing.T) {
	threeBrokers(t, func(t *testing.T, n *network, _, b2, _ *nativetest.Broker) {
		s := startStream(t, n, "b1:9092")
		for _, host := range []string{"b1", "b2", "b3"} {
			n.kill(host)
		}
		s.run(10 * time.Second)
		b2.Lead("t", 0)
		n.restart("b2")
		s.run(3 * time.Second)
		if produce, consume := s.end(b2); produce > 12*time.Second || consume > 12*time.Second {
			t.Errorf("nothing was acknowledged for %s, and nothing read for %s", produce, consume)
		}
	})
}
