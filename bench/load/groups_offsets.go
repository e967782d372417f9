package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// offsetsPartitions is how many partitions the offsets topic has.
const offsetsPartitions = 50

// neighbours are names of groups that one partition of the offsets topic has, and so one broker coordinates.
func neighbours(count int) []string {
	names := make([]string, 0, count)
	for n := 0; len(names) < count; n++ {
		if name := fmt.Sprint("group-", n); offsetsPartition(name) == 0 {
			names = append(names, name)
		}
	}
	return names
}

// offsetsPartition is where Kafka puts a group: by Java's hash of its name.
func offsetsPartition(group string) int32 {
	var hash int32
	for _, c := range []byte(group) { // ASCII
		hash = 31*hash + int32(c)
	}
	return hash & 0x7fffffff % offsetsPartitions
}

// committed is the topic that offsets are committed of.
type committed struct{ id kadm.TopicID }

// createCommitted makes the topic.
func createCommitted(ctx context.Context, client *kgo.Client, partitions int32, replicas int16) (committed, error) {
	reply, err := kadm.NewClient(client).CreateTopic(ctx, partitions, replicas, nil, groupTopic)
	return committed{reply.ID}, err
}

// commit commits one offset of so many partitions, as no member.
func (c committed) commit(ctx context.Context, client *kgo.Client, group string, partitions int, offset int64) error {
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Group, q.Generation = group, -1
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = groupTopic, c.id
	for p := range partitions {
		one := kmsg.NewOffsetCommitRequestTopicPartition()
		one.Partition, one.Offset = int32(p), offset
		topic.Partitions = append(topic.Partitions, one)
	}
	q.Topics = append(q.Topics, topic)
	reply, err := q.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, t := range reply.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("commit partition %d of group %s: %w", p.Partition, group, err)
			}
		}
	}
	return nil
}

// measureIdleGroups counts the goroutines that groups leave behind which have offsets and nobody in them.
func (f *groupsFlags) measureIdleGroups(ctx context.Context, b *costBench) (rows []costRow, err error) {
	err = b.with(ctx, 1, func(c *testbed.Cluster) error {
		clients, closeAll, err := connect(c, f.clients)
		if err != nil {
			return err
		}
		defer closeAll()
		topic, err := createCommitted(ctx, clients[0], 1, 1)
		if err != nil {
			return err
		}
		if err := topic.commit(ctx, clients[0], "first", 1, 1); err != nil { // the offsets topic is there from now on
			return err
		}
		pid := c.Members[0].Process().PID()
		before, err := goroutines(ctx, c.Members[0].Admin())
		if err != nil {
			return err
		}
		light, err := measure.ResidentBytes(pid)
		if err != nil {
			return err
		}
		err = spread(clients, f.idle, func(client *kgo.Client, n int) error {
			return topic.commit(ctx, client, fmt.Sprint("idle-", n), 1, 1)
		})
		if err != nil {
			return err
		}
		if err := sleep(ctx, 5*time.Second); err != nil {
			return err
		}
		after, err := goroutines(ctx, c.Members[0].Admin())
		if err != nil {
			return err
		}
		heavy, err := measure.ResidentBytes(pid)
		rows = append(rows,
			costRow{
				What: fmt.Sprintf("goroutines of %d idle groups", f.idle), Value: float64(after - before), Unit: "more",
				Note: fmt.Sprintf("%d before", before),
			}.against("no one each", after-before < f.idle/100+8*f.clients),
			costRow{What: "and memory", Value: float64(heavy-light) / float64(f.idle) / 1024, Unit: "KiB a group"})
		return err
	})
	return rows, err
}

// goroutines asks a broker how many it has.
func goroutines(ctx context.Context, admin string) (n int, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/debug/pprof/goroutine?debug=1", nil)
	if err != nil {
		return 0, err
	}
	reply, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, err
	}
	defer reply.Body.Close() //nolint:errcheck // it was read
	_, err = fmt.Fscanf(reply.Body, "goroutine profile: total %d\n", &n)
	_, drained := io.Copy(io.Discard, reply.Body)
	return n, errors.Join(err, drained)
}

