package peer

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// Config holds the limits of links. A field that is zero has its default.
type Config struct {
	TLS *tls.Config // nil: plain TCP. Otherwise both ends show a certificate, whoever dials

	BulkQueueBytes    int // waiting to be written to a broker on the link for bulk
	ControlQueueBytes int // on the link for control
	MaxBulkFrame      int // bytes of a frame, its length not counted
	MaxControlFrame   int

	PingInterval     time.Duration // a link on which nothing is written says this often that it lives
	ReadTimeout      time.Duration // of silence; then the links are gone
	WriteTimeout     time.Duration // of a write of at most 256 KiB
	DialTimeout      time.Duration // of one connection, TLS included
	HandshakeTimeout time.Duration // from the first connection of a pair to the last word on both

	RedialMin, RedialMax time.Duration // between two attempts to dial; it doubles, with jitter
	RefusedInterval      time.Duration // between the two refused redials that make a Refused
}

// DefaultConfig returns what suits brokers in one data centre.
func DefaultConfig() Config { return Config{}.complete() }

func (c Config) complete() Config {
	for field, preset := range map[*int]int{
		&c.BulkQueueBytes:    16 << 20,
		&c.ControlQueueBytes: 4 << 20,
		&c.MaxBulkFrame:      64 << 20,
		&c.MaxControlFrame:   16 << 20,
	} {
		if *field <= 0 {
			*field = preset
		}
	}
	for field, preset := range map[*time.Duration]time.Duration{
		&c.PingInterval:     500 * time.Millisecond,
		&c.ReadTimeout:      3 * time.Second,
		&c.WriteTimeout:     3 * time.Second,
		&c.DialTimeout:      time.Second,
		&c.HandshakeTimeout: 2 * time.Second,
		&c.RedialMin:        20 * time.Millisecond,
		&c.RedialMax:        time.Second,
		&c.RefusedInterval:  100 * time.Millisecond,
	} {
		if *field <= 0 {
			*field = preset
		}
	}
	if c.TLS != nil {
		c.TLS = c.TLS.Clone()
		c.TLS.ClientAuth = tls.RequireAndVerifyClientCert
		c.TLS.MinVersion = max(c.TLS.MinVersion, tls.VersionTLS13)
	}
	return c
}

// Dialer opens connections. Tests put faults in with one of their own.
type Dialer interface {
	Dial(ctx context.Context, address string) (net.Conn, error)
}

// NetDialer dials TCP.
type NetDialer struct{}

// Dial implements Dialer. There are no keep-alives of the kernel's: the links have pings.
func (NetDialer) Dial(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1}
	return d.DialContext(ctx, "tcp", address)
}
