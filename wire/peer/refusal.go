package peer

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/troupe-mq/troupe/wire"
)

// The reasons for which a pair of links is refused. They label a metric, so there is no end of
// them: what another version says is counted as reasonOther.
const (
	reasonProtocol  = "protocol"
	reasonCluster   = "cluster"
	reasonSelf      = "self"
	reasonBroker    = "broker"
	reasonRecovery  = "recovery_epoch"
	reasonFormer    = "former_incarnation"
	reasonImpostor  = "impostor"
	reasonLinked    = "linked"
	reasonMalformed = "malformed"
	reasonTLS       = "tls"
	reasonClosed    = "closed"
	reasonOther     = "other"
)

var knownReasons = map[string]bool{
	reasonProtocol: true, reasonCluster: true, reasonSelf: true, reasonBroker: true, reasonRecovery: true,
	reasonFormer: true, reasonImpostor: true, reasonLinked: true, reasonMalformed: true,
	reasonClosed: true,
}

// refusal is why two brokers will not be linked, or not in this way.
type refusal struct {
	reason, sentence string
	theirs           bool // the other end has refused us
}

func refuse(reason, format string, args ...any) *refusal {
	return &refusal{reason: reason, sentence: fmt.Sprintf(format, args...)}
}

// refusedBy is what the other end has told, or nil.
func refusedBy(r wire.LinkRefusal) *refusal {
	if r.Reason == "" {
		return nil
	}
	if !knownReasons[r.Reason] {
		r.Reason = reasonOther
	}
	return &refusal{reason: r.Reason, sentence: r.Sentence, theirs: true}
}

func (r *refusal) Error() string {
	if r.theirs {
		return "refused by the other end: " + r.sentence
	}
	return "refused: " + r.sentence
}

// words is the refusal as it is told, empty for nil.
func (r *refusal) words() wire.LinkRefusal {
	if r == nil {
		return wire.LinkRefusal{}
	}
	return wire.LinkRefusal{Reason: r.reason, Sentence: r.sentence}
}

// refused counts a refusal and logs it, unless it has been logged before. That two pairs were begun
// at once, of which one goes on, is no news.
func (l *Links) refused(b wire.BrokerID, address string, err error) {
	r := asRefusal(err)
	if r == nil {
		l.log.Debug("a broker could not be linked", "peer", b, "address", address, "err", err)
		return
	}
	l.metrics.Refused.WithLabelValues(r.reason).Inc()
	if r.reason == reasonLinked || r.reason == reasonClosed {
		l.log.Debug("one pair of links is enough", "peer", b, "address", address, "reason", r.reason)
		return
	}
	if l.told.first(told{b, r.reason}) {
		l.log.Warn("a link was refused", "peer", b, "address", address, "reason", r.reason, "by_peer", r.theirs, "err", r.sentence)
	}
}

// asRefusal finds in an error what is no accident: the other end, or what it sent, will not do the
// next time either.
func asRefusal(err error) *refusal {
	var r *refusal
	var alert *net.OpError
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &alert) && alert.Op == "remote error": // as crypto/tls calls an alert from the other end
		return &refusal{reason: reasonTLS, sentence: err.Error(), theirs: true}
	case errors.Is(err, wire.ErrMalformed), errors.Is(err, wire.ErrFrameTooLarge):
		return refuse(reasonMalformed, "%v", err)
	}
	return nil
}

// told is something that is logged once.
type told struct {
	broker wire.BrokerID
	what   string
}

// onceSet remembers what was logged. It is bounded: whoever makes up brokers' ids gets it logged
// again, in the end.
type onceSet struct {
	mu   sync.Mutex
	seen map[told]struct{}
}

const maxTold = 1024

func (s *onceSet) first(t told) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, seen := s.seen[t]; seen {
		return false
	}
	if s.seen == nil || len(s.seen) >= maxTold {
		s.seen = make(map[told]struct{})
	}
	s.seen[t] = struct{}{}
	return true
}

// forget lets what concerns a broker be logged again: it has been linked since.
func (s *onceSet) forget(b wire.BrokerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.seen {
		if t.broker == b {
			delete(s.seen, t)
		}
	}
}
