package metadata

import "github.com/troupe-mq/troupe/wire"

func (ElectLeaders) commandKind() CommandKind          { return CommandElectLeaders }
func (AlterReassignments) commandKind() CommandKind    { return CommandAlterReassignments }
func (CompleteReassignments) commandKind() CommandKind { return CommandCompleteReassignments }
func (BalanceLeaders) commandKind() CommandKind        { return CommandBalanceLeaders }
func (RemoveBroker) commandKind() CommandKind          { return CommandRemoveBroker }
func (GrowInternalTopics) commandKind() CommandKind    { return CommandGrowInternalTopics }

func (c ElectLeaders) encode(w *writer) {
	w.array(3)
	w.bool(c.Unclean)
	w.bool(c.Partitions == nil) // all
	encodeList(w, c.Partitions, func(w *writer, m wire.TopicNamePartition) {
		w.array(2)
		w.string(m.Topic)
		w.int(int64(m.Partition))
	})
}

func decodeElectLeaders(r *reader) Command {
	c := ElectLeaders{Unclean: r.bool()}
	all := r.bool()
	c.Partitions = boundedList(r, func(r *reader) wire.TopicNamePartition {
		return wire.TopicNamePartition{Topic: r.string(), Partition: signed[int32](r)}
	})
	switch {
	case all:
		c.Partitions = nil
	case c.Partitions == nil:
		c.Partitions = []wire.TopicNamePartition{}
	}
	return c
}

func (c AlterReassignments) encode(w *writer) {
	w.array(2)
	w.bool(c.SameFactor)
	encodeList(w, c.Partitions, func(w *writer, m wire.Reassignment) {
		w.array(4)
		w.string(m.Topic)
		w.int(int64(m.Partition))
		w.bool(m.Replicas == nil) // cancel
		encodeBrokerIDs(w, m.Replicas)
	})
}

func decodeAlterReassignments(r *reader) Command {
	return AlterReassignments{SameFactor: r.bool(), Partitions: boundedList(r, func(r *reader) wire.Reassignment {
		m := wire.Reassignment{Topic: r.string(), Partition: signed[int32](r)}
		cancel := r.bool()
		m.Replicas = decodeBrokerIDs(r)
		switch {
		case cancel:
			m.Replicas = nil
		case m.Replicas == nil:
			m.Replicas = []wire.BrokerID{}
		}
		return m
	})}
}

func (CompleteReassignments) encode(w *writer) { w.array(0) }

func decodeCompleteReassignments(*reader) Command { return CompleteReassignments{} }

func (c BalanceLeaders) encode(w *writer) {
	w.array(2)
	encodeBrokerIDs(w, c.To)
	w.int(int64(c.Limit))
}

func decodeBalanceLeaders(r *reader) Command {
	return BalanceLeaders{To: decodeBrokerIDs(r), Limit: signed[int32](r)}
}

func (c RemoveBroker) encode(w *writer) {
	w.array(2)
	w.int(int64(c.Broker))
	w.bool(c.Cancel)
}

func decodeRemoveBroker(r *reader) Command {
	return RemoveBroker{Broker: signed[wire.BrokerID](r), Cancel: r.bool()}
}

func (c GrowInternalTopics) encode(w *writer) {
	w.array(1)
	w.int(int64(c.Factor))
}

func decodeGrowInternalTopics(r *reader) Command { return GrowInternalTopics{Factor: signed[int32](r)} }
