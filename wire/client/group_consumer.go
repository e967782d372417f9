package client

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// GroupConsumer is a member of a consumer group: its members share the partitions of the topics that they subscribe to, each partition
// belongs to one of them at a time, and what they commit is where whoever has the partition next goes on.
//
//	heartbeats, a goroutine --> coordinator --> the assignment: what this member is to have
//	                                                  |
//	Poll --> settle: gives up what is to go, begins with what has come, one step after the other
//	  |                                               |
//	  '----> records of what it owns <-- Consumer, which reads ahead in the partitions it is given
//
// What happens to partitions happens inside Poll, so that a program need not lock: records that Poll has returned are done with
// once it is called again, and are committed before their partition goes to somebody else. Partitions that stay are read on
// meanwhile. Poll and Close are for one goroutine; all other methods may be called by many.
type GroupConsumer struct {
	client *Client
	cfg    GroupConfig
	group  wire.GroupID
	reader *Consumer // reads what is owned; its ready also wakes Poll for what is told here
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	polling chan struct{}  // holds one, of the Poll or Close that is under way
	caller  occupant       // on which that calls a callback
	closing chan struct{}  // closed by Close: Poll returns
	over    chan struct{}  // closed when Close has been through
	once    sync.Once      // for Close
	ended   sync.Once      // stop has been here
	kick    chan struct{}  // for the heartbeats; holds one
	quiet   chan struct{}  // closed when there are no more heartbeats
	dones   callbacks      // of CommitAsync
	telling sync.WaitGroup // the goroutine of dones

	mu       sync.Mutex
	closed   bool
	inPoll   bool
	lastPoll time.Time // when Poll returned
	membership
	assignment
	commits
}

// NewGroupConsumer joins a group and begins to read what the group gives to it. Options say which topics:
//
//	g, err := c.NewGroupConsumer("billing", client.Topics("orders"))
func (cl *Client) NewGroupConsumer(group string, options ...GroupOption) (*GroupConsumer, error) {
	cfg := DefaultGroupConfig()
	for _, option := range options {
		option.applyToGroup(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if group == "" {
		return nil, errors.New("group consumer: the group has no name")
	}
	orDefault(&cfg.ClientID, cl.cfg.Software)
	reading := cfg.Consumer
	reading.Topics, reading.Pattern = nil, nil // the group says what is read
	reader, err := cl.newConsumer(reading)
	if err != nil {
		return nil, err
	}
	g := &GroupConsumer{
		client: cl, cfg: cfg, group: wire.GroupID(group), reader: reader,
		polling: make(chan struct{}, 1), closing: make(chan struct{}), over: make(chan struct{}),
		kick: make(chan struct{}, 1), quiet: make(chan struct{}), lastPoll: now(),
	}
	g.dones.init()
	g.memberID = newMemberID()
	g.owned = make(map[slot]PartitionName)
	g.going = make(map[slot]PartitionName)
	g.last = make(map[PartitionName]Offset)
	g.begun = make(map[PartitionName]bool)
	g.ctx, g.cancel = context.WithCancel(context.Background())
	if err := cl.subscribe(g); err != nil {
		g.cancel()
		return nil, errors.Join(err, reader.Close())
	}
	for _, name := range cfg.Consumer.Topics {
		cl.refresh.want(name, false)
	}
	if cfg.Consumer.Pattern != nil {
		cl.refresh.wantAll(1)
	}
	cl.refresh.ask()
	g.telling.Go(g.dones.run)
	g.tasks.Go(g.beat)
	return g, nil
}

// newMemberID returns a random id, as Kafka's members choose theirs.
func newMemberID() wire.MemberID {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return wire.MemberID(base64.RawURLEncoding.EncodeToString(b[:]))
}

// Poll returns records of the member's partitions, in the order of each, as soon as there are any. In Poll partitions come and go,
// see GroupConfig.OnAssigned; with AutoCommit the records that it has returned before count as done.
//
// It returns a *PartitionError when a partition cannot be read on, which then rests until Seek; ctx's error when ctx ends first,
// with the latest problem if there is one, such as a topic that does not exist yet; and the coordinator's refusal, again and again,
// when the group does not take this member: ErrorCode has Kafka's number of it. Callbacks of the consumer cannot poll: ErrInCallback.
func (g *GroupConsumer) Poll(ctx context.Context) ([]Record, error) {
	if g.caller.mine() || g.dones.mine() {
		return nil, ErrInCallback
	}
	select {
	case g.polling <- struct{}{}:
		defer func() { <-g.polling }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-g.closing:
		return nil, ErrClosed
	}
	if err := g.enterPoll(); err != nil {
		return nil, err
	}
	defer g.leavePoll()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if err := g.settle(); err != nil {
			return nil, err
		}
		timer.Reset(g.autoCommit(now()))
		records, err, last := g.reader.next()
		if len(records) > 0 || err != nil {
			return records, err
		}
		select {
		case <-g.reader.ready:
		case <-timer.C:
		case <-ctx.Done():
			return nil, giveUpPoll(ctx.Err(), g.problem(last))
		case <-g.closing:
			return nil, ErrClosed
		case <-g.ctx.Done():
			return nil, ErrClosed
		}
	}
}

func (g *GroupConsumer) enterPoll() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	g.inPoll = true
	if g.state != joined {
		signal(g.kick) // it may have been waiting for this
	}
	return nil
}

