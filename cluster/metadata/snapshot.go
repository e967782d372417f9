package metadata

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// A snapshot is the whole image as one msgpack array, with a version and, like a record, with room
// for fields that later versions append to each part:
//
//	[version, index, cluster, counters, features, brokers, removed directories,
//	 topics, cluster configurations, broker configurations, reports]
//
// What is only an index (names, hosts, leaderless partitions) is built anew.
const snapshotVersion = 1

// EncodeSnapshot returns the image in bytes: the same for the same image.
func (img *Image) EncodeSnapshot() []byte {
	w := writer{b: make([]byte, 0, 1024+20*img.partitions)}
	w.array(11)
	w.uint(snapshotVersion)
	w.uint(img.index)
	w.array(2)
	w.string(img.clusterID)
	w.uint(uint64(img.recoveryEpoch))
	w.array(3)
	w.int(int64(img.nextBroker))
	w.uint(uint64(img.nextTopic))
	w.int(int64(img.nextProducerID))
	w.array(len(img.features))
	for _, f := range img.features {
		w.array(2)
		w.string(f.Name)
		w.uint(uint64(f.Level))
	}
	w.array(len(img.brokers))
	for _, b := range img.brokers {
		b.encode(&w)
	}
	encodeDirectories(&w, img.removedDirs)
	w.array(img.topics.len())
	for t := range img.topics.all() {
		t.encode(&w)
	}
	encodeSettings(&w, img.clusterConfigs)
	w.array(len(img.brokerConfigs))
	for _, c := range img.brokerConfigs {
		w.array(2)
		w.int(int64(c.broker))
		encodeSettings(&w, c.settings)
	}
	w.array(img.reports.len())
	for rep := range img.reports.all() {
		w.array(2)
		w.int(int64(rep.broker))
		encodeReport(&w, rep.ReplicaReport)
	}
	return w.b
}

// DecodeSnapshot reads what EncodeSnapshot wrote, here or in another version. It shares no memory
// with b.
func DecodeSnapshot(b []byte) (*Image, error) {
	r := &reader{b: b, left: 1}
	_, outer := r.open()
	version := r.uint()
	if r.err == nil && version != snapshotVersion {
		if version > snapshotVersion {
			return nil, fmt.Errorf("snapshot of version %d: %w: this broker is too old", version, ErrTooNew)
		}
		r.fail("a snapshot of version %d", version)
	}
	d := &draft{Image: *NewImage()}
	d.index = r.uint()
	_, part := r.open()
	d.clusterID, d.recoveryEpoch = r.string(), unsigned[uint32](r)
	r.close(part)
	_, part = r.open()
	d.nextBroker, d.nextTopic, d.nextProducerID = signed[wire.BrokerID](r), unsigned[TopicNumber](r), signed[wire.ProducerID](r)
	r.close(part)
	d.features = listOf(r, decodeFeature)
	d.brokers = listOf(r, decodeBroker)
	d.removedDirs = decodeDirectories(r)
	topics := listOf(r, decodeTopic)
	d.clusterConfigs = decodeSettings(r)
	d.brokerConfigs = listOf(r, decodeBrokerConfig)
	reports := listOf(r, decodeBrokerReport)
	r.close(outer)
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes after the snapshot", len(r.b))
	}
	if r.err != nil {
		return nil, r.err
	}
	if err := d.restore(topics); err != nil {
		return nil, err
	}
	if err := d.restoreReports(reports); err != nil {
		return nil, err
	}
	d.defaults = defaultsFrom(d.sources())
	return &d.Image, nil
}

