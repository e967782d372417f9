package wire

// What an operator asks of a cluster, and is told. Partitions go by the name of their topic here, as a
// person says them.

// PartitionOutcome is what became of a request for one partition.
type PartitionOutcome struct {
	Topic     string
	Partition int32
	Err       error
}

// ElectLeaders asks that partitions be led by their preferred replica, which is the first one; or,
// Unclean, that those without a leader get any replica that lives, whatever it lacks.
type ElectLeaders struct {
	Unclean    bool
	Partitions []TopicNamePartition // nil: all there are
}

// AlterReassignments asks for other replicas.
type AlterReassignments struct {
	SameFactor bool // a target must have as many replicas as the partition has
	Partitions []Reassignment
}

// RemoveBroker asks that a broker leave the cluster for good. It is asked again until it is done: each
// time some more of its replicas begin their way to others.
type RemoveBroker struct {
	Broker BrokerID
	Cancel bool // it stays; what is on its way goes on
}

// RemovedBroker tells how far the removal of a broker is.
type RemovedBroker struct {
	Left   int // partitions that it still has replicas of
	Moving int // those of them that are on their way
	Done   bool
}

// BrokerStanding is whether a broker takes part.
type BrokerStanding string

// The standings of a broker.
const (
	BrokerOnline       BrokerStanding = "online"
	BrokerFenced       BrokerStanding = "fenced"        // not heard of: it leads nothing
	BrokerShuttingDown BrokerStanding = "shutting down" // its leaderships are being taken over
	BrokerDraining     BrokerStanding = "draining"      // its replicas are moved to others, to remove it
)

// ClusterBroker is a broker as an operator needs to know it.
type ClusterBroker struct {
	Broker

	ClusterAddress string // where other brokers reach it
	Epoch          uint64 // of its registration
	Incarnation    Incarnation
	Standing       BrokerStanding
}

// ClusterDescription is a cluster as an operator needs to know it.
type ClusterDescription struct {
	ClusterID string
	Brokers   []ClusterBroker // sorted by id
	Quorum    Quorum
}

// ClusterHealth says whether a cluster does all that it should, and what it can bear.
type ClusterHealth struct {
	Healthy         bool
	Offline         int // partitions without a leader
	UnderReplicated int // partitions with fewer replicas in sync than they have
	// MayLose is how many brokers, whichever they are, may die with everything going on.
	MayLose int
	Reasons []string // why it is not healthy, or why MayLose is 0, for a person; the first ones
}
