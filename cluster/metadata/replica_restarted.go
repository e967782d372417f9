package metadata

import "github.com/troupe-mq/troupe/wire"

// ReplicaRestarted tells that a broker began a replica anew within its own lifetime: after a panic,
// or after a log directory came back. It asks for a new leader epoch where the replica led. The
// reply is an error or nil.
type ReplicaRestarted struct {
	Topic       wire.TopicID
	Partition   int32
	Broker      wire.BrokerID
	Incarnation wire.Incarnation
	LeaderEpoch wire.LeaderEpoch // the one that the replica led in
}

// Decide implements Command.
func (c ReplicaRestarted) Decide(img *Image, _ Env) Decision {
	if _, err := img.process(c.Broker, c.Incarnation); err != nil {
		return refused(err)
	}
	t := img.topicByID(c.Topic)
	if t == nil {
		return refused(wire.Errorf(wire.UnknownTopicID, "no topic has id %s", c.Topic))
	}
	p, ok := t.partition(c.Partition)
	member := p.member(c.Broker)
	if !ok || member == 0 {
		return refused(wire.Errorf(wire.UnknownTopicOrPartition, "%s-%d is not on broker %d", t.name, c.Partition, c.Broker))
	}
	if p.leaderID() == c.Broker && p.leaderEpoch > c.LeaderEpoch {
		return refused(nil) // it leads in a new leader epoch already
	}
	if p.leaderID() != c.Broker || p.leaderEpoch != c.LeaderEpoch {
		return refused(wire.Errorf(wire.FencedLeaderEpoch, "%s-%d is led by broker %d in leader epoch %d",
			t.name, c.Partition, p.leaderID(), p.leaderEpoch))
	}
	r := img.rulesOf(t, img.standing)
	r.leave(&p, member)
	p.leader = noLeader
	return Decision{Records: []Record{&PartitionsChanged{Changes: []PartitionChange{r.next(&p)}}}}
}
