package chaos

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-mq/troupe/bench/testbed"
)

const (
	observeEvery  = 100 * time.Millisecond
	observeWithin = time.Second
	// fresh is how old what a broker said may be to count as what it says.
	fresh = 2 * time.Second
)

// Change is something that brokers said had changed.
type Change struct {
	At   time.Duration
	What string // changeEpoch and its neighbours
	Text string
}

// What can change.
const (
	changeEpoch      = "epoch"      // of a leader
	changeISR        = "isr"        // one shrank
	changeController = "controller" // it is another
)

// Observer asks every broker, again and again, what it knows of a topic.
type Observer struct {
	topic   string
	members []*testbed.Member
	begun   time.Time
	asking  sync.WaitGroup
	stop    context.CancelFunc

	mu         sync.Mutex
	said       []said // by member
	controller int32
	partitions []testbed.PartitionView // the newest that anybody said
	changes    []Change
}

type said struct {
	at   time.Time
	view *testbed.View // nil before the first answer
}

// Observe begins to ask. Times are counted from begun.
func Observe(ctx context.Context, cluster *testbed.Cluster, topic string, begun time.Time) *Observer {
	ctx, stop := context.WithCancel(ctx)
	o := &Observer{
		topic: topic, members: cluster.Members, begun: begun, stop: stop,
		said: make([]said, len(cluster.Members)), controller: -1,
	}
	for i := range o.members {
		o.asking.Go(func() { o.follow(ctx, i) })
	}
	return o
}

// Stop ends the asking.
func (o *Observer) Stop() {
	o.stop()
	o.asking.Wait()
}

func (o *Observer) follow(ctx context.Context, member int) {
	ticker := time.NewTicker(observeEvery)
	defer ticker.Stop()
	for {
		asked, cancel := context.WithTimeout(ctx, observeWithin)
		view, err := o.members[member].View(asked, o.topic)
		cancel()
		if err == nil {
			o.heard(member, view, time.Now())
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// heard compares what a broker says with the newest that was known. A partition's epoch decides
// which of two views is newer; a controller that comes and goes changes twice.
func (o *Observer) heard(member int, view *testbed.View, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.said[member] = said{at, view}
	since := at.Sub(o.begun)
	change := func(what, format string, args ...any) {
		o.changes = append(o.changes, Change{since, what, fmt.Sprintf(format, args...)})
	}
	if view.Controller != o.controller && view.Controller >= 0 {
		if o.controller >= 0 {
			change(changeController, "broker %d after %d", view.Controller, o.controller)
		}
		o.controller = view.Controller
	}
	for len(o.partitions) < len(view.Partitions) {
		o.partitions = append(o.partitions, view.Partitions[len(o.partitions)])
	}
	for i, p := range view.Partitions {
		known := &o.partitions[i]
		if p.Epoch < known.Epoch {
			continue
		}
		if p.Epoch > known.Epoch {
			change(changeEpoch, "%s/%d: %d, leader %d", o.topic, i, p.Epoch, p.Leader)
		}
		if len(p.ISR) < len(known.ISR) {
			change(changeISR, "%s/%d: %v after %v", o.topic, i, p.ISR, known.ISR)
		}
		*known = p
	}
}

// Changes are those of a time.
func (o *Observer) Changes(from, to time.Duration) []Change {
	o.mu.Lock()
	defer o.mu.Unlock()
	var within []Change
	for _, c := range o.changes {
		if c.At >= from && c.At <= to {
			within = append(within, c)
		}
	}
	return within
}

// Leaders are the newest known leaders, by partition.
func (o *Observer) Leaders() []int32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	leaders := make([]int32, len(o.partitions))
	for i, p := range o.partitions {
		leaders[i] = p.Leader
	}
	return leaders
}

// Controller is the newest known controller.
func (o *Observer) Controller() int32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.controller
}

// Whole says that every broker says, and has said since the given time, that all are there and
// every partition is whole.
func (o *Observer) Whole(since time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	return !slices.ContainsFunc(o.said, func(s said) bool {
		return s.view == nil || s.at.Before(since) || now.Sub(s.at) > fresh || !s.view.Whole(len(o.members))
	})
}

// AwaitWhole waits until the cluster is whole, in the eyes of every broker.
func (o *Observer) AwaitWhole(ctx context.Context, limit time.Duration) error {
	since := time.Now()
	for !o.Whole(since) {
		if time.Since(since) > limit {
			return fmt.Errorf("not whole after %s: %s", limit, o.missing())
		}
		if err := sleep(ctx, observeEvery/4); err != nil {
			return err
		}
	}
	return nil
}

// missing says what keeps the cluster from being whole.
func (o *Observer) missing() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for i, s := range o.said {
		id := o.members[i].ID()
		switch {
		case s.view == nil || now.Sub(s.at) > fresh:
			return fmt.Sprintf("broker %d does not answer", id)
		case len(s.view.Brokers) != len(o.members):
			return fmt.Sprintf("broker %d knows only of %v", id, s.view.Brokers)
		case len(s.view.Partitions) == 0:
			return fmt.Sprintf("broker %d does not know %s", id, o.topic)
		}
		for p, partition := range s.view.Partitions {
			if !partition.Whole() {
				return fmt.Sprintf("broker %d says of %s/%d: leader %d, replicas %v, in sync %v", id, o.topic, p,
					partition.Leader, partition.Replicas, partition.ISR)
			}
		}
	}
	return "it was until now"
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Replicas are the newest known replicas of a partition.
func (o *Observer) Replicas(partition int32) []int32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if int(partition) >= len(o.partitions) {
		return nil
	}
	return slices.Clone(o.partitions[partition].Replicas)
}

// Led are the partitions that a broker leads, by what is known newest; all of them for broker -1.
func (o *Observer) Led(broker int32) []int32 {
	var led []int32
	for partition, leader := range o.Leaders() {
		if leader == broker || broker == -1 {
			led = append(led, int32(partition))
		}
	}
	return led
}

// AwaitPreferred has every partition of every topic led by its first replica: it asks for that, so as not to wait
// until the cluster does it by itself.
func (o *Observer) AwaitPreferred(ctx context.Context, addresses []string, limit time.Duration) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addresses...), kgo.MetadataMinAge(metadataMinAge))
	if err != nil {
		return err
	}
	defer client.Close()
	for begun := time.Now(); ; {
		partition := o.displaced()
		if partition < 0 {
			return nil
		}
		if time.Since(begun) > limit {
			return fmt.Errorf("%s/%d is not led by its preferred replica after %s", o.topic, partition, limit)
		}
		asked, cancel := context.WithTimeout(ctx, observeWithin)
		_, _ = kadm.NewClient(client).ElectLeaders(asked, kadm.ElectPreferredReplica, nil) // what it did is observed
		cancel()
		if err := sleep(ctx, 2*observeEvery); err != nil {
			return err
		}
	}
}

// displaced is a partition that another than its first replica leads, or -1.
func (o *Observer) displaced() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.IndexFunc(o.partitions, func(p testbed.PartitionView) bool {
		return len(p.Replicas) == 0 || p.Leader != p.Replicas[0]
	})
}