func (g *GroupConsumer) leavePoll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inPoll, g.lastPoll = false, now()
}

// problem is the latest one that passes by itself: that of the member before that of a partition, and a topic that is not there
// last, since it may be about to be created.
func (g *GroupConsumer) problem(of error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.trouble != nil {
		return g.trouble
	}
	m := g.client.meta.Load()
	for _, name := range g.cfg.Consumer.Topics {
		if t := m.topics[name]; of == nil && t != nil && t.err != nil {
			of = fmt.Errorf("topic %s: %w", name, t.err)
		}
	}
	return of
}

// Owned returns the partitions that are the member's at present, sorted.
func (g *GroupConsumer) Owned() []PartitionName {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ownedNames()
}

// MemberID returns the id by which the group knows the member.
func (g *GroupConsumer) MemberID() string { return string(g.memberID) }

// Pause keeps a partition's records from Poll until Resume, or until the partition goes.
func (g *GroupConsumer) Pause(topic string, partition int32) error {
	return g.reader.Pause(topic, partition)
}

// Resume undoes Pause.
func (g *GroupConsumer) Resume(topic string, partition int32) error {
	return g.reader.Resume(topic, partition)
}

// Seek goes on reading a partition from elsewhere. It does not commit.
func (g *GroupConsumer) Seek(topic string, partition int32, to Start) error {
	return g.reader.Seek(topic, partition, to)
}

// Positions returns where the member is in each of its partitions, sorted.
func (g *GroupConsumer) Positions() []Position { return g.reader.Positions() }

// clusterChanged implements subscriber: a topic may have become known that the member has to read.
func (g *GroupConsumer) clusterChanged() { signal(g.reader.ready) }

// closeTimeout bounds the last commit and the farewell.
const closeTimeout = 10 * time.Second

// beginTimeout is how long of that a partition is waited for of which nothing is committed, and of which its leader has not told yet
// where it begins.
const beginTimeout = 3 * time.Second

// Close gives all partitions up and leaves the group, so that others go on at once; a static member's are kept for it. Poll's
// records count as done: with AutoCommit they are committed, and an error says that they could not be.
//
// It waits for Poll to return and for callbacks that are under way, but for a done of CommitAsync that has called it.
func (g *GroupConsumer) Close() error {
	if g.caller.mine() {
		return ErrInCallback
	}
	var err error
	first := false
	g.once.Do(func() { first = true })
	switch {
	case first:
		close(g.closing)
		err = g.close()
		close(g.over)
	case !g.dones.mine(): // the other waits for these
		<-g.over
	}
	return err
}

