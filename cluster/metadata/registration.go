package metadata

import (
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// broker is a registration with the index of what the broker has replicas of. The index is by
// topic: finding its partitions then costs a look at those topics, and keeping it next to nothing.
type broker struct {
	Registration
	topics sorted[TopicNumber]
	failed []PartitionRef // replicas that it cannot use, in order
}

func (b *broker) hasFailed(ref PartitionRef) bool {
	_, failed := slices.BinarySearchFunc(b.failed, ref, PartitionRef.compare)
	return failed
}

// Registration is what the cluster knows of a broker.
type Registration struct {
	ID             wire.BrokerID
	Epoch          uint64 // the index of the entry that registered it, below the recovery epoch
	Incarnation    wire.Incarnation
	Directories    []Directory // that it ever registered, in that order
	Host           string      // as advertised to clients
	Port           int32
	ClusterAddress string
	Rack           string
	BootID         string
	RaftID         uint64 // as a voter of the metadata log; never used again, not by the same broker. 0: no voter
	Fenced         bool
	ShuttingDown   bool
	Draining       bool // an operator removes it: it gets no new replicas
}

// Directory is a log directory of a broker.
type Directory struct {
	ID      DirectoryID
	Offline bool // it failed, or was not there when the broker began
}

// epochIndexBits is how much of a broker epoch is the index of the entry. The recovery epoch lies
// above it: after a recovery, indexes that were given out before come again.
const epochIndexBits = 48

// RegisteredAt returns the index of the entry that registered the broker.
func (r *Registration) RegisteredAt() uint64 { return r.Epoch & (1<<epochIndexBits - 1) }

// offline says that a directory does not work, or, if none is named, that none does.
func (r *Registration) offline(dir directory) bool {
	if dir == 0 {
		return !slices.ContainsFunc(r.Directories, func(d Directory) bool { return !d.Offline })
	}
	return int(dir) > len(r.Directories) || r.Directories[dir-1].Offline
}

// has says that the broker has registered a directory.
func (r *Registration) has(id DirectoryID) bool {
	return slices.ContainsFunc(r.Directories, func(d Directory) bool { return d.ID == id })
}

// working returns the directories that work, in order.
func (r *Registration) working() (dirs []directory) {
	for i, d := range r.Directories {
		if !d.Offline {
			dirs = append(dirs, directory(i+1))
		}
	}
	return dirs
}

// Usable says that the broker may lead and may get new replicas.
func (r *Registration) Usable() bool {
	return standingOf(r.Fenced, r.ShuttingDown) == usable && !r.offline(0)
}
