package metadata

import (
	"encoding/hex"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// everyRecord has one of each kind, with every field set.
func everyRecord() []Record {
	return []Record{
		&ClusterCreated{ClusterID: "cluster"},
		&BrokerRegistered{
			Broker: 1, Incarnation: 1 << 60, Directories: []DirectoryID{"d1", "d2"}, Host: "host", Port: 9092,
			ClusterAddress: "host:7946", Rack: "rack", BootID: "boot", Fenced: true, RaftID: 1 << 63,
		},
		&BrokerChanged{Broker: 1, Epoch: 300, Fenced: true, ShuttingDown: true, Draining: true},
		&BrokerRemoved{Broker: 2, Epoch: 70_000},
		&TopicCreated{
			Topic: 5, ID: wire.TopicID{15: 1}, Name: "t", Replicated: true, Configs: []Setting{{"k", "v"}},
			Partitions: []NewPartition{{Replicas: []wire.BrokerID{3, 200}, Leader: 3, ISR: 3, Directories: []byte{1, 2}}, {Replicas: []wire.BrokerID{1}, Leader: -1}},
		},
		&PartitionsAdded{Topic: 5, First: 2, Partitions: []NewPartition{{Replicas: []wire.BrokerID{4}, Leader: 4, ISR: 1}}},
		&PartitionsChanged{Changes: []PartitionChange{
			{Topic: 5, Partition: 0, PartitionEpoch: 8, LeaderEpoch: 6, Leader: 3, ISR: 1, ELR: 2, LastKnownELR: 4, Unclean: true},
			{Topic: 5, Partition: 70_000, PartitionEpoch: 1, Leader: -1},
			{Topic: 9, Partition: 1, PartitionEpoch: 1, Leader: 1, ISR: 1},
		}},
		&PartitionsChanged{Changes: []PartitionChange{{
			Topic: 9, Partition: 1, PartitionEpoch: 2, LeaderEpoch: 1, Leader: 1, ISR: 1,
			Replicas: []wire.BrokerID{1, 300, 2}, Directories: []byte{1, 0, 2}, Adding: 2, Removing: 4,
		}}},
		&TopicDeleted{Topic: 1 << 31},
		&ConfigChanged{
			Resource: wire.ConfigResource{Type: wire.ConfigTopic, Name: "t"}, Set: []Setting{{"a", "1"}}, Unset: []string{"b"},
		},
		&ProducerIDsAllocated{Broker: 1, First: 1000, Count: 1000},
		&FeatureLevelChanged{Feature: "metadata.version", Level: 1},
		&DirectoriesFailed{Broker: 1, Epoch: 4, Directories: []DirectoryID{"d1"}},
		&ReplicaMoved{Topic: 5, Partition: 1, Broker: 1, Directory: 2},
		&ReplicasFailed{Broker: 1, Epoch: 4, Replicas: []PartitionRef{{5, 0}, {5, 70_000}}},
		&ClusterRecovered{RecoveryEpoch: 3, RaftID: 1 << 63},
		&ReplicasReported{Broker: 1, Epoch: 4, Reports: []ReplicaReport{{PartitionRef: PartitionRef{5, 1}, LastEpoch: -1, End: 1 << 40}}},
		&PartitionsChanged{Changes: []PartitionChange{{Topic: 5, Partition: 1, PartitionEpoch: 1, Leader: -1, Awaiting: true}}},
	}
}

// These bytes are in the logs of brokers that run. If this test fails, they can no longer be read:
// append fields and keep the old bytes readable, but do not change them.
const goldenEntry = "dc0012" +
	"940101c291a7636c7573746572" +
	"940201c29a01cf100000000000000092a26431a26432a4686f7374cd2384a9686f73743a37393436a47261636ba4626f6f74c3cf8000000000000000" +
	"940302c29501cd012cc3c3c3" +
	"940401c29202ce00011170" +
	"940501c29605c41000000000000000000000000000000001a174c392a16ba176" +
	"92 949203ccc80303c4020102 949101ff00c400" +
	"940601c293050291 9491040401c400" +
	"940701c2919292059298000806030102 04c398ce00011170 0100ff000000c2 9209919801 01000101 0000c2" +
	"940702c291 919209919c 01020101010000c2 9301cd012c02 c403010002 0204" +
	"940801c291ce80000000" +
	"940901c29402a17492a161a13191a162" +
	"940a01c29301cd03e8cd03e8" +
	"940b01c292b06d657461646174612e76657273696f6e01" +
	"940c01c293010491a26431" +
	"940d01c29405010102" +
	"940e01c2930104929205009205ce00011170" +
	"940f01c29203cf8000000000000000" +
	"941001c2930104919405 01ffcf0000010000000000" +
	"940702c29191920591 9d010100ff000000c2 90c4000000c3"

func TestTheBytesOfAnEntryStayTheSame(t *testing.T) {
	golden := strings.ReplaceAll(goldenEntry, " ", "")
	if got := hex.EncodeToString(EncodeRecords(everyRecord())); got != golden {
		t.Errorf("encoded\n%s, want\n%s", got, golden)
	}
	b, _ := hex.DecodeString(golden)
	records, err := DecodeRecords(b)
	if err != nil || !reflect.DeepEqual(records, everyRecord()) {
		t.Errorf("decoded %v, %v", records, err)
	}
}

func TestEveryKindOfRecordIsCovered(t *testing.T) {
	seen := map[Kind]bool{}
	for _, rec := range everyRecord() {
		seen[rec.kind()] = true
	}
	for kind, decode := range decoders {
		if (decode != nil) != seen[Kind(kind)] {
			t.Errorf("kind %d is decoded: %t, but tested: %t", kind, decode != nil, seen[Kind(kind)])
		}
	}
}

// entry writes one record as another version might.
func entry(kind Kind, version uint64, ignorable bool, fields func(*writer)) []byte {
	var w writer
	w.array(1)
	w.array(4)
	w.uint(uint64(kind))
	w.uint(version)
	w.bool(ignorable)
	fields(&w)
	return w.b
}

func TestAnOlderBrokerSkipsTheFieldsThatANewerOneAppended(t *testing.T) {
	b := entry(KindTopicDeleted, recordVersion, false, func(w *writer) {
		w.array(4)
		w.uint(7)
		w.string("new")
		w.array(2)
		w.array(0)
		w.bytes([]byte{1, 2, 3})
		w.int(-1 << 40)
	})
	records, err := DecodeRecords(b)
	if want := []Record{&TopicDeleted{Topic: 7}}; err != nil || !reflect.DeepEqual(records, want) {
		t.Errorf("%v, %v", records, err)
	}
}

func TestANewerBrokerTakesZeroForTheFieldsThatAnOlderOneHadNot(t *testing.T) {
	b := entry(KindBrokerChanged, recordVersion, false, func(w *writer) {
		w.array(2)
		w.int(3)
		w.uint(9)
	})
	records, err := DecodeRecords(b)
	if want := []Record{&BrokerChanged{Broker: 3, Epoch: 9}}; err != nil || !reflect.DeepEqual(records, want) {
		t.Errorf("%v, %v", records, err)
	}
}

func TestARecordThatOnlyANewerVersionUnderstandsStopsTheReader(t *testing.T) {
	fields := func(w *writer) { w.array(1); w.string("?") }
	for _, b := range [][]byte{
		entry(200, 1, false, fields),
		entry(KindTopicDeleted, recordVersion+1, false, fields),
	} {
		if _, err := DecodeRecords(b); !errors.Is(err, ErrTooNew) {
			t.Errorf("%v", err)
		}
	}
}

func TestARecordThatIsMarkedIgnorableIsPassedOver(t *testing.T) {
	fields := func(w *writer) { w.array(1); w.array(1); w.string("?") }
	for _, b := range [][]byte{
		entry(200, 1, true, fields),
		entry(KindTopicDeleted, recordVersion+1, true, fields),
	} {
		records, err := DecodeRecords(b)
		if err != nil {
			t.Fatal(err)
		}
		img := newCluster(t, 1).img
		next, delta, err := img.Apply(img.Index()+1, records)
		if err != nil || !delta.Empty() || next.Index() != img.Index()+1 {
			t.Errorf("%v, %+v", err, delta)
		}
	}
}

func TestALyingCountAllocatesNothing(t *testing.T) {
	for _, prefix := range []string{
		"ddffffffff",           // four billion records
		"91940101c2ddffffffff", // as many fields
		"91940501c29601c410000000000000000000000000000000c1a174c290ddffffffff", // partitions
		"91940101c291dbffffffff",       // a string of four GB
		"91940501c29201c6ffffffff",     // bytes
		"91940701c291dc7fff9201dc7fff", // nested lists
	} {
		b, err := hex.DecodeString(prefix)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, make([]byte, 1000)...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = DecodeRecords(b)
		runtime.ReadMemStats(&after)
		if err == nil || after.TotalAlloc-before.TotalAlloc > 200<<10 {
			t.Errorf("%s: %v after %d bytes", prefix, err, after.TotalAlloc-before.TotalAlloc)
		}
	}
}

func TestARecordThatDoesNotFitTheImageChangesNothing(t *testing.T) {
	c := newCluster(t, 2)
	id := c.mustCreate("t", 2, 1)
	number := c.img.topicByID(id).number
	replicas := []wire.BrokerID{c.partition(id, 0).Leader}
	good := PartitionChange{Topic: number, PartitionEpoch: 1, LeaderEpoch: 1, Leader: replicas[0], ISR: 1}
	change := func(f func(*PartitionChange)) Record {
		changed := good
		f(&changed)
		return &PartitionsChanged{Changes: []PartitionChange{changed}}
	}
	one := []NewPartition{{Replicas: []wire.BrokerID{1}, Leader: 1, ISR: 1}}
	topic := func(f func(*TopicCreated)) Record {
		rec := &TopicCreated{Topic: c.img.nextTopic, ID: wire.TopicID{7}, Name: "new", Partitions: one}
		f(rec)
		return rec
	}
	if _, _, err := c.img.Apply(c.img.Index()+1, []Record{change(func(*PartitionChange) {}), topic(func(*TopicCreated) {})}); err != nil {
		t.Fatal(err)
	}
	for name, rec := range map[string]Record{
		"the partition epoch of now":        change(func(c *PartitionChange) { c.PartitionEpoch = 0 }),
		"a partition epoch left out":        change(func(c *PartitionChange) { c.PartitionEpoch = 2 }),
		"an older leader epoch":             change(func(c *PartitionChange) { c.LeaderEpoch = -1 }),
		"no leader in the same epoch":       change(func(c *PartitionChange) { c.LeaderEpoch, c.Leader = 0, -1 }),
		"a leader outside the ISR":          change(func(c *PartitionChange) { c.ISR = 0 }),
		"a leader without a replica":        change(func(c *PartitionChange) { c.Leader = 9 }),
		"an ISR beyond the replicas":        change(func(c *PartitionChange) { c.ISR = 3 }),
		"a partition that is not there":     change(func(c *PartitionChange) { c.Partition = 2 }),
		"a topic that is not there":         change(func(c *PartitionChange) { c.Topic = 99 }),
		"a partition twice":                 &PartitionsChanged{Changes: []PartitionChange{good, good}},
		"a topic number out of turn":        topic(func(r *TopicCreated) { r.Topic++ }),
		"a topic number again":              topic(func(r *TopicCreated) { r.Topic = number }),
		"a name again":                      topic(func(r *TopicCreated) { r.Name = "t" }),
		"an id again":                       topic(func(r *TopicCreated) { r.ID = id }),
		"a topic without partitions":        topic(func(r *TopicCreated) { r.Partitions = nil }),
		"configurations in no order":        topic(func(r *TopicCreated) { r.Configs = []Setting{{"b", ""}, {"a", ""}} }),
		"a replica on no broker":            &PartitionsAdded{Topic: number, First: 2, Partitions: []NewPartition{{Replicas: []wire.BrokerID{9}, Leader: 9, ISR: 1}}},
		"a broker twice":                    &PartitionsAdded{Topic: number, First: 2, Partitions: []NewPartition{{Replicas: []wire.BrokerID{1, 1}, Leader: 1, ISR: 1}}},
		"partitions with a gap":             &PartitionsAdded{Topic: number, First: 3, Partitions: one},
		"the end of no topic":               &TopicDeleted{Topic: 99},
		"another cluster":                   &ClusterCreated{ClusterID: "x"},
		"producer ids out of turn":          &ProducerIDsAllocated{First: 5, Count: 5},
		"a broker of another epoch":         &BrokerChanged{Broker: 1, Epoch: 99},
		"the removal of a broker in use":    &BrokerRemoved{Broker: replicas[0], Epoch: c.img.broker(replicas[0]).Epoch},
		"the configuration of no topic":     &ConfigChanged{Resource: wire.ConfigResource{Type: wire.ConfigTopic, Name: "x"}},
		"the configuration of a resource":   &ConfigChanged{Resource: wire.ConfigResource{Type: wire.ConfigGroup, Name: "x"}},
		"the configuration of a non-broker": &ConfigChanged{Resource: wire.ConfigResource{Type: wire.ConfigBroker, Name: "x"}},
	} {
		before := string(c.img.EncodeSnapshot())
		// The record before it applies: an entry counts as a whole or not at all.
		_, _, err := c.img.Apply(c.img.Index()+1, []Record{&FeatureLevelChanged{Feature: "f", Level: 1}, rec})
		if !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
		if string(c.img.EncodeSnapshot()) != before {
			t.Errorf("%s: the image changed", name)
		}
	}
	if _, _, err := c.img.Apply(c.img.Index(), nil); !errors.Is(err, ErrMismatch) {
		t.Errorf("an entry again: %v", err)
	}
}

func TestARemovedBrokersDirectoryDoesNotComeBack(t *testing.T) {
	c := newCluster(t, 2)
	c.write([]Record{&BrokerRemoved{Broker: 2, Epoch: c.img.broker(2).Epoch}})
	if reply := c.do(registration(2, 2)).(RegisteredBroker); wire.Code(reply.Err) != wire.InvalidRegistration {
		t.Errorf("%+v", reply)
	}
	restored, err := DecodeSnapshot(c.img.EncodeSnapshot())
	if err != nil || !reflect.DeepEqual(restored.removedDirs, c.img.removedDirs) || len(c.img.Brokers()) != 1 {
		t.Errorf("%v: %q", err, restored.removedDirs)
	}
}

func TestASnapshotOfANewerVersionIsRefused(t *testing.T) {
	b := newCluster(t, 1).img.EncodeSnapshot()
	b[1] = snapshotVersion + 1
	if _, err := DecodeSnapshot(b); !errors.Is(err, ErrTooNew) {
		t.Errorf("%v", err)
	}
	b[1] = 0
	if _, err := DecodeSnapshot(b); !errors.Is(err, ErrMalformed) {
		t.Errorf("%v", err)
	}
}

func FuzzDecodeRecords(f *testing.F) {
	f.Add(EncodeRecords(everyRecord()))
	for _, rec := range everyRecord() {
		f.Add(EncodeRecords([]Record{rec}))
	}
	f.Add(entry(200, 1, true, func(w *writer) { w.array(0) }))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := DecodeRecords(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooNew) {
				t.Errorf("%v", err)
			}
			return
		}
		for _, rec := range records {
			if _, skipped := rec.(*ignored); skipped {
				return // its fields are not kept
			}
		}
		again, err := DecodeRecords(EncodeRecords(records))
		if err != nil || !reflect.DeepEqual(again, records) {
			t.Errorf("read back: %v, %v", again, err)
		}
		c := newCluster(t, 1)
		c.mustCreate("t", 2, 1)
		if next, _, err := c.img.Apply(c.img.Index()+1, records); err == nil {
			if _, err := DecodeSnapshot(next.EncodeSnapshot()); err != nil {
				t.Errorf("the image cannot be restored: %v", err)
			}
		}
	})
}

func FuzzDecodeSnapshot(f *testing.F) {
	c := newCluster(f, 2)
	f.Add(c.img.EncodeSnapshot())
	c.mustCreate("a.b", 3, 2, "retention.ms", "1")
	c.do(AllocateProducerIDs{Broker: 1})
	c.fence(true, 1)
	f.Add(c.img.EncodeSnapshot())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		img, err := DecodeSnapshot(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooNew) {
				t.Errorf("%v", err)
			}
			return
		}
		again, err := DecodeSnapshot(img.EncodeSnapshot())
		if err != nil || !Diff(img, again).Empty() {
			t.Errorf("read back: %v", err)
		}
	})
}
