package group

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkJoinThousand joins 1,000 members one after the other, who then send heartbeats until all have what they are to have: how
// much of a core does the start of a large application take?
func BenchmarkJoinThousand(b *testing.B) {
	for b.Loop() {
		thousandMembers(b)
	}
}

// BenchmarkHeartbeat is one heartbeat in a settled group of 1,000 members, and its share of the ticks.
func BenchmarkHeartbeat(b *testing.B) {
	bench, members := thousandMembers(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		m := members[i%len(members)]
		i++
		bench.now = bench.now.Add(5 * time.Millisecond)
		q := m.request(m.epoch)
		e := bench.g.Handle(q, 1, bench.view, bench.now)
		if !bench.now.Before(e.Deadline) {
			bench.g.Tick(bench.view, bench.now)
		}
	}
	if n := len(bench.g.consumer.members); n != 1000 {
		b.Fatalf("%d members are left", n)
	}
}

func thousandMembers(t testing.TB) (*consumerBench, []*consumerClient) {
	b := newConsumerBench(t, map[string]int{"t": 3000})
	b.folds = false
	members := make([]*consumerClient, 1000)
	for i := range members {
		members[i] = b.client(fmt.Sprintf("member-%04d", i), "t").join()
		members[i].adopt()
	}
	b.settle(members...)
	return b, members
}

// A heartbeat to which nothing has happened costs a reply and no more.
func TestAnIdleHeartbeatAllocatesNextToNothing(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 1000})
	b.folds = false
	var all []*consumerClient
	for i := range 100 {
		all = append(all, b.client(fmt.Sprint("m", i), "t").join())
	}
	b.settle(all...)
	q := all[0].request(all[0].epoch)
	if n := testing.AllocsPerRun(100, func() { b.g.Handle(q, 1, b.view, b.now) }); n > 4 {
		t.Errorf("%v allocations", n)
	}
}
