package wire

// Greeting is the first frame of a native connection, sent by the client after Magic.
type Greeting struct {
	MinProtocol, MaxProtocol int
	Software                 string // of the client: a name for logs
	Version                  string
}

func (m *Greeting) encode(e *Encoder) {
	e.array(4)
	e.int(int64(m.MinProtocol))
	e.int(int64(m.MaxProtocol))
	e.string(m.Software)
	e.string(m.Version)
}

func (m *Greeting) decode(d *Decoder) {
	_, outer := d.open()
	m.MinProtocol, m.MaxProtocol = d.length(), d.length()
	m.Software, m.Version = d.string(), d.string()
	d.close(outer)
}

// Welcome answers a Greeting: the protocol version that both will speak, who this is, and what
// the connection may ask of it.
type Welcome struct {
	Protocol    int
	Software    string
	Version     string
	ClusterID   string
	Broker      BrokerID
	MaxFrame    int // bytes of a frame, its length not counted
	MaxInFlight int // requests not answered yet
	MaxFetches  int // fetches that wait at the same time
}

func (m *Welcome) encode(e *Encoder) {
	e.array(8)
	e.int(int64(m.Protocol))
	e.string(m.Software)
	e.string(m.Version)
	e.string(m.ClusterID)
	e.int(int64(m.Broker))
	e.int(int64(m.MaxFrame))
	e.int(int64(m.MaxInFlight))
	e.int(int64(m.MaxFetches))
}

func (m *Welcome) decode(d *Decoder) {
	_, outer := d.open()
	m.Protocol = d.length()
	m.Software, m.Version, m.ClusterID = d.string(), d.string(), d.string()
	m.Broker = integer[BrokerID](d)
	m.MaxFrame, m.MaxInFlight, m.MaxFetches = d.length(), d.length(), d.length()
	d.close(outer)
}

// Failure is the answer to a request that failed as a whole, of whatever kind.
type Failure struct{ Err error }

func (m *Failure) encode(e *Encoder) {
	e.array(1)
	e.failure(m.Err)
}

func (m *Failure) decode(d *Decoder) {
	_, outer := d.open()
	m.Err = d.failure()
	d.close(outer)
}

// Empty is a body that says nothing: of a ping and its answer.
type Empty struct{}

func (*Empty) encode(e *Encoder) { e.array(0) }

func (*Empty) decode(d *Decoder) {
	_, outer := d.open()
	d.close(outer)
}
