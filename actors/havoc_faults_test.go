package actors

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/troupe-mq/troupe/storage/faultfs"
	"github.com/troupe-mq/troupe/wire"
)

// breakSomething breaks one thing, or all brokers at once, lets some time pass, and heals it.
func (h *havoc) breakSomething() {
	h.pause(2 * time.Second)
	id := wire.BrokerID(1 + h.rng.IntN(havocBrokers))
	other := 1 + id%havocBrokers
	switch kind := h.rng.IntN(10); kind {
	case 0, 1:
		if kind == 1 && h.replicated {
			h.settled()
		}
		h.crash(id, kind == 1)
		h.pause(6 * time.Second)
		h.start(id)
		if kind == 1 && h.replicated {
			h.settled()
		}
	case 2:
		power := h.rng.IntN(2) == 0 && !h.replicated
		for id := range wire.BrokerID(havocBrokers) {
			h.crash(id+1, power)
		}
		h.pause(2 * time.Second)
		h.startAll(1, 2, 3, 4)
	case 3:
		h.note("link %d-%d is cut", id, other)
		h.net.cut(id, other)
		h.pause(15 * time.Second)
		h.net.heal(id, other)
		h.note("link %d-%d is healed", id, other)
	case 4:
		h.cutOff(id)
	case 5:
		h.note("a replica of broker %d panics", id)
		if part := h.members[id].routes.find(h.topic, int32(h.rng.IntN(havocPartitions))); part != nil {
			if pid := part.actor.Load(); pid != nil {
				h.members[id].send(pid, &killActor{})
			}
		}
	case 6:
		h.note("the controller of broker %d panics", id)
		if _, pid := h.members[id].controller.present(); pid != nil {
			h.members[id].send(pid, &killActor{})
		}
	case 7, 8:
		h.breakDisk(id, kind)
	case 9:
		h.reassign(id)
	}
	if h.rng.IntN(2) == 0 {
		h.awaitReady()
	}
}

func (h *havoc) pause(atMost time.Duration) { time.Sleep(time.Duration(h.rng.Int64N(int64(atMost)))) }

// cutOff leaves a broker without any link for a while.
func (h *havoc) cutOff(id wire.BrokerID) {
	h.note("broker %d is cut off", id)
	for other := range wire.BrokerID(havocBrokers) {
		if other+1 != id {
			h.net.cut(id, other+1)
		}
	}
	h.pause(15 * time.Second)
	for other := range wire.BrokerID(havocBrokers) {
		if other+1 != id {
			h.net.heal(id, other+1)
		}
	}
	h.note("broker %d is back", id)
}

// breakDisk makes a broker's disk full for a while, or has it fail. It does not hold syncs back: in virtual time
// whoever waits for a lock meanwhile would stop the clock.
func (h *havoc) breakDisk(id wire.BrokerID, kind int) {
	disk := h.members[id].disk
	switch kind {
	case 7:
		h.note("the disk of broker %d is full", id)
		disk.Fail(faultfs.Rule{Kind: faultfs.Write, Match: faultfs.Under("/data/" + h.name + "-1"), Times: -1, Err: syscall.ENOSPC, Short: 20})
		h.pause(15 * time.Second)
		disk.Heal()
	case 8:
		h.note("the disk of broker %d fails", id)
		disk.Fail(faultfs.Rule{Kind: faultfs.Sync, Match: faultfs.Under("/data/" + h.name + "-1")})
		h.pause(5 * time.Second)
		h.crash(id, false)
		h.start(id)
	}
	h.note("it is over")
}

// reassign takes a partition off a broker, or brings it there, and does not wait for it.
func (h *havoc) reassign(away wire.BrokerID) {
	partition := int32(h.rng.IntN(havocPartitions))
	var to []wire.BrokerID
	for id := range wire.BrokerID(havocBrokers) {
		if id+1 != away {
			to = append(to, id+1)
		}
	}
	h.note("partition %d moves to %v", partition, to)
	ctx, cancel := context.WithTimeout(h.t.Context(), 5*time.Second)
	defer cancel()
	outcomes, err := h.any().AlterReassignments(ctx, wire.AlterReassignments{
		Partitions: []wire.Reassignment{{Topic: h.name, Partition: partition, Replicas: to}},
	})
	if err == nil && outcomes[0].Err != nil {
		h.t.Errorf("partition %d does not move to %v: %v", partition, to, outcomes[0].Err)
	}
}

// disturb creates and deletes a topic again and again, and writes to it without waiting for others.
func (h *havoc) disturb(ctx context.Context) {
	for ctx.Err() == nil {
		each, cancel := context.WithTimeout(ctx, 5*time.Second)
		created := h.asked().CreateTopics(each, []wire.NewTopic{{Name: "noise", Partitions: 2, ReplicationFactor: 3}}, false)
		for range 20 {
			if leader := h.leaderOf(created[0].ID, 0); leader != nil && created[0].Err == nil {
				leader.Produce(&wire.Produce{
					Topic: created[0].ID, Acks: wire.AcksLeader, Batches: recordsOf(10, wire.NoProducer, 0), Done: make(one, 1),
				})
			}
			time.Sleep(20 * time.Millisecond)
		}
		_ = h.asked().DeleteTopics(each, []wire.TopicRef{{Name: "noise"}})
		cancel()
		time.Sleep(100 * time.Millisecond)
	}
}

// asked is a broker to ask; while none runs, it waits.
func (h *havoc) asked() *company {
	for ; ; time.Sleep(10 * time.Millisecond) {
		h.cluster.mu.Lock()
		for _, c := range h.members {
			h.cluster.mu.Unlock()
			return c
		}
		h.cluster.mu.Unlock()
	}
}

// crash ends a broker's process in the middle of whatever it does, or the power of its machine.
func (h *havoc) crash(id wire.BrokerID, power bool) {
	h.note("broker %d dies, power cut: %v", id, power)
	h.cluster.mu.Lock()
	c := h.members[id]
	delete(h.members, id)
	h.cluster.mu.Unlock()
	if power {
		h.disks[id] = h.disks[id].Crash(h.rng)
		h.boots[id]++
	} else {
		h.disks[id] = h.disks[id].Kill()
	}
	h.net.leave(id)
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	if err := c.Stop(ctx); errors.Is(err, context.DeadlineExceeded) {
		h.t.Errorf("broker %d does not stop: %v", id, err)
	}
	for _, d := range c.dirs {
		_ = d.Close() // its disk is gone
	}
}
