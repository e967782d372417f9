package metadata

import (
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

func (img *Image) usableBrokers() (n int) {
	for _, b := range img.brokers {
		if b.Usable() && !b.Draining {
			n++
		}
	}
	return n
}

// placeReplicas finds brokers for partitions of a topic, from number first on: the leaders go round
// the brokers, and the followers lie at distances that change with each round, so that the load of
// a broker that fails is spread over all others. Racks differ within a partition as far as there
// are racks. Fenced brokers come last, and lead nothing.
//
// Kafka: begins at a random broker; here the topic's number says where, so that the rules need no
// dice.
func (img *Image) placeReplicas(number TopicNumber, first, count, factor int) ([][]wire.BrokerID, error) {
	ring, fenced := img.ring()
	if brokers := len(ring) + len(fenced); factor > brokers {
		return nil, wire.Errorf(wire.InvalidReplicationFactor,
			"replication factor %d cannot be reached with %d brokers", factor, brokers)
	}
	if len(ring) == 0 {
		return nil, wire.Errorf(wire.InvalidReplicationFactor, "all %d brokers are fenced or shutting down", len(img.brokers))
	}
	assignment := make([][]wire.BrokerID, count)
	for i := range assignment {
		turn := first + i
		assignment[i] = pick(ring, fenced, int(number)+turn, turn/len(ring), factor)
	}
	return assignment, nil
}

// ring returns the usable brokers with their racks taking turns, and the others, but for those that
// are being removed.
func (img *Image) ring() (usable, others []*broker) {
	var racks []string
	byRack := make(map[string][]*broker)
	for _, b := range img.brokers {
		if b.Draining {
			continue
		}
		if !b.Usable() {
			others = append(others, b)
			continue
		}
		if byRack[b.Rack] == nil {
			racks = append(racks, b.Rack)
		}
		byRack[b.Rack] = append(byRack[b.Rack], b)
	}
	slices.Sort(racks)
	for round := 0; len(racks) > 0; round++ {
		racks = slices.DeleteFunc(racks, func(rack string) bool { return round >= len(byRack[rack]) })
		for _, rack := range racks {
			usable = append(usable, byRack[rack][round])
		}
	}
	return usable, others
}

// pick returns the replicas of one partition: the leader at start on the ring, the others from a
// place on that shift moves, first those of racks not there yet.
func pick(ring, fenced []*broker, start, shift, factor int) []wire.BrokerID {
	leader := ring[start%len(ring)]
	chosen := append(make([]*broker, 0, factor), leader)
	others := len(ring) - 1
	for _, newRacksOnly := range []bool{true, false} {
		for i := 0; i < others && len(chosen) < factor; i++ {
			b := ring[(start+1+(shift+i)%others)%len(ring)]
			unfit := slices.Contains(chosen, b)
			if newRacksOnly {
				unfit = slices.ContainsFunc(chosen, func(c *broker) bool { return c.Rack == b.Rack })
			}
			if !unfit {
				chosen = append(chosen, b)
			}
		}
	}
	chosen = append(chosen, fenced[:min(len(fenced), factor-len(chosen))]...)
	replicas := make([]wire.BrokerID, len(chosen))
	for i, b := range chosen {
		replicas[i] = b.ID
	}
	return replicas
}

// checkAssignment checks replicas that someone assigned by hand. All partitions must have as many
// as factor says, or the first if that is 0.
func (img *Image) checkAssignment(assignment [][]wire.BrokerID, factor int) error {
	invalid := func(format string, args ...any) error {
		return wire.Errorf(wire.InvalidReplicaAssignment, format, args...)
	}
	for i, replicas := range assignment {
		switch {
		case len(replicas) == 0:
			return invalid("partition %d of the assignment has no replicas", i)
		case len(replicas) > MaxReplicas:
			return invalid("partition %d of the assignment has %d replicas, of at most %d", i, len(replicas), MaxReplicas)
		case factor == 0:
			factor = len(replicas)
		case len(replicas) != factor:
			return invalid("partition %d of the assignment has %d replicas, the others %d", i, len(replicas), factor)
		}
		for j, id := range replicas {
			b := img.broker(id)
			if b == nil {
				return invalid("partition %d of the assignment names broker %d, which is not registered", i, id)
			}
			if b.Draining {
				return invalid("partition %d of the assignment names broker %d, which is being removed", i, id)
			}
			if slices.Contains(replicas[:j], id) {
				return invalid("partition %d of the assignment names broker %d twice", i, id)
			}
		}
		if !slices.ContainsFunc(replicas, img.usable) {
			return invalid("all brokers of partition %d of the assignment are fenced or shutting down", i)
		}
	}
	return nil
}

// newPartitions gives each partition its first state: all usable replicas are in sync, having
// nothing yet, and the first of them leads. Each takes one of its broker's directories in turn: that
// the log says which is what keeps a broker from leading with an empty log, as if nothing had
// happened, when a disk is missing after a restart.
func (img *Image) newPartitions(number TopicNumber, first int, assignment [][]wire.BrokerID) []NewPartition {
	list := make([]NewPartition, len(assignment))
	for i, replicas := range assignment {
		p := NewPartition{Replicas: slices.Clone(replicas), Leader: wire.NoBroker}
		for j, id := range replicas {
			working := img.broker(id).working()
			if len(working) > 0 {
				p.Directories = append(p.Directories, byte(working[(int(number)+first+i)%len(working)]))
			} else {
				p.Directories = append(p.Directories, 0)
			}
			if !img.usable(id) {
				continue
			}
			p.ISR |= 1 << j
			if p.Leader == wire.NoBroker {
				p.Leader = id
			}
		}
		list[i] = p
	}
	return list
}
