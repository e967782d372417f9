package metadata

import "github.com/troupe-mq/troupe/wire"

func (FoundCluster) commandKind() CommandKind        { return CommandFoundCluster }
func (RegisterBroker) commandKind() CommandKind      { return CommandRegisterBroker }
func (ChangeBrokers) commandKind() CommandKind       { return CommandChangeBrokers }
func (AllocateProducerIDs) commandKind() CommandKind { return CommandAllocateProducerIDs }
func (FailDirectories) commandKind() CommandKind     { return CommandFailDirectories }
func (FailReplicas) commandKind() CommandKind        { return CommandFailReplicas }
func (ReportReplicas) commandKind() CommandKind      { return CommandReportReplicas }
func (ElectReported) commandKind() CommandKind       { return CommandElectReported }

func (c FoundCluster) encode(w *writer) {
	w.array(1)
	w.string(c.ClusterID)
}

func decodeFoundCluster(r *reader) Command { return FoundCluster{ClusterID: r.string()} }

func (c RegisterBroker) encode(w *writer) {
	w.array(11)
	w.int(int64(c.ID))
	w.uint(uint64(c.Incarnation))
	encodeDirectories(w, c.Directories)
	w.string(c.Host)
	w.int(int64(c.Port))
	w.string(c.ClusterAddress)
	w.string(c.Rack)
	w.string(c.BootID)
	w.bool(c.Fenced)
	w.uint(c.RaftID)
	encodeTopicPartitions(w, c.LostDurable)
}

func decodeRegisterBroker(r *reader) Command {
	return RegisterBroker{
		ID:             signed[wire.BrokerID](r),
		Incarnation:    unsigned[wire.Incarnation](r),
		Directories:    decodeDirectories(r),
		Host:           r.string(),
		Port:           signed[int32](r),
		ClusterAddress: r.string(),
		Rack:           r.string(),
		BootID:         r.string(),
		Fenced:         r.bool(),
		RaftID:         r.uint(),
		LostDurable:    decodeTopicPartitions(r),
	}
}

func (c ChangeBrokers) encode(w *writer) {
	w.array(1)
	encodeList(w, c.Brokers, func(w *writer, s BrokerState) {
		w.array(4)
		w.int(int64(s.ID))
		w.uint(s.Epoch)
		w.bool(s.Fenced)
		w.bool(s.ShuttingDown)
	})
}

func decodeChangeBrokers(r *reader) Command {
	return ChangeBrokers{Brokers: boundedList(r, func(r *reader) BrokerState {
		return BrokerState{ID: signed[wire.BrokerID](r), Epoch: r.uint(), Fenced: r.bool(), ShuttingDown: r.bool()}
	})}
}

func (c AllocateProducerIDs) encode(w *writer) {
	w.array(2)
	w.int(int64(c.Broker))
	w.int(int64(c.Count))
}

func decodeAllocateProducerIDs(r *reader) Command {
	return AllocateProducerIDs{Broker: signed[wire.BrokerID](r), Count: signed[int32](r)}
}

func (c FailDirectories) encode(w *writer) {
	w.array(3)
	w.int(int64(c.Broker))
	w.uint(uint64(c.Incarnation))
	encodeDirectories(w, c.Directories)
}

func decodeFailDirectories(r *reader) Command {
	return FailDirectories{
		Broker: signed[wire.BrokerID](r), Incarnation: unsigned[wire.Incarnation](r), Directories: decodeDirectories(r),
	}
}

func (c FailReplicas) encode(w *writer) {
	w.array(3)
	w.int(int64(c.Broker))
	w.uint(uint64(c.Incarnation))
	encodeTopicPartitions(w, c.Replicas)
}

func decodeFailReplicas(r *reader) Command {
	return FailReplicas{
		Broker: signed[wire.BrokerID](r), Incarnation: unsigned[wire.Incarnation](r), Replicas: decodeTopicPartitions(r),
	}
}

func (c ReportReplicas) encode(w *writer) {
	w.array(3)
	w.int(int64(c.Broker))
	w.uint(uint64(c.Incarnation))
	encodeList(w, c.Replicas, func(w *writer, m ReportedReplica) {
		w.array(4)
		w.bytes(m.Topic[:])
		w.int(int64(m.Partition))
		w.int(int64(m.LastEpoch))
		w.int(int64(m.End))
	})
}

func decodeReportReplicas(r *reader) Command {
	return ReportReplicas{
		Broker: signed[wire.BrokerID](r), Incarnation: unsigned[wire.Incarnation](r),
		Replicas: boundedList(r, func(r *reader) ReportedReplica {
			return ReportedReplica{
				Topic: decodeTopicID(r), Partition: signed[int32](r),
				LastEpoch: signed[wire.LeaderEpoch](r), End: signed[wire.Offset](r),
			}
		}),
	}
}

func (ElectReported) encode(w *writer) { w.array(0) }

func decodeElectReported(*reader) Command { return ElectReported{} }
