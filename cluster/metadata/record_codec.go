package metadata

import (
	"fmt"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// An entry of the log is an array of records, and a record is
//
//	[kind, version, ignorable, [fields ...]]
//
// A field that older versions may overlook is appended and the version stays. If overlooking it
// would give another image, the version goes up, and then an older broker stops with ErrTooNew
// when it meets the record, as it does at a kind that it does not know; a feature level keeps such
// records out of the log until all brokers understand them. Only a record marked ignorable is
// passed over instead: it must not change what older versions hold.

// recordVersion is the version of every kind so far, and newestVersion of those that have more. A
// record is written in the lowest version that can say it.
const recordVersion = 1

var newestVersion = map[Kind]uint64{
	KindBrokerChanged:     2, // Draining
	KindPartitionsChanged: 2, // other replicas, or awaited reports
}

func versionOf(rec Record) uint64 {
	switch r := rec.(type) {
	case *BrokerChanged:
		if r.Draining {
			return 2
		}
	case *PartitionsChanged:
		if slices.ContainsFunc(r.Changes, func(c PartitionChange) bool { return c.Replicas != nil || c.Awaiting }) {
			return 2
		}
	}
	return recordVersion
}

// EncodeRecords returns the bytes of one entry of the metadata log.
func EncodeRecords(records []Record) []byte {
	var w writer
	w.array(len(records))
	for _, rec := range records {
		w.array(4)
		w.uint(uint64(rec.kind()))
		w.uint(versionOf(rec))
		w.bool(false)
		rec.encode(&w)
	}
	return w.b
}

// DecodeRecords reads what EncodeRecords wrote, here or in another version. The records share no
// memory with b.
func DecodeRecords(b []byte) ([]Record, error) {
	r := &reader{b: b, left: 1}
	records := listOf(r, decodeRecord)
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes after the last record", len(r.b))
	}
	if r.err != nil {
		return nil, r.err
	}
	return records, nil
}

func decodeRecord(r *reader) Record {
	_, outer := r.open()
	defer func() { r.close(outer) }()
	kind, version, ignorable := unsigned[Kind](r), r.uint(), r.bool()
	decode := decoders[kind]
	if r.err == nil && (decode == nil || version > max(recordVersion, newestVersion[kind])) {
		if !ignorable {
			r.err = fmt.Errorf("record of kind %d version %d: %w: this broker is too old", kind, version, ErrTooNew)
		}
		return &ignored{of: kind}
	}
	if r.err != nil {
		return nil
	}
	_, fields := r.open()
	rec := decode(r)
	r.close(fields)
	return rec
}

var decoders = [256]func(*reader) Record{
	KindClusterCreated:       decodeClusterCreated,
	KindBrokerRegistered:     decodeBrokerRegistered,
	KindBrokerChanged:        decodeBrokerChanged,
	KindBrokerRemoved:        decodeBrokerRemoved,
	KindTopicCreated:         decodeTopicCreated,
	KindPartitionsAdded:      decodePartitionsAdded,
	KindPartitionsChanged:    decodePartitionsChanged,
	KindTopicDeleted:         decodeTopicDeleted,
	KindConfigChanged:        decodeConfigChanged,
	KindProducerIDsAllocated: decodeProducerIDsAllocated,
	KindFeatureLevelChanged:  decodeFeatureLevelChanged,
	KindDirectoriesFailed:    decodeDirectoriesFailed,
	KindReplicaMoved:         decodeReplicaMoved,
	KindReplicasFailed:       decodeReplicasFailed,
	KindClusterRecovered:     decodeClusterRecovered,
	KindReplicasReported:     decodeReplicasReported,
}

func (r *ignored) encode(w *writer) { w.array(0) }

func (r *ClusterCreated) encode(w *writer) {
	w.array(1)
	w.string(r.ClusterID)
}

func decodeClusterCreated(r *reader) Record {
	return &ClusterCreated{ClusterID: r.string()}
}

func (r *TopicCreated) encode(w *writer) {
	w.array(6)
	w.uint(uint64(r.Topic))
	w.bytes(r.ID[:])
	w.string(r.Name)
	w.bool(r.Replicated)
	encodeSettings(w, r.Configs)
	encodeNewPartitions(w, r.Partitions)
}

func decodeTopicCreated(r *reader) Record {
	return &TopicCreated{
		Topic:      unsigned[TopicNumber](r),
		ID:         decodeTopicID(r),
		Name:       r.string(),
		Replicated: r.bool(),
		Configs:    decodeSettings(r),
		Partitions: decodeNewPartitions(r),
	}
}

func decodeTopicID(r *reader) (id wire.TopicID) {
	b := r.bytes()
	if len(b) != len(id) {
		r.fail("a topic id of %d bytes", len(b))
	}
	copy(id[:], b)
	return id
}

func (r *PartitionsAdded) encode(w *writer) {
	w.array(3)
	w.uint(uint64(r.Topic))
	w.int(int64(r.First))
	encodeNewPartitions(w, r.Partitions)
}

func decodePartitionsAdded(r *reader) Record {
	return &PartitionsAdded{
		Topic: unsigned[TopicNumber](r), First: signed[int32](r), Partitions: decodeNewPartitions(r),
	}
}

func encodeNewPartitions(w *writer, partitions []NewPartition) {
	w.array(len(partitions))
	for _, p := range partitions {
		w.array(4)
		w.array(len(p.Replicas))
		for _, b := range p.Replicas {
			w.int(int64(b))
		}
		w.int(int64(p.Leader))
		w.uint(uint64(p.ISR))
		w.bytes(p.Directories)
	}
}

