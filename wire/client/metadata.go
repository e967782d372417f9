package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// metadata is what is known of the cluster at one moment. It is shared and never changed.
type metadata struct {
	clusterID  string
	controller wire.BrokerID
	brokers    map[wire.BrokerID]wire.Broker
	topics     map[string]*topic
	all        bool // topics are all there are
}

// topic is a topic as the cluster described it, or why it could not.
type topic struct {
	name       string
	id         wire.TopicID
	internal   bool
	partitions []wire.Partition
	err        error
}

// addr returns where a broker is.
func (m *metadata) addr(id wire.BrokerID) (string, bool) {
	b, ok := m.brokers[id]
	return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))), ok
}

// place is where a partition is led, and in which epoch.
type place = wire.LeaderHint

// leader returns where a partition is led, and the address of that broker; "" while there is none.
func (m *metadata) leader(name string, id wire.TopicID, partition int32) (addr string, at place) {
	t := m.topics[name]
	if t == nil || t.id != id || int(partition) >= len(t.partitions) {
		return "", wire.NoHint
	}
	p := &t.partitions[partition]
	at = place{Broker: p.Leader, LeaderEpoch: p.LeaderEpoch}
	if addr, ok := m.addr(p.Leader); ok {
		return addr, at
	}
	return "", at
}

// leaderless says why nobody leads a partition: it may have no leader for a while, or its topic may be gone.
func (m *metadata) leaderless(name string, id wire.TopicID) error {
	switch t := m.topics[name]; {
	case t == nil: // not asked for yet
	case errors.Is(t.err, wire.UnknownTopicOrPartition):
		return wire.Errorf(wire.UnknownTopicOrPartition, "there is no topic %s any more", name)
	case t.err == nil && t.id != id:
		return wire.Errorf(wire.UnknownTopicID, "topic %s was deleted and created anew", name)
	}
	return wire.LeaderNotAvailable
}

// refresher says what the metadata must contain, and when it is to be asked for again.
type refresher struct {
	mu      sync.Mutex
	topics  map[string]bool // wanted; true when it may be created
	all     int             // consumers by regular expression
	wake    chan struct{}   // holds one
	round   chan struct{}   // closed when the next refresh that begins from now on has ended
	lastErr error

	from string // who answered last; the refresher's own
}

func (r *refresher) init() {
	r.topics = make(map[string]bool)
	r.wake, r.round = make(chan struct{}, 1), make(chan struct{})
}

// ask makes the refresher run soon and returns a channel that is closed afterwards.
func (r *refresher) ask() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return r.round
}

func (r *refresher) want(name string, create bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.topics[name] = create || r.topics[name]
}

func (r *refresher) wantAll(by int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all += by
}

// keepFresh is the refresher's goroutine. Several who ask at once share one refresh.
func (cl *Client) keepFresh() {
	r := &cl.refresh
	timer := time.NewTimer(cl.cfg.MetadataMaxAge)
	defer timer.Stop()
	failures := 0
	for {
		select {
		case <-r.wake:
		case <-timer.C:
		case <-cl.ctx.Done():
			r.mu.Lock()
			r.lastErr = ErrClosed
			close(r.round)
			r.mu.Unlock()
			return
		}
		r.mu.Lock()
		round := r.round
		r.round = make(chan struct{})
		r.mu.Unlock()
		err := cl.refreshOnce()
		r.mu.Lock()
		r.lastErr = err
		r.mu.Unlock()
		close(round)
		cl.changed()
		if err != nil {
			failures++
		} else {
			failures = 0
		}
		// At least one pause between two refreshes, whoever asks.
		_ = cl.pause(cl.ctx, failures)
		timer.Reset(cl.cfg.MetadataMaxAge)
	}
}

// maxNamedTopics is how many topics are asked for by name; a broker takes twice as many.
const maxNamedTopics = 10_000

