package peer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// keep keeps links to a broker up: it waits while a pair stands and dials when there is none.
func (l *Links) keep(life context.Context, b *broker) {
	redial := redials{cfg: &l.cfg, pause: l.cfg.RedialMin}
	for life.Err() == nil {
		p, broken := l.standing(b)
		var wait time.Duration
		if p != nil {
			select {
			case <-p.done:
				wait = redial.afterPair(p.stood)
			case <-life.Done():
			}
		} else if err := l.dial(life, b, redial.soon(broken != 0)); err != nil && life.Err() == nil {
			var gone bool
			if wait, gone = redial.afterFailure(err, broken != 0); gone {
				l.gone(b, broken)
			}
		}
		if wait == 0 {
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-b.changed:
			redial.reset()
		case <-life.Done():
		}
		timer.Stop()
	}
}

// redials says how long to wait before a broker is dialled again.
type redials struct {
	cfg     *Config
	pause   time.Duration // the next one, but for jitter
	tries   int           // since there was a pair
	refused bool          // the last attempt was, and a process is missed
}

func (r *redials) reset() { r.pause, r.tries, r.refused = r.cfg.RedialMin, 0, false }

// soon says if what became of a process that is missed can still be found out quickly.
func (r *redials) soon(missed bool) bool { return missed && r.tries < 2 }

// afterPair returns nothing to wait for, unless the pair has stood for so short a time that what
// ended it will end the next one too.
func (r *redials) afterPair(stood time.Duration) time.Duration {
	if stood >= r.cfg.RedialMax {
		r.reset()
		return 0
	}
	r.tries, r.refused = 0, false
	return r.next()
}

// afterFailure also says if a process that is missed is known to be gone: two attempts in a row
// were refused.
func (r *redials) afterFailure(err error, missed bool) (wait time.Duration, gone bool) {
	wait = r.next()
	r.tries++
	switch {
	case !missed || !errors.Is(err, syscall.ECONNREFUSED):
		r.refused = false
	case r.refused:
		r.refused, gone = false, true
	default:
		r.refused, wait = true, r.cfg.RefusedInterval
	}
	return wait, gone
}

func (r *redials) next() time.Duration {
	wait := r.pause/2 + rand.N(r.pause/2+1)
	r.pause = min(2*r.pause, r.cfg.RedialMax)
	return wait
}

// standing returns the pair that stands or is being agreed on. If there is none, it returns the run
// whose links have broken, as long as nobody knows what became of it.
func (l *Links) standing(b *broker) (*pair, wire.Incarnation) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return b.current(), b.broken
}

// gone tells, once, that a process is not there any more.
func (l *Links) gone(b *broker, run wire.Incarnation) {
	l.mu.Lock()
	first := b.broken == run
	b.broken = 0
	l.mu.Unlock()
	if first {
		l.handler.Refused(b.id, run)
	}
}

// dial tries a broker's addresses in turn, the one where it was reached before first, or only that
// one. Its error is an ECONNREFUSED if nobody is there any more: at the address where it was
// reached, or, if that is not known, at any.
func (l *Links) dial(ctx context.Context, b *broker, onlyReached bool) error {
	l.mu.RLock()
	addresses, lost := slices.Clone(b.addresses), b.lost
	at := slices.Index(addresses, b.reached)
	l.mu.RUnlock()
	if at >= 0 {
		addresses[0], addresses[at] = addresses[at], addresses[0]
		if onlyReached {
			addresses = addresses[:1]
		}
	}
	told := errNoAddress
	for i, address := range addresses {
		err := l.dialPair(ctx, b.id, address, lost)
		if err == nil {
			return nil
		}
		l.refused(b.id, address, err)
		switch {
		case i == 0, at < 0 && isAbsent(told) && !isSomebodyElse(err):
			told = err
		}
	}
	return told
}

var errNoAddress = errors.New("no address is known")

// isAbsent says that a broker is not at an address: nobody is, or somebody else.
func isAbsent(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) || isSomebodyElse(err) }

func isSomebodyElse(err error) bool {
	var r *refusal
	return errors.As(err, &r) && (r.reason == reasonBroker || r.reason == reasonSelf)
}

// dialPair makes a pair of links by way of one address.
func (l *Links) dialPair(ctx context.Context, id wire.BrokerID, address string, lost uint64) error {
	limited, cancel := context.WithTimeout(ctx, l.cfg.HandshakeTimeout)
	defer cancel()
	greeting := wire.LinkGreeting{
		MinProtocol: minProtocol, MaxProtocol: maxProtocol, From: wire.LinkEnd(l.self), To: id, Nonce: newNonce(), Lost: lost,
	}
	control, err := l.greet(limited, address, &greeting)
	if err != nil {
		return err
	}
	greeting.Bulk = true
	bulk, err := l.greet(limited, address, &greeting)
	if err == nil {
		if err = l.agree(ctx, address, &greeting, control, bulk); err == nil {
			return nil
		}
		bulk.close()
	}
	control.close()
	return err
}

// greet opens one connection and says who wants what. The connection is closed when ctx ends,
// until it is released from that.
func (l *Links) greet(ctx context.Context, address string, m *wire.LinkGreeting) (*conn, error) {
	dialling, cancel := context.WithTimeout(ctx, l.cfg.DialTimeout)
	defer cancel()
	raw, err := l.dialer.Dial(dialling, address)
	if err != nil {
		return nil, err
	}
	release := context.AfterFunc(ctx, func() { _ = raw.Close() })
	var c *conn
	if _, err = raw.Write(Preface[:]); err == nil {
		if c, err = l.encrypt(dialling, raw, true, address); err == nil {
			c.release = release
			err = c.say(m)
		}
	}
	if err != nil {
		release()
		_ = raw.Close()
		return nil, fmt.Errorf("greet %s: %w", address, err)
	}
	return c, nil
}

// agree hears the answers, has the last word, and starts the pair.
func (l *Links) agree(ctx context.Context, address string, greeting *wire.LinkGreeting, control, bulk *conn) error {
	var answers [2]wire.LinkWelcome
	for i, c := range []*conn{control, bulk} {
		if err := c.hear(&answers[i]); err != nil {
			return err
		}
	}
	p := l.newPair(Identity(answers[0].From), greeting.Nonce, 0, control, bulk)
	p.address = address
	r := l.checkWelcome(greeting.To, &answers[0], &answers[1])
	if r != nil && r.theirs {
		return r
	}
	var b *broker
	if r == nil {
		b, r = l.claim(ctx, p, false)
	}
	err := sayBoth(control, bulk, &wire.LinkConfirm{Refusal: r.words()})
	if r != nil {
		return r
	}
	return l.settle(b, p, err)
}

// settle starts a pair that has claimed its broker's slot, if nothing came between.
func (l *Links) settle(b *broker, p *pair, err error) error {
	for _, c := range []*conn{p.control.conn, p.bulk.conn} {
		if !c.release() && err == nil {
			err = context.DeadlineExceeded
		}
	}
	if err != nil {
		l.abandon(b, p, err)
		return err
	}
	l.launch(b, p)
	return nil
}

func sayBoth(control, bulk *conn, m wire.Message) error {
	if err := control.say(m); err != nil {
		return err
	}
	return bulk.say(m)
}