func decodeNewPartitions(r *reader) []NewPartition {
	return listOf(r, func(r *reader) NewPartition {
		_, outer := r.open()
		p := NewPartition{
			Replicas:    listOf(r, signed[wire.BrokerID]),
			Leader:      signed[wire.BrokerID](r),
			ISR:         unsigned[ReplicaSet](r),
			Directories: slices.Clone(r.bytes()),
		}
		if len(p.Directories) == 0 {
			p.Directories = nil
		}
		r.close(outer)
		return p
	})
}

// The changes of one topic share its number: [[topic, [[partition, ...], ...]], ...].
func (r *PartitionsChanged) encode(w *writer) {
	topics := 0
	for i, c := range r.Changes {
		if i == 0 || r.Changes[i-1].Topic != c.Topic {
			topics++
		}
	}
	w.array(1)
	w.array(topics)
	for i := 0; i < len(r.Changes); {
		end := i + 1
		for end < len(r.Changes) && r.Changes[end].Topic == r.Changes[i].Topic {
			end++
		}
		w.array(2)
		w.uint(uint64(r.Changes[i].Topic))
		w.array(end - i)
		for ; i < end; i++ {
			r.Changes[i].encode(w)
		}
	}
}

func (c *PartitionChange) encode(w *writer) {
	switch {
	case c.Awaiting:
		w.array(13)
	case c.Replicas != nil:
		w.array(12)
	default:
		w.array(8)
	}
	w.int(int64(c.Partition))
	w.int(int64(c.PartitionEpoch))
	w.int(int64(c.LeaderEpoch))
	w.int(int64(c.Leader))
	w.uint(uint64(c.ISR))
	w.uint(uint64(c.ELR))
	w.uint(uint64(c.LastKnownELR))
	w.bool(c.Unclean)
	if c.Replicas != nil || c.Awaiting {
		encodeBrokerIDs(w, c.Replicas)
		w.bytes(c.Directories)
		w.uint(uint64(c.Adding))
		w.uint(uint64(c.Removing))
	}
	if c.Awaiting {
		w.bool(true)
	}
}

func decodePartitionsChanged(r *reader) Record {
	rec := &PartitionsChanged{}
	topics, outer := r.open()
	for range topics {
		_, group := r.open()
		topic := unsigned[TopicNumber](r)
		changes, list := r.open()
		for range changes {
			if r.err != nil {
				return rec
			}
			rec.Changes = append(rec.Changes, decodePartitionChange(r, topic))
		}
		r.close(list)
		r.close(group)
	}
	r.close(outer)
	return rec
}

func decodePartitionChange(r *reader, topic TopicNumber) PartitionChange {
	_, outer := r.open()
	c := PartitionChange{
		Topic:          topic,
		Partition:      signed[int32](r),
		PartitionEpoch: signed[wire.PartitionEpoch](r),
		LeaderEpoch:    signed[wire.LeaderEpoch](r),
		Leader:         signed[wire.BrokerID](r),
		ISR:            unsigned[ReplicaSet](r),
		ELR:            unsigned[ReplicaSet](r),
		LastKnownELR:   unsigned[ReplicaSet](r),
		Unclean:        r.bool(),
		Replicas:       listOf(r, signed[wire.BrokerID]),
		Directories:    slices.Clone(r.bytes()),
		Adding:         unsigned[ReplicaSet](r),
		Removing:       unsigned[ReplicaSet](r),
		Awaiting:       r.bool(),
	}
	if len(c.Directories) == 0 {
		c.Directories = nil
	}
	r.close(outer)
	return c
}

func (r *TopicDeleted) encode(w *writer) {
	w.array(1)
	w.uint(uint64(r.Topic))
}

func decodeTopicDeleted(r *reader) Record {
	return &TopicDeleted{Topic: unsigned[TopicNumber](r)}
}

func (r *ConfigChanged) encode(w *writer) {
	w.array(4)
	w.int(int64(r.Resource.Type))
	w.string(r.Resource.Name)
	encodeSettings(w, r.Set)
	w.array(len(r.Unset))
	for _, key := range r.Unset {
		w.string(key)
	}
}

func decodeConfigChanged(r *reader) Record {
	return &ConfigChanged{
		Resource: wire.ConfigResource{Type: signed[wire.ConfigResourceType](r), Name: r.string()},
		Set:      decodeSettings(r),
		Unset:    listOf(r, (*reader).string),
	}
}

// Settings are written as one list: key, value, key, value, ...
func encodeSettings(w *writer, settings []Setting) {
	w.array(2 * len(settings))
	for _, s := range settings {
		w.string(s.Key)
		w.string(s.Value)
	}
}

func decodeSettings(r *reader) []Setting {
	n, outer := r.open()
	if n%2 != 0 {
		r.fail("a configuration key without a value")
	}
	var settings []Setting
	for range n / 2 {
		s := Setting{Key: r.string(), Value: r.string()}
		if r.err != nil {
			return nil
		}
		settings = append(settings, s)
	}
	r.close(outer)
	return settings
}

func (r *FeatureLevelChanged) encode(w *writer) {
	w.array(2)
	w.string(r.Feature)
	w.uint(uint64(r.Level))
}

func decodeFeatureLevelChanged(r *reader) Record {
	return &FeatureLevelChanged{Feature: r.string(), Level: unsigned[uint16](r)}
}

func (r *ReplicaMoved) encode(w *writer) {
	w.array(4)
	w.uint(uint64(r.Topic))
	w.int(int64(r.Partition))
	w.int(int64(r.Broker))
	w.uint(uint64(r.Directory))
}

func decodeReplicaMoved(r *reader) Record {
	return &ReplicaMoved{
		Topic: unsigned[TopicNumber](r), Partition: signed[int32](r), Broker: signed[wire.BrokerID](r),
		Directory: unsigned[byte](r),
	}
}