func (g *GroupConsumer) close() error {
	g.polling <- struct{}{}
	defer func() { <-g.polling }()
	g.mu.Lock()
	abandoned := g.closed
	g.closed, g.inPoll = true, true
	g.mu.Unlock()
	if abandoned {
		return nil
	}
	ctx, cancel := context.WithTimeout(g.ctx, closeTimeout)
	defer cancel()
	err := g.farewell(ctx)
	g.client.unsubscribe(g)
	g.stop()
	return errors.Join(err, g.reader.Close())
}

// abandon implements subscriber: nobody can be told any more.
func (g *GroupConsumer) abandon() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.stop()
}

func (g *GroupConsumer) stop() {
	g.mu.Lock()
	g.cancel() // from here on no further task begins
	g.mu.Unlock()
	g.tasks.Wait()
	g.dones.close()
	if !g.dones.mine() {
		g.telling.Wait()
	}
	g.ended.Do(func() {
		if g.cfg.Consumer.Pattern != nil {
			g.client.refresh.wantAll(-1)
		}
	})
}

// farewell commits, gives up and leaves. Until the commits have been answered there are heartbeats, by which the member hears of the
// epoch to commit in.
func (g *GroupConsumer) farewell(ctx context.Context) error {
	var err error
	if g.joined() {
		err = g.giveUp(ctx)
	} else {
		g.tellLost()
	}
	g.quit(ctx)
	g.mu.Lock()
	known, leave := g.state == joined, g.heartbeat(g.leavingEpoch())
	unsure := g.state == joining && !g.sent.IsZero() // who asked to join may be in without having heard of it
	g.mu.Unlock()
	if !known && !unsure {
		return err
	}
	if unsure {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lostAfter)
		defer cancel()
	}
	if _, leaveErr := g.client.askGroup(ctx, leave); leaveErr != nil && known && g.ctx.Err() == nil {
		err = errors.Join(err, fmt.Errorf("leave group %s: %w", g.group, leaveErr))
	}
	return err
}

// giveUp commits what is the member's and lets it go.
func (g *GroupConsumer) giveUp(ctx context.Context) error {
	names := g.Owned() // without those of which OnRevoked has been told
	g.reader.withhold(names)
	g.awaitBeginnings(ctx, names)
	var err error
	if g.cfg.AutoCommit {
		err = g.CommitSync(ctx)
	} else if offsets := g.takeBeginnings(names); len(offsets) > 0 {
		err = g.CommitSync(ctx, offsets...)
	}
	if !g.joined() {
		g.tellLost()
		return err
	}
	g.call(g.cfg.OnRevoked, names)
	g.barrier(ctx)
	g.drop(names)
	return err
}

// awaitBeginnings waits until it is known where those of the partitions begin where nothing is committed: it is to be committed before they
// are let go, as whoever has them next would begin at an end that has moved on.
func (g *GroupConsumer) awaitBeginnings(ctx context.Context, names []PartitionName) {
	ctx, cancel := context.WithTimeout(ctx, beginTimeout)
	defer cancel()
	g.mu.Lock()
	names = g.unset(names)
	g.mu.Unlock()
	g.reader.awaitBeginnings(ctx, names)
}

// tellLost forgets what was the member's.
func (g *GroupConsumer) tellLost() {
	names := g.Owned()
	g.drop(names)
	g.call(g.cfg.OnLost, names)
}

func (g *GroupConsumer) joined() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state == joined
}

// call calls a callback with partitions, if there are any.
func (g *GroupConsumer) call(f func([]PartitionName), names []PartitionName) {
	if f == nil || len(names) == 0 {
		return
	}
	g.caller.enter()
	defer g.caller.leave()
	f(slices.Clone(names))
}
