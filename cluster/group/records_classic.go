package group

import (
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// classicValue is a generation of a classic group, as its record has it. Of the members it holds what they said in the
// words of the chosen protocol, and what they were assigned.
type classicValue struct {
	protocolType string
	generation   int32
	protocol     string
	leader       string
	since        int64 // milliseconds; -1: not told
	members      []classicMemberEntry
}

type classicMemberEntry struct {
	id               string
	instance         string
	clientID         string
	clientHost       string
	rebalanceTimeout int32 // milliseconds; -1: not told
	sessionTimeout   int32
	metadata         []byte
	assignment       []byte
}

// classicVersion is what is written: the highest version in the older encoding, as Kafka does.
const (
	classicVersion        int16 = 3
	highestClassicVersion int16 = 4
)

func newClassicRecord(group wire.GroupID, v classicValue) Record {
	w := writer{}
	w.int16(classicVersion)
	w.string(v.protocolType)
	w.int32(v.generation)
	w.nullable(v.protocol)
	w.nullable(v.leader)
	w.int64(v.since)
	w.array(len(v.members))
	for _, m := range v.members {
		w.string(m.id)
		w.nullable(m.instance)
		w.string(m.clientID)
		w.string(m.clientHost)
		w.int32(m.rebalanceTimeout)
		w.int32(m.sessionTimeout)
		w.bytes(m.metadata)
		w.bytes(m.assignment)
	}
	return Record{Key: keyOf(classicRecord, group, "", 0), Value: w.b}
}

func readClassicValue(b []byte) (v classicValue, err error) {
	r := reader{b: b}
	version := r.version(highestClassicVersion)
	r.flexible = version >= 4
	v.protocolType = string(r.string())
	v.generation = r.int32()
	v.protocol = string(r.string())
	v.leader = string(r.string())
	v.since = -1
	if version >= 2 {
		v.since = r.int64()
	}
	for range r.array(4) {
		m := classicMemberEntry{rebalanceTimeout: -1}
		m.id = string(r.string())
		if version >= 3 {
			m.instance = string(r.string())
		}
		m.clientID = string(r.string())
		m.clientHost = string(r.string())
		if version >= 1 {
			m.rebalanceTimeout = r.int32()
		}
		m.sessionTimeout = r.int32()
		m.metadata = append([]byte(nil), r.bytes()...)
		m.assignment = append([]byte(nil), r.bytes()...)
		r.tagged(nil)
		if r.err != nil {
			return v, r.err
		}
		v.members = append(v.members, m)
	}
	r.tagged(nil)
	return v, r.err
}

// value is what the log is to know of the group.
func (c *classic) value() classicValue {
	v := classicValue{
		protocolType: c.protocolType,
		generation:   int32(c.generation),
		protocol:     c.protocol,
		leader:       string(c.leader),
		since:        c.since.UnixMilli(),
	}
	if c.unassigned() {
		v.leader = ""
	}
	for _, m := range c.members {
		metadata, _ := m.metadata(c.protocol)
		v.members = append(v.members, classicMemberEntry{
			id:               string(m.id),
			instance:         m.instance,
			clientID:         m.clientID,
			clientHost:       m.clientHost,
			rebalanceTimeout: int32(m.rebalanceTimeout.Milliseconds()),
			sessionTimeout:   int32(m.sessionTimeout.Milliseconds()),
			metadata:         metadata,
			assignment:       m.assignment,
		})
	}
	return v
}

// foldClassic makes of a group what a record of a classic group says; a tombstone ends it.
func (g *Group) foldClassic(value []byte) error {
	if value == nil {
		g.classic = nil
		return nil
	}
	v, err := readClassicValue(value)
	if err != nil {
		return err
	}
	c := newClassic(g)
	c.logged = true
	c.protocolType = v.protocolType
	c.generation = wire.GenerationID(v.generation)
	c.protocol = v.protocol
	c.leader = wire.MemberID(v.leader)
	if v.since >= 0 {
		c.since = time.UnixMilli(v.since)
	}
	switch {
	case len(v.members) == 0:
	case v.leader == "":
		c.state = wire.GroupCompletingRebalance
	default:
		c.state = wire.GroupStable
	}
	for _, e := range v.members {
		m := &classicMember{
			id:               wire.MemberID(e.id),
			instance:         e.instance,
			clientID:         e.clientID,
			clientHost:       e.clientHost,
			sessionTimeout:   time.Duration(e.sessionTimeout) * time.Millisecond,
			rebalanceTimeout: time.Duration(e.rebalanceTimeout) * time.Millisecond,
			protocols:        []wire.GroupProtocol{{Name: v.protocol, Metadata: e.metadata}},
			assignment:       e.assignment,
			synced:           v.leader != "",
		}
		if e.rebalanceTimeout < 0 {
			m.rebalanceTimeout = m.sessionTimeout
		}
		c.members = append(c.members, m)
	}
	g.classic = c
	return nil
}

// What a record takes besides what is counted, for the group and for each member.
const (
	classicHeadBytes  = 256
	classicEntryBytes = 32
)

// recordBytes bounds the size of the group's record without assignments, leaving one member out.
func (c *classic) recordBytes(but *classicMember) int {
	size := classicHeadBytes + len(c.group.id) + len(c.protocolType)
	for _, m := range c.members {
		if m != but {
			size += classicEntryBytes + len(m.id) + len(m.instance) + len(m.clientID) + len(m.clientHost) + largest(m.protocols)
		}
	}
	return size
}

// assignmentBytes is what the members' assignments add to it: until there are new ones, the record has those before.
func (c *classic) assignmentBytes() (size int) {
	for _, m := range c.members {
		size += len(m.assignment)
	}
	return size
}

// joinBytes is what a member that joins adds to it.
func joinBytes(q *wire.JoinGroup) int {
	const madeID = 64 // what an id has besides the client's or the instance's name
	return classicEntryBytes + madeID + len(q.Member) + 2*len(q.Instance) + 2*len(q.ClientID) + len(q.ClientHost) + largest(q.Protocols)
}

// largest is the size of the largest metadata among protocols, with its name: any of them may be chosen.
func largest(protocols []wire.GroupProtocol) (size int) {
	for _, p := range protocols {
		size = max(size, len(p.Name)+len(p.Metadata))
	}
	return size
}
