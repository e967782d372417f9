package metadata

import "github.com/troupe-mq/troupe/wire"

func (r *BrokerRegistered) encode(w *writer) {
	w.array(10)
	w.int(int64(r.Broker))
	w.uint(uint64(r.Incarnation))
	encodeDirectories(w, r.Directories)
	w.string(r.Host)
	w.int(int64(r.Port))
	w.string(r.ClusterAddress)
	w.string(r.Rack)
	w.string(r.BootID)
	w.bool(r.Fenced)
	w.uint(r.RaftID)
}

func decodeBrokerRegistered(r *reader) Record {
	return &BrokerRegistered{
		Broker:         signed[wire.BrokerID](r),
		Incarnation:    unsigned[wire.Incarnation](r),
		Directories:    decodeDirectories(r),
		Host:           r.string(),
		Port:           signed[int32](r),
		ClusterAddress: r.string(),
		Rack:           r.string(),
		BootID:         r.string(),
		Fenced:         r.bool(),
		RaftID:         r.uint(),
	}
}

func (r *BrokerChanged) encode(w *writer) {
	w.array(5)
	w.int(int64(r.Broker))
	w.uint(r.Epoch)
	w.bool(r.Fenced)
	w.bool(r.ShuttingDown)
	w.bool(r.Draining)
}

func decodeBrokerChanged(r *reader) Record {
	return &BrokerChanged{
		Broker: signed[wire.BrokerID](r), Epoch: r.uint(), Fenced: r.bool(), ShuttingDown: r.bool(), Draining: r.bool(),
	}
}

func (r *BrokerRemoved) encode(w *writer) {
	w.array(2)
	w.int(int64(r.Broker))
	w.uint(r.Epoch)
}

func decodeBrokerRemoved(r *reader) Record {
	return &BrokerRemoved{Broker: signed[wire.BrokerID](r), Epoch: r.uint()}
}

func (r *ProducerIDsAllocated) encode(w *writer) {
	w.array(3)
	w.int(int64(r.Broker))
	w.int(int64(r.First))
	w.int(int64(r.Count))
}

func decodeProducerIDsAllocated(r *reader) Record {
	return &ProducerIDsAllocated{
		Broker: signed[wire.BrokerID](r), First: signed[wire.ProducerID](r), Count: signed[int32](r),
	}
}

func (r *DirectoriesFailed) encode(w *writer) {
	w.array(3)
	w.int(int64(r.Broker))
	w.uint(r.Epoch)
	encodeDirectories(w, r.Directories)
}

func decodeDirectoriesFailed(r *reader) Record {
	return &DirectoriesFailed{
		Broker: signed[wire.BrokerID](r), Epoch: r.uint(), Directories: decodeDirectories(r),
	}
}

func (r *ReplicasFailed) encode(w *writer) {
	w.array(3)
	w.int(int64(r.Broker))
	w.uint(r.Epoch)
	encodePartitionRefs(w, r.Replicas)
}

func decodeReplicasFailed(r *reader) Record {
	return &ReplicasFailed{
		Broker: signed[wire.BrokerID](r), Epoch: r.uint(), Replicas: decodePartitionRefs(r),
	}
}

func (r *ClusterRecovered) encode(w *writer) {
	w.array(2)
	w.uint(uint64(r.RecoveryEpoch))
	w.uint(r.RaftID)
}

func decodeClusterRecovered(r *reader) Record {
	return &ClusterRecovered{RecoveryEpoch: unsigned[uint32](r), RaftID: r.uint()}
}

func (r *ReplicasReported) encode(w *writer) {
	w.array(3)
	w.int(int64(r.Broker))
	w.uint(r.Epoch)
	encodeList(w, r.Reports, encodeReport)
}

func decodeReplicasReported(r *reader) Record {
	return &ReplicasReported{Broker: signed[wire.BrokerID](r), Epoch: r.uint(), Reports: listOf(r, decodeReport)}
}

func encodeReport(w *writer, report ReplicaReport) {
	w.array(4)
	w.uint(uint64(report.Topic))
	w.int(int64(report.Partition))
	w.int(int64(report.LastEpoch))
	w.int(int64(report.End))
}

func decodeReport(r *reader) ReplicaReport {
	_, outer := r.open()
	report := ReplicaReport{
		PartitionRef: PartitionRef{Topic: unsigned[TopicNumber](r), Partition: signed[int32](r)},
		LastEpoch:    signed[wire.LeaderEpoch](r), End: signed[wire.Offset](r),
	}
	r.close(outer)
	return report
}

func encodePartitionRefs(w *writer, refs []PartitionRef) {
	w.array(len(refs))
	for _, ref := range refs {
		w.array(2)
		w.uint(uint64(ref.Topic))
		w.int(int64(ref.Partition))
	}
}

func decodePartitionRefs(r *reader) []PartitionRef {
	return listOf(r, func(r *reader) PartitionRef {
		_, outer := r.open()
		ref := PartitionRef{Topic: unsigned[TopicNumber](r), Partition: signed[int32](r)}
		r.close(outer)
		return ref
	})
}

func encodeDirectories(w *writer, dirs []DirectoryID) {
	w.array(len(dirs))
	for _, dir := range dirs {
		w.string(string(dir))
	}
}

func decodeDirectories(r *reader) []DirectoryID {
	return listOf(r, func(r *reader) DirectoryID { return DirectoryID(r.string()) })
}
