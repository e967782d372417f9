package clients

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What members of classic groups tell the coordinator, in every driver; 6 s is the shortest session that
// brokers allow.
const (
	sessionTimeout    = 6 * time.Second
	heartbeatInterval = 500 * time.Millisecond
)

// settleLimit is how long a group may take until its members have read and committed what is there:
// sessions end meanwhile, and some clients take their time.
const settleLimit = 90 * time.Second

// crew is a group and those of its members that a test drives.
type crew struct {
	t            *testing.T
	bootstrap    string
	topic, group string
	partitions   int32
	produced     []int64 // by partition
	admin        *kadm.Client
	// forgiving lets members go on after an error: while brokers die, some clients have their application try again.
	forgiving bool

	mu   sync.Mutex
	seen map[place]string // by whom last
}

// place is where a record lies.
type place struct {
	partition int32
	offset    int64
}

// hand is a member at work: it polls and commits until it leaves or dies.
type hand struct {
	name   string
	client client
	crew   *crew
	stop   context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	read  map[place]bool
	fault error // of its last poll
}

// member is a client that needs no driver, in a group.
type member interface {
	join(r request) error
	poll(ctx context.Context, r request) (answer, error)
	leave(ctx context.Context) error
}

// doAsMember does what only members are asked for, and has the client do the rest.
func doAsMember(ctx context.Context, m member, c client, r request) (answer, error) {
	switch r.Op {
	case "join":
		return answer{}, m.join(r)
	case "poll":
		return m.poll(ctx, r)
	case "leave":
		return answer{}, m.leave(ctx)
	}
	return c.do(ctx, r)
}

// newCrew has a topic of its own and a group of the same name.
func newCrew(t *testing.T, partitions int32) *crew {
	t.Helper()
	return newCrewAt(t, bootstrap, partitions, 1)
}

func newCrewAt(t *testing.T, bootstrap string, partitions int32, replicas int16) *crew {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(bootstrap, ",")...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	c := &crew{
		t: t, bootstrap: bootstrap, topic: topicName(t), partitions: partitions, produced: make([]int64, partitions),
		admin: kadm.NewClient(client), seen: map[place]string{},
	}
	c.group = c.topic
	if _, err := c.admin.CreateTopic(t.Context(), partitions, replicas, nil, c.topic); err != nil {
		t.Fatal(err)
	}
	return c
}

// join has a client of that kind join the group.
func (c *crew) join(k kind, how request) *hand {
	c.t.Helper()
	open := k.open
	if k.openMember != nil {
		open = k.openMember
	}
	h := &hand{name: k.name, client: open(c.t, c.bootstrap), crew: c, done: make(chan struct{}), read: map[place]bool{}}
	how.Op, how.Group = "join", c.group
	if how.Topic == "" {
		how.Topic = c.topic
	}
	if _, err := h.client.do(c.t.Context(), how); err != nil {
		c.t.Fatalf("%s joins: %v", k.name, err)
	}
	ctx, stop := context.WithCancel(c.t.Context())
	h.stop = stop
	go h.work(ctx)
	c.t.Cleanup(func() { h.stop(); <-h.done })
	return h
}

func (h *hand) work(ctx context.Context) {
	defer close(h.done)
	for ctx.Err() == nil {
		// The request itself is not cut short: a driver would take the next one for its answer.
		a, err := h.client.do(context.WithoutCancel(ctx), request{Op: "poll", Count: 1000, Millis: 200})
		if err != nil && h.crew.forgiving && ctx.Err() == nil {
			h.crew.t.Logf("%s goes on after: %v", h.name, err)
			err = nil
			time.Sleep(heartbeatInterval)
		}
		h.mu.Lock()
		h.fault = err
		h.crew.mu.Lock()
		for _, r := range a.Records {
			at := place{r.Partition, r.Offset}
			h.read[at], h.crew.seen[at] = true, h.name
		}
		h.crew.mu.Unlock()
		h.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// count returns how many records the member has read.
func (h *hand) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.read)
}

// err returns what ended the member's work.
func (h *hand) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fault
}

// partitions are those that the member has read from since the offsets.
func (h *hand) partitions(since []int64) map[int32]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := map[int32]bool{}
	for at := range h.read {
		if at.offset >= since[at.partition] {
			found[at.partition] = true
		}
	}
	return found
}

// leave ends the member as it would end itself.
func (h *hand) leave() {
	h.crew.t.Helper()
	h.stop()
	<-h.done
	if _, err := h.client.do(h.crew.t.Context(), request{Op: "leave"}); err != nil {
		h.crew.t.Fatalf("%s leaves: %v", h.name, err)
	}
}

