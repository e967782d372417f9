package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/bench/measure"
	"github.com/troupe-mq/troupe/bench/testbed"
)

const (
	groupTopic = "shared"
	groupName  = "load"
)

// connect returns clients that requests are spread over, and what closes them.
func connect(c *testbed.Cluster, count int) (clients []*kgo.Client, closeAll func(), err error) {
	closeAll = func() {
		for _, c := range clients {
			c.Close()
		}
	}
	for range count {
		client, err := kgo.NewClient(kgo.SeedBrokers(c.Addresses()...))
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		clients = append(clients, client)
	}
	return clients, closeAll, nil
}

// measureConsumer lets the members of a group of KIP-848 come, as many as there are partitions.
func (f *groupsFlags) measureConsumer(ctx context.Context, b *costBench) (rows []costRow, err error) {
	err = b.with(ctx, 1, func(c *testbed.Cluster) error {
		clients, closeAll, err := connect(c, f.clients)
		if err != nil {
			return err
		}
		defer closeAll()
		if _, err := kadm.NewClient(clients[0]).CreateTopic(ctx, int32(f.members), 1, nil, groupTopic); err != nil {
			return err
		}
		crowd := &crowd{settled: make(chan struct{}), members: int64(f.members)}
		running, stop := context.WithCancel(ctx)
		begun := time.Now()
		for n := range f.members {
			crowd.running.Go(func() { crowd.attend(running, clients[n%len(clients)], n) })
		}
		defer crowd.running.Wait()
		defer stop()
		select {
		case <-crowd.settled:
		case <-time.After(2 * time.Minute):
			return fmt.Errorf("after %s %d of %d members have their partition: %v",
				time.Since(begun), crowd.content.Load(), f.members, crowd.failure.Load())
		case <-ctx.Done():
			return ctx.Err()
		}
		took := time.Since(begun)
		rows = append(rows, costRow{
			What: fmt.Sprintf("%d members of KIP-848 come at once", f.members), Value: took.Seconds(), Unit: "s",
			Note: fmt.Sprintf("%d heartbeats", crowd.beats.Load()),
		}.against("<= 5", took <= 5*time.Second))
		row, err := f.watchCrowd(ctx, c, crowd)
		rows = append(rows, row)
		return err
	})
	return rows, err
}

func (f *groupsFlags) watchCrowd(ctx context.Context, c *testbed.Cluster, crowd *crowd) (costRow, error) {
	meter, err := measure.Start(c.Members[0].Process().PID())
	if err != nil {
		return costRow{}, err
	}
	before := crowd.beats.Load()
	if err := sleep(ctx, f.watch); err != nil {
		return costRow{}, err
	}
	cost, err := meter.Stop()
	if err != nil {
		return costRow{}, err
	}
	share := 100 * cost.Broker.Seconds() / cost.Elapsed.Seconds()
	return costRow{
		What: "and then cost the broker", Value: share, Unit: "% of a core",
		Note: fmt.Sprintf("%.0f heartbeats/s", float64(crowd.beats.Load()-before)/cost.Elapsed.Seconds()),
	}.against("< 10", share < 10), nil
}

// crowd is the members of a group, each of which is content with one partition.
type crowd struct {
	members        int64
	running        sync.WaitGroup
	content, beats atomic.Int64
	settled        chan struct{}
	once           sync.Once
	failure        atomic.Value // the last error
}

// attend is what a member does: heartbeats, and what it is told.
func (c *crowd) attend(ctx context.Context, client *kgo.Client, n int) {
	var id [16]byte
	binary.BigEndian.PutUint64(id[8:], uint64(n)+1)
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Group, q.MemberID = groupName, base64.RawURLEncoding.EncodeToString(id[:])
	q.RebalanceTimeoutMillis, q.SubscribedTopicNames = 60_000, []string{groupTopic}
	q.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	has := 0
	for ctx.Err() == nil {
		c.beats.Add(1)
		reply, err := q.RequestWith(ctx, client)
		if err == nil {
			err = kerr.ErrorForCode(reply.ErrorCode)
		}
		if err != nil {
			if ctx.Err() == nil {
				c.failure.Store(err.Error())
			}
			_ = sleep(ctx, 100*time.Millisecond)
			continue
		}
		q.MemberEpoch, q.RebalanceTimeoutMillis, q.SubscribedTopicNames, q.Topics = reply.MemberEpoch, -1, nil, nil
		if reply.Assignment != nil {
			before := has
			has, q.Topics = take(reply.Assignment)
			c.change(before, has)
			continue // it tells at once that it has done so
		}
		_ = sleep(ctx, time.Duration(reply.HeartbeatIntervalMillis)*time.Millisecond)
	}
}

func take(a *kmsg.ConsumerGroupHeartbeatResponseAssignment) (count int, owned []kmsg.ConsumerGroupHeartbeatRequestTopic) {
	owned = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, t := range a.Topics {
		count += len(t.Partitions)
		o := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		o.TopicID, o.Partitions = t.TopicID, t.Partitions
		owned = append(owned, o)
	}
	return count, owned
}

func (c *crowd) change(before, has int) {
	switch {
	case before != 1 && has == 1:
		if c.content.Add(1) == c.members {
			c.once.Do(func() { close(c.settled) })
		}
	case before == 1 && has != 1:
		c.content.Add(-1)
	}
}