// restore checks what was read and builds the indexes over it.
func (d *draft) restore(topics []*topic) error {
	ascending := slices.IsSortedFunc(d.brokers, func(a, b *broker) int { return ascending(a.ID, b.ID) }) &&
		slices.IsSortedFunc(topics, func(a, b *topic) int { return ascending(a.number, b.number) }) &&
		slices.IsSortedFunc(d.brokerConfigs, func(a, b brokerConfig) int { return ascending(a.broker, b.broker) }) &&
		slices.IsSortedFunc(d.features, func(a, b Feature) int { return ascending(a.Name, b.Name) }) &&
		slices.IsSorted(d.removedDirs) && orderedSettings(d.clusterConfigs)
	for _, c := range d.brokerConfigs {
		ascending = ascending && orderedSettings(c.settings)
	}
	if !ascending {
		return fmt.Errorf("%w: a list of the snapshot is in no order", ErrMalformed)
	}
	if len(d.brokers) == 1 && d.brokers[0].RaftID == 0 {
		d.brokers[0].RaftID = founderRaftID // of the version before, which had no more brokers
	}
	hosted := make(map[wire.BrokerID][]TopicNumber, len(d.brokers))
	names, ids := make([]nameRef, 0, len(topics)), make([]idRef, 0, len(topics))
	var collisions []nameRef
	var leaderless, reassigning []TopicNumber
	for _, t := range topics {
		names, ids = append(names, nameRef{t.name, t.number}), append(ids, idRef{t.id, t.number})
		if key, can := collisionKey(t.name); can {
			collisions = append(collisions, nameRef{key, t.number})
		}
		if t.leaderless > 0 {
			leaderless = append(leaderless, t.number)
		}
		if t.reassigning > 0 {
			reassigning = append(reassigning, t.number)
		}
		for _, id := range t.hosts() {
			hosted[id] = append(hosted[id], t.number)
		}
		d.partitions += int(t.partitions)
	}
	for _, b := range d.brokers {
		b.topics = sortedFrom(hosted[b.ID])
		delete(hosted, b.ID)
	}
	if len(hosted) > 0 {
		return fmt.Errorf("%w: replicas on brokers that are not registered", ErrMalformed)
	}
	d.topics, d.leaderless, d.reassigning = sortedFrom(topics), sortedFrom(leaderless), sortedFrom(reassigning)
	for _, b := range d.brokers {
		if !slices.IsSortedFunc(b.failed, PartitionRef.compare) || !d.hosts(b, b.failed) {
			return fmt.Errorf("%w: replicas of broker %d failed that it has not", ErrMalformed, b.ID)
		}
	}
	var unique [3]bool
	d.names, unique[0] = sortedRefs(names, func(a, b nameRef) int { return cmp.Compare(a.name, b.name) })
	d.ids, unique[1] = sortedRefs(ids, func(a, b idRef) int { return atID(b.id)(a) })
	d.collisions, unique[2] = sortedRefs(collisions, func(a, b nameRef) int { return cmp.Compare(a.name, b.name) })
	if unique != [3]bool{true, true, true} {
		return fmt.Errorf("%w: two topics of one name or id", ErrMalformed)
	}
	return nil
}

// ascending compares so that only a list without duplicates counts as sorted.
func ascending[T cmp.Ordered](later, earlier T) int {
	if later > earlier {
		return 1
	}
	return -1
}

func orderedSettings(settings []Setting) bool {
	for i := 1; i < len(settings); i++ {
		if settings[i-1].Key >= settings[i].Key {
			return false
		}
	}
	return true
}

func sortedRefs[T any](refs []T, compare func(a, b T) int) (s sorted[T], unique bool) {
	slices.SortFunc(refs, compare)
	for i := 1; i < len(refs); i++ {
		if compare(refs[i-1], refs[i]) == 0 {
			return s, false
		}
	}
	return sortedFrom(refs), true
}

// restoreReports checks what was read of replicas that partitions wait for.
func (d *draft) restoreReports(reports []report) error {
	for i, rep := range reports {
		if i > 0 && rep.place()(reports[i-1]) >= 0 || !d.Awaits(rep.PartitionRef) || d.broker(rep.broker) == nil {
			return fmt.Errorf("%w: a report that nobody waits for, or in no order", ErrMalformed)
		}
	}
	d.reports = sortedFrom(reports)
	return nil
}

func decodeFeature(r *reader) Feature {
	_, outer := r.open()
	f := Feature{Name: r.string(), Level: unsigned[uint16](r)}
	r.close(outer)
	return f
}

func decodeBrokerConfig(r *reader) brokerConfig {
	_, outer := r.open()
	c := brokerConfig{broker: signed[wire.BrokerID](r), settings: decodeSettings(r)}
	r.close(outer)
	return c
}

func (b *broker) encode(w *writer) {
	w.array(14)
	w.int(int64(b.ID))
	w.uint(b.Epoch)
	w.uint(uint64(b.Incarnation))
	w.array(len(b.Directories))
	for _, dir := range b.Directories {
		w.array(2)
		w.string(string(dir.ID))
		w.bool(dir.Offline)
	}
	w.string(b.Host)
	w.int(int64(b.Port))
	w.string(b.ClusterAddress)
	w.string(b.Rack)
	w.string(b.BootID)
	w.bool(b.Fenced)
	w.bool(b.ShuttingDown)
	encodePartitionRefs(w, b.failed)
	w.uint(b.RaftID)
	w.bool(b.Draining)
}

