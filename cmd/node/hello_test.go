package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
)

// startReception answers on a port of its own as a broker of cluster "ours" that lets everybody in.
func startReception(t *testing.T) (address string, let chan metadata.RegisterBroker) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	let = make(chan metadata.RegisterBroker, 10)
	r := &receptionist{asked: func(context.Context, wire.Hello) {}, visitors: make(chan struct{}, maxVisitors), log: slog.New(slog.DiscardHandler)}
	r.self = func() wire.Hello {
		return wire.Hello{Protocol: wire.HelloProtocol, ClusterID: "ours", Broker: 1, Directory: "d", Incarnation: 5, Members: []wire.Member{{Broker: 1, Address: "a:1"}}}
	}
	r.register = func(_ context.Context, registration metadata.RegisterBroker) wire.JoinedCluster {
		let <- registration
		return wire.JoinedCluster{ClusterID: "ours", Broker: 2, Members: []wire.Member{{Broker: 1, Address: "a:1"}}}
	}
	ctx, cancel := context.WithCancel(t.Context())
	port := newClusterPort(l, r.log, time.Now, nil)
	port.handle(wire.HelloPreface, func(c net.Conn) { r.serve(ctx, c) })
	served := make(chan error, 1)
	go func() { served <- port.run() }()
	t.Cleanup(func() {
		cancel()
		port.close()
		if err := errors.Join(<-served, port.wait(context.Background())); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), let
}

func aRegistration() metadata.RegisterBroker {
	return metadata.RegisterBroker{
		ID: wire.NoBroker, Incarnation: 9, Directories: []metadata.DirectoryID{"x"},
		Host: "h", Port: 1, ClusterAddress: "h:2", RaftID: 3, Fenced: true,
	}
}

func TestABrokerTellsWhoItIsAndLetsOthersIn(t *testing.T) {
	address, let := startReception(t)
	ask := caller{dialer: peer.NetDialer{}}
	who, err := ask.hello(t.Context(), address, wire.Hello{Protocol: wire.HelloProtocol, Directory: "x"})
	if err != nil || who.ClusterID != "ours" || who.Incarnation != 5 || len(who.Members) != 1 {
		t.Fatalf("it says %+v, %v", who, err)
	}
	joined, err := ask.join(t.Context(), address, "ours", aRegistration())
	if err != nil || joined.Err != nil || joined.Broker != 2 {
		t.Fatalf("joined %+v, %v", joined, err)
	}
	if registration := <-let; registration.RaftID != 3 || registration.ClusterAddress != "h:2" {
		t.Errorf("registered %+v", registration)
	}
}

func TestWhoAsksForAnotherClusterIsNotLetIn(t *testing.T) {
	address, let := startReception(t)
	joined, err := caller{dialer: peer.NetDialer{}}.join(t.Context(), address, "theirs", aRegistration())
	if err != nil || !errors.Is(joined.Err, wire.InconsistentClusterID) {
		t.Errorf("joined %+v, %v", joined, err)
	}
	select {
	case registration := <-let:
		t.Errorf("it was registered: %+v", registration)
	default:
	}
}

func TestQuestionsThatMakeNoSenseAreRefused(t *testing.T) {
	address, let := startReception(t)
	question := func(kind wire.Kind, m wire.Message, payload string) string {
		return string(wire.HelloPreface[:]) + string(wire.AppendFrame(nil, 0, kind, m, len(payload))) + payload
	}
	join := &wire.JoinCluster{Protocol: wire.HelloProtocol, ClusterID: "ours"}
	for name, bytes := range map[string]string{
		"nothing":                     string(wire.HelloPreface[:]),
		"a frame that is too long":    string(wire.HelloPreface[:]) + "\x7f\xff\xff\xff",
		"half a frame":                question(wire.KindHello, &wire.Hello{}, "")[:12],
		"garbage":                     string(wire.HelloPreface[:]) + "\x00\x00\x00\x04\xc1\xc1\xc1\xc1",
		"another message":             question(wire.KindHello, &wire.Empty{}, ""),
		"a kind of a later version":   question(200, &wire.Empty{}, ""),
		"a registration of garbage":   question(wire.KindJoinCluster, join, "\xc1\xff"),
		"a command that is not meant": question(wire.KindJoinCluster, join, string(metadata.EncodeCommand(metadata.FoundCluster{ClusterID: "x"}))),
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, address)
			send(t, c, []byte(bytes)...)
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(c)
			if isTimeout(err) {
				t.Error("the connection stays open")
			}
			if len(answer) > 0 && !strings.Contains(string(answer), "registration") && !strings.Contains(string(answer), "kind 200") {
				t.Errorf("answered %q", answer)
			}
		})
	}
	if len(let) > 0 {
		t.Errorf("somebody was registered: %+v", <-let)
	}
}

func TestAnAnswerThatMakesNoSenseIsAnError(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing":         "",
		"garbage":         "\x00\x00\x00\x02\xc1\xc1",
		"too long":        "\x7f\xff\xff\xff",
		"something else":  string(wire.AppendFrame(nil, 0, wire.KindPing, &wire.Empty{}, 0)),
		"a refusal":       string(wire.AppendFrame(nil, 0, wire.KindFailed, &wire.Failure{Err: wire.UnsupportedVersion}, 0)),
		"another version": string(wire.AppendFrame(nil, 0, wire.KindHello, &wire.Hello{Protocol: wire.HelloProtocol + 1}, 0)),
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				if _, _, err := readFrame(skipPreface{c}); err == nil {
					_, _ = c.Write([]byte(answer))
				}
			}()
			who, err := caller{dialer: peer.NetDialer{}}.hello(t.Context(), l.Addr().String(), wire.Hello{Protocol: wire.HelloProtocol})
			if err == nil {
				t.Errorf("believed %+v", who)
			}
		})
	}
}

// skipPreface reads a connection from after its preface.
type skipPreface struct{ net.Conn }

func (s skipPreface) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n >= 4 && [4]byte(p[:4]) == wire.HelloPreface {
		return copy(p, p[4:n]), err
	}
	return n, err
}
