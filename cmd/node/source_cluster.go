package node

import "github.com/troupe-mq/troupe/wire"

// Cluster implements console.Source.
func (s source) Cluster() wire.ClusterDescription {
	if !s.n.serving.Load() {
		return wire.ClusterDescription{}
	}
	return s.n.broker.Cluster()
}
