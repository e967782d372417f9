package node

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
)

// Before two brokers have links, one asks the other who it is, and to be let into its cluster. Each
// question has a connection of its own: the preface, one frame, one frame back.

const (
	// helloTimeout bounds a question who somebody is.
	helloTimeout = time.Second
	// joinTimeout bounds a registration, which the controller decides, wherever it is.
	joinTimeout = 10 * time.Second
	// maxHelloFrame bounds what either side says.
	maxHelloFrame = 64 << 10
	// maxVisitors bounds those who are answered at once.
	maxVisitors = 64
)

// receptionist answers those who ask.
type receptionist struct {
	// self tells who this broker is now.
	self func() wire.Hello
	// asked hears who asked.
	asked func(context.Context, wire.Hello)
	// register lets a broker in.
	register func(context.Context, metadata.RegisterBroker) wire.JoinedCluster
	tls      *tls.Config
	log      *slog.Logger
	visitors chan struct{}
}

// serve answers one question on a connection whose preface has been read, and closes it.
func (r *receptionist) serve(ctx context.Context, c net.Conn) {
	defer func() { _ = c.Close() }() // the asker has its answer, or has gone
	select {
	case r.visitors <- struct{}{}:
		defer func() { <-r.visitors }()
	default:
		return // the asker comes again
	}
	if err := r.answer(ctx, c); err != nil {
		r.log.Debug("a broker that asked was not answered", "from", c.RemoteAddr().String(), "err", err)
	}
}

func (r *receptionist) answer(ctx context.Context, c net.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	if err := setDeadline(ctx, c); err != nil {
		return err
	}
	defer closeWith(ctx, c)()
	if r.tls != nil {
		c = tls.Server(c, r.tls)
	}
	frame, release, err := readFrame(c)
	if err != nil {
		return err
	}
	defer release()
	var reply wire.Message
	switch frame.Kind {
	case wire.KindHello:
		var question wire.Hello
		if err := wire.Parse(frame.Body, &question); err != nil {
			return err
		}
		answer := r.self()
		reply = &answer
		defer r.asked(ctx, question) // once it has its answer
	case wire.KindJoinCluster:
		var question wire.JoinCluster
		if err := wire.Parse(frame.Body, &question); err != nil {
			return err
		}
		answer := r.join(ctx, question, frame.Payload)
		reply = &answer
	default:
		reply = &wire.Failure{Err: wire.Errorf(wire.UnsupportedVersion, "this broker knows no question of kind %d", frame.Kind)}
		frame.Kind = wire.KindFailed
	}
	_, err = c.Write(wire.AppendFrame(nil, frame.Correlation, frame.Kind, reply, 0))
	return err
}

func (r *receptionist) join(ctx context.Context, question wire.JoinCluster, registration []byte) wire.JoinedCluster {
	self := r.self()
	refuse := func(code wire.ErrorCode, format string, args ...any) wire.JoinedCluster {
		return wire.JoinedCluster{Err: wire.Errorf(code, format, args...), ClusterID: self.ClusterID, Broker: wire.NoBroker}
	}
	if question.ClusterID != self.ClusterID {
		return refuse(wire.InconsistentClusterID, "this broker belongs to cluster %q, not %.100q", self.ClusterID, question.ClusterID)
	}
	command, err := metadata.DecodeCommand(registration)
	if err != nil {
		return refuse(wire.InvalidRegistration, "the registration cannot be read: %v", err)
	}
	register, ok := command.(metadata.RegisterBroker)
	if !ok {
		return refuse(wire.InvalidRegistration, "a %T is no registration", command)
	}
	return r.register(ctx, register)
}

// caller asks other brokers.
type caller struct {
	dialer peer.Dialer
	tls    *tls.Config
}

// hello asks who somebody is.
func (a caller) hello(ctx context.Context, address string, self wire.Hello) (wire.Hello, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	var answer wire.Hello
	if err := a.ask(ctx, address, wire.KindHello, &self, nil, &answer); err != nil {
		return wire.Hello{}, err
	}
	if answer.Protocol != wire.HelloProtocol {
		return wire.Hello{}, fmt.Errorf("the broker at %s speaks version %d of the introduction, this one %d", address, answer.Protocol, wire.HelloProtocol)
	}
	return answer, nil
}

// join asks to be let into a cluster.
func (a caller) join(ctx context.Context, address, clusterID string, registration metadata.RegisterBroker) (wire.JoinedCluster, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	var answer wire.JoinedCluster
	question := wire.JoinCluster{Protocol: wire.HelloProtocol, ClusterID: clusterID}
	err := a.ask(ctx, address, wire.KindJoinCluster, &question, metadata.EncodeCommand(registration), &answer)
	return answer, err
}

// ask sends one frame and reads one back.
func (a caller) ask(ctx context.Context, address string, kind wire.Kind, question wire.Message, payload []byte, answer wire.Message) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("ask the broker at %s: %w", address, err)
		}
	}()
	c, err := a.dialer.Dial(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // all has been said
	if err := setDeadline(ctx, c); err != nil {
		return err
	}
	defer closeWith(ctx, c)()
	if _, err := c.Write(wire.HelloPreface[:]); err != nil {
		return err
	}
	if a.tls != nil {
		c = tls.Client(c, serverNamed(a.tls, address))
	}
	if _, err := c.Write(append(wire.AppendFrame(nil, 0, kind, question, len(payload)), payload...)); err != nil {
		return err
	}
	frame, release, err := readFrame(c)
	if err != nil {
		return err
	}
	defer release()
	switch frame.Kind {
	case kind:
		return wire.Parse(frame.Body, answer)
	case wire.KindFailed:
		var failure wire.Failure
		if err := wire.Parse(frame.Body, &failure); err != nil {
			return err
		}
		return failure.Err
	default:
		return errors.New("it answered something else")
	}
}

func serverNamed(cfg *tls.Config, address string) *tls.Config {
	cfg = cfg.Clone()
	cfg.ServerName, _, _ = net.SplitHostPort(address) // it has been dialled, so it is one
	return cfg
}

// closeWith closes a connection when ctx ends, which ends what waits on it. The connection is the
// bare one: TLS would say goodbye first.
func closeWith(ctx context.Context, c net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.Close() })
}

func setDeadline(ctx context.Context, c net.Conn) error {
	deadline, _ := ctx.Deadline()
	return c.SetDeadline(deadline)
}

// readFrame reads one frame. It is valid until release.
func readFrame(c net.Conn) (frame wire.Frame, release func(), err error) {
	frames := wire.NewFrameReader(bufio.NewReader(c), maxHelloFrame)
	buffer, err := frames.Next()
	if err != nil {
		return wire.Frame{}, nil, err
	}
	frame, err = wire.ParseFrame(buffer.Bytes)
	if err != nil {
		buffer.Release()
		return wire.Frame{}, nil, err
	}
	return frame, buffer.Release, nil
}
