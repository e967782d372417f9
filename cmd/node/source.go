package node

import (
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/console"
)

// source is what the console shows.
type source struct{ n *Node }

func (s source) Ready() error { return s.n.CheckReady() }

func (s source) BrokerID() wire.BrokerID {
	if identity := s.n.identity.Load(); identity != nil {
		return identity.BrokerID
	}
	return wire.NoBroker
}

func (s source) View() wire.View {
	if !s.n.serving.Load() {
		return nil
	}
	return s.n.broker.View()
}

func (s source) Offsets(id wire.TopicID, partition int32) (console.Offsets, bool) {
	if !s.n.serving.Load() {
		return console.Offsets{}, false
	}
	start, highWatermark, ok := s.n.broker.Offsets(id, partition)
	return console.Offsets{LogStart: start, HighWatermark: highWatermark, Bytes: s.n.broker.LogBytes(id, partition)}, ok
}

func (s source) TopicConfigs(name string) []wire.ConfigEntry {
	if !s.n.serving.Load() {
		return nil
	}
	entries, _ := s.n.broker.DescribeConfigs(wire.ConfigResource{Type: wire.ConfigTopic, Name: name})
	return entries
}

// kill ends an actor, for whoever has the token.
func (n *Node) kill(actor, how string) error {
	if !n.serving.Load() {
		return wire.Errorf(wire.NotController, "this broker is starting or stopping")
	}
	return n.broker.Kill(actor, how)
}
