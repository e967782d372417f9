package wire

import "time"

// Quorum is who keeps the metadata log, as one broker knows it. Who leads it knows most.
type Quorum struct {
	Leader    BrokerID
	Term      uint64
	Committed uint64 // index of the last entry known to be committed
	Voters    []QuorumMember
	Learners  []QuorumMember // get the log and do not vote
	Changing  bool           // the voters are being changed: a majority of those before is needed as well
}

// QuorumMember is a broker's copy of the metadata log.
type QuorumMember struct {
	Broker BrokerID // NoBroker if the log belongs to none any more
	RaftID uint64   // of the log
	Match  uint64   // index up to which it is known to have it; the leader knows
	// Silent is the time since it was last heard; the leader knows.
	Silent time.Duration
}
