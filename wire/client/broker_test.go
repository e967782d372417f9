package client_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// serve makes a broker reachable over TCP until the test ends.
func serve(t testing.TB, b *nativetest.Broker) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr)
	b.Advertise("127.0.0.1", int32(at.Port))
	s := native.New(native.DefaultConfig(), b, slog.New(slog.DiscardHandler), native.Metrics{}, time.Now)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		<-done
	})
	return l.Addr().String()
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
