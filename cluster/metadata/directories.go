package metadata

import (
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// FailDirectories tells that log directories of a broker failed while it runs. What lies in them
// leaves the ISRs and leads no more, in the same entry. The reply is an error or nil.
type FailDirectories struct {
	Broker      wire.BrokerID
	Incarnation wire.Incarnation
	Directories []DirectoryID
}

// Decide implements Command.
func (c FailDirectories) Decide(img *Image, _ Env) Decision {
	b, err := img.process(c.Broker, c.Incarnation)
	if err != nil {
		return refused(err)
	}
	failed := make([]bool, len(b.Directories)+1) // by number
	news := false
	for _, id := range c.Directories {
		i := slices.IndexFunc(b.Directories, func(dir Directory) bool { return dir.ID == id })
		if i < 0 {
			return refused(wire.Errorf(wire.LogDirNotFound, "broker %d has no directory %.300q", c.Broker, id))
		}
		failed[i+1] = true
		news = news || !b.Directories[i].Offline
	}
	if !news {
		return Decision{} // all of it is known
	}
	then := func(p *partition, replica int) standing {
		if dir := p.dirs[replica]; p.replicas[replica] == c.Broker && int(dir) < len(failed) && failed[dir] {
			return shutOut
		}
		return img.standing(p, replica)
	}
	var changes []PartitionChange
	for t, p := range img.hosted(c.Broker) {
		if dir := p.dirs[slices.Index(p.replicas, c.Broker)]; int(dir) < len(failed) && failed[dir] {
			r := img.rulesOf(t, then)
			r.leave(&p, p.member(c.Broker))
			changes = append(changes, r.next(&p))
		}
	}
	records := []Record{&DirectoriesFailed{Broker: c.Broker, Epoch: b.Epoch, Directories: slices.Clone(c.Directories)}}
	if len(changes) > 0 {
		records = append(records, &PartitionsChanged{Changes: changes})
	}
	return Decision{Records: records}
}

// MoveReplica tells that a broker has a replica in another directory than the image says: someone
// moved it there while the broker was down. The reply is an error or nil.
//
// Empty says that the broker has no log of it, and would begin one in that directory. That is not done
// before the replica is superseded.
type MoveReplica struct {
	Topic       wire.TopicID
	Partition   int32
	Broker      wire.BrokerID
	Incarnation wire.Incarnation
	Directory   DirectoryID
	Empty       bool
}

// Decide implements Command.
func (c MoveReplica) Decide(img *Image, _ Env) Decision {
	b, err := img.process(c.Broker, c.Incarnation)
	if err != nil {
		return refused(err)
	}
	t := img.topicByID(c.Topic)
	if t == nil {
		return refused(wire.Errorf(wire.UnknownTopicID, "no topic has id %s", c.Topic))
	}
	p, _ := t.partition(c.Partition)
	replica := slices.Index(p.replicas, c.Broker)
	if replica < 0 {
		return refused(wire.Errorf(wire.UnknownTopicOrPartition, "%s-%d is not on broker %d", t.name, c.Partition, c.Broker))
	}
	dir := slices.IndexFunc(b.Directories, func(dir Directory) bool { return dir.ID == c.Directory }) + 1
	switch {
	case dir == 0 || b.offline(directory(dir)):
		return refused(wire.Errorf(wire.LogDirNotFound, "broker %d has no working directory %.300q", c.Broker, c.Directory))
	case p.dirs[replica] == directory(dir), c.Empty && !img.superseded(&p, replica):
		return Decision{}
	}
	records := []Record{&ReplicaMoved{Topic: t.number, Partition: p.number, Broker: c.Broker, Directory: byte(dir)}}
	if p.leader != noLeader {
		return Decision{Records: records}
	}
	// It may be what the partition waits for. The move itself was one partition epoch.
	p.partitionEpoch++
	p.dirs = slices.Clone(p.dirs)
	p.dirs[replica] = directory(dir)
	r := img.rulesOf(t, img.standing)
	return Decision{Records: append(records, &PartitionsChanged{Changes: []PartitionChange{r.next(&p)}})}
}

// Superseded says that a broker's replica lies in a directory that is gone, and that nothing in there
// counts any more: others have gone on without it, after an unclean election. A directory that is gone
// for a while only keeps its replicas: they are not copied elsewhere because somebody forgot a disk.
func (img *Image) Superseded(id wire.TopicID, number int32, of wire.BrokerID) bool {
	t := img.topicByID(id)
	if t == nil {
		return false
	}
	p, _ := t.partition(number)
	replica := slices.Index(p.replicas, of)
	return replica >= 0 && img.superseded(&p, replica)
}

func (img *Image) superseded(p *partition, replica int) bool {
	b := img.broker(p.replicas[replica])
	return p.uncleanEpoch > 0 && p.leader != noLeader && !(p.isr | p.elr | p.lastKnownELR).has(replica) &&
		b != nil && b.offline(p.dirs[replica])
}

// process returns a broker in the incarnation that speaks.
func (img *Image) process(id wire.BrokerID, incarnation wire.Incarnation) (*broker, error) {
	b := img.broker(id)
	if b == nil {
		return nil, brokerUnknown(id)
	}
	if b.Incarnation != incarnation {
		return nil, wire.Errorf(wire.StaleBrokerEpoch, "broker %d has begun anew since", id)
	}
	return b, nil
}
