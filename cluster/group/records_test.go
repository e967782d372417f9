package group

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// kafkaRecord is a record that Apache Kafka wrote.
type kafkaRecord struct {
	partition int32
	Record
}

func kafkaRecords(t testing.TB) (all []kafkaRecord) {
	t.Helper()
	f, err := os.Open("testdata/kafka-4.3.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		var r kafkaRecord
		var key, value string
		if _, err := fmt.Sscan(lines.Text(), &r.partition, &key, &value); err != nil {
			t.Fatal(err)
		}
		if r.Key, err = hex.DecodeString(key); err != nil {
			t.Fatal(err)
		}
		if value != "-" {
			if r.Value, err = hex.DecodeString(value); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		t.Fatal("there are no records")
	}
	return all
}

func TestRecordsThatKafkaWroteAreRead(t *testing.T) {
	groups, most := map[wire.GroupID]*Group{}, 0
	for _, r := range kafkaRecords(t) {
		id, known := GroupOf(r.Key)
		if !known {
			t.Fatalf("%x", r.Key)
		}
		if got := PartitionOf(id, 50); got != r.partition {
			t.Errorf("group %q is in partition %d, want %d", id, got, r.partition)
		}
		g := groups[id]
		if g == nil {
			g = New(id, newDesk(t).config)
			groups[id] = g
		}
		if err := g.Replay(r.Record); err != nil {
			t.Error(err)
		}
		if g.consumer != nil {
			most = max(most, len(g.consumer.byID))
		}
	}
	classic := groups["golden-classic"]
	if l := classic.Listed(); l.State != wire.GroupEmpty || l.Type != wire.ClassicGroup || l.ProtocolType != "consumer" {
		t.Errorf("%+v", l)
	}
	want := committedOffset{offset: 42, committed: 1795348760641, leaderEpoch: -1, rare: &rareOffset{metadata: "some metadata", expires: 1795352360641}}
	if got := classic.offsets.topics["troupe-golden"].partitions[2]; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %+v", got, got.rare)
	}
	if l := groups["golden"].Listed(); l.Type != wire.ConsumerGroup || l.State != wire.GroupEmpty || most != 3 {
		t.Errorf("%+v; it had %d members", l, most)
	}
	for id, g := range groups {
		if strings.Contains(string(id), "kcat") && g.offsets.sorted()[0].id.IsZero() {
			t.Errorf("the offsets of %s have no topic id", id)
		}
	}
}

