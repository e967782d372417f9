package metadata

import (
	"cmp"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

func (r *BrokerRegistered) apply(d *draft) error {
	if r.Broker < 0 {
		return mismatch("broker %d", r.Broker)
	}
	if len(r.Directories) > maxDirectories {
		return mismatch("broker %d with %d directories", r.Broker, len(r.Directories))
	}
	b := broker{Registration: Registration{
		ID: r.Broker, Epoch: uint64(d.recoveryEpoch)<<epochIndexBits | d.index, Incarnation: r.Incarnation,
		Host: r.Host, Port: r.Port, ClusterAddress: r.ClusterAddress, Rack: r.Rack, BootID: r.BootID,
		RaftID: r.RaftID, Fenced: r.Fenced,
	}}
	old := d.broker(r.Broker)
	if old != nil {
		b.topics, b.Directories, b.Draining = old.topics, old.Directories, old.Draining
	}
	if r.RaftID == 0 {
		b.RaftID = d.formerRaftID(old, r.Directories)
	}
	b.Directories = registeredDirectories(b.Directories, r.Directories)
	if len(b.Directories) > maxDirectories {
		return mismatch("broker %d with %d directories", r.Broker, len(b.Directories))
	}
	d.setBroker(&b)
	d.forgetReports(func(rep report) bool { return rep.broker == r.Broker })
	d.nextBroker = max(d.nextBroker, r.Broker+1)
	return nil
}

// founderRaftID is the raft id of the only broker of a cluster that the version before founded.
const founderRaftID = 1

// formerRaftID returns the raft id of a broker whose record names none: the one it has, as long as
// its disks are those of before.
func (d *draft) formerRaftID(old *broker, dirs []DirectoryID) uint64 {
	switch {
	case old == nil && len(d.brokers) == 0:
		return founderRaftID
	case old != nil && slices.ContainsFunc(dirs, old.has):
		return old.RaftID
	}
	return 0
}

func (r *BrokerChanged) apply(d *draft) error {
	old := d.broker(r.Broker)
	if old == nil || old.Epoch != r.Epoch {
		return mismatch("no broker %d of epoch %d", r.Broker, r.Epoch)
	}
	b := *old
	b.Fenced, b.ShuttingDown, b.Draining = r.Fenced, r.ShuttingDown, r.Draining
	d.setBroker(&b)
	return nil
}

func (r *BrokerRemoved) apply(d *draft) error {
	b := d.broker(r.Broker)
	if b == nil || b.Epoch != r.Epoch {
		return mismatch("no broker %d of epoch %d", r.Broker, r.Epoch)
	}
	if b.topics.len() > 0 {
		return mismatch("broker %d has replicas of %d topics", r.Broker, b.topics.len())
	}
	d.brokers = slices.DeleteFunc(slices.Clone(d.brokers), func(b *broker) bool { return b.ID == r.Broker })
	d.ownBrokers = true
	d.forgetReports(func(rep report) bool { return rep.broker == r.Broker })
	d.removedDirs = slices.Clone(d.removedDirs)
	for _, dir := range b.Directories {
		d.removedDirs = append(d.removedDirs, dir.ID)
	}
	slices.Sort(d.removedDirs)
	d.removedDirs = slices.Compact(d.removedDirs)
	return nil
}

// registeredDirectories returns the directories that a broker ever had, each at its number, after
// it has registered those that work now.
func registeredDirectories(known []Directory, working []DirectoryID) []Directory {
	next := slices.Clone(known)
	for i := range next {
		next[i].Offline = !slices.Contains(working, next[i].ID)
	}
	for _, id := range working {
		if !slices.ContainsFunc(next, func(dir Directory) bool { return dir.ID == id }) {
			next = append(next, Directory{ID: id})
		}
	}
	return next
}

func (r *DirectoriesFailed) apply(d *draft) error {
	old := d.broker(r.Broker)
	if old == nil || old.Epoch != r.Epoch {
		return mismatch("no broker %d of epoch %d", r.Broker, r.Epoch)
	}
	b := *old
	b.Directories = slices.Clone(b.Directories)
	for i := range b.Directories {
		if slices.Contains(r.Directories, b.Directories[i].ID) {
			b.Directories[i].Offline = true
		}
	}
	d.setBroker(&b)
	return nil
}

func (r *ReplicasFailed) apply(d *draft) error {
	old := d.broker(r.Broker)
	if old == nil || old.Epoch != r.Epoch {
		return mismatch("no broker %d of epoch %d", r.Broker, r.Epoch)
	}
	b := *old
	b.failed = slices.Concat(old.failed, r.Replicas)
	slices.SortFunc(b.failed, PartitionRef.compare)
	b.failed = slices.Compact(b.failed)
	if !d.hosts(&b, b.failed) {
		return mismatch("broker %d has none of the replicas that failed", r.Broker)
	}
	d.setBroker(&b)
	return nil
}

// failedElsewhere returns the failed replicas that are not of that topic.
func failedElsewhere(failed []PartitionRef, topic TopicNumber) []PartitionRef {
	return failedOnly(failed, func(ref PartitionRef) bool { return ref.Topic != topic })
}

// failedOnly returns those of the failed replicas that are to be kept.
func failedOnly(failed []PartitionRef, keep func(PartitionRef) bool) []PartitionRef {
	drop := func(ref PartitionRef) bool { return !keep(ref) }
	if !slices.ContainsFunc(failed, drop) {
		return failed
	}
	return slices.Clip(slices.DeleteFunc(slices.Clone(failed), drop))
}

// hosts says that a broker has replicas of all these partitions.
func (img *Image) hosts(b *broker, refs []PartitionRef) bool {
	for _, ref := range refs {
		t := img.topic(ref.Topic)
		if t == nil {
			return false
		}
		if p, _ := t.partition(ref.Partition); p.member(b.ID) == 0 {
			return false
		}
	}
	return true
}

func (d *draft) setBroker(b *broker) {
	i, found := slices.BinarySearchFunc(d.brokers, b.ID, func(b *broker, id wire.BrokerID) int {
		return cmp.Compare(b.ID, id)
	})
	if !d.ownBrokers {
		d.brokers, d.ownBrokers = slices.Clone(d.brokers), true
	}
	if found {
		d.brokers[i] = b
	} else {
		d.brokers = slices.Insert(d.brokers, i, b)
	}
}
