package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// startThree starts a cluster of three brokers, of which any one may die.
func startThree(t *testing.T) (brokers []*runningBroker, bootstrap string) {
	t.Helper()
	brokers = append(brokers, startBroker(t, t.TempDir(), "--rack", "r1"))
	for i := range 2 { // the third learns of the first by the second
		brokers = append(brokers, startBroker(t, t.TempDir(), "--join", brokers[i].ready["cluster"], "--rack", fmt.Sprintf("r%d", i+2)))
	}
	bootstrap = "--bootstrap=" + brokers[0].ready["kafka"] + "," + brokers[1].ready["kafka"]
	must(t, "", "cluster", "health", "--wait", bootstrap)
	return brokers, bootstrap
}

func fromJSON[T any](t *testing.T, text string) (value T) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return value
}

// fields returns the names that an object in JSON has.
func fields(t *testing.T, text string) []string {
	t.Helper()
	return slices.Sorted(maps.Keys(fromJSON[map[string]json.RawMessage](t, text)))
}

func TestEveryBrokerIsDescribedWithTheWayToJoinByIt(t *testing.T) {
	brokers, bootstrap := startThree(t)
	text := must(t, "", "cluster", "describe", "--json", bootstrap)
	if got := fields(t, text); !slices.Equal(got, []string{"brokers", "cluster_id", "controller_id", "voters"}) {
		t.Errorf("describe --json has the fields %q", got)
	}
	var raw struct {
		Brokers []json.RawMessage `json:"brokers"`
	}
	if err := json.Unmarshal([]byte(text), &raw); err != nil || len(raw.Brokers) != 3 {
		t.Fatalf("%v in %s", err, text)
	}
	if got := fields(t, string(raw.Brokers[0])); !slices.Equal(got, []string{"cluster_address", "epoch", "host", "id", "port", "rack", "state"}) {
		t.Errorf("a broker has the fields %q", got)
	}
	cluster := fromJSON[clusterJSON](t, text)
	if !slices.Equal(cluster.Voters, []int32{1, 2, 3}) || cluster.ControllerID < 1 || cluster.ClusterID != brokers[0].ready["cluster_id"] {
		t.Errorf("described as %+v, the first broker said %v", cluster, brokers[0].ready)
	}
	people := must(t, "", "cluster", "describe", bootstrap)
	for i, b := range cluster.Brokers {
		if b.ID != int32(i+1) || b.State != "online" || b.Rack != fmt.Sprintf("r%d", i+1) || b.Epoch == 0 || b.ClusterAddress != brokers[i].ready["cluster"] {
			t.Errorf("broker %d is described as %+v, and said %v", i+1, b, brokers[i].ready)
		}
		if !strings.Contains(people, "--join "+b.ClusterAddress) {
			t.Errorf("nobody is told how to join by broker %d:\n%s", b.ID, people)
		}
	}
}

func TestHealthIsToldByTheExitCode(t *testing.T) {
	brokers, bootstrap := startThree(t)
	must(t, "", "topic", "create", "orders", "--partitions=3", "--replication-factor=3", bootstrap)
	text := must(t, "", "cluster", "health", "--wait", "--json", bootstrap)
	if got := fields(t, text); !slices.Equal(got, []string{"healthy", "may_lose", "offline_partitions", "under_replicated"}) {
		t.Errorf("health --json has the fields %q", got)
	}
	if h := fromJSON[healthJSON](t, text); h != (healthJSON{Healthy: true, MayLose: 1}) {
		t.Errorf("three brokers are %+v", h)
	}
	_ = brokers[2].cmd.Process.Kill()
	_ = brokers[2].cmd.Wait()
	deadline := time.Now().Add(20 * time.Second)
	for {
		got := inProcess(t, "", "cluster", "health", "--json", bootstrap)
		if h := fromJSON[healthJSON](t, got.out); got.code == exitFailed && h.UnderReplicated == 3 && h.MayLose == 0 && !h.Healthy && got.err == "" {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("after a broker died: exit code %d, %+v, %s", got.code, h, got.err)
		}
	}
	got := inProcess(t, "", "cluster", "health", bootstrap)
	if got.code != exitFailed || !strings.HasPrefix(got.out, "not healthy: 0 partitions offline, 3 under-replicated\n") || !strings.Contains(got.out, "orders/0 has 2 of 3 replicas in sync") {
		t.Errorf("exit code %d, %s%s", got.code, got.out, got.err)
	}
	got = inProcess(t, "", "cluster", "health", "--wait", "--timeout=300ms", bootstrap)
	if got.code != exitFailed || !strings.Contains(got.err, "after 300ms the cluster cannot lose any one broker yet") {
		t.Errorf("waiting in vain: exit code %d, %q", got.code, got.err)
	}
}