func decodeBroker(r *reader) *broker {
	_, outer := r.open()
	b := &broker{Registration: Registration{
		ID: signed[wire.BrokerID](r), Epoch: r.uint(), Incarnation: unsigned[wire.Incarnation](r),
		Directories: listOf(r, decodeDirectory), Host: r.string(), Port: signed[int32](r),
		ClusterAddress: r.string(), Rack: r.string(), BootID: r.string(), Fenced: r.bool(), ShuttingDown: r.bool(),
	}}
	b.failed = decodePartitionRefs(r)
	b.RaftID, b.Draining = r.uint(), r.bool()
	r.close(outer)
	return b
}

func decodeDirectory(r *reader) Directory {
	_, outer := r.open()
	dir := Directory{ID: DirectoryID(r.string()), Offline: r.bool()}
	r.close(outer)
	return dir
}

func (t *topic) encode(w *writer) {
	w.array(6)
	w.uint(uint64(t.number))
	w.bytes(t.id[:])
	w.string(t.name)
	w.bool(t.replicated)
	encodeSettings(w, t.configs)
	w.array(int(t.partitions))
	for p := range t.all {
		switch {
		case p.uncleanEpoch != 0:
			w.array(13)
		case p.awaiting:
			w.array(12)
		default:
			w.array(11)
		}
		w.array(len(p.replicas))
		for _, id := range p.replicas {
			w.int(int64(id))
		}
		w.int(int64(p.leader))
		w.int(int64(p.leaderEpoch))
		w.int(int64(p.partitionEpoch))
		for _, set := range []ReplicaSet{p.isr, p.elr, p.lastKnownELR, p.adding, p.removing} {
			w.uint(uint64(set))
		}
		w.bool(p.unclean)
		encodeReplicaDirs(w, p.dirs)
		if p.awaiting || p.uncleanEpoch != 0 {
			w.bool(p.awaiting)
		}
		if p.uncleanEpoch != 0 {
			w.int(int64(p.uncleanEpoch))
		}
	}
}

func decodeTopic(r *reader) *topic {
	_, outer := r.open()
	t := &topic{
		number: unsigned[TopicNumber](r), id: decodeTopicID(r), name: r.string(), replicated: r.bool(),
		configs: decodeSettings(r),
	}
	partitions := listOf(r, decodePartition)
	r.close(outer)
	if r.err != nil {
		return nil
	}
	if len(partitions) == 0 || !orderedSettings(t.configs) {
		r.fail("topic %q has no partitions, or its configurations no order", t.name)
		return nil
	}
	return t.withPartitions(partitions)
}

// encodeReplicaDirs writes a byte for each replica, or none if nobody has named any.
func encodeReplicaDirs(w *writer, dirs []directory) {
	w.bytes(directoryBytes(dirs))
}

func directoryBytes(dirs []directory) []byte {
	if !slices.ContainsFunc(dirs, func(dir directory) bool { return dir != 0 }) {
		return nil
	}
	bytes := make([]byte, len(dirs))
	for i, dir := range dirs {
		bytes[i] = byte(dir)
	}
	return bytes
}

// replicaDirs converts what a record or snapshot has of n replicas.
func replicaDirs(b []byte, n int) []directory {
	if len(b) == 0 {
		return make([]directory, n)
	}
	dirs := make([]directory, len(b))
	for i := range b {
		dirs[i] = directory(b[i])
	}
	return dirs
}

func decodePartition(r *reader) partition {
	_, outer := r.open()
	p := partition{replicas: listOf(r, signed[wire.BrokerID])}
	p.leader = signed[int8](r)
	p.leaderEpoch, p.partitionEpoch = signed[wire.LeaderEpoch](r), signed[wire.PartitionEpoch](r)
	p.isr, p.elr, p.lastKnownELR = unsigned[ReplicaSet](r), unsigned[ReplicaSet](r), unsigned[ReplicaSet](r)
	p.adding, p.removing = unsigned[ReplicaSet](r), unsigned[ReplicaSet](r)
	p.unclean = r.bool()
	p.dirs = replicaDirs(r.bytes(), len(p.replicas))
	p.awaiting = r.bool()
	p.uncleanEpoch = signed[wire.LeaderEpoch](r)
	r.close(outer)
	if r.err != nil {
		return p
	}
	n := len(p.replicas)
	switch {
	case len(p.dirs) != n:
		r.fail("%d replicas in %d directories", n, len(p.dirs))
	case n == 0 || n > MaxReplicas:
		r.fail("a partition with %d replicas", n)
	case p.leader != noLeader && (p.leader < 0 || int(p.leader) >= n || !p.isr.has(int(p.leader))):
		r.fail("a partition led by number %d of its replicas", p.leader)
	case (p.isr|p.elr|p.lastKnownELR|p.adding|p.removing)&^p.all() != 0:
		r.fail("a partition with more in sync than there are")
	}
	return p
}
