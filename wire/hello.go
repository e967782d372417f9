package wire

// What brokers say to each other on the cluster port before they have links: who they are, and
// that one wants to join the other's cluster. Each is one frame, answered by one of the same kind.

// HelloPreface opens a connection on which one broker asks another who it is.
var HelloPreface = [4]byte{'H', 'L', 'O', '1'}

// The kinds of frames on such a connection.
const (
	KindHello       Kind = 92
	KindJoinCluster Kind = 93
)

// HelloProtocol is the version of this conversation.
const HelloProtocol = 1

// Hello tells who a broker is. The answer to a Hello is that of the other one.
type Hello struct {
	Protocol      int
	ClusterID     string   // "": it belongs to no cluster yet
	Broker        BrokerID // NoBroker without a cluster
	Directory     string   // the id of its first log directory
	Incarnation   Incarnation
	RecoveryEpoch uint64
	Seeds         uint64   // tells one list of addresses to join from another; 0 without a list
	Address       string   // where other brokers reach it
	Known         BrokerID // in a question: the broker of its cluster that it knows at the address it asks; NoBroker
	Members       []Member // in an answer: the brokers of the cluster that it knows, itself too
}

// Member is a broker of a cluster and where other brokers reach it.
type Member struct {
	Broker  BrokerID
	Address string // host:port of its cluster port
}

// JoinCluster asks to be registered as a broker of the cluster. The payload is the registration,
// as cluster/metadata encodes commands.
type JoinCluster struct {
	Protocol  int
	ClusterID string // which the answer to the Hello told
}

// JoinedCluster answers a JoinCluster.
type JoinedCluster struct {
	Err       error
	ClusterID string
	Broker    BrokerID
	Members   []Member
}

func (m *Hello) encode(e *Encoder) {
	e.array(10)
	e.int(int64(m.Protocol))
	e.string(m.ClusterID)
	e.int(int64(m.Broker))
	e.string(m.Directory)
	e.unsigned(uint64(m.Incarnation))
	e.unsigned(m.RecoveryEpoch)
	e.unsigned(m.Seeds)
	e.string(m.Address)
	e.int(int64(m.Known))
	e.members(m.Members)
}

func (m *Hello) decode(d *Decoder) {
	_, outer := d.open()
	m.Protocol = d.length()
	m.ClusterID = d.string()
	m.Broker = integer[BrokerID](d)
	m.Directory = d.string()
	m.Incarnation = Incarnation(d.unsigned())
	m.RecoveryEpoch, m.Seeds = d.unsigned(), d.unsigned()
	m.Address = d.string()
	m.Known = integer[BrokerID](d)
	m.Members = d.members()
	d.close(outer)
}

func (m *JoinCluster) encode(e *Encoder) {
	e.array(2)
	e.int(int64(m.Protocol))
	e.string(m.ClusterID)
}

func (m *JoinCluster) decode(d *Decoder) {
	_, outer := d.open()
	m.Protocol, m.ClusterID = d.length(), d.string()
	d.close(outer)
}

func (m *JoinedCluster) encode(e *Encoder) {
	e.array(4)
	e.failure(m.Err)
	e.string(m.ClusterID)
	e.int(int64(m.Broker))
	e.members(m.Members)
}

func (m *JoinedCluster) decode(d *Decoder) {
	_, outer := d.open()
	m.Err = d.failure()
	m.ClusterID = d.string()
	m.Broker = integer[BrokerID](d)
	m.Members = d.members()
	d.close(outer)
}

func (e *Encoder) members(list []Member) {
	e.array(len(list))
	for _, m := range list {
		e.array(2)
		e.int(int64(m.Broker))
		e.string(m.Address)
	}
}

// minMemberBytes is the shortest form of a member.
const minMemberBytes = 3

func (d *Decoder) members() []Member {
	return structs(d, minMemberBytes, func(m *Member) { m.Broker, m.Address = integer[BrokerID](d), d.string() })
}