// die ends the member without a word to the coordinator.
func (h *hand) die() {
	h.crew.t.Helper()
	h.stop()
	mortal, ok := h.client.(interface{ die() })
	if !ok {
		h.crew.t.Fatalf("%s cannot be killed", h.name)
	}
	mortal.die()
	<-h.done
}

// produce writes n records to each partition.
func (c *crew) produce(n int) {
	c.t.Helper()
	var all []record
	for partition := range c.partitions {
		for i := range n {
			value := fmt.Appendf(nil, "%d/%d", partition, c.produced[partition]+int64(i))
			all = append(all, record{Partition: partition, Timestamp: firstTimestamp, Value: &value})
		}
		c.produced[partition] += int64(n)
	}
	produce(c.t, franz{c.bootstrap}, request{Topic: c.topic, Codec: "none", Acks: "all", Idempotent: true, Records: all})
}

// settle waits until all that was produced has been read and is committed. A member that keeps its
// partitions in a rebalance in which its commit failed commits again only when it has read more, so now and
// then it is given more.
func (c *crew) settle(members ...*hand) {
	c.t.Helper()
	var missing string
	const patience = 3 * time.Second
	nudge := time.Now().Add(patience)
	for deadline := time.Now().Add(settleLimit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		for _, h := range members {
			if err := h.err(); err != nil {
				c.t.Fatalf("%s: %v", h.name, err)
			}
		}
		if missing = c.unread(); missing != "" {
			nudge = time.Now().Add(patience)
			continue
		}
		if missing = c.uncommitted(); missing == "" {
			return
		}
		if time.Now().After(nudge) {
			c.produce(1)
			nudge = time.Now().Add(patience)
		}
	}
	for _, h := range members {
		c.t.Logf("%s has read %d records", h.name, h.count())
	}
	c.t.Fatalf("after %s %s", settleLimit, missing)
}

func (c *crew) unread() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for partition, end := range c.produced {
		for offset := range end {
			if _, ok := c.seen[place{int32(partition), offset}]; !ok {
				return fmt.Sprintf("nobody has read offset %d of partition %d", offset, partition)
			}
		}
	}
	return ""
}

// offsets asks what is committed, with a client of its own: one that has found a coordinator asks that one until it
// is told that there is another, and who is dead tells nothing.
func (c *crew) offsets() (kadm.OffsetResponses, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(c.bootstrap, ",")...))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), answerLimit)
	defer cancel()
	return kadm.NewClient(client).FetchOffsets(ctx, c.group)
}

func (c *crew) uncommitted() string {
	offsets, err := c.offsets()
	if err != nil {
		return fmt.Sprintf("the offsets cannot be read: %v", err)
	}
	for partition, end := range c.produced {
		if got, ok := offsets.Lookup(c.topic, int32(partition)); !ok || got.Err != nil || got.At != end {
			return fmt.Sprintf("of partition %d is committed %d (%v), %d were written", partition, got.At, got.Err, end)
		}
	}
	return ""
}

// share waits until every member has a share: of a round of records each has read some, and no two have read of
// the same partition.
func (c *crew) share(members ...*hand) {
	c.t.Helper()
	var shares []map[int32]bool
	for deadline := time.Now().Add(settleLimit); time.Now().Before(deadline); {
		since := append([]int64{}, c.produced...)
		c.produce(3)
		c.settle(members...)
		owners, all := map[int32]int{}, true
		shares = shares[:0]
		for _, h := range members {
			share := h.partitions(since)
			shares = append(shares, share)
			all = all && len(share) > 0
			for partition := range share {
				owners[partition]++
			}
		}
		if all && len(owners) == int(c.partitions) && maxOf(owners) == 1 {
			return
		}
	}
	for i, h := range members {
		c.t.Logf("%s read of partitions %v", h.name, shares[i])
	}
	c.t.Fatalf("after %s the %d members do not share the %d partitions", settleLimit, len(members), c.partitions)
}

func maxOf(counts map[int32]int) int {
	most := 0
	for n := range maps.Values(counts) {
		most = max(most, n)
	}
	return most
}

// expectNothingBefore fails when the member has read what was committed before it joined.
func (h *hand) expectNothingBefore(committed []int64) {
	h.crew.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for at := range h.read {
		if at.offset < committed[at.partition] {
			h.crew.t.Fatalf("%s has read offset %d of partition %d again, %d was committed", h.name, at.offset, at.partition, committed[at.partition])
		}
	}
}
