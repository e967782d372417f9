package metadata

import "github.com/troupe-mq/troupe/wire"

func (AlterPartitions) commandKind() CommandKind     { return CommandAlterPartitions }
func (CreateTopics) commandKind() CommandKind        { return CommandCreateTopics }
func (CreatePartitions) commandKind() CommandKind    { return CommandCreatePartitions }
func (DeleteTopics) commandKind() CommandKind        { return CommandDeleteTopics }
func (AlterConfigs) commandKind() CommandKind        { return CommandAlterConfigs }
func (CreateInternalTopic) commandKind() CommandKind { return CommandCreateInternalTopic }
func (MoveReplica) commandKind() CommandKind         { return CommandMoveReplica }
func (ReplicaRestarted) commandKind() CommandKind    { return CommandReplicaRestarted }

func (c AlterPartitions) encode(w *writer) {
	w.array(3)
	w.int(int64(c.Broker))
	w.uint(uint64(c.Incarnation))
	encodeList(w, c.Proposals, func(w *writer, p ISRProposal) {
		w.array(5)
		w.bytes(p.Topic[:])
		w.int(int64(p.Partition))
		w.int(int64(p.LeaderEpoch))
		w.int(int64(p.PartitionEpoch))
		encodeList(w, p.ISR, func(w *writer, m ISRMember) {
			w.array(2)
			w.int(int64(m.Broker))
			w.uint(uint64(m.Incarnation))
		})
	})
}

func decodeAlterPartitions(r *reader) Command {
	return AlterPartitions{
		Broker: signed[wire.BrokerID](r), Incarnation: unsigned[wire.Incarnation](r),
		Proposals: boundedList(r, func(r *reader) ISRProposal {
			return ISRProposal{
				Topic:          decodeTopicID(r),
				Partition:      signed[int32](r),
				LeaderEpoch:    signed[wire.LeaderEpoch](r),
				PartitionEpoch: signed[wire.PartitionEpoch](r),
				ISR: boundedList(r, func(r *reader) ISRMember {
					return ISRMember{Broker: signed[wire.BrokerID](r), Incarnation: unsigned[wire.Incarnation](r)}
				}),
			}
		}),
	}
}

func (c CreateTopics) encode(w *writer) {
	w.array(2)
	encodeList(w, c.Topics, func(w *writer, t wire.NewTopic) {
		w.array(5)
		w.string(t.Name)
		w.int(int64(t.Partitions))
		w.int(int64(t.ReplicationFactor))
		encodeAssignment(w, t.Assignment)
		encodeList(w, t.Configs, func(w *writer, v wire.ConfigValue) {
			w.array(2)
			w.string(v.Name)
			encodeOptional(w, v.Value)
		})
	})
	w.bool(c.ValidateOnly)
}

func decodeCreateTopics(r *reader) Command {
	return CreateTopics{
		Topics: boundedList(r, func(r *reader) wire.NewTopic {
			return wire.NewTopic{
				Name:              r.string(),
				Partitions:        signed[int32](r),
				ReplicationFactor: signed[int16](r),
				Assignment:        decodeAssignment(r),
				Configs: boundedList(r, func(r *reader) wire.ConfigValue {
					return wire.ConfigValue{Name: r.string(), Value: decodeOptional(r)}
				}),
			}
		}),
		ValidateOnly: r.bool(),
	}
}

func (c CreatePartitions) encode(w *writer) {
	w.array(2)
	encodeList(w, c.Topics, func(w *writer, m wire.MorePartitions) {
		w.array(3)
		w.string(m.Topic)
		w.int(int64(m.Count))
		encodeAssignment(w, m.Assignment)
	})
	w.bool(c.ValidateOnly)
}

func decodeCreatePartitions(r *reader) Command {
	return CreatePartitions{
		Topics: boundedList(r, func(r *reader) wire.MorePartitions {
			return wire.MorePartitions{Topic: r.string(), Count: signed[int32](r), Assignment: decodeAssignment(r)}
		}),
		ValidateOnly: r.bool(),
	}
}

func (c DeleteTopics) encode(w *writer) {
	w.array(1)
	encodeList(w, c.Topics, func(w *writer, ref wire.TopicRef) {
		w.array(2)
		w.string(ref.Name)
		w.bytes(ref.ID[:])
	})
}

func decodeDeleteTopics(r *reader) Command {
	return DeleteTopics{Topics: boundedList(r, func(r *reader) wire.TopicRef {
		return wire.TopicRef{Name: r.string(), ID: decodeTopicID(r)}
	})}
}

func (c AlterConfigs) encode(w *writer) {
	w.array(2)
	encodeList(w, c.Changes, func(w *writer, m wire.AlterConfigs) {
		w.array(3)
		encodeResource(w, m.Resource)
		w.bool(m.Replace)
		encodeList(w, m.Changes, func(w *writer, change wire.ConfigChange) {
			w.array(3)
			w.string(change.Name)
			w.int(int64(change.Op))
			encodeOptional(w, change.Value)
		})
	})
	w.bool(c.ValidateOnly)
}

func decodeAlterConfigs(r *reader) Command {
	return AlterConfigs{
		Changes: boundedList(r, func(r *reader) wire.AlterConfigs {
			return wire.AlterConfigs{
				Resource: decodeResource(r),
				Replace:  r.bool(),
				Changes: boundedList(r, func(r *reader) wire.ConfigChange {
					return wire.ConfigChange{Name: r.string(), Op: signed[wire.ConfigOp](r), Value: decodeOptional(r)}
				}),
			}
		}),
		ValidateOnly: r.bool(),
	}
}

func (c MoveReplica) encode(w *writer) {
	w.array(6)
	w.bytes(c.Topic[:])
	w.int(int64(c.Partition))
	w.int(int64(c.Broker))
	w.uint(uint64(c.Incarnation))
	w.string(string(c.Directory))
	w.bool(c.Empty)
}

func decodeMoveReplica(r *reader) Command {
	return MoveReplica{
		Topic: decodeTopicID(r), Partition: signed[int32](r),
		Broker: signed[wire.BrokerID](r), Incarnation: unsigned[wire.Incarnation](r),
		Directory: DirectoryID(r.string()), Empty: r.bool(),
	}
}

func (c ReplicaRestarted) encode(w *writer) {
	w.array(5)
	w.bytes(c.Topic[:])
	w.int(int64(c.Partition))
	w.int(int64(c.Broker))
	w.uint(uint64(c.Incarnation))
	w.int(int64(c.LeaderEpoch))
}

func decodeReplicaRestarted(r *reader) Command {
	return ReplicaRestarted{
		Topic: decodeTopicID(r), Partition: signed[int32](r),
		Broker: signed[wire.BrokerID](r), Incarnation: unsigned[wire.Incarnation](r),
		LeaderEpoch: signed[wire.LeaderEpoch](r),
	}
}

func (c CreateInternalTopic) encode(w *writer) {
	w.array(1)
	w.string(c.Name)
}

func decodeCreateInternalTopic(r *reader) Command { return CreateInternalTopic{Name: r.string()} }
