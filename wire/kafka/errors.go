package kafka

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// code turns an error into Kafka's number; it is the one place where that happens. A known code
// passes, a deadline is RequestTimedOut, and anything else UnknownServerError and a line in the log,
// since the client will not see the cause.
func (s *Server) code(a *api, version int16, err error) wire.ErrorCode {
	if err == nil {
		return wire.None
	}
	code := wire.Code(err)
	if code == wire.UnknownServerError {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
			code = wire.RequestTimedOut
		} else {
			s.log.Error("request failed", "api", a.name, "err", err)
		}
	}
	code = understood(a.key, version, code)
	if code != wire.None {
		s.metrics.errors.WithLabelValues(a.name, code.Name()).Inc()
	}
	return code
}

// understood returns code, or what a client of an older version knows in its place, as Kafka does.
func understood(key, version int16, code wire.ErrorCode) wire.ErrorCode {
	switch {
	case code == wire.KafkaStorageError && (key == keyFetch && version < 6 || key == keyProduce && version < 4):
		return wire.NotLeaderOrFollower
	case code == wire.OffsetNotAvailable && key == keyListOffsets && version < 5: // KIP-207
		return wire.LeaderNotAvailable
	case code == wire.ProducerFenced && key == keyInitProducerID && version < 4: // KIP-588
		return wire.InvalidProducerEpoch
	}
	return code
}

// code returns Kafka's number for an error that answers the request being served.
func (c *conn) code(err error) int16 {
	return int16(c.server.code(c.request.api, c.request.version, err))
}

// codeAndMessage also returns what the answer may tell a person, or nil.
func (c *conn) codeAndMessage(err error) (int16, *string) {
	code := c.code(err)
	if sentence := wire.Sentence(err); sentence != "" {
		return code, &sentence
	}
	return code, nil
}

// refusal is a kind of bad input, as the metric names it.
type refusal string

// What a client can do wrong. The first ones end the connection, the rest get an error code.
const (
	badFrameSize refusal = "frame_size"
	badTruncated refusal = "truncated_frame"
	badHeader    refusal = "malformed_header"
	badBody      refusal = "malformed_request"
	badAPI       refusal = "unknown_api"
	badVersion   refusal = "unsupported_version"
	badAcksNone  refusal = "failed_without_acks"
	tooManyConns refusal = "too_many_connections"
	slowRequest  refusal = "slow_request"
	crashed      refusal = "crashed"

	badAcks          refusal = "invalid_acks"
	badDuplicate     refusal = "duplicate_partition"
	badBatch         refusal = "invalid_batch"
	badTransactional refusal = "transactional"
	tooWide          refusal = "too_wide"
)

const (
	refusalWindow   = 10 * time.Second
	refusalsLogged  = 10 // in each window, over all connections
	kindsPerConnMax = 16 // remembered by a connection
)

// refusalLog keeps hostile clients from filling the log.
type refusalLog struct {
	mu      sync.Mutex
	began   time.Time
	logged  int
	dropped int
}

// admit says whether a line may be logged now, and how many were not since the last one.
func (l *refusalLog) admit(now time.Time) (dropped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.began) >= refusalWindow {
		l.began, l.logged = now, 0
	}
	if l.logged == refusalsLogged {
		l.dropped++
		return 0, false
	}
	l.logged++
	dropped, l.dropped = l.dropped, 0
	return dropped, true
}

// refuse counts bad input and logs the first of its kind on this connection.
func (c *conn) refuse(kind refusal, err error) {
	s := c.server
	s.metrics.refused.WithLabelValues(string(kind)).Inc()
	for _, known := range c.refused {
		if known == kind {
			return
		}
	}
	if len(c.refused) < kindsPerConnMax {
		c.refused = append(c.refused, kind)
	}
	dropped, ok := s.refusals.admit(s.now())
	if !ok {
		return
	}
	api := "none"
	if c.request.api != nil {
		api = c.request.api.name
	}
	s.log.Warn("bad input refused", "kind", string(kind), "api", api, "peer", c.peer(), "err", err, "not_logged", dropped)
}
