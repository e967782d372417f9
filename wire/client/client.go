package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config configures a Client. The zero value of every field stands for its default.
type Config struct {
	// Addrs are brokers to begin with, host:port. One that answers is enough: the others are
	// learnt from it.
	Addrs []string
	// Software and SoftwareVersion name the program in the logs of brokers.
	Software, SoftwareVersion string
	// Dial makes connections; a net.Dialer by default. It is the place for proxies and tests.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// DialTimeout bounds connecting and greeting. 5 s.
	DialTimeout time.Duration
	// RequestTimeout bounds one attempt at a request. 30 s.
	RequestTimeout time.Duration
	// PingInterval is how long a connection may be silent before it is pinged, and DeadAfter how
	// long it may be silent before it is given up. 1 s and 3 s.
	PingInterval, DeadAfter time.Duration
	// RetryBackoff is the pause after a failure; it doubles with every tenth in a row up to
	// MaxRetryBackoff, give or take a fifth. A partition that has got another leader is tried without
	// a pause. 50 ms and 1 s.
	RetryBackoff, MaxRetryBackoff time.Duration
	// MetadataMaxAge is how often the layout of the cluster is asked for although nothing seems
	// wrong: so long may it take until a consumer notices new partitions and topics. 10 s.
	MetadataMaxAge time.Duration
	// OnRetry, if set, is called with each failure that the client answers by trying again, and with
	// a nil error when what had failed has succeeded: so a program can tell a person why nothing
	// moves. It says which partition could not be written or read; the topic is "" and the partition
	// -1 when it is the producer's identity or a group. It is called on a goroutine of its own, and
	// may call the client; while it takes its time, the oldest of more than 1000 failures are left out.
	OnRetry func(topic string, partition int32, err error)
	// NoAutoCreate keeps producing from creating topics that do not exist.
	NoAutoCreate bool
}

func (c *Config) complete() error {
	if len(c.Addrs) == 0 {
		return errors.New("client: no address of a broker is given")
	}
	for _, addr := range c.Addrs {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("client: address %q: want host:port", addr)
		}
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	orDefault(&c.Software, "troupe-go")
	orDefault(&c.SoftwareVersion, moduleVersion())
	orDefault(&c.DialTimeout, 5*time.Second)
	orDefault(&c.RequestTimeout, 30*time.Second)
	orDefault(&c.PingInterval, time.Second)
	orDefault(&c.DeadAfter, 3*time.Second)
	orDefault(&c.RetryBackoff, 50*time.Millisecond)
	orDefault(&c.MaxRetryBackoff, time.Second)
	orDefault(&c.MetadataMaxAge, 10*time.Second)
	return nil
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func moduleVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}

// Client is a program's access to one cluster. It may be used by many goroutines at once.
type Client struct {
	cfg    Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup // the refresher, and dials
	conns  sync.WaitGroup // the goroutines of connections

	notices callbacks      // calls of OnRetry
	telling sync.WaitGroup // the goroutine of notices

	meta    atomic.Pointer[metadata] // never nil; replaced, never changed
	refresh refresher

	mu          sync.Mutex
	links       map[string]*link // by address
	subscribers map[subscriber]struct{}
	closed      bool
}

// subscriber is told when something about the cluster has changed that may let it go on: other
// metadata, a connection that is there or is gone. It must not block.
type subscriber interface {
	clusterChanged()
	abandon() // the client is being closed
}

// New returns a Client that begins with the brokers at addrs. It connects when it is first needed.
func New(addrs ...string) (*Client, error) { return NewWith(Config{Addrs: addrs}) }

// NewWith returns a Client with a configuration of its own.
func NewWith(cfg Config) (*Client, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	cl := &Client{cfg: cfg, links: make(map[string]*link), subscribers: make(map[subscriber]struct{})}
	cl.ctx, cl.cancel = context.WithCancel(context.Background())
	cl.meta.Store(new(metadata))
	cl.refresh.init()
	cl.notices.most = maxNotices
	cl.notices.init()
	if cfg.OnRetry != nil {
		cl.telling.Go(cl.notices.run)
	}
	cl.tasks.Go(cl.keepFresh)
	return cl, nil
}

// maxNotices is how many calls of OnRetry may wait.
const maxNotices = 1000

// retried has OnRetry told of a failure, or with nil that it is over. The caller may hold any lock.
func (cl *Client) retried(topic string, partition int32, err error) {
	if cl.cfg.OnRetry != nil {
		cl.notices.put(func() { cl.cfg.OnRetry(topic, partition, err) })
	}
}

// Close closes the client with all its producers and consumers, at once: records that are not
// acknowledged yet get ErrClosed. Flush or close the producers before. It waits for every
// goroutine of the client, but for that of a callback by which it is called.
func (cl *Client) Close() error {
	cl.mu.Lock()
	if cl.closed {
		cl.mu.Unlock()
		return nil
	}
	cl.closed = true
	subscribers := cl.subscribers
	cl.subscribers = nil
	cl.mu.Unlock()
	cl.cancel()
	cl.tasks.Wait() // no further connection is made
	for _, l := range cl.links {
		if l.conn != nil {
			l.conn.fail(ErrClosed)
		}
	}
	cl.conns.Wait() // every request has been answered, if only by an error
	for s := range subscribers {
		s.abandon()
	}
	cl.notices.close()
	if !cl.notices.mine() {
		cl.telling.Wait() // last: what it has called has been let go by now
	}
	return nil
}

func (cl *Client) subscribe(s subscriber) error {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.closed {
		return ErrClosed
	}
	cl.subscribers[s] = struct{}{}
	return nil
}

func (cl *Client) unsubscribe(s subscriber) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	delete(cl.subscribers, s)
}