func (cl *Client) refreshOnce() error {
	r := &cl.refresh
	r.mu.Lock()
	req := wire.MetadataRequest{All: r.all > 0}
	create := false
	for name, may := range r.topics {
		req.Names = append(req.Names, name)
		create = create || may
	}
	r.mu.Unlock()
	if len(req.Names) > maxNamedTopics {
		req.All, req.Names = true, nil
	}
	slices.Sort(req.Names)
	req.AutoCreate = create && !cl.cfg.NoAutoCreate
	var reply wire.MetadataReply
	ctx, cancel := context.WithTimeout(cl.ctx, cl.cfg.RequestTimeout)
	defer cancel()
	// Each time another broker is asked first: one that has lost the others knows nothing new.
	from, err := cl.askOf(ctx, cl.candidatesAfter(r.from), wire.KindMetadata, &req, &reply)
	if err != nil {
		return fmt.Errorf("ask for metadata: %w", err)
	}
	r.from = from
	cl.learn(&reply, req.All)
	return nil
}

// learn replaces the metadata by what a broker said, but keeps a leader of a later epoch.
func (cl *Client) learn(reply *wire.MetadataReply, all bool) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	old := cl.meta.Load()
	m := &metadata{
		clusterID: reply.ClusterID, controller: reply.Controller, all: all,
		brokers: make(map[wire.BrokerID]wire.Broker, len(reply.Brokers)),
		topics:  make(map[string]*topic, len(reply.Topics)),
	}
	for _, b := range reply.Brokers {
		m.brokers[b.ID] = b
	}
	for i := range reply.Topics {
		t := &reply.Topics[i]
		described := &topic{name: t.Name, id: t.ID, internal: t.Internal, partitions: t.Partitions, err: t.Err}
		if before := old.topics[t.Name]; before != nil && before.id == t.ID {
			for p := range min(len(before.partitions), len(t.Partitions)) {
				if before.partitions[p].LeaderEpoch > t.Partitions[p].LeaderEpoch {
					t.Partitions[p] = before.partitions[p]
				}
			}
		}
		m.topics[t.Name] = described
	}
	cl.meta.Store(m)
}

// hint takes over where a broker says that a partition is led. It returns whether that is known now;
// otherwise the metadata has to be asked for.
func (cl *Client) hint(name string, id wire.TopicID, partition int32, h wire.LeaderHint) bool {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	old := cl.meta.Load()
	t := old.topics[name]
	if t == nil || t.id != id || int(partition) >= len(t.partitions) || h.Broker == wire.NoBroker {
		return false
	}
	if _, known := old.brokers[h.Broker]; !known {
		return false
	}
	if p := &t.partitions[partition]; h.LeaderEpoch <= p.LeaderEpoch {
		return h.Broker == p.Leader && h.LeaderEpoch == p.LeaderEpoch // another has heard of it before
	}
	changed := *t
	changed.partitions = slices.Clone(t.partitions)
	changed.partitions[partition].Leader = h.Broker
	changed.partitions[partition].LeaderEpoch = h.LeaderEpoch
	m := *old
	m.topics = maps.Clone(old.topics)
	m.topics[name] = &changed
	cl.meta.Store(&m)
	return true
}

// topic returns a topic, asking the cluster when it is not known yet. A topic that does not
// exist is created on the way if create is true and the cluster does such.
func (cl *Client) topic(ctx context.Context, name string, create bool) (*topic, error) {
	if t := cl.meta.Load().topics[name]; t != nil && t.err == nil {
		return t, nil
	}
	cl.refresh.want(name, create)
	for failures := 1; ; failures++ {
		select {
		case <-cl.refresh.ask():
		case <-ctx.Done():
			return nil, fmt.Errorf("topic %s: %w", name, ctx.Err())
		}
		if cl.ctx.Err() != nil {
			return nil, ErrClosed
		}
		t := cl.meta.Load().topics[name]
		var err error
		switch {
		case t == nil:
			cl.refresh.mu.Lock()
			err = cl.refresh.lastErr
			cl.refresh.mu.Unlock()
			if err == nil || errors.Is(err, errConnection) {
				break // try again until ctx ends
			}
			return nil, fmt.Errorf("topic %s: %w", name, err)
		case t.err == nil:
			return t, nil
		case wire.Code(t.err) == wire.LeaderNotAvailable:
			err = t.err // being created
		default:
			return nil, fmt.Errorf("topic %s: %w", name, t.err)
		}
		if pauseErr := cl.pause(ctx, failures); pauseErr != nil {
			return nil, fmt.Errorf("topic %s: %w", name, giveUp(pauseErr, err))
		}
	}
}
