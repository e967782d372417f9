package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// transport carries memberlist over the broker's cluster port: packets over UDP, streams over
// connections that others accepted for it and that begin with Preface.
type transport struct {
	advertise net.IP
	port      int
	label     []byte // how every packet of this cluster begins
	conn      net.PacketConn
	now       func() time.Time
	log       *slog.Logger

	packets chan *memberlist.Packet
	streams chan net.Conn
	open    atomic.Int32 // streams
	foreign foreignPackets

	down chan struct{}
	once sync.Once
	task sync.WaitGroup
}

const (
	// maxStreams bounds the streams that memberlist reads from at once. Each may fill some
	// megabytes before it is found to be worth nothing.
	maxStreams = 32
	// maxPacketBytes is the largest that UDP carries.
	maxPacketBytes = 65536
	// readPause follows a failure to read that is not the end.
	readPause = 50 * time.Millisecond
	// receiveBuffer holds a burst of packets while the process is not running.
	receiveBuffer = 2 << 20
)

// hasLabel begins what carries a label, in memberlist's format: then a byte with its length, then it.
const hasLabel = 244

func newTransport(cfg Config, logger *slog.Logger) *transport {
	t := &transport{
		advertise: cfg.Advertise.Addr().Unmap().AsSlice(), port: int(cfg.Advertise.Port()),
		label: append([]byte{hasLabel, byte(len(cfg.ClusterID))}, cfg.ClusterID...),
		conn:  cfg.Packets, now: cfg.Now, log: logger,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), down: make(chan struct{}),
	}
	if udp, ok := cfg.Packets.(*net.UDPConn); ok {
		_ = udp.SetReadBuffer(receiveBuffer) // as much as the system gives
	}
	t.task.Go(t.read)
	return t
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise, t.port, nil
}

// PacketCh implements memberlist.Transport.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// WriteTo sends a packet. Its time is that after the call, which makes a round trip look a little
// shorter than it was.
func (t *transport) WriteTo(b []byte, address string) (time.Time, error) {
	to, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return time.Time{}, err
	}
	_, err = t.conn.WriteTo(b, to)
	return t.now(), err
}

// DialTimeout opens a stream to another broker's cluster port.
func (t *transport) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	err = c.SetDeadline(deadline)
	if err == nil {
		_, err = c.Write(Preface[:])
	}
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open a stream to %s: %w", address, err), c.Close())
	}
	return c, nil
}

// read hands packets to memberlist until the socket is closed. What does not begin with this
// cluster's label goes no further.
func (t *transport) read() {
	buffer := make([]byte, maxPacketBytes)
	for {
		n, from, err := t.conn.ReadFrom(buffer)
		at := t.now()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			t.log.Warn("gossip cannot read its packets for now", "err", err)
			if !t.pause() {
				return
			}
			continue
		case !bytes.HasPrefix(buffer[:n], t.label):
			t.foreign.count(t.log, from, at)
			continue
		}
		select {
		case t.packets <- &memberlist.Packet{Buf: bytes.Clone(buffer[:n]), From: from, Timestamp: at}:
		case <-t.down:
			return
		}
	}
}

func (t *transport) pause() bool {
	timer := time.NewTimer(readPause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.down:
		return false
	}
}

// serve hands a connection to memberlist, which reads from it and closes it. One too many is closed.
func (t *transport) serve(c net.Conn) {
	if t.open.Add(1) > maxStreams {
		t.open.Add(-1)
		_ = c.Close()
		return
	}
	s := &stream{Conn: c, closed: func() { t.open.Add(-1) }}
	select {
	case t.streams <- s:
	case <-t.down:
		_ = s.Close()
	}
}

// stream is a connection that is counted while it is open.
type stream struct {
	net.Conn
	once   sync.Once
	closed func()
}

func (s *stream) Close() error {
	s.once.Do(s.closed)
	return s.Conn.Close()
}

// Shutdown implements memberlist.Transport.
func (t *transport) Shutdown() error {
	var err error
	t.once.Do(func() {
		close(t.down)
		err = t.conn.Close()
		t.task.Wait()
	})
	return err
}

// foreignPackets counts what came to the port and is not of this cluster.
type foreignPackets struct {
	total uint64
	told  time.Time
}

// foreignInterval is how often foreign packets are worth a line in the log.
const foreignInterval = time.Minute

// count is called by the one reader.
func (f *foreignPackets) count(log *slog.Logger, from net.Addr, now time.Time) {
	f.total++
	if !f.told.IsZero() && now.Sub(f.told) < foreignInterval {
		return
	}
	f.told = now
	log.Warn("packets of another cluster, or of none, come to the cluster port", "from", from.String(), "total", f.total)
}
