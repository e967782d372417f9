package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// planner chooses where the partitions of topics are to lie: as evenly as may be, in different racks,
// and moving no more than that takes.
type planner struct {
	brokers []wire.BrokerID
	racks   map[wire.BrokerID]string
	targets [][]wire.BrokerID     // of the partitions, in their order
	load    map[wire.BrokerID]int // replicas that are planned
	leads   map[wire.BrokerID]int // and how many of them are the preferred leader
}

func newPlanner(brokers []wire.BrokerID, racks map[wire.BrokerID]string) *planner {
	return &planner{brokers: brokers, racks: racks, load: make(map[wire.BrokerID]int), leads: make(map[wire.BrokerID]int)}
}

// plan returns the reassignments that give each partition its replicas on the brokers; those
// that are so already are left out. A factor of 0 keeps the number of replicas.
func (p *planner) plan(topics []client.Topic, factor int) []client.Reassignment {
	var parts []*client.PartitionInfo
	var names []string
	for i := range topics {
		for j := range topics[i].Partitions {
			parts, names = append(parts, &topics[i].Partitions[j]), append(names, topics[i].Name)
		}
	}
	wanted := func(part *client.PartitionInfo) int {
		if factor > 0 {
			return factor
		}
		return min(len(part.Replicas)-len(part.Adding), len(p.brokers))
	}
	for _, part := range parts {
		p.keep(part, wanted(part))
	}
	for i, part := range parts {
		for len(p.targets[i]) < wanted(part) {
			id := p.next(p.targets[i])
			p.targets[i] = append(p.targets[i], id)
			p.load[id]++
		}
		p.leads[p.targets[i][0]]++
	}
	for level := false; !level; { // each step brings two brokers closer together
		level = !p.levelLoad() && !p.levelLeads()
	}
	var moves []client.Reassignment
	for i, part := range parts {
		if len(part.Adding)+len(part.Removing) > 0 || !slices.Equal(p.targets[i], brokerIDs(part.Replicas)) {
			moves = append(moves, client.Reassignment{Topic: names[i], Partition: part.Partition, Replicas: p.targets[i]})
		}
	}
	return moves
}

// keep begins the target of a partition with the replicas that may stay where they are.
func (p *planner) keep(part *client.PartitionInfo, wanted int) {
	var target []wire.BrokerID
	for _, id := range brokerIDs(part.Replicas) {
		if len(target) < wanted && slices.Contains(p.brokers, id) {
			target = append(target, id)
			p.load[id]++
		}
	}
	p.targets = append(p.targets, target)
}

// levelLoad moves one replica from a broker that has two more than another one. It returns false
// when there is none that could be.
func (p *planner) levelLoad() bool {
	byLoad := slices.SortedStableFunc(slices.Values(p.brokers), func(a, b wire.BrokerID) int { return p.load[a] - p.load[b] })
	for _, from := range slices.Backward(byLoad) {
		for _, to := range byLoad {
			if p.load[from]-p.load[to] < 2 {
				break
			}
			for _, target := range p.targets {
				at := slices.Index(target, from)
				if at < 0 || slices.Contains(target, to) {
					continue
				}
				others := slices.Delete(slices.Clone(target), at, at+1)
				if p.crowds(to, others) && !p.crowds(from, others) {
					continue
				}
				if at == 0 {
					p.leads[from]--
					p.leads[to]++
				}
				target[at] = to
				p.load[from]--
				p.load[to]++
				return true
			}
		}
	}
	return false
}

// levelLeads gives the preferred leadership of one partition to another of its replicas.
func (p *planner) levelLeads() bool {
	for _, target := range p.targets {
		for i, id := range target {
			if p.leads[target[0]]-p.leads[id] >= 2 {
				p.leads[target[0]]--
				p.leads[id]++
				target[0], target[i] = target[i], target[0]
				return true
			}
		}
	}
	return false
}

// crowds says that a broker shares its rack with others.
func (p *planner) crowds(id wire.BrokerID, others []wire.BrokerID) bool {
	return p.racks[id] != "" && slices.ContainsFunc(others, func(other wire.BrokerID) bool { return p.racks[other] == p.racks[id] })
}

// next returns the broker that a further replica goes to: in a rack that has none of them if there
// is such a one, and with the least to do.
func (p *planner) next(beside []wire.BrokerID) wire.BrokerID {
	best := wire.NoBroker
	for _, id := range p.brokers {
		if slices.Contains(beside, id) {
			continue
		}
		switch {
		case best == wire.NoBroker, !p.crowds(id, beside) && p.crowds(best, beside),
			p.crowds(id, beside) == p.crowds(best, beside) && p.load[id] < p.load[best]:
			best = id
		}
	}
	return best
}

func brokerIDs(numbers []int32) []wire.BrokerID {
	ids := make([]wire.BrokerID, len(numbers))
	for i, n := range numbers {
		ids[i] = wire.BrokerID(n)
	}
	return ids
}

// parseBrokers reads 1,2,3.
func parseBrokers(text string) ([]wire.BrokerID, error) {
	var ids []wire.BrokerID
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(word), 10, 32)
		if err != nil || n < 0 || slices.Contains(ids, wire.BrokerID(n)) {
			return nil, usagef("%q: write the ids of brokers, each once, as in 1,2,3", text)
		}
		ids = append(ids, wire.BrokerID(n))
	}
	return ids, nil
}

// parseAssignments reads 0=1,2,3 for each partition.
func parseAssignments(topic string, texts []string) ([]client.Reassignment, error) {
	var moves []client.Reassignment
	for _, text := range texts {
		partition, brokers, found := strings.Cut(text, "=")
		n, err := strconv.ParseInt(partition, 10, 32)
		if !found || err != nil || n < 0 {
			return nil, usagef("--assign %s: write a partition and its brokers, the leader first, as in --assign 0=1,2,3", text)
		}
		ids, err := parseBrokers(brokers)
		if err != nil {
			return nil, err
		}
		moves = append(moves, client.Reassignment{Topic: topic, Partition: int32(n), Replicas: ids})
	}
	return moves, nil
}