func TestALoneBrokerIsHealthyAndCannotBeLost(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	if h := fromJSON[healthJSON](t, must(t, "", "cluster", "health", "--json", bootstrap)); h != (healthJSON{Healthy: true}) {
		t.Errorf("a lone broker is %+v", h)
	}
	got := inProcess(t, "", "cluster", "health", "--wait", "--timeout=300ms", bootstrap)
	if got.code != exitFailed || !strings.Contains(got.out, "no broker may be lost: the metadata log has 1 voter") {
		t.Errorf("exit code %d, %s%s", got.code, got.out, got.err)
	}
}

func TestAClientThatReachesOneBrokerReachesEveryPartition(t *testing.T) {
	brokers, bootstrap := startThree(t)
	must(t, "", "topic", "create", "orders", "--partitions=6", "--replication-factor=2", bootstrap)
	only := brokers[2].ready["kafka"]
	c, err := client.NewWith(client.Config{Addrs: []string{only}, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr != only {
			return nil, errors.New("a firewall")
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	producer, err := c.NewProducer(client.WithPartitioner(client.RoundRobin()))
	if err != nil {
		t.Fatal(err)
	}
	var records []client.Record
	for i := range 60 {
		records = append(records, client.Record{Topic: "orders", Value: fmt.Append(nil, i)})
	}
	if _, err := producer.ProduceSync(ctx, records...); err != nil {
		t.Fatal(err)
	}
	consumer, err := c.NewConsumer(client.Topics("orders"))
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]int{}
	partitions := map[int32]bool{}
	for len(read) < len(records) {
		got, err := consumer.Poll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got {
			read[string(r.Value)]++
			partitions[r.Partition] = true
		}
	}
	if len(partitions) != 6 {
		t.Errorf("records are in the partitions %v", partitions)
	}
	for p := range int32(6) {
		if _, err := c.DeleteRecords(ctx, "orders", p, client.Offset(1)); err != nil {
			t.Errorf("delete from partition %d: %v", p, err)
		}
		if first, _, err := c.ListOffset(ctx, "orders", p, client.Earliest); err != nil || first != 1 {
			t.Errorf("partition %d begins at %d, %v", p, first, err)
		}
	}
	if err := errors.Join(consumer.Close(), producer.Close()); err != nil {
		t.Error(err)
	}
}

func TestPartitionsMoveAndABrokerIsRemoved(t *testing.T) {
	brokers, bootstrap := startThree(t)
	must(t, "", "topic", "create", "clicks", "--partitions=4", "--replication-factor=2", bootstrap)
	must(t, strings.Repeat("a record\n", 100), "produce", "clicks", bootstrap)

	plan := must(t, "", "topic", "reassign", "clicks", "--brokers=2,3", "--dry-run", bootstrap)
	if strings.Contains(plan, "moved") || !strings.HasPrefix(plan, "PARTITION ") || strings.Count(plan, "clicks/") < 2 {
		t.Errorf("the plan is\n%s", plan)
	}
	must(t, "", "topic", "reassign", "clicks", "--brokers=2,3", "--yes", "--at-once=2", "--timeout=1m", bootstrap)
	leads := map[int32]int{}
	for _, p := range describe(t, "clicks", bootstrap).Partitions {
		if slices.Contains(p.Replicas, 1) || len(p.Replicas) != 2 || len(p.ISR) != 2 || len(p.Adding)+len(p.Removing) != 0 {
			t.Errorf("moved to %+v", p)
		}
		leads[p.Replicas[0]]++
	}
	if leads[2] != 2 || leads[3] != 2 {
		t.Errorf("the preferred leaders are %v", leads)
	}
	if got := must(t, "", "topic", "reassign", "clicks", "--brokers=2,3", bootstrap); got != "every partition lies where it should\n" {
		t.Errorf("reassigned again: %s", got)
	}
	must(t, "", "topic", "reassign", "clicks", "--assign=0=1,2", "--assign=1=1,3", "--yes", "--timeout=1m", bootstrap)
	must(t, "", "topic", "elect-leaders", bootstrap)
	for _, p := range describe(t, "clicks", bootstrap).Partitions {
		if p.Leader != p.Replicas[0] {
			t.Errorf("not led by the preferred replica: %+v", p)
		}
	}
	if got := must(t, "", "topic", "elect-leaders", "clicks", bootstrap); got != "every partition is led as it should be\n" {
		t.Errorf("elected again: %s", got)
	}

	if got := inProcess(t, "", "cluster", "remove-broker", "1", bootstrap); got.code != exitUsage || !strings.Contains(got.err, "--yes") {
		t.Errorf("nobody was asked: exit code %d, %s", got.code, got.err)
	}
	must(t, "", "cluster", "remove-broker", "1", "--yes", "--timeout=1m", bootstrap)
	after := "--bootstrap=" + brokers[2].ready["kafka"]
	for _, b := range fromJSON[clusterJSON](t, must(t, "", "cluster", "describe", "--json", after)).Brokers {
		if b.ID == 1 {
			t.Errorf("the removed broker is there: %+v", b)
		}
	}
	_ = brokers[0].cmd.Process.Signal(syscall.SIGKILL)
	_ = brokers[0].cmd.Wait()
	topic := describe(t, "clicks", after)
	if topic.State != "healthy" || topic.Records != 100 {
		t.Errorf("without the broker: state %q and %d records", topic.State, topic.Records)
	}
	got := inProcess(t, "", "cluster", "remove-broker", "1", "--yes", after)
	if got.code != exitFailed || !strings.Contains(got.err, "troupe cluster describe") {
		t.Errorf("removed again: exit code %d, %s", got.code, got.err)
	}
}

// A move that is held back goes on when the command gives up, says how far it is, and can be taken back.
func TestAMoveIsThrottledAndTakenBack(t *testing.T) {
	_, bootstrap := startThree(t)
	must(t, "", "topic", "create", "clicks", "--partitions=1", "--replication-factor=1", bootstrap)
	must(t, strings.Repeat(strings.Repeat("x", 999)+"\n", 4000), "produce", "clicks", bootstrap) // several pieces of the log
	before := describe(t, "clicks", bootstrap).Partitions[0].Replicas
	to := before[0]%3 + 1
	got := inProcess(t, "", "topic", "reassign", "clicks", fmt.Sprintf("--brokers=%d", to), "--throttle=1000", "--timeout=2s", "--yes", bootstrap)
	if got.code != exitFailed || !strings.Contains(got.err, "0 of 1 partition moved, 1 on the way") || !strings.Contains(got.err, "--cancel") {
		t.Fatalf("exit code %d, %s%s", got.code, got.out, got.err)
	}
	if p := describe(t, "clicks", bootstrap).Partitions[0]; !slices.Equal(p.Adding, []int32{to}) || len(p.ISR) != 1 {
		t.Errorf("on the way: %+v", p)
	}
	if got := must(t, "", "topic", "reassign", "clicks", "--cancel", bootstrap); !strings.HasPrefix(got, "1 partition on the way") {
		t.Errorf("taken back: %s", got)
	}
	if p := describe(t, "clicks", bootstrap).Partitions[0]; !slices.Equal(p.Replicas, before) || len(p.Adding) != 0 {
		t.Errorf("after it was taken back: %+v", p)
	}
	// Without the limit it arrives, and the limit is gone afterwards.
	must(t, "", "topic", "reassign", "clicks", fmt.Sprintf("--brokers=%d", to), "--throttle=1000000000", "--timeout=1m", "--yes", bootstrap)
	if p := describe(t, "clicks", bootstrap).Partitions[0]; !slices.Equal(p.Replicas, []int32{to}) {
		t.Errorf("moved: %+v", p)
	}
}

func TestMistakesAboutClustersSayWhatToDo(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	must(t, "", "topic", "create", "there", bootstrap)
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"cluster", exitUsage, "needs one more word: describe"},
		{"cluster describe extra", exitUsage, "one argument too many"},
		{"cluster remove-broker", exitUsage, "ID is missing"},
		{"cluster remove-broker one", exitUsage, "troupe cluster describe"},
		{"cluster remove-broker 9 --yes", exitFailed, "troupe cluster describe"},
		{"cluster remove-broker 1 --yes", exitFailed, "last one"},
		{"cluster health --timeout soon", exitUsage, "--timeout soon"},
		{"topic reassign", exitUsage, "NAME is missing"},
		{"topic reassign there", exitUsage, "--brokers 1,2,3"},
		{"topic reassign there --brokers 1 --cancel", exitUsage, "--brokers 1,2,3"},
		{"topic reassign there --brokers 1,1", exitUsage, "each once"},
		{"topic reassign there --brokers 9", exitFailed, "there is no broker 9"},
		{"topic reassign there --brokers 1 --replication-factor 2", exitUsage, "needs as many --brokers"},
		{"topic reassign there --assign 0", exitUsage, "--assign 0=1,2,3"},
		{"topic reassign there --assign 0=9 --yes", exitFailed, "INVALID_REPLICA_ASSIGNMENT"},
		{"topic reassign there --assign 7=1 --yes", exitFailed, "troupe topic describe there"},
		{"topic reassign there other --assign 0=1", exitUsage, "for one topic"},
		{"topic reassign there --brokers 1 --at-once 0", exitUsage, "--at-once 0"},
		{"topic reassign gone --brokers 1", exitFailed, "troupe topic list"},
		{"topic reassign there --cancel", exitDone, ""},
		{"topic elect-leaders there gone", exitFailed, "troupe topic list"},
		{"topic elect-leaders --partition 1", exitUsage, "name of one topic"},
		{"topic elect-leaders there --unclean", exitUsage, "--yes"},
		{"topic elect-leaders there --unclean --yes", exitDone, ""},
	} {
		got := inProcess(t, "", append(strings.Fields(c.args), bootstrap)...)
		if got.code != c.code || !strings.Contains(got.err, c.want) {
			t.Errorf("%s: exit code %d, %q; want %d and %q", c.args, got.code, got.err, c.code, c.want)
		}
		if c.code != exitDone && strings.Count(got.err, "\n") != 1 {
			t.Errorf("%s: stderr is not one line: %q", c.args, got.err)
		}
	}
}

