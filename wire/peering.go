package wire

// What brokers say to each other. These messages travel on the links between brokers and are
// decoded nowhere else: the listener for clients does not know their kinds.

// Envelope is an actor message on its way to another broker.
type Envelope struct {
	To      string // the actor's id on the receiving broker
	From    string // the sender's id on the sending one; "" when nobody is to be answered
	Message PeerMessage
}

// PeerMessage is a message between actors of two brokers. It is immutable once sent: a message to
// an actor of the same broker passes as it is.
type PeerMessage interface {
	Message
	Kind() Kind
}

// The kinds of messages between brokers. A number is never used for something else; one that is not
// known is counted and passed over, so that versions may be mixed.
const (
	KindProbe    Kind = 64
	KindPosition Kind = 65
	KindTruncate Kind = 66
	KindAppend   Kind = 67
	KindAppended Kind = 68

	KindRaftStep        Kind = 72
	KindPropose         Kind = 73
	KindProposed        Kind = 74
	KindFetchMetadata   Kind = 75
	KindMetadataFetched Kind = 76
	KindHeartbeat       Kind = 77
	KindHeartbeatReply  Kind = 78
	KindHint            Kind = 79

	KindWatch      Kind = 80
	KindUnwatch    Kind = 81
	KindTerminated Kind = 82

	KindForward   Kind = 84
	KindForwarded Kind = 85

	KindGossipKeyStep Kind = 86 // only within a Forward
)

// Probe asks a replica where its log ends, in the name of a leader epoch. It makes any replica of
// a lower epoch follow the sender.
type Probe struct {
	Sender      BrokerID // who leads; filled in on receipt from the link, not encoded
	Topic       TopicID
	Partition   int32
	LeaderEpoch LeaderEpoch
}

// Position answers a Probe and a Truncate: where the follower's log ends. A replica that begins to
// follow also sends one unasked.
type Position struct {
	Sender      BrokerID // not encoded
	Topic       TopicID
	Partition   int32
	LeaderEpoch LeaderEpoch
	Incarnation Incarnation // of the follower's broker
	Run         uint64      // of the follower's replica actor; a new one with every spawn in a process

	LastEpoch      LeaderEpoch // of the last batch; NoEpoch when the log is empty
	LogStartOffset Offset
	LogEndOffset   Offset
	FlushedOffset  Offset

	// Confirmed says that the follower's own image has reached LeaderEpoch too. Before, it may still hear that
	// this replica was taken off the assignment, and delete it.
	Confirmed bool
}

// Truncate tells a follower to cut its log at To, before which the leader has the same. It is
// obeyed only before the first Append that the follower accepts in (LeaderEpoch, Incarnation, Run).
type Truncate struct {
	Sender      BrokerID // not encoded
	Topic       TopicID
	Partition   int32
	LeaderEpoch LeaderEpoch
	Incarnation Incarnation // of the follower, from its Position
	Run         uint64
	To          Offset
	LastEpoch   LeaderEpoch // the leader's largest epoch not above the follower's last: later ones are cut too
	Reset       bool        // forget the whole log and begin anew at To: the leader's log starts there
	Unclean     bool        // the log dates from before an unclean election: To may lie below the high watermark
}

// Append carries record batches from the leader to a follower, byte for byte as they lie in the
// leader's log, or nothing but the high watermark. It applies only if the follower's log ends
// exactly at PrevOffset with PrevEpoch.
type Append struct {
	Sender         BrokerID // not encoded
	Topic          TopicID
	Partition      int32
	LeaderEpoch    LeaderEpoch
	Incarnation    Incarnation // of the follower
	Run            uint64
	PrevOffset     Offset
	PrevEpoch      LeaderEpoch // of the last batch before PrevOffset; NoEpoch when there is none
	HighWatermark  Offset
	LogStartOffset Offset

	Batches []byte  // the payload; may be empty
	Buffer  *Buffer // holds Batches and has been retained for the receiver; may be nil
}

// Appended tells the leader how much of its log a follower has: a stream of progress, not one
// answer for each Append.
type Appended struct {
	Sender        BrokerID // not encoded
	Topic         TopicID
	Partition     int32
	LeaderEpoch   LeaderEpoch
	Incarnation   Incarnation
	Run           uint64
	LogEndOffset  Offset
	FlushedOffset Offset
	Confirmed     bool // as in Position
}

// RaftStep carries a message between voters of the metadata log.
type RaftStep struct {
	Sender BrokerID // not encoded
	Data   []byte   // the payload: a raftpb.Message
}

// Propose asks the controller to decide a command. Exactly one Proposed answers it, or the link
// goes down.
type Propose struct {
	Sender  BrokerID // not encoded
	ID      uint64   // chosen by the sender
	Command []byte   // the payload, as cluster/metadata encodes it
}

