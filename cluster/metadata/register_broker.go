package metadata

import (
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// RegisterBroker tells that a broker process has begun. It shuts out the process before: all that
// one led gets a new leader epoch, and all that it has replicas of a new partition epoch, in the
// same entry. The reply is a RegisteredBroker. The broker epoch is the index of the entry.
//
// Who it is, is told by its directories. One whose directories nobody knows is new; but at the cluster
// address of a broker that is fenced, or asking for its id, it takes that one's place, with empty
// disks. As long as that broker is not fenced the answer is DUPLICATE_BROKER_REGISTRATION: to be asked
// again, since the session of a process that died may last for some seconds still.
type RegisterBroker struct {
	ID             wire.BrokerID // NoBroker: as the directories and the address say
	Incarnation    wire.Incarnation
	Directories    []DirectoryID
	Host           string // as advertised to clients
	Port           int32
	ClusterAddress string
	Rack           string
	// BootID tells one run of the machine from the next; "" is never the same. A process that
	// died left its writes in the page cache, a machine that did has lost what was not synced.
	BootID string
	// RaftID is what the broker is called among the voters of the metadata log: random, and another
	// one whenever that log begins anew. 0: as it was.
	RaftID uint64
	// LostDurable are the partitions whose log on this broker ends before what it knew to be on its
	// disk: the disk has forgotten. They are neither in sync nor eligible.
	LostDurable []wire.TopicPartition
	// Fenced makes it a broker that neither leads nor joins before it is unfenced.
	Fenced bool
}

// RegisteredBroker answers a RegisterBroker.
type RegisteredBroker struct {
	Err error
	ID  wire.BrokerID
}

// What a registration may take in every broker's memory.
const (
	maxDirectories   = 255
	maxAddressLength = 255
)

// Decide implements Command.
func (c RegisterBroker) Decide(img *Image, _ Env) Decision {
	if err := c.check(img); err != nil {
		return Decision{Reply: RegisteredBroker{Err: err, ID: c.ID}}
	}
	id, err := c.identity(img)
	if err != nil {
		return Decision{Reply: RegisteredBroker{Err: err, ID: c.ID}}
	}
	c.ID = id
	old := img.broker(c.ID)
	if old != nil && c.repeats(&old.Registration) {
		return Decision{Reply: RegisteredBroker{ID: c.ID}}
	}
	if old != nil && len(registeredDirectories(old.Directories, c.Directories)) > maxDirectories {
		err := wire.Errorf(wire.InvalidRegistration, "broker %d has had more than %d directories", c.ID, maxDirectories)
		return Decision{Reply: RegisteredBroker{Err: err, ID: c.ID}}
	}
	if old != nil && !old.Fenced && c.elsewhere(&old.Registration) {
		err := wire.Errorf(wire.DuplicateBrokerRegistration,
			"broker %d is registered with other directories and not fenced", c.ID)
		return Decision{Reply: RegisteredBroker{Err: err, ID: c.ID}}
	}
	records := []Record{&BrokerRegistered{
		Broker: c.ID, Incarnation: c.Incarnation, Directories: slices.Clone(c.Directories),
		Host: c.Host, Port: c.Port, ClusterAddress: c.ClusterAddress, Rack: c.Rack, BootID: c.BootID,
		RaftID: c.RaftID, Fenced: c.Fenced,
	}}
	if old != nil {
		if changes := c.replicas(img, old); len(changes) > 0 {
			records = append(records, &PartitionsChanged{Changes: changes})
		}
	}
	return Decision{Records: records, Reply: RegisteredBroker{ID: c.ID}}
}

func (c RegisterBroker) check(img *Image) error {
	switch {
	case img.clusterID == "":
		return wire.Errorf(wire.InvalidRegistration, "there is no cluster yet")
	case c.ID < wire.NoBroker:
		return wire.Errorf(wire.InvalidRegistration, "broker id %d is below zero", c.ID)
	case c.Host == "" || len(c.Host) > maxAddressLength || c.Port < 1 || c.Port > 65535:
		return wire.Errorf(wire.InvalidRegistration, "%.300q port %d is no address for clients", c.Host, c.Port)
	case len(c.ClusterAddress) > maxAddressLength || len(c.Rack) > maxAddressLength || len(c.BootID) > maxAddressLength:
		return wire.Errorf(wire.InvalidRegistration, "an address, rack or boot id of more than %d bytes", maxAddressLength)
	case len(c.Directories) == 0 || len(c.Directories) > maxDirectories:
		return wire.Errorf(wire.InvalidRegistration, "%d log directories, of 1 to %d", len(c.Directories), maxDirectories)
	}
	for i, dir := range c.Directories {
		if dir == "" || len(dir) > maxAddressLength || slices.Contains(c.Directories[:i], dir) {
			return wire.Errorf(wire.InvalidRegistration, "directory id %.300q is empty, too long or there twice", dir)
		}
		if slices.Contains(img.removedDirs, dir) {
			return wire.Errorf(wire.InvalidRegistration, "directory %s was removed from the cluster with its broker", dir)
		}
	}
	if owner, taken := img.BrokerByRaftID(c.RaftID); taken && !slices.ContainsFunc(c.Directories, owner.has) {
		return wire.Errorf(wire.InvalidRegistration, "raft id %d is broker %d's", c.RaftID, owner.ID)
	}
	return nil
}

// identity returns the id of the broker that registers.
func (c RegisterBroker) identity(img *Image) (wire.BrokerID, error) {
	id := c.ID
	for _, b := range img.brokers {
		if !slices.ContainsFunc(c.Directories, b.has) {
			continue
		}
		if id != wire.NoBroker && id != b.ID {
			return id, wire.Errorf(wire.InvalidRegistration, "a directory of broker %d registers as broker %d", b.ID, id)
		}
		id = b.ID
	}
	if id != wire.NoBroker {
		return id, nil
	}
	for _, b := range img.brokers {
		switch {
		case c.ClusterAddress == "" || b.ClusterAddress != c.ClusterAddress:
		case !b.Fenced:
			return id, wire.Errorf(wire.DuplicateBrokerRegistration,
				"broker %d is registered at %s with other directories, and not fenced", b.ID, b.ClusterAddress)
		case id == wire.NoBroker:
			id = b.ID
		}
	}
	if id == wire.NoBroker {
		id = img.nextBroker
	}
	return id, nil
}

// elsewhere says that the process before may live: it holds directories that this one has not.
func (c RegisterBroker) elsewhere(old *Registration) bool {
	works := func(dir Directory) bool { return !dir.Offline }
	shared := func(dir Directory) bool { return works(dir) && slices.Contains(c.Directories, dir.ID) }
	if !slices.ContainsFunc(old.Directories, works) {
		return !slices.ContainsFunc(c.Directories, old.has)
	}
	return !slices.ContainsFunc(old.Directories, shared)
}

// repeats says that the command came twice.
func (c RegisterBroker) repeats(old *Registration) bool {
	again := Registration{
		ID: c.ID, Epoch: old.Epoch, Incarnation: c.Incarnation,
		Directories: registeredDirectories(old.Directories, c.Directories),
		Host:        c.Host, Port: c.Port, ClusterAddress: c.ClusterAddress, Rack: c.Rack, BootID: c.BootID,
		RaftID: c.RaftID, Fenced: old.Fenced, ShuttingDown: old.ShuttingDown, Draining: old.Draining,
	}
	if c.RaftID == 0 {
		again.RaftID = old.RaftID
	}
	return again.equal(old)
}

// replicas decides what the registration means for the broker's partitions. A copy that was
// fsynced is complete after any restart, unless the disk itself has forgotten; one that was not is
// complete unless the machine went down; and a wiped broker has nothing yet. A copy on a directory that
// is missing stays as complete as it was, but cannot lead before the directory is back. One that failed
// gets another chance.
func (c RegisterBroker) replicas(img *Image, old *broker) []PartitionChange {
	wiped := !slices.ContainsFunc(c.Directories, old.has)
	rebooted := c.BootID == "" || c.BootID != old.BootID
	registered := Registration{Directories: registeredDirectories(old.Directories, c.Directories)}
	after := func(p *partition, replica int) standing {
		switch {
		case p.replicas[replica] != c.ID:
			return img.standing(p, replica)
		case registered.offline(p.dirs[replica]):
			return shutOut
		}
		return standingOf(c.Fenced, false)
	}
	lost := make(map[wire.TopicPartition]bool, len(c.LostDurable))
	for _, tp := range c.LostDurable {
		lost[tp] = true
	}
	var changes []PartitionChange
	var of *topic
	var r rules
	for t, p := range img.hosted(c.ID) {
		if t != of {
			of, r = t, img.rulesOf(t, after)
		}
		switch member := p.member(c.ID); {
		case wiped:
			p.displace(member, &registered)
		case rebooted && t.replicated, lost[wire.TopicPartition{Topic: t.id, Partition: p.number}]:
			p.doubt(member)
		default:
			r.leave(&p, member)
		}
		changes = append(changes, r.next(&p))
	}
	return changes
}

// displace gives a broker that has lost its disks an empty replica in a new directory. Where nobody else
// is complete, the replica stays in the directory that is gone: an empty one must not lead, and should
// the directory come back, so does the partition. Once another one leads, the broker asks for a new
// directory (MoveReplica).
func (p *partition) displace(member ReplicaSet, to *Registration) {
	last := (p.isr|p.elr|p.lastKnownELR)&member != 0 && (p.isr|p.elr)&^member == 0
	p.forget(member)
	if last {
		p.lastKnownELR = member
		return
	}
	p.dirs, p.assigned = slices.Clone(p.dirs), true
	for i := range p.dirs {
		if member.has(i) {
			p.dirs[i] = to.nextDirectory(int(p.topic) + int(p.number))
		}
	}
}