// topicOn describes a topic whose partitions lie on these brokers.
func topicOn(replicas ...[]int32) client.Topic {
	topic := client.Topic{Name: "t"}
	for i, r := range replicas {
		topic.Partitions = append(topic.Partitions, client.PartitionInfo{Partition: int32(i), Replicas: r})
	}
	return topic
}

func TestAPlanMovesNoMoreThanItMust(t *testing.T) {
	for name, c := range map[string]struct {
		topic   client.Topic
		brokers []wire.BrokerID
		factor  int
		moved   int // replicas that a broker gets anew
	}{
		"all is well":        {topicOn([]int32{1, 2}, []int32{2, 1}), []wire.BrokerID{1, 2}, 0, 0},
		"a broker goes":      {topicOn([]int32{1, 2}, []int32{2, 3}, []int32{3, 1}), []wire.BrokerID{1, 2}, 0, 2},
		"a broker comes":     {topicOn([]int32{1, 2}, []int32{2, 1}, []int32{1, 2}), []wire.BrokerID{1, 2, 3}, 0, 2},
		"more replicas":      {topicOn([]int32{1}, []int32{2}, []int32{3}), []wire.BrokerID{1, 2, 3}, 3, 6},
		"fewer replicas":     {topicOn([]int32{1, 2, 3}, []int32{2, 3, 1}, []int32{3, 1, 2}), []wire.BrokerID{1, 2, 3}, 1, 0},
		"more than there is": {topicOn([]int32{1, 2, 3}), []wire.BrokerID{2, 3}, 0, 0},
	} {
		moves := newPlanner(c.brokers, nil).plan([]client.Topic{c.topic}, c.factor)
		target := make(map[int32][]wire.BrokerID)
		for _, p := range c.topic.Partitions {
			target[p.Partition] = brokerIDs(p.Replicas)
		}
		moved := 0
		for _, m := range moves {
			for _, id := range m.Replicas {
				if !slices.Contains(target[m.Partition], id) {
					moved++
				}
			}
			target[m.Partition] = m.Replicas
		}
		load, leads := map[wire.BrokerID]int{}, map[wire.BrokerID]int{}
		for partition, replicas := range target {
			for _, id := range replicas {
				load[id]++
				if !slices.Contains(c.brokers, id) {
					t.Errorf("%s: partition %d lies on %v", name, partition, replicas)
				}
			}
			leads[replicas[0]]++
			if unique := slices.Compact(slices.Sorted(slices.Values(replicas))); len(unique) != len(replicas) {
				t.Errorf("%s: partition %d lies on %v", name, partition, replicas)
			}
		}
		for _, counts := range []map[wire.BrokerID]int{load, leads} {
			for _, id := range c.brokers {
				if most := slices.Max(slices.Collect(maps.Values(counts))); most-counts[id] > 1 {
					t.Errorf("%s: broker %d has %d where another has %d", name, id, counts[id], most)
				}
			}
		}
		if moved != c.moved {
			t.Errorf("%s: %d replicas are moved, want %d: %v", name, moved, c.moved, moves)
		}
	}
}

func TestAPlanPutsReplicasIntoDifferentRacks(t *testing.T) {
	racks := map[wire.BrokerID]string{1: "a", 2: "a", 3: "b", 4: "b"}
	moves := newPlanner([]wire.BrokerID{1, 2, 3, 4}, racks).plan([]client.Topic{topicOn([]int32{1}, []int32{2}, []int32{3}, []int32{4})}, 2)
	for _, m := range moves {
		if racks[m.Replicas[0]] == racks[m.Replicas[1]] {
			t.Errorf("partition %d lies on %v, in one rack", m.Partition, m.Replicas)
		}
	}
	if len(moves) != 4 {
		t.Errorf("%d partitions get a second replica", len(moves))
	}
}
