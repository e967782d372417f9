package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// retries keeps what OnRetry is told of t/0.
type retries struct {
	mu   sync.Mutex
	told []error
}

func (r *retries) retry(topic string, partition int32, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if topic == "t" && partition == 0 {
		r.told = append(r.told, err)
	}
}

// failures returns how many failures with an error like target were told, and whether they are over.
func (r *retries) failures(target error) (n int, over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, err := range r.told {
		if errors.Is(err, target) {
			n++
		}
	}
	return n, len(r.told) > 0 && r.told[len(r.told)-1] == nil
}

// tellingClient returns a client of b1 whose retries are kept.
func (n *network) tellingClient() (*client.Client, *retries) {
	r := new(retries)
	c, err := client.NewWith(client.Config{Addrs: []string{"b1:9092"}, Dial: n.dial, OnRetry: r.retry})
	if err != nil {
		n.t.Fatal(err)
	}
	return c, r
}

func TestARefusedProduceIsToldUntilItSucceeds(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		refusals := 3
		b.Intercept(func(p *wire.Produce) bool {
			if refusals == 0 {
				return false
			}
			refusals--
			p.Buffer.Release()
			p.Done.ProduceDone(p.Slot, wire.ProduceReply{Err: wire.Errorf(wire.KafkaStorageError, "disk full"), BaseOffset: -1, Leader: wire.NoHint})
			return true
		})
		c, told := n.tellingClient()
		p := newProducer(t, c)
		o := produce(t, p, "one")
		closeAll(t, p, c)
		if err := o.err(); err != nil {
			t.Error(err)
		}
		if n, over := told.failures(wire.KafkaStorageError); n != 3 || !over {
			t.Errorf("told of %v, want 3 failures and that they are over", told.told)
		}
		if !strings.Contains(told.told[0].Error(), "disk full") {
			t.Errorf("told of %v, without the broker's reason", told.told[0])
		}
	})
}

func TestALostBrokerIsToldToWhoeverReadsOrWrites(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		c, told := n.tellingClient()
		p := newProducer(t, c)
		r, err := c.NewConsumer(client.Topics("t"))
		if err != nil {
			t.Fatal(err)
		}
		o := produce(t, p, "before")
		read(t, r, 1)
		synctest.Wait()
		n.setDown(true)
		time.Sleep(5 * time.Second)
		if n, over := told.failures(client.ErrConnection); n == 0 || over {
			t.Errorf("told of %v, want a lost connection", told.told)
		}
		o2 := produce(t, p, "after")
		n.setDown(false)
		read(t, r, 1)
		if err := errors.Join(p.Flush(t.Context()), o.err(), o2.err(), r.Close()); err != nil {
			t.Error(err)
		}
		synctest.Wait() // OnRetry is told on a goroutine of its own
		if _, over := told.failures(client.ErrConnection); !over {
			t.Errorf("told of %v, and not that it is over", told.told)
		}
		closeAll(t, p, c)
	})
}

func TestAPartitionThatCannotBeReadIsNamedWithItsOffset(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	fill(t, c, "t", 0, "one", "two")
	b.FailFetch(func(*wire.Fetch) error { return wire.CorruptMessage })
	r := consumer(t, c, client.Partition("t", 0, client.AtOffset(1)))
	_, err := r.Poll(t.Context())
	var partition *client.PartitionError
	if !errors.As(err, &partition) || partition.Topic != "t" || partition.Partition != 0 || partition.Offset != 1 {
		t.Fatalf("Poll = %v", err)
	}
	if !strings.HasPrefix(err.Error(), "t/0 at offset 1: CORRUPT_MESSAGE: ") {
		t.Errorf("Poll = %v", err)
	}
}

func TestAWebServerIsRecognisedAtOnce(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	addr := strings.TrimPrefix(web.URL, "http://")
	c, err := client.New(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, described := c.DescribeTopics(ctx)
	created := c.CreateTopic(ctx, client.NewTopic{Name: "t"})
	for _, err := range []error{described, created} {
		if !errors.Is(err, client.ErrNotTroupe) || !strings.Contains(err.Error(), addr+" speaks HTTP") {
			t.Errorf("asking a web server = %v", err)
		}
	}
}

func TestABrokerIsFoundBehindAnAddressThatIsAWebServer(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c, err := client.New(strings.TrimPrefix(web.URL, "http://"), serve(t, b))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	topics, err := c.DescribeTopics(t.Context())
	if err != nil || !slices.ContainsFunc(topics, func(t client.Topic) bool { return t.Name == "t" }) {
		t.Errorf("%v, %v", topics, err)
	}
}
