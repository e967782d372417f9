package replica

import "github.com/troupe-mq/troupe/wire"

// Effects is what the replica actor has to do after an event, in the order of the fields.
type Effects struct {
	// Sync asks the directory's syncer to make the log durable up to its present end.
	Sync bool
	// Advanced says that the high watermark has moved, to HighWatermark: parked producers below
	// it are answered, parked fetches are woken.
	Advanced      bool
	HighWatermark wire.Offset
	// Send is a leader's questions and orders to its followers.
	Send []Directed
	// Stream says that some follower is due, Announce that some follower is to be told a newer
	// high watermark or log start with nothing to send. Leader.Due and Leader.Announce say which.
	Stream   bool
	Announce bool
	// Propose is other in-sync replicas to ask the controller for; nil when there is nothing to ask.
	Propose *Proposal
}

// Directed is a message on its way to a broker: a *wire.Probe or a *wire.Truncate.
type Directed struct {
	To      wire.BrokerID
	Message wire.PeerMessage
}

// Proposal is the in-sync replicas that a leader asks for. It is made for one state of the
// partition and repeated as it is until that state is over.
type Proposal struct {
	LeaderEpoch    wire.LeaderEpoch
	PartitionEpoch wire.PartitionEpoch
	ISR            []Member
	Joining        []wire.BrokerID // compared with the present ones
	Leaving        []wire.BrokerID
}

// Member is a replica in the incarnation whose acknowledgements qualified it.
type Member struct {
	Broker      wire.BrokerID
	Incarnation wire.Incarnation
}

// FollowerEffects is what the replica actor has to do after an event, in the order of the fields.
type FollowerEffects struct {
	// Sync asks the directory's syncer to make the log durable up to its present end.
	Sync bool
	// Cut asks for a truncation, which ends in a call of Follower.Cut.
	Cut *Cut
	// Reply goes to the leader: a *wire.Position or a *wire.Appended.
	Reply wire.PeerMessage
	// Advanced says that the high watermark has moved, to HighWatermark.
	Advanced      bool
	HighWatermark wire.Offset
	// LogStart is where the log is to start from now on, or wire.NoOffset: it stays as it is.
	LogStart wire.Offset
}

// Cut is a truncation of a follower's log.
type Cut struct {
	To    wire.Offset
	Reset bool // the log is emptied and starts at To
	// Below is the high watermark when the cut goes below it, which an unclean election alone can
	// bring about, and wire.NoOffset otherwise: [To, Below) was committed and is lost.
	Below wire.Offset
}
