package wire

import "bytes"

const minGossipKeysBytes = 1 + 3

func (m *GossipKeys) encode(e *Encoder) {
	e.array(3)
	e.failure(m.Err)
	e.int(int64(m.Broker))
	e.strings(m.Fingerprints)
}

func (m *GossipKeys) decode(d *Decoder) {
	_, outer := d.open()
	d.gossipKeys(m)
	d.close(outer)
}

func (d *Decoder) gossipKeys(m *GossipKeys) {
	m.Err, m.Broker, m.Fingerprints = d.failure(), integer[BrokerID](d), d.strings()
}

func (m *GossipKeyList) encode(e *Encoder) {
	e.array(1)
	e.array(len(m.Brokers))
	for i := range m.Brokers {
		m.Brokers[i].encode(e)
	}
}

func (m *GossipKeyList) decode(d *Decoder) {
	_, outer := d.open()
	m.Brokers = structs(d, minGossipKeysBytes, d.gossipKeys)
	d.close(outer)
}

func (m *RotateGossipKey) encode(e *Encoder) {
	e.array(1)
	e.bool(m.Without)
}

func (m *RotateGossipKey) decode(d *Decoder) {
	_, outer := d.open()
	m.Without = d.bool()
	d.close(outer)
}

func (m *GossipKeyStep) encode(e *Encoder) {
	e.array(3)
	e.int(int64(m.Action))
	e.bytes(m.Key)
	e.strings(m.Fingerprints)
}

func (m *GossipKeyStep) decode(d *Decoder) {
	_, outer := d.open()
	m.Action = integer[GossipKeyAction](d)
	key := d.bytes()
	if len(key) > maxGossipKeyBytes {
		d.fail(malformed("a key of %d bytes", len(key)))
	}
	if len(key) > 0 {
		m.Key = bytes.Clone(key) // the frame is given back
	}
	m.Fingerprints = d.strings()
	d.close(outer)
}