// spread does something so many times, by several at once for each client.
func spread(clients []*kgo.Client, times int, do func(client *kgo.Client, n int) error) error {
	const each = 16
	var next atomic.Int64
	var running sync.WaitGroup
	errs := make([]error, each*len(clients))
	for worker := range errs {
		running.Go(func() {
			for n := int(next.Add(1)) - 1; n < times && errs[worker] == nil; n = int(next.Add(1)) - 1 {
				errs[worker] = do(clients[worker%len(clients)], n)
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// measureCommits commits to the groups of one partition of the offsets topic, as fast as they are acknowledged. A broker answers the
// requests of a connection one after the other, as Kafka does, and what is under way together shares an fsync: so it takes many
// connections, as many consumers have.
func (f *groupsFlags) measureCommits(ctx context.Context, b *costBench, replicas int) (rows []costRow, err error) {
	const wanted = 20_000 // a second
	err = b.with(ctx, replicas, func(c *testbed.Cluster) error {
		clients, closeAll, err := connect(c, f.committers)
		if err != nil {
			return err
		}
		defer closeAll()
		topic, err := createCommitted(ctx, clients[0], 1, int16(replicas))
		if err != nil {
			return err
		}
		groups := neighbours(64)
		for _, g := range groups {
			if err := topic.commit(ctx, clients[0], g, 1, 0); err != nil {
				return err
			}
		}
		var pids []int
		for _, m := range c.Members {
			pids = append(pids, m.Process().PID())
		}
		meter, err := measure.Start(pids...)
		if err != nil {
			return err
		}
		var commits atomic.Int64
		end := time.Now().Add(f.watch)
		err = spread(clients, 1<<40, func(client *kgo.Client, n int) error {
			if time.Now().After(end) {
				return io.EOF
			}
			commits.Add(1)
			return topic.commit(ctx, client, groups[n%len(groups)], 1, int64(n))
		})
		cost, stopped := meter.Stop()
		if !onlyEnds(err) || stopped != nil {
			return errors.Join(err, stopped)
		}
		rate := float64(commits.Load()) / cost.Elapsed.Seconds()
		rows = append(rows, costRow{
			What: fmt.Sprintf("OffsetCommit of one partition, %d replicas, fsync", replicas), Value: rate, Unit: "/s",
			Note: fmt.Sprintf("%.1f us of broker CPU each, %.1f of the client's", micros(cost.Broker)/float64(commits.Load()),
				micros(cost.Client)/float64(commits.Load())),
		}.against(fmt.Sprint(">= ", wanted), rate >= wanted))
		return nil
	})
	return rows, err
}

// onlyEnds says that nothing went wrong but that the time was up.
func onlyEnds(err error) bool {
	all, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err == nil
	}
	for _, one := range all.Unwrap() {
		if !errors.Is(one, io.EOF) {
			return false
		}
	}
	return true
}

// measureLoading restarts a broker whose partition of the offsets topic has many offsets, and asks until it knows them.
func (f *groupsFlags) measureLoading(ctx context.Context, b *costBench) (rows []costRow, err error) {
	const each = 1000 // offsets of a group
	err = b.with(ctx, 1, func(c *testbed.Cluster) error {
		clients, closeAll, err := connect(c, f.clients)
		if err != nil {
			return err
		}
		defer closeAll()
		topic, err := createCommitted(ctx, clients[0], each, 1)
		if err != nil {
			return err
		}
		groups := neighbours((f.offsets + each - 1) / each)
		err = spread(clients, len(groups), func(client *kgo.Client, n int) error {
			return topic.commit(ctx, client, groups[n], each, int64(n))
		})
		if err != nil {
			return err
		}
		m := c.Members[0]
		if err := m.Process().Stop(); err != nil {
			return err
		}
		if err := m.Start(ctx); err != nil {
			return err
		}
		ready := time.Now()
		if err := awaitOffset(ctx, m.Kafka(), groups[len(groups)-1], int64(len(groups)-1)); err != nil {
			return err
		}
		took := time.Since(ready)
		rows = append(rows, costRow{
			What: fmt.Sprintf("a coordinator with %d offsets loads", len(groups)*each), Value: took.Seconds(), Unit: "s",
			Note: "from the ready broker to the first answer; started in " + short(ready.Sub(m.Process().Begun())),
		}.against("< 3", took < 3*time.Second))
		return nil
	})
	return rows, err
}

// awaitOffset asks for a committed offset until the coordinator has loaded it.
func awaitOffset(ctx context.Context, addr, group string, want int64) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		offsets, err := kadm.NewClient(client).FetchOffsets(ctx, group)
		if o, ok := offsets.Lookup(groupTopic, 0); err == nil && ok {
			if o.At != want {
				return fmt.Errorf("group %s is at %d, and was at %d", group, o.At, want)
			}
			return nil
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("group %s is not loaded: %w", group, err)
		}
	}
}
