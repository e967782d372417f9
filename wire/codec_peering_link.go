package wire

// How a link between brokers begins. The three messages stand in frames of their own, without the
// head that messages between actors have.

// LinkEnd is who stands at one end of a link.
type LinkEnd struct {
	ClusterID     string
	Broker        BrokerID
	Directory     string
	Incarnation   Incarnation
	RecoveryEpoch uint64
}

// LinkGreeting is what the broker that dials says on each of its two connections.
type LinkGreeting struct {
	MinProtocol, MaxProtocol int
	From                     LinkEnd
	To                       BrokerID // who is expected to answer
	Bulk                     bool     // the link for bulk, or that for control
	Nonce                    uint64   // the same on both, and on no other pair of links
	Lost                     uint64   // the nonce of the pair that stood before, which only the two brokers know; 0 for none
}

// LinkWelcome answers a LinkGreeting once both have come.
type LinkWelcome struct {
	Refusal  LinkRefusal
	Protocol int
	From     LinkEnd
}

// LinkConfirm is the last word of the broker that dialled. Without a refusal the link stands.
type LinkConfirm struct{ Refusal LinkRefusal }

// LinkRefusal says why there will be no link: a word to count it by and a sentence for a person,
// both empty when nothing is refused.
type LinkRefusal struct{ Reason, Sentence string }

func (e *Encoder) linkEnd(m *LinkEnd) {
	e.array(5)
	e.string(m.ClusterID)
	e.int(int64(m.Broker))
	e.string(m.Directory)
	e.unsigned(uint64(m.Incarnation))
	e.unsigned(m.RecoveryEpoch)
}

func (d *Decoder) linkEnd(m *LinkEnd) {
	_, outer := d.open()
	m.ClusterID, m.Broker, m.Directory = d.string(), integer[BrokerID](d), d.string()
	m.Incarnation, m.RecoveryEpoch = Incarnation(d.unsigned()), d.unsigned()
	d.close(outer)
}

func (e *Encoder) linkRefusal(m *LinkRefusal) {
	e.array(2)
	e.string(m.Reason)
	e.string(m.Sentence)
}

func (d *Decoder) linkRefusal(m *LinkRefusal) {
	_, outer := d.open()
	m.Reason, m.Sentence = d.string(), d.string()
	d.close(outer)
}

func (m *LinkGreeting) encode(e *Encoder) {
	e.array(7)
	e.int(int64(m.MinProtocol))
	e.int(int64(m.MaxProtocol))
	e.linkEnd(&m.From)
	e.int(int64(m.To))
	e.bool(m.Bulk)
	e.unsigned(m.Nonce)
	e.unsigned(m.Lost)
}

func (m *LinkGreeting) decode(d *Decoder) {
	_, outer := d.open()
	m.MinProtocol, m.MaxProtocol = d.length(), d.length()
	d.linkEnd(&m.From)
	m.To, m.Bulk = integer[BrokerID](d), d.bool()
	m.Nonce, m.Lost = d.unsigned(), d.unsigned()
	d.close(outer)
}

func (m *LinkWelcome) encode(e *Encoder) {
	e.array(3)
	e.linkRefusal(&m.Refusal)
	e.int(int64(m.Protocol))
	e.linkEnd(&m.From)
}

func (m *LinkWelcome) decode(d *Decoder) {
	_, outer := d.open()
	d.linkRefusal(&m.Refusal)
	m.Protocol = d.length()
	d.linkEnd(&m.From)
	d.close(outer)
}

func (m *LinkConfirm) encode(e *Encoder) {
	e.array(1)
	e.linkRefusal(&m.Refusal)
}

func (m *LinkConfirm) decode(d *Decoder) {
	_, outer := d.open()
	d.linkRefusal(&m.Refusal)
	d.close(outer)
}
