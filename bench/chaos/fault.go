package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/troupe-mq/troupe/bench/testbed"
)

// The kinds of faults.
const (
	FaultKill       = "kill"       // SIGKILL to a broker, which is started again
	FaultStop       = "stop"       // SIGSTOP to a broker, longer or shorter than its session, then SIGCONT
	FaultTerm       = "term"       // SIGTERM to a broker, which is started again
	FaultAll        = "all"        // SIGKILL to all brokers at once
	FaultAlone      = "alone"      // SIGKILL to a leader a moment after its followers, which come back before it
	FaultReplica    = "replica"    // an actor that leads a partition is stopped, or panics
	FaultController = "controller" // the actor of the controller is stopped, or panics
)

// Faults are all kinds.
var Faults = []string{FaultKill, FaultStop, FaultTerm, FaultAll, FaultAlone, FaultReplica, FaultController}

// Fault is one thing that was done to the cluster.
type Fault struct {
	Kind   string        `json:"kind"`
	Text   string        `json:"text"`
	Begun  time.Duration `json:"begun_ns"`
	Ended  time.Duration `json:"ended_ns"`  // when all that was stopped had been started again
	Healed time.Duration `json:"healed_ns"` // when the cluster was whole again; 0 when it was not before the next fault
	Seen   bool          `json:"seen"`      // the victim was seen dead or stalled
	Effect []string      `json:"effect"`    // what moved then: epoch, isr, controller, gap
	// Gaps are the longest times without an acknowledgement of any partition, by client library.
	Gaps map[string]time.Duration `json:"gaps_ns"`

	planned time.Duration // for how long
}

// Effective says that the fault has bitten.
func (f *Fault) Effective() bool { return f.Seen && len(f.Effect) > 0 }

// Gap is the longest time of any library.
func (f *Fault) Gap() (longest time.Duration) {
	for _, gap := range f.Gaps {
		longest = max(longest, gap)
	}
	return longest
}

// nemesis does things to a cluster. Its choices come from the seed.
type nemesis struct {
	cluster  *testbed.Cluster
	observer *Observer
	topic    string
	token    string // of the admin ports
	random   *rand.Rand
	kinds    []string
	deck     []string // kinds left of this round
}

// next draws a kind. Each comes once before any comes again.
func (n *nemesis) next() string {
	if len(n.deck) == 0 {
		n.deck = slices.Clone(n.kinds)
		n.random.Shuffle(len(n.deck), func(i, j int) { n.deck[i], n.deck[j] = n.deck[j], n.deck[i] })
	}
	kind := n.deck[0]
	n.deck = n.deck[1:]
	return kind
}

// strike does a fault and undoes it: every process runs again when it returns.
func (n *nemesis) strike(ctx context.Context, f *Fault) error {
	switch f.Kind {
	case FaultKill:
		return n.kill(ctx, f)
	case FaultStop:
		return n.stop(ctx, f)
	case FaultTerm:
		return n.term(ctx, f)
	case FaultAll:
		return n.all(ctx, f)
	case FaultAlone:
		return n.alone(ctx, f)
	case FaultReplica:
		partition := n.random.IntN(max(1, len(n.observer.Leaders())))
		return n.actor(ctx, f, fmt.Sprintf("replica/%s/%d", n.topic, partition), n.leader(partition))
	case FaultController:
		return n.actor(ctx, f, "controller", n.observer.Controller())
	}
	return fmt.Errorf("there is no fault %q", f.Kind)
}

// between draws a time.
func (n *nemesis) between(least, most time.Duration) time.Duration {
	return least + time.Duration(n.random.Int64N(int64(most-least)+1))
}

// member draws a member; as often as not it is the controller, or else anyone.
func (n *nemesis) member() *testbed.Member {
	i, controller := n.random.IntN(len(n.cluster.Members)), n.random.IntN(2) == 0
	if m := n.cluster.Member(n.observer.Controller()); controller && m != nil {
		return m
	}
	return n.cluster.Members[i]
}

func (n *nemesis) leader(partition int) int32 {
	leaders := n.observer.Leaders()
	if partition >= len(leaders) {
		return -1
	}
	return leaders[partition]
}

// describe names a broker by what it does.
func (n *nemesis) describe(m *testbed.Member) string {
	led := 0
	for _, leader := range n.observer.Leaders() {
		if leader == m.ID() {
			led++
		}
	}
	text := fmt.Sprintf("broker %d, which leads %d", m.ID(), led)
	if n.observer.Controller() == m.ID() {
		text += " and is the controller"
	}
	return text
}

