package gossip

import (
	"fmt"
	"log/slog"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist asks and tells. It is called with memberlist's lock held, which
// puts the events in order.
type delegate struct {
	clusterID string
	self      string // name
	meta      []byte
	notify    func(Event)
	others    *roster
	log       *slog.Logger
}

// NodeMeta tells of this process.
func (d *delegate) NodeMeta(int) []byte { return d.meta }

// Nothing but membership is gossiped: whatever must arrive goes over links.

// NotifyMsg implements memberlist.Delegate.
func (d *delegate) NotifyMsg([]byte) {}

// GetBroadcasts implements memberlist.Delegate.
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (d *delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState implements memberlist.Delegate.
func (d *delegate) MergeRemoteState([]byte, bool) {}

// NotifyAlive refuses every process that is not of this cluster, one by one.
func (d *delegate) NotifyAlive(node *memberlist.Node) error {
	_, clusterID, err := memberOf(node)
	if err != nil {
		return err
	}
	if clusterID != d.clusterID {
		return fmt.Errorf("it belongs to cluster %s", clusterID)
	}
	return nil
}

// NotifyMerge refuses to exchange members with somebody who has one of another cluster.
func (d *delegate) NotifyMerge(nodes []*memberlist.Node) error {
	for _, node := range nodes {
		if err := d.NotifyAlive(node); err != nil {
			return fmt.Errorf("refused the members of another: %.100q: %w", node.Name, err)
		}
	}
	return nil
}

// NotifyConflict tells that one name is seen at two addresses, which two processes on copies of one
// directory would not bring about: their incarnations differ.
func (d *delegate) NotifyConflict(existing, other *memberlist.Node) {
	d.log.Warn("one process was announced at two addresses", "name", existing.Name, "address", existing.Address(), "other", other.Address())
}

// NotifyJoin implements memberlist.EventDelegate.
func (d *delegate) NotifyJoin(node *memberlist.Node) {
	d.present(node, func(m Member) Event { return MemberJoined{m} })
}

// NotifyUpdate implements memberlist.EventDelegate.
func (d *delegate) NotifyUpdate(node *memberlist.Node) {
	d.present(node, func(m Member) Event { return MemberUpdated{m} })
}

// NotifyLeave implements memberlist.EventDelegate.
func (d *delegate) NotifyLeave(node *memberlist.Node) {
	if m, other := d.other(node); other {
		d.others.remove(node.Name)
		d.notify(MemberFailed{m})
	}
}

func (d *delegate) present(node *memberlist.Node, event func(Member) Event) {
	if m, other := d.other(node); other {
		d.others.put(node.Name, presence{m, node.Address()})
		d.notify(event(m))
	}
}

// other returns what a node says of itself, unless it is this one.
func (d *delegate) other(node *memberlist.Node) (m Member, other bool) {
	if node.Name == d.self {
		return Member{}, false
	}
	m, _, err := memberOf(node)
	return m, err == nil
}