// Proposed answers a Propose. With Err nil the command's own reply, which may be a refusal, is in
// Reply; its effect is in the image from Index on.
type Proposed struct {
	Sender BrokerID // not encoded
	ID     uint64
	Err    error
	Index  uint64
	Reply  []byte // the payload
}

// FetchMetadata asks for the committed entries of the metadata log after Index. It is answered
// as soon as there is one, or after MaxWaitMillis with none.
type FetchMetadata struct {
	Sender        BrokerID // not encoded
	ID            uint64
	Index         uint64
	MaxWaitMillis int32
}

// MetadataFetched answers a FetchMetadata: entries, or a snapshot of the image when the entries are
// not kept any more.
type MetadataFetched struct {
	Sender     BrokerID // not encoded
	ID         uint64
	Err        error
	Controller BrokerID // who leads, as far as is known; NoBroker
	First      uint64   // index of the first entry, or of the snapshot
	Snapshot   bool
	Data       []byte // the payload
}

// Heartbeat is how a broker keeps its lease at the controller.
type Heartbeat struct {
	Sender       BrokerID // not encoded
	ID           uint64
	Incarnation  Incarnation
	Applied      uint64 // index of the last entry of the metadata log that it has applied
	DiskHealthy  bool   // an fsync was completed in each working log directory not long ago
	ShuttingDown bool   // it wants its leaderships taken over: it is to stop, or a disk is full
}

// HeartbeatReply answers a Heartbeat.
type HeartbeatReply struct {
	Sender     BrokerID // not encoded
	ID         uint64
	Err        error // wire.NotController, or StaleBrokerEpoch when the incarnation is not registered
	Controller BrokerID
	Fenced     bool
	MayStop    bool // nothing is led any more by a broker that is shutting down
}

// Hint tells the controller that a broker may be dead: by Refused, that its process is gone from its
// address; by Failed, that gossip has declared it dead.
type Hint struct {
	Sender      BrokerID // not encoded
	Broker      BrokerID
	Incarnation Incarnation
	Refused     bool
	Failed      bool
}

// Watch asks to be told by a Terminated when an actor stops.
type Watch struct{}

// Unwatch takes a Watch back.
type Unwatch struct{}

// Terminated tells that an actor which was watched has stopped, or was never there.
type Terminated struct{ NotFound bool }

// Forward carries a client's request to the broker that can answer it.
type Forward struct {
	Sender  BrokerID // not encoded
	ID      uint64
	Request Kind   // what the client asked, or what one broker asks of another
	Body    []byte // its message
	Payload []byte // record batches
	Buffer  *Buffer
}

// Forwarded answers a Forward.
type Forwarded struct {
	Sender  BrokerID // not encoded
	ID      uint64
	Answer  Kind // that of the request, or KindFailed
	Body    []byte
	Payload []byte
	Buffer  *Buffer
}

// Kind implements PeerMessage.
func (*Probe) Kind() Kind { return KindProbe }

// Kind implements PeerMessage.
func (*Position) Kind() Kind { return KindPosition }

// Kind implements PeerMessage.
func (*Truncate) Kind() Kind { return KindTruncate }

// Kind implements PeerMessage.
func (*Append) Kind() Kind { return KindAppend }

// Kind implements PeerMessage.
func (*Appended) Kind() Kind { return KindAppended }

// Kind implements PeerMessage.
func (*RaftStep) Kind() Kind { return KindRaftStep }

// Kind implements PeerMessage.
func (*Propose) Kind() Kind { return KindPropose }

// Kind implements PeerMessage.
func (*Proposed) Kind() Kind { return KindProposed }

// Kind implements PeerMessage.
func (*FetchMetadata) Kind() Kind { return KindFetchMetadata }

// Kind implements PeerMessage.
func (*MetadataFetched) Kind() Kind { return KindMetadataFetched }

// Kind implements PeerMessage.
func (*Heartbeat) Kind() Kind { return KindHeartbeat }

// Kind implements PeerMessage.
func (*HeartbeatReply) Kind() Kind { return KindHeartbeatReply }

// Kind implements PeerMessage.
func (*Hint) Kind() Kind { return KindHint }

// Kind implements PeerMessage.
func (*Watch) Kind() Kind { return KindWatch }

// Kind implements PeerMessage.
func (*Unwatch) Kind() Kind { return KindUnwatch }

// Kind implements PeerMessage.
func (*Terminated) Kind() Kind { return KindTerminated }

// Kind implements PeerMessage.
func (*Forward) Kind() Kind { return KindForward }

// Kind implements PeerMessage.
func (*Forwarded) Kind() Kind { return KindForwarded }
