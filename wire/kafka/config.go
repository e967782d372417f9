package kafka

import (
	"fmt"
	"time"
)

// Config bounds what clients may take. The names in the comments are Kafka's.
type Config struct {
	MaxRequestBytes      int           // socket.request.max.bytes: of one request
	MaxConnections       int           // max.connections: further ones are closed at once
	MaxConnectionBytes   int64         // of Produce requests in flight on one connection; reading stops there
	MaxInFlightBytes     int64         // queued.max.request.bytes: the same for all connections
	MaxFetchBytes        int           // fetch.max.bytes: of one answer
	MaxFetchSessions     int           // max.incremental.fetch.session.cache.slots: that clients may go on with
	MaxFetchSessionBytes int64         // memory of all of them
	MaxWideBytes         int64         // memory of all fetches and answers that are unusually wide; one more may overshoot
	IdleTimeout          time.Duration // connections.max.idle.ms: nothing read or written for so long
	RequestTimeout       time.Duration // a request must have arrived whole so long after its first byte
}

// DefaultConfig returns Kafka's values where it has them.
func DefaultConfig() Config {
	return Config{
		MaxRequestBytes:      100 << 20,
		MaxConnections:       20_000,
		MaxConnectionBytes:   64 << 20,
		MaxInFlightBytes:     256 << 20,
		MaxFetchBytes:        55 << 20,
		MaxFetchSessions:     1000,
		MaxFetchSessionBytes: 256 << 20,
		MaxWideBytes:         512 << 20,
		IdleTimeout:          10 * time.Minute,
		RequestTimeout:       time.Minute,
	}
}

// Validate says what is wrong.
func (c Config) Validate() error {
	for _, limit := range []struct {
		name  string
		value int64
	}{
		{"socket.request.max.bytes", int64(c.MaxRequestBytes)},
		{"max.connections", int64(c.MaxConnections)},
		{"bytes in flight of a connection", c.MaxConnectionBytes},
		{"queued.max.request.bytes", c.MaxInFlightBytes},
		{"fetch.max.bytes", int64(c.MaxFetchBytes)},
		{"connections.max.idle.ms", int64(c.IdleTimeout)},
		{"bytes of fetch sessions", c.MaxFetchSessionBytes},
		{"bytes of wide requests", c.MaxWideBytes},
		{"time for a request to arrive", int64(c.RequestTimeout)},
	} {
		if limit.value <= 0 {
			return fmt.Errorf("%s: %d is not above zero", limit.name, limit.value)
		}
	}
	if c.MaxFetchSessions < 0 {
		return fmt.Errorf("max.incremental.fetch.session.cache.slots: %d is below zero", c.MaxFetchSessions)
	}
	const most = 1<<31 - 1
	if c.MaxRequestBytes > most {
		return fmt.Errorf("socket.request.max.bytes: %d is above %d", c.MaxRequestBytes, most)
	}
	if c.MaxFetchBytes > most/2 {
		return fmt.Errorf("fetch.max.bytes: %d is above %d", c.MaxFetchBytes, most/2)
	}
	return nil
}
