package client_test

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// broker starts a broker in memory for the examples, with these values in the topic clicks.
func broker(values ...string) (addr string, stop func()) {
	b := nativetest.New()
	b.CreateTopic("clicks", 1)
	addr, stop = start(b)
	if len(values) == 0 {
		return addr, stop
	}
	c, err := client.New(addr)
	if err != nil {
		panic(err)
	}
	defer func() { _ = c.Close() }()
	p, err := c.NewProducer()
	if err != nil {
		panic(err)
	}
	for _, v := range values {
		if _, err := p.ProduceSync(context.Background(), client.Record{Topic: "clicks", Value: []byte(v)}); err != nil {
			panic(err)
		}
	}
	return addr, stop
}

// start makes a broker reachable over TCP until stop.
func start(b *nativetest.Broker) (addr string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	b.Advertise("127.0.0.1", int32(l.Addr().(*net.TCPAddr).Port))
	s := native.New(native.DefaultConfig(), b, slog.New(slog.DiscardHandler), native.Metrics{}, time.Now)
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) })
	return l.Addr().String(), func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			panic(err)
		}
		serving.Wait()
	}
}

// serve makes a broker reachable over TCP until the test ends.
func serve(t testing.TB, b *nativetest.Broker) (addr string) {
	t.Helper()
	addr, stop := start(b)
	t.Cleanup(stop)
	return addr
}

// connect returns a client that is closed when the test ends.
func connect(t testing.TB, addrs ...string) *client.Client {
	t.Helper()
	c, err := client.New(addrs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
