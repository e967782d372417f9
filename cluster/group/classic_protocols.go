package group

import (
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// Members bring their metadata once for each protocol that they support. There are some three to five.
const (
	maxProtocols     = 64
	maxProtocolBytes = 32 << 20 // of all members
)

func protocolBytes(protocols []wire.GroupProtocol) (size int) {
	for _, p := range protocols {
		size += len(p.Name) + len(p.Metadata)
	}
	return size
}

// supports says whether the member can take part: it has a protocol that all the others have too.
func (c *classic) supports(q *wire.JoinGroup) bool {
	if q.ProtocolType == "" || len(q.Protocols) == 0 {
		return false
	}
	if len(c.members) == 0 {
		return true
	}
	if q.ProtocolType != c.protocolType {
		return false
	}
	return slices.ContainsFunc(q.Protocols, func(p wire.GroupProtocol) bool {
		return c.allSupport(p.Name, nil)
	})
}

// allSupport says that all members have the protocol, leaving one out.
func (c *classic) allSupport(protocol string, but *classicMember) bool {
	for _, m := range c.members {
		if m != but && !m.supports(protocol) {
			return false
		}
	}
	return true
}

func (m *classicMember) supports(protocol string) bool {
	_, ok := m.metadata(protocol)
	return ok
}

// metadata is what the member says of itself in the words of a protocol.
func (m *classicMember) metadata(protocol string) ([]byte, bool) {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return p.Metadata, true
		}
	}
	return nil, false
}

// matches says that a JoinGroup repeats what the member said before.
func (m *classicMember) matches(q *wire.JoinGroup) bool {
	return slices.EqualFunc(m.protocols, q.Protocols, func(a, b wire.GroupProtocol) bool {
		return a.Name == b.Name && string(a.Metadata) == string(b.Metadata)
	})
}

// ownProtocols copies what a request has brought: its slices may be those of the frame it came in.
func ownProtocols(protocols []wire.GroupProtocol) []wire.GroupProtocol {
	own := make([]wire.GroupProtocol, len(protocols))
	for i, p := range protocols {
		own[i] = wire.GroupProtocol{Name: p.Name, Metadata: slices.Clone(p.Metadata)}
	}
	return own
}

// vote chooses the protocol: of those that all members have, the one that most of them like best. Of equals it is the one
// the leader likes better.
func (c *classic) vote() string {
	votes := map[string]int{}
	for _, m := range c.members {
		for _, p := range m.protocols {
			if c.allSupport(p.Name, m) {
				votes[p.Name]++
				break
			}
		}
	}
	chosen := ""
	if leader := c.member(c.leader); leader != nil {
		for _, p := range leader.protocols {
			if votes[p.Name] > votes[chosen] {
				chosen = p.Name
			}
		}
	}
	return chosen
}