// changed tells every subscriber.
func (cl *Client) changed() {
	cl.mu.Lock()
	subscribers := make([]subscriber, 0, len(cl.subscribers))
	for s := range cl.subscribers {
		subscribers = append(subscribers, s)
	}
	cl.mu.Unlock()
	for _, s := range subscribers {
		s.clusterChanged()
	}
}

// link is what is known of the way to one address: a connection, an attempt at one, or when the
// next attempt may be made.
type link struct {
	conn     *conn
	dialing  chan struct{} // closed when the attempt has ended; nil without one
	since    time.Time     // when that attempt began
	err      error         // of the last attempt
	failures int
	failing  time.Time // since when every attempt has failed; zero while none has
	notUntil time.Time
}

// connTo returns the connection to addr. Without one it begins to dial, unless the last failure
// is too recent, and returns nil; subscribers hear of the outcome.
func (cl *Client) connTo(addr string) *conn {
	c, _ := cl.connOrDial(addr)
	return c
}

func (cl *Client) connOrDial(addr string) (*conn, <-chan struct{}) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.closed {
		return nil, nil
	}
	l := cl.links[addr]
	if l == nil {
		l = new(link)
		cl.links[addr] = l
	}
	switch {
	case l.conn != nil && l.conn.live():
		return l.conn, nil
	case l.dialing != nil:
		return nil, l.dialing
	case now().Before(l.notUntil):
		return nil, nil
	}
	l.dialing, l.since = make(chan struct{}), now()
	cl.tasks.Go(func() { cl.dial(addr, l) })
	return nil, l.dialing
}

func (cl *Client) dial(addr string, l *link) {
	c, err := dial(cl.ctx, &cl.cfg, addr, &cl.conns, cl)
	cl.mu.Lock()
	l.conn, l.err = c, err
	if err != nil {
		if l.failures++; l.failures == 1 {
			l.failing = l.since
		}
		l.notUntil = now().Add(cl.backoff(l.failures))
	} else {
		l.failures, l.failing = 0, time.Time{}
	}
	close(l.dialing)
	l.dialing = nil
	cl.mu.Unlock()
	cl.changed()
}

// waitConn returns the connection to addr, waiting for one attempt to make it.
func (cl *Client) waitConn(ctx context.Context, addr string) (*conn, error) {
	c, dialing := cl.connOrDial(addr)
	if c != nil {
		return c, nil
	}
	if dialing != nil {
		select {
		case <-dialing:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.closed {
		return nil, ErrClosed
	}
	switch l := cl.links[addr]; {
	case l.conn != nil && l.conn.live():
		return l.conn, nil
	case errors.Is(l.err, ErrNotTroupe):
		return nil, l.err
	case l.err != nil:
		return nil, fmt.Errorf("%w: %w", errConnection, l.err)
	default:
		return nil, errConnection
	}
}

// connEnded implements connOwner. Whoever was led by that broker may be led by another soon.
func (cl *Client) connEnded() {
	cl.refresh.ask()
	cl.changed()
}

// connSlow implements connOwner. A leader that the others have lost keeps its clients waiting.
func (cl *Client) connSlow() { cl.refresh.ask() }

// unconnected returns why there is no connection to addr, and for how long to leave it at that; no
// error while the first attempt is made. When that takes its time, or has failed, the partition may
// be led elsewhere by now: so the metadata is asked for.
func (cl *Client) unconnected(addr string, at time.Time) (time.Duration, error) {
	cl.mu.Lock()
	l := cl.links[addr]
	failures, err := 0, error(nil)
	waiting := false
	if l != nil {
		failures, err = l.failures, l.err
		waiting = l.dialing != nil && at.Sub(l.since) >= cl.cfg.RetryBackoff
	}
	cl.mu.Unlock()
	if err != nil || waiting {
		cl.refresh.ask()
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", errConnection, err)
	}
	return cl.backoff(failures), err
}

// relayAfter is how long a leader cannot be reached before another broker is asked to forward requests
// to it. Usually there is another leader sooner.
const relayAfter = time.Second

// relay returns a connection to another broker, if the one at addr leads but cannot be reached from
// here: brokers forward what they cannot do themselves. It returns nil while that is not known for
// certain, and when there is no other connection.
func (cl *Client) relay(addr string, at time.Time) *conn {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	l := cl.links[addr]
	if l == nil || cl.closed {
		return nil
	}
	since := l.failing
	if since.IsZero() && l.dialing != nil {
		since = l.since
	}
	if since.IsZero() || at.Sub(since) < relayAfter {
		return nil
	}
	for _, other := range slices.Sorted(maps.Keys(cl.links)) {
		if c := cl.links[other].conn; other != addr && c != nil && c.live() && !c.silent(at) {
			return c
		}
	}
	return nil
}

// backoff returns the pause after so many failures in a row. Another leader is usually there within
// a few tenths of a second, which long pauses would waste; an outage that lasts is met with patience.
func (cl *Client) backoff(failures int) time.Duration {
	d := cl.cfg.RetryBackoff << min(max(failures-1, 0)/failuresPerDoubling, 16)
	if d <= 0 || d > cl.cfg.MaxRetryBackoff {
		d = cl.cfg.MaxRetryBackoff
	}
	return d*4/5 + rand.N(d*2/5+1)
}

const failuresPerDoubling = 10

// pause waits for the pause after so many failures, or for ctx.
func (cl *Client) pause(ctx context.Context, failures int) error {
	timer := time.NewTimer(cl.backoff(failures))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-cl.ctx.Done():
		return ErrClosed
	}
}

// now is the clock of the client.
var now = time.Now //nolint:forbidigo // the client runs in foreign programs, which have no clock to give it