func TestRecordsAreWrittenAsKafkaWritesThem(t *testing.T) {
	for _, r := range kafkaRecords(t) {
		key, _, err := readKey(r.Key)
		if err != nil {
			t.Fatal(err)
		}
		id, name := wire.GroupID(key.group), string(key.name)
		var again Record
		switch {
		case r.Value == nil:
			again = tombstone(key.kind, id, name, key.number)
		case key.kind == offsetRecord:
			v, err := readOffsetValue(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			again = newOffsetRecord(id, name, key.number, v)
		case key.kind == classicRecord:
			v, err := readClassicValue(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			again = newClassicRecord(id, v)
		case key.kind == targetAssignmentRecord:
			v, err := readTargetAssignmentValue(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			again = newTargetAssignmentRecord(id, wire.MemberID(name), v)
		case key.kind == currentAssignmentRecord:
			v, err := readCurrentAssignmentValue(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			again = newCurrentAssignmentRecord(id, wire.MemberID(name), v)
		case key.kind == consumerMemberRecord:
			v, err := readMemberValue(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			if v.classic == nil { // Kafka writes that there is no classic member, which is what leaving it out means
				continue
			}
			again = newMemberRecord(id, wire.MemberID(name), v)
		default: // these have fields that are told when there is something to tell
			continue
		}
		if !bytes.Equal(again.Key, r.Key) || !bytes.Equal(again.Value, r.Value) {
			t.Errorf("kind %d:\n%x %x\nis written as\n%x %x", key.kind, r.Key, r.Value, again.Key, again.Value)
		}
	}
}

func TestThePartitionOfAGroupIsThatOfJavasHash(t *testing.T) {
	for id, want := range map[wire.GroupID]int32{
		"":                   0,
		"a":                  97 % 50,
		"hello":              99162322 % 50,
		"polygenelubricants": 0, // the hash is the smallest integer, which has no positive counterpart
		"😀":                  1772899 % 50,
	} {
		if got := PartitionOf(id, 50); got != want {
			t.Errorf("%q is in partition %d, want %d", id, got, want)
		}
	}
	if got := PartitionOf("a", 0); got != 0 {
		t.Errorf("partition %d of none", got)
	}
}

func TestOldVersionsOfRecordsAreRead(t *testing.T) {
	key := keyOf(offsetRecord, "g", "orders", 2)
	key[1] = 0 // version 0 of the key
	for version, rest := range []string{
		"0000000000000007" + "0001" + "78" + "00000000000003e8",
		"0000000000000007" + "0001" + "78" + "00000000000003e8" + "00000000000007d0",
		"0000000000000007" + "0001" + "78" + "00000000000003e8",
		"0000000000000007" + "00000005" + "0001" + "78" + "00000000000003e8",
		"0000000000000007" + "00000005" + "02" + "78" + "00000000000003e8" + "00",
	} {
		value, err := hex.DecodeString(fmt.Sprintf("%04x", version) + rest)
		if err != nil {
			t.Fatal(err)
		}
		g := New("g", newDesk(t).config)
		if err := g.Replay(Record{Key: key, Value: value}); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		got := g.offsets.topics["orders"].partitions[2]
		if got.offset != 7 || got.metadata() != "x" || got.committed != 1000 {
			t.Errorf("version %d: %+v", version, got)
		}
		if epoch := map[bool]int32{false: -1, true: 5}[version >= 3]; got.leaderEpoch != epoch {
			t.Errorf("version %d: leader epoch %d", version, got.leaderEpoch)
		}
		if expires := map[bool]int64{false: -1, true: 2000}[version == 1]; got.expires() != expires {
			t.Errorf("version %d: expires %d", version, got.expires())
		}
	}
	for version := int16(0); version <= highestClassicVersion; version++ {
		w := writer{flexible: version >= 4}
		w.int16(version)
		w.string("consumer")
		w.int32(3)
		w.string("range")
		w.string("m")
		if version >= 2 {
			w.int64(1000)
		}
		w.array(1)
		w.string("m")
		if version >= 3 {
			w.nullable("")
		}
		w.string("client")
		w.string("/host")
		if version >= 1 {
			w.int32(60_000)
		}
		w.int32(10_000)
		w.bytes([]byte("metadata"))
		w.bytes([]byte("assignment"))
		w.noTags()
		w.noTags()
		g := New("g", newDesk(t).config)
		if err := g.Replay(Record{Key: keyOf(classicRecord, "g", "", 0), Value: w.b}); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		m := g.classic.member("m")
		if g.classic.generation != 3 || m == nil || string(m.assignment) != "assignment" || m.sessionTimeout != 10*time.Second {
			t.Errorf("version %d: %+v %+v", version, g.classic, m)
		}
		if want := map[bool]time.Duration{false: 10 * time.Second, true: time.Minute}[version >= 1]; m.rebalanceTimeout != want {
			t.Errorf("version %d: rebalance timeout %v", version, m.rebalanceTimeout)
		}
	}
}

func TestKeysOfOtherKindsArePassedOver(t *testing.T) {
	w := writer{}
	w.int16(10) // a share group's
	w.string("g")
	if id, known := GroupOf(w.b); known || id != "" {
		t.Errorf("group %q, %v", id, known)
	}
	if err := New("g", newDesk(t).config).Replay(Record{Key: w.b, Value: []byte{1}}); err != nil {
		t.Error(err)
	}
	for _, key := range []string{"", "00", "0001", "00010001", "0002000167" + "00", "0001ffff"} {
		b, err := hex.DecodeString(key)
		if err != nil {
			t.Fatal(err)
		}
		if id, known := GroupOf(b); known && id != "" {
			t.Errorf("%s is a key of %q", key, id)
		}
	}
}

func TestARecordThatCannotBeReadChangesNothing(t *testing.T) {
	d := newDesk(t)
	members := d.form(2)
	wantError(t, d.commit(members[0], 7), wire.None)
	before := inLog(d.g)
	for _, r := range []Record{
		{Key: keyOf(offsetRecord, "g", "orders", 0), Value: []byte{0, 9}},
		{Key: keyOf(offsetRecord, "g", "orders", 0), Value: []byte{0, 3, 0}},
		{Key: keyOf(offsetRecord, "g", "orders", 0), Value: []byte{}},
		{Key: keyOf(classicRecord, "g", "", 0), Value: []byte{0, 3, 0, 1}},
		{Key: keyOf(historyRecord, "g", "", 0), Value: []byte{0, 0, 1}},
		{Key: []byte{0}},
	} {
		if err := d.g.Replay(r); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x %x: %v", r.Key, r.Value, err)
		}
	}
	if after := inLog(d.g); after != before || len(d.g.classic.members) != 2 {
		t.Errorf("%s\nis now\n%s", before, after)
	}
}

func TestWhoAsksWithAnArrayThatIsTooLongIsNotBelieved(t *testing.T) {
	w := writer{}
	w.int16(3)
	w.string("consumer")
	w.int32(1)
	w.nullable("")
	w.nullable("")
	w.int64(0)
	w.array(1 << 30)
	if _, err := readClassicValue(w.b); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func TestWhatConsumersTellEachOtherIsReadAndWritten(t *testing.T) {
	for version := int16(0); version <= 3; version++ {
		s := &embeddedSubscription{version: version, topics: []string{"a", "b"}, userData: []byte("data"), generation: -1}
		if version >= 1 {
			s.owned = []topicPartitions{{"a", []int32{0, 2}}}
		}
		if version >= 2 {
			s.generation = 7
		}
		if version >= 3 {
			s.rack = "r"
		}
		got, err := readSubscription(newSubscription(s))
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("version %d: %+v, %v", version, got, err)
		}
	}
	short := newSubscription(&embeddedSubscription{topics: []string{"a"}})
	short[1] = 1 // some clients call it version 1 and leave out what they own
	if got, err := readSubscription(short); err != nil || got.topics[0] != "a" {
		t.Errorf("%+v, %v", got, err)
	}
	later := newSubscription(&embeddedSubscription{version: 3, topics: []string{"a"}})
	later[1] = 9
	if got, err := readSubscription(append(later, 1, 2, 3)); err != nil || got.topics[0] != "a" {
		t.Errorf("%+v, %v", got, err)
	}
	a := &embeddedAssignment{partitions: []topicPartitions{{"a", []int32{1}}, {"b", []int32{0, 3}}}, userData: []byte("data")}
	if got, err := readAssignment(newAssignment(a)); err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := readAssignment(nil); err != nil || len(got.partitions) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, b := range [][]byte{nil, {0}, {255, 255, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 9}} {
		if _, err := readSubscription(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", b, err)
		}
	}
}

// FuzzReplay folds records that may be anything, and then what the group itself writes of them.
func FuzzReplay(f *testing.F) {
	for _, r := range kafkaRecords(f) {
		f.Add(r.Key, r.Value)
	}
	tu := &turn{now: time.UnixMilli(1000)}
	var h history
	h.begin(tu, "g", wire.Rebalance{Type: wire.ClassicGroup, Trigger: wire.MemberLeft})
	h.hold("orders", 1, "a")
	h.released("orders", 1, tu.now)
	h.taken("orders", 1, "b", tu.now.Add(time.Second))
	h.finish(tu, "g", 2, 3, true)
	f.Add(tu.records[0].Key, tu.records[0].Value)
	view := clusterOf(map[string]int{"orders": 6})
	config := Default()
	config.NewMemberID = func(name string) wire.MemberID { return wire.MemberID(name) }
	f.Fuzz(func(t *testing.T, key, value []byte) {
		id, known := GroupOf(key)
		if !known {
			return
		}
		_ = IsOffset(key)
		DecodeRebalance(Record{Key: key, Value: value})
		g := New(id, config)
		err := g.Replay(Record{Key: key, Value: value})
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("error of another kind: %v", err)
		}
		g.Loaded(view, time.UnixMilli(2000))
		g.Handle(&wire.DescribeGroup{Group: id}, 1, view, time.UnixMilli(2000))
		g.Tick(view, time.UnixMilli(3000))
		if k, _, err := readKey(key); err == nil {
			again := keyOf(k.kind, id, string(k.name), k.number)
			if !bytes.Equal(again[2:], key[2:]) { // version 0 of an offset's key is written as 1
				t.Errorf("key %x is written as %x", key, again)
			}
		}
	})
}

// FuzzEmbedded reads what consumers tell each other.
func FuzzEmbedded(f *testing.F) {
	f.Add(newSubscription(&embeddedSubscription{version: 3, topics: []string{"a"}, owned: []topicPartitions{{"a", []int32{1}}}, rack: "r"}))
	f.Add(newAssignment(&embeddedAssignment{partitions: []topicPartitions{{"a", []int32{1}}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := readSubscription(b); err == nil && s.version <= 3 {
			again, err := readSubscription(newSubscription(s))
			if err != nil || !reflect.DeepEqual(again.topics, s.topics) || !reflect.DeepEqual(again.owned, s.owned) {
				t.Errorf("%+v is read again as %+v, %v", s, again, err)
			}
		}
		if a, err := readAssignment(b); err == nil && len(b) > 0 {
			again, err := readAssignment(newAssignment(a))
			if err != nil || !reflect.DeepEqual(again.partitions, a.partitions) {
				t.Errorf("%+v is read again as %+v, %v", a, again, err)
			}
		}
	})
}
