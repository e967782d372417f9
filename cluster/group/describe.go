package group

import (
	"slices"
	"strings"

	"github.com/troupe-mq/troupe/wire"
)

// Listed is the group in a list. It is cheap: the coordinator asks after every event.
func (g *Group) Listed() wire.ListedGroup {
	l := wire.ListedGroup{Group: g.id, State: g.state(), Type: g.kind()}
	switch {
	case g.classic != nil:
		l.ProtocolType = g.classic.protocolType
	case g.consumer != nil:
		l.ProtocolType = consumerProtocolType
	}
	return l
}

// describe answers DescribeGroup. The coordinator's id is the shell's to fill in.
func (g *Group) describe(t *turn) *wire.GroupDescription {
	if g.gone() {
		return &wire.GroupDescription{
			Err:   wire.Errorf(wire.GroupIDNotFound, "there is no group %q", g.id),
			Group: g.id, State: wire.GroupDead, Coordinator: wire.NoBroker,
		}
	}
	d := &wire.GroupDescription{Group: g.id, Type: g.kind(), State: g.state(), Coordinator: wire.NoBroker}
	switch {
	case g.classic != nil:
		g.classic.describe(t, d)
	case g.consumer != nil:
		g.consumer.describe(t, d)
	}
	return d
}

// describe tells of a classic group. What its members say is told only while it is stable: else they have not agreed on how
// they say it. What they were assigned last they may still have.
func (c *classic) describe(t *turn, d *wire.GroupDescription) {
	d.ProtocolType = c.protocolType
	d.Generation = c.generation
	stable := c.state == wire.GroupStable
	if stable {
		d.Protocol = c.protocol
	}
	for _, m := range c.members {
		dm := wire.DescribedMember{
			Member:     m.id,
			Instance:   m.instance,
			ClientID:   m.clientID,
			ClientHost: m.clientHost,
			Classic:    true,
			Epoch:      wire.ClassicMemberEpochs,
			Assignment: m.assignment,
		}
		if stable {
			dm.Metadata, _ = m.metadata(c.protocol)
		}
		c.describeEmbedded(t, &dm)
		d.Members = append(d.Members, dm)
	}
	slices.SortFunc(d.Members, func(a, b wire.DescribedMember) int { return strings.Compare(string(a.Member), string(b.Member)) })
}

// describeEmbedded adds what can be read of the words of a consumer.
func (c *classic) describeEmbedded(t *turn, dm *wire.DescribedMember) {
	if c.protocolType != consumerProtocolType {
		return
	}
	if s, err := readSubscription(dm.Metadata); err == nil {
		dm.SubscribedTopics = slices.Sorted(slices.Values(s.topics))
		dm.Rack = s.rack
	}
	if a, err := readAssignment(dm.Assignment); err == nil {
		dm.Assigned = namedInOrder(t.view, a.partitions)
	}
}
