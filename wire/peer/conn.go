package peer

import (
	"bufio"
	"encoding/binary"
	"net"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

const (
	lengthBytes       = 4
	maxHandshakeFrame = 4 << 10
	readBuffer        = 64 << 10
)

// conn is a connection that is, or will be, one of a pair's two links.
type conn struct {
	net.Conn          // what is read and written: TLS, or raw itself
	raw      net.Conn // what is closed: the farewell of TLS would wait for a peer that does not read
	in       *patientReader
	frames   *wire.FrameReader
	release  func() bool // lets the connection outlive the handshake; false when it was too late
}

func newConn(c, raw net.Conn, now func() time.Time) *conn {
	in := &patientReader{conn: c, now: now}
	return &conn{Conn: c, raw: raw, in: in, frames: wire.NewFrameReader(bufio.NewReaderSize(in, readBuffer), maxHandshakeFrame)}
}

// close ends the connection, and whatever waits on it.
func (c *conn) close() { _ = c.raw.Close() }

// say writes one message of the handshake.
func (c *conn) say(m wire.Message) error {
	b := wire.AppendMessage(make([]byte, lengthBytes), m)
	binary.BigEndian.PutUint32(b, uint32(len(b)-lengthBytes))
	_, err := c.Write(b)
	return err
}

// hear reads one message of the handshake.
func (c *conn) hear(m wire.Message) error {
	b, err := c.frames.Next()
	if err != nil {
		return err
	}
	defer b.Release()
	return wire.Parse(b.Bytes, m)
}

// patientReader gives every read that makes progress as much time as the first, once its timeout
// is set. A long frame on a slow line is no silence.
type patientReader struct {
	conn    net.Conn
	now     func() time.Time
	timeout time.Duration // 0: the connection's deadline is somebody else's
}

func (r *patientReader) Read(p []byte) (int, error) {
	if r.timeout > 0 {
		if err := r.conn.SetReadDeadline(r.now().Add(r.timeout)); err != nil {
			return 0, err
		}
	}
	return r.conn.Read(p)
}