func (n *nemesis) kill(ctx context.Context, f *Fault) error {
	m := n.member()
	f.planned = n.between(300*time.Millisecond, 1500*time.Millisecond)
	f.Text = n.describe(m)
	m.Process().Kill()
	f.Seen = !m.Alive()
	if err := sleep(ctx, f.planned); err != nil {
		return err
	}
	return m.Start(ctx)
}

// Half of the pauses outlast the session, so that the broker is replaced while it sleeps and wakes
// up believing that it leads.
func (n *nemesis) stop(ctx context.Context, f *Fault) error {
	m := n.member()
	f.planned = n.between(500*time.Millisecond, 1500*time.Millisecond)
	if n.random.IntN(2) == 0 {
		f.planned = n.between(4*time.Second, 5*time.Second)
	}
	f.Text = fmt.Sprintf("%s, for %s", n.describe(m), f.planned.Round(10*time.Millisecond))
	if err := m.Process().Pause(); err != nil {
		return err
	}
	f.Seen = m.Process().Paused()
	return errors.Join(sleep(ctx, f.planned), m.Process().Resume())
}

func (n *nemesis) term(ctx context.Context, f *Fault) error {
	m := n.member()
	f.planned = n.between(200*time.Millisecond, 700*time.Millisecond)
	f.Text = n.describe(m)
	if err := m.Process().Stop(); err != nil {
		return err
	}
	f.Seen = !m.Alive()
	if err := sleep(ctx, f.planned); err != nil {
		return err
	}
	return m.Start(ctx)
}

func (n *nemesis) all(ctx context.Context, f *Fault) error {
	f.planned = n.between(100*time.Millisecond, 600*time.Millisecond)
	f.Text = "every broker"
	testbed.KillAll(n.cluster.Members...)
	f.Seen = !slices.ContainsFunc(n.cluster.Members, (*testbed.Member).Alive)
	if err := sleep(ctx, f.planned); err != nil {
		return err
	}
	return testbed.StartAll(ctx, n.cluster.Members...)
}

// alone leaves a leader for a moment with followers that are dead, which it cannot know yet, and ends
// it too. The followers come back first: whoever of them leads then must have all that the leader had
// acknowledged. To stop them would not do: what is on its way to them waits in their sockets.
func (n *nemesis) alone(ctx context.Context, f *Fault) error {
	m := n.busiest()
	f.planned = n.between(50*time.Millisecond, 150*time.Millisecond)
	f.Text = fmt.Sprintf("%s, %s after the others", n.describe(m), f.planned.Round(time.Millisecond))
	var others []*testbed.Member
	for _, other := range n.cluster.Members {
		if other != m {
			others = append(others, other)
		}
	}
	testbed.KillAll(others...)
	err := sleep(ctx, f.planned)
	m.Process().Kill()
	f.Seen = !slices.ContainsFunc(n.cluster.Members, (*testbed.Member).Alive)
	if err != nil {
		return err
	}
	if err := testbed.StartAll(ctx, others...); err != nil {
		return err
	}
	if err := sleep(ctx, n.between(300*time.Millisecond, time.Second)); err != nil {
		return err
	}
	return m.Start(ctx)
}

// busiest is the member that leads most partitions.
func (n *nemesis) busiest() *testbed.Member {
	led := make(map[int32]int)
	for _, leader := range n.observer.Leaders() {
		led[leader]++
	}
	return slices.MaxFunc(n.cluster.Members, func(a, b *testbed.Member) int { return led[a.ID()] - led[b.ID()] })
}

// actor kills one actor of a broker by its admin port.
func (n *nemesis) actor(ctx context.Context, f *Fault, name string, broker int32) error {
	how := []string{"panic", "stop"}[n.random.IntN(2)]
	f.Text = fmt.Sprintf("%s of broker %d: %s", name, broker, how)
	m := n.cluster.Member(broker)
	if m == nil {
		return nil // nobody leads it now: nothing was done, and nothing is counted
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	body, err := json.Marshal(map[string]string{"actor": name, "how": how})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+m.Admin()+"/chaos/kill", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+n.token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask broker %d to kill %s: %w", broker, name, err)
	}
	defer answer.Body.Close() //nolint:errcheck // it has been read
	said, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		f.Text += fmt.Sprintf(": %s %s", answer.Status, strings.TrimSpace(string(said)))
		return nil
	}
	f.Seen = true // the broker answers once the actor is dead
	return nil
}
