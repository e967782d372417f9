package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// conn is one client's connection. Its reader runs serve; its writer runs write; a parked fetch
// and a call to the controller have a goroutine each, as many as the configuration allows.
type conn struct {
	s   *Server
	net net.Conn
	log *slog.Logger

	out   outbox
	door  door
	slots struct{ fetches, calls chan struct{} }
	tasks sync.WaitGroup // parked fetches and calls

	ctx      context.Context // ends with the connection
	cancel   context.CancelFunc
	stopping atomic.Bool
	reading  atomic.Bool   // the reader waits for the client, and not for room
	frames   atomic.Uint64 // that the reader has begun
	drain    chan struct{} // closed by stop: parked fetches answer with what there is

	request wire.ProduceRequest // scratch of the reader
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{
		s: s, net: nc, log: s.log.With("client", nc.RemoteAddr().String()),
		drain: make(chan struct{}),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.out.init()
	c.door.init(s.cfg.MaxInFlight, s.cfg.MaxInFlightBytes)
	c.slots.fetches = make(chan struct{}, s.cfg.MaxFetches)
	c.slots.calls = make(chan struct{}, s.cfg.MaxCalls)
	return c
}

// serve reads until the connection ends, and returns why; nil after stop.
func (c *conn) serve() error {
	frames, err := c.greet()
	if err != nil {
		_ = c.net.Close()
		c.cancel()
		return err
	}
	var writer sync.WaitGroup
	writer.Go(c.write)
	writer.Go(c.pulse)
	err = c.read(frames)
	if c.stopping.Load() {
		err = nil
		c.door.drained() // every request is answered and written, or the connection has broken
	}
	c.abort()
	c.tasks.Wait()
	writer.Wait()
	return err
}

// stop ends the reading; what is in flight is still answered.
func (c *conn) stop() {
	if c.stopping.CompareAndSwap(false, true) {
		close(c.drain)
		_ = c.net.SetReadDeadline(time.Unix(1, 0))
	}
}

// abort ends everything. It may be called twice, on any goroutine.
func (c *conn) abort() {
	c.cancel()
	c.door.close()
	c.out.close()
	_ = c.net.Close()
}

// greet does what comes before the first request. It runs before there is a writer.
func (c *conn) greet() (*wire.FrameReader, error) {
	_ = c.net.SetDeadline(c.s.now().Add(c.s.cfg.GreetingTimeout))
	in := buffered(c.net)
	var magic [len(wire.Magic)]byte
	if _, err := io.ReadFull(in, magic[:]); err != nil {
		return nil, err
	}
	if magic != wire.Magic {
		return nil, fmt.Errorf("greeting: %w: the connection opens with % x", wire.ErrMalformed, magic)
	}
	frames := wire.NewFrameReader(in, c.s.cfg.MaxFrameBytes)
	buf, err := frames.Next()
	if err != nil {
		return nil, fmt.Errorf("greeting: %w", err)
	}
	defer buf.Release()
	frame, err := wire.ParseFrame(buf.Bytes)
	var greeting wire.Greeting
	if err == nil {
		err = wire.Parse(frame.Body, &greeting)
	}
	if err == nil && frame.Kind != wire.KindGreeting {
		err = fmt.Errorf("%w: the first frame is a %s", wire.ErrMalformed, frame.Kind)
	}
	if err != nil {
		return nil, fmt.Errorf("greeting: %w", err)
	}
	welcome, err := c.s.welcome(&greeting)
	var answer []byte
	if err != nil {
		answer = wire.AppendFrame(wire.Magic[:], frame.Correlation, wire.KindFailed, &wire.Failure{Err: err}, 0)
	} else {
		answer = wire.AppendFrame(wire.Magic[:], frame.Correlation, wire.KindGreeting, welcome, 0)
	}
	if _, writeErr := c.net.Write(answer); err == nil {
		err = writeErr
	}
	if err != nil {
		return nil, fmt.Errorf("greeting of %q %q: %w", greeting.Software, greeting.Version, err)
	}
	_ = c.net.SetDeadline(time.Time{})
	frames.Limit(c.s.cfg.MaxFrameBytes)
	return frames, nil
}

// read hands requests on until the connection ends or can no longer be understood.
func (c *conn) read(frames *wire.FrameReader) error {
	for !c.stopping.Load() {
		_ = c.net.SetReadDeadline(c.s.now().Add(c.s.cfg.IdleTimeout))
		if c.stopping.Load() { // its deadline may just have been overwritten
			return nil
		}
		c.reading.Store(true)
		n, err := frames.Length()
		c.reading.Store(false)
		c.frames.Add(1)
		if err != nil {
			return c.refuseFrame(err)
		}
		if !c.door.enter(n) {
			return net.ErrClosed
		}
		c.reading.Store(true)
		buf, err := frames.Read(n)
		c.reading.Store(false)
		if err != nil {
			c.door.leave(n)
			return err
		}
		c.s.metrics.ReceivedBytes.Add(float64(n))
		frame, err := wire.ParseFrame(buf.Bytes)
		if err != nil {
			buf.Release()
			c.door.leave(n)
			return err
		}
		c.handle(frame, buf, n)
		buf.Release()
	}
	return nil
}

// pulse tells the client each second that the broker lives while it does not read, and so answers no
// ping: a partition has too much in flight, because a follower is slow or gone.
func (c *conn) pulse() {
	ticker := time.NewTicker(pulseInterval)
	defer ticker.Stop()
	before := uint64(0)
	for {
		select {
		case <-ticker.C:
		case <-c.ctx.Done():
			return
		}
		begun := c.frames.Load()
		if begun == before && begun > 0 && !c.reading.Load() {
			c.answer(0, unasked, wire.KindPing, &wire.Empty{})
		}
		before = begun
	}
}

const pulseInterval = time.Second

// refuseFrame tells a client that its frame is too large before the connection is closed, which
// must be: the rest of the frame is not going to be read.
func (c *conn) refuseFrame(err error) error {
	if errors.Is(err, wire.ErrFrameTooLarge) {
		c.answer(0, unasked, wire.KindFailed, &wire.Failure{Err: wire.Errorf(wire.MessageTooLarge, "%v", err)})
		c.out.finish()
	}
	return err
}

// handle does one request. It must answer each exactly once, with the same admitted bytes; the
// frame's buffer is released after it unless retained.
func (c *conn) handle(f wire.Frame, buf *wire.Buffer, admitted int) {
	c.s.metrics.request(f.Kind)
	if f.Kind != wire.KindProduce && admitted > c.s.cfg.MaxRequestBytes {
		c.refuse(f, admitted, wire.Errorf(wire.MessageTooLarge, "a %s has %d bytes, at most %d are allowed",
			f.Kind, admitted, c.s.cfg.MaxRequestBytes))
		return
	}
	switch f.Kind {
	case wire.KindProduce:
		c.produce(f, buf, admitted)
	case wire.KindFetch:
		c.fetch(f, admitted)
	case wire.KindListOffsets:
		c.listOffsets(f, admitted)
	case wire.KindOffsetForEpoch:
		c.offsetForEpoch(f, admitted)
	case wire.KindMetadata:
		c.metadata(f, admitted)
	case wire.KindPing:
		c.answer(f.Correlation, admitted, wire.KindPing, &wire.Empty{})
	case wire.KindDescribeConfigs:
		c.describeConfigs(f, admitted)
	case wire.KindDescribeLogDirs:
		c.answer(f.Correlation, admitted, f.Kind, &wire.DescribeLogDirsReply{Dirs: c.s.backend.LogDirs()})
	case wire.KindDeleteRecords, wire.KindInitProducerID, wire.KindCreateTopics, wire.KindDeleteTopics,
		wire.KindCreatePartitions, wire.KindAlterConfigs, wire.KindDescribeCluster, wire.KindClusterHealth,
		wire.KindElectLeaders, wire.KindAlterReassignments, wire.KindRemoveBroker, wire.KindGossipKeys,
		wire.KindRotateGossipKey, wire.KindConsumerHeartbeat, wire.KindCommitOffsets, wire.KindFetchOffsets,
		wire.KindDeleteOffsets, wire.KindListGroups, wire.KindDescribeGroup, wire.KindDeleteGroup, wire.KindGroupHistory,
		wire.KindAppendTimes, wire.KindLeaveGroup:
		c.call(f, admitted)
	default:
		c.refuse(f, admitted, wire.Errorf(wire.InvalidRequest, "this broker does not know requests of kind %d", f.Kind))
	}
}

// answer encodes a whole answer and queues it. Its bytes are in flight like those of the request, so
// that a client that asks much and reads nothing is not read for long.
func (c *conn) answer(correlation uint32, admitted int, kind wire.Kind, m wire.Message) {
	frame := wire.AppendFrame(nil, correlation, kind, m, 0)
	if admitted != unasked {
		c.door.grow(len(frame))
		admitted += len(frame)
	}
	c.out.put(answer{admitted: admitted, frame: frame})
}

// refuse answers a request that failed as a whole.
func (c *conn) refuse(f wire.Frame, admitted int, err error) {
	if errors.Is(err, wire.ErrMalformed) {
		err = wire.Errorf(wire.InvalidRequest, "%v", err)
	}
	c.refused(f.Kind, err)
	c.answer(f.Correlation, admitted, wire.KindFailed, &wire.Failure{Err: err})
}

// refused counts what the listener itself turned away.
func (c *conn) refused(kind wire.Kind, err error) {
	c.s.metrics.Refused.WithLabelValues(wire.Code(err).Name()).Inc()
	c.log.Debug("native request refused", "api", kind.String(), "err", err)
}
