package metadata

import (
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// leaseTerm is shorter than the session: the broker knows that it may be fenced before it is.
const leaseTerm = SessionTimeout * 8 / 10

// Lease is the broker's side of its session: until when it may trust that it is not fenced. It runs
// from when the last acknowledged heartbeat was sent, which is before the controller's runs from.
// The zero Lease is held by nobody. One goroutine uses it.
type Lease struct {
	sent    []sentHeartbeat // those without an answer, in order
	renewed time.Time       // when the last acknowledged one was sent
	held    bool            // and it said that the broker is not fenced
}

type sentHeartbeat struct {
	id uint64
	at time.Time
}

// Sent notes that a heartbeat goes out; ids ascend.
func (l *Lease) Sent(id uint64, now time.Time) {
	// What was sent so long ago would renew nothing any more.
	for len(l.sent) > 0 && now.Sub(l.sent[0].at) >= leaseTerm {
		l.sent = l.sent[1:]
	}
	l.sent = append(l.sent, sentHeartbeat{id, now})
}

// Answered takes the reply to a heartbeat. One that is an error renews nothing; one that says that
// the broker is fenced ends the lease.
func (l *Lease) Answered(m *wire.HeartbeatReply) {
	for i, s := range l.sent {
		if s.id != m.ID {
			continue
		}
		l.sent = l.sent[i+1:]
		if m.Err == nil {
			l.held, l.renewed = !m.Fenced, s.at
		}
		return
	}
}

// Until tells when the lease ends; a time that is past if it is not held.
func (l *Lease) Until() time.Time {
	if !l.held {
		return time.Time{}
	}
	return l.renewed.Add(leaseTerm)
}

// Held says that the broker is not fenced at now.
func (l *Lease) Held(now time.Time) bool { return now.Before(l.Until()) }
