package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func text(s string) *string { return &s }

var someTopic = TopicID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// samples has one message of every type, with every field set to something of its own.
func samples() map[string]Message {
	refused := &CodedError{Code: NotLeaderOrFollower, Message: "broker 2 leads it"}
	entries := []ConfigEntry{{
		Name: "retention.ms", Value: text("1000"), Source: SourceDynamicTopic, Type: TypeLong, ReadOnly: true,
		Sensitive: true, Doc: "how long", Synonyms: []ConfigSynonym{{Name: "log.retention.ms", Value: text("5"), Source: SourceDefault}, {Name: "none", Source: SourceStaticBroker}},
	}, {Name: "secret"}}
	all := map[string]Message{
		"greeting":              &Greeting{MinProtocol: 1, MaxProtocol: 3, Software: "troupe-go", Version: "v0.1.0"},
		"welcome":               &Welcome{Protocol: 1, Software: "troupe", Version: "v0.1.0", ClusterID: "IaXBTR2jSYq6kGh0X4v9Dg", Broker: 1, MaxFrame: 104857600, MaxInFlight: 1024, MaxFetches: 64},
		"failed":                &Failure{Err: refused},
		"failed by a bare code": &Failure{Err: UnknownTopicID},
		"empty":                 &Empty{},
		"produce":               &ProduceRequest{Topic: someTopic, Partition: 3, Acks: AcksAll, Timeout: 30 * time.Second},
		"produced":              &ProduceReply{BaseOffset: 1234567890123, LogStartOffset: 17, Leader: NoHint},
		"not produced":          &ProduceReply{Err: refused, BaseOffset: NoOffset, LogStartOffset: NoOffset, Leader: LeaderHint{Broker: 2, LeaderEpoch: 9}},
		"fetch":                 &FetchRequest{MaxWait: 500 * time.Millisecond, MinBytes: 1, MaxBytes: 1 << 20, Isolation: ReadCommitted, Partitions: []Fetch{{Topic: someTopic, Partition: 2, FetchOffset: 42, MaxBytes: 1 << 19, CurrentEpoch: 7, LastFetchedEpoch: 6, Isolation: ReadCommitted}, {CurrentEpoch: NoEpoch, LastFetchedEpoch: NoEpoch, Isolation: ReadCommitted}}},
		"fetched":               &FetchReply{Partitions: []Fetched{{HighWatermark: 100, LastStableOffset: 90, LogStartOffset: 10, Records: Records{Length: 4096}, Leader: NoHint, Aborted: []AbortedTransaction{{Producer: 5, FirstOffset: 6}}}, {Err: OffsetOutOfRange, HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1, Leader: LeaderHint{Broker: 1, LeaderEpoch: 2}, Diverging: &EpochEnd{LeaderEpoch: 3, EndOffset: 4}}}},
		"list offsets":          &ListOffsetsRequest{Partitions: []ListOffsets{{Topic: someTopic, Partition: 1, CurrentEpoch: 2, Timestamp: LatestTimestamp, Isolation: ReadCommitted}}},
		"listed offsets":        &ListOffsetsReply{Partitions: []ListedOffset{{Offset: 7, Timestamp: 1700000000000, LeaderEpoch: 3, Leader: NoHint}, {Err: refused, Offset: NoOffset, Timestamp: -1, LeaderEpoch: NoEpoch, Leader: LeaderHint{Broker: 3, LeaderEpoch: 4}}}},
		"offset for epoch":      &OffsetForEpochRequest{Partitions: []OffsetForEpoch{{Topic: someTopic, Partition: 1, CurrentEpoch: 5, LeaderEpoch: 4}}},
		"offsets for epochs":    &OffsetForEpochsReply{Partitions: []OffsetForEpochReply{{End: EpochEnd{LeaderEpoch: 4, EndOffset: 99}}, {Err: FencedLeaderEpoch, End: EpochEnd{LeaderEpoch: NoEpoch, EndOffset: NoOffset}}}},
		"delete records":        &DeleteRecords{Topic: someTopic, Partition: 2, Before: 1000},
		"deleted records":       &DeleteRecordsReply{LogStartOffset: 1000},
		"metadata":              &MetadataRequest{All: true, Names: []string{"a", "b"}, IDs: []TopicID{someTopic}, AutoCreate: true},
		"described metadata":    &MetadataReply{ClusterID: "IaXBTR2jSYq6kGh0X4v9Dg", Controller: 1, Brokers: []Broker{{ID: 1, Host: "localhost", Port: 9092, Rack: "r", Fenced: true}}, Topics: []TopicMetadata{{Name: "a", ID: someTopic, Internal: true, Partitions: []Partition{{Leader: 1, LeaderEpoch: 2, PartitionEpoch: 3, Replicas: []BrokerID{1, 2}, ISR: []BrokerID{1}, Offline: []BrokerID{2}, ELR: []BrokerID{2}, Adding: []BrokerID{3}, Removing: []BrokerID{2}}}}, {Err: UnknownTopicOrPartition, Name: "b", Partitions: []Partition{}}}},
		"create topics":         &CreateTopicsRequest{ValidateOnly: true, Topics: []NewTopic{{Name: "a", Partitions: 6, ReplicationFactor: 3, Assignment: [][]BrokerID{{1, 2}, {2, 1}}, Configs: []ConfigValue{{Name: "k", Value: text("v")}, {Name: "nothing"}}}, {Name: "b", Partitions: -1, ReplicationFactor: -1, Configs: []ConfigValue{}}}},
		"created topics":        &CreateTopicsReply{Topics: []CreatedTopic{{Name: "a", ID: someTopic, Partitions: 6, ReplicationFactor: 3, Configs: entries}, {Name: "b", Err: TopicAlreadyExists}}},
		"delete topics":         &DeleteTopicsRequest{Topics: []TopicRef{{Name: "a"}, {ID: someTopic}}},
		"deleted topics":        &DeleteTopicsReply{Topics: []DeletedTopic{{Name: "a", ID: someTopic}, {Err: UnknownTopicID, ID: someTopic}}},
		"create partitions":     &CreatePartitionsRequest{ValidateOnly: true, Topics: []MorePartitions{{Topic: "a", Count: 12, Assignment: [][]BrokerID{{1}}}, {Topic: "b", Count: 3}}},
		"errors":                &ErrorsReply{Errors: []error{nil, refused, InvalidConfig}},
		"describe configs":      &DescribeConfigsRequest{Resources: []ConfigResource{{Type: ConfigTopic, Name: "a"}, {Type: ConfigBroker}}},
		"described configs":     &DescribeConfigsReply{Resources: []DescribedConfigs{{Entries: entries}, {Err: UnknownTopicOrPartition}}},
		"alter configs":         &AlterConfigsRequest{ValidateOnly: true, Changes: []AlterConfigs{{Resource: ConfigResource{Type: ConfigTopic, Name: "a"}, Replace: true, Changes: []ConfigChange{{Name: "k", Op: OpAppend, Value: text("v")}, {Name: "l", Op: OpDelete}}}}},
		"init producer id":      &InitProducerID{TransactionalID: text("tx"), TimeoutMillis: 60000, Producer: 4000, Epoch: 2},
		"producer identity":     &ProducerIdentity{Producer: 4000, Epoch: 3},
		"describe cluster": &ClusterDescription{
			ClusterID: "IaXBTR2jSYq6kGh0X4v9Dg",
			Brokers: []ClusterBroker{{
				Broker:         Broker{ID: 1, Host: "localhost", Port: 9092, Rack: "r", Fenced: true},
				ClusterAddress: "localhost:7946", Epoch: 1 << 50, Incarnation: 1<<64 - 1, Standing: BrokerFenced,
			}},
			Quorum: Quorum{
				Leader: 1, Term: 4, Committed: 77,
				Voters:   []QuorumMember{{Broker: 1, RaftID: 1<<64 - 1, Match: 77}, {Broker: NoBroker, RaftID: 5, Match: 70, Silent: 1500 * time.Millisecond}},
				Learners: []QuorumMember{{Broker: 2, RaftID: 6, Match: 76, Silent: time.Second}},
			},
		},
		"cluster health":        &ClusterHealth{Healthy: true, Offline: 1, UnderReplicated: 2, MayLose: 3, Reasons: []string{"a", "b"}},
		"elect leaders":         &ElectLeaders{Unclean: true, Partitions: []TopicNamePartition{{Topic: "a", Partition: 7}}},
		"elect all leaders":     &ElectLeaders{},
		"alter reassignments":   &AlterReassignments{SameFactor: true, Partitions: []Reassignment{{Topic: "a", Partition: 1, Replicas: []BrokerID{3, 2}}, {Topic: "b", Partition: 2}, {Topic: "c", Replicas: []BrokerID{}}}},
		"partition outcomes":    &PartitionOutcomes{Partitions: []PartitionOutcome{{Topic: "a", Partition: 1}, {Topic: "b", Partition: 2, Err: refused}}},
		"remove broker":         &RemoveBroker{Broker: 3, Cancel: true},
		"removed broker":        &RemovedBroker{Left: 7, Moving: 5, Done: true},
		"gossip keys":           &GossipKeyList{Brokers: []GossipKeys{{Broker: 1, Fingerprints: []string{"a", "b"}}, {Broker: 2, Err: refused}}},
		"rotate gossip key":     &RotateGossipKey{Without: true},
		"gossip key step":       &GossipKeyStep{Action: ForgetGossipKeys, Key: GossipKey{1, 2, 3}, Fingerprints: []string{"a"}},
		"described directories": &DescribeLogDirsReply{Dirs: []LogDir{{Path: "/data", Err: KafkaStorageError, TotalBytes: 1 << 40, UsableBytes: -1, Partitions: []LogDirPartition{{Topic: "a", Partition: 1, Bytes: 1 << 33}}}}},
	}
	maps.Copy(all, groupSamples())
	return all
}

func blank(m Message) Message { return reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message) }

func TestEveryMessageComesBackAsItWas(t *testing.T) {
	for name, m := range samples() {
		got := blank(m)
		if err := Parse(AppendMessage(nil, m), got); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: came back as %+v, %v", name, got, err)
		}
	}
}

func TestEveryMessageCutShortIsRefused(t *testing.T) {
	for name, m := range samples() {
		whole := AppendMessage(nil, m)
		for n := range whole {
			if err := Parse(whole[:n], blank(m)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: its first %d of %d bytes: %v", name, n, len(whole), err)
			}
		}
	}
}

// A newer peer appends fields to a message. The array becomes one longer.
func TestFieldsOfANewerPeerAreSkipped(t *testing.T) {
	nested := append(bytes.Repeat([]byte{0x91}, 100_000), 0xc0) // an array in an array, a hundred thousand deep
	for name, m := range samples() {
		whole := AppendMessage(nil, m)
		if whole[0] < 0x90 || whole[0] >= 0x9f {
			t.Fatalf("%s: is not a short array", name)
		}
		for _, field := range [][]byte{{0xc0}, {0xa3, 'n', 'e', 'w'}, {0x81, 0x01, 0x02}, {0xcb, 1, 2, 3, 4, 5, 6, 7, 8}, {0xd6, 5, 1, 2, 3, 4}, {0xc4, 2, 0, 0}, nested} {
			longer := append(append([]byte{whole[0] + 1}, whole[1:]...), field...)
			got := blank(m)
			if err := Parse(longer, got); err != nil || !reflect.DeepEqual(got, m) {
				t.Errorf("%s with the field % .8x: %+v, %v", name, field, got, err)
			}
		}
	}
}

func TestACountThatCannotBeTrueAllocatesNothing(t *testing.T) {
	// A fetch of 2^32-1 partitions, and a metadata request of as many names.
	for _, b := range [][]byte{
		{0x95, 0, 1, 1, 0, 0xdd, 0xff, 0xff, 0xff, 0xff, 0x90, 0x90},
		{0x95, 0, 1, 1, 0, 0xdd, 0, 0, 0, 3, 0x90, 0x90, 0x90},
	} {
		if n := testing.AllocsPerRun(10, func() {
			if err := Parse(b, new(FetchRequest)); !errors.Is(err, ErrMalformed) {
				t.Fatalf("Parse = %v", err)
			}
		}); n > 12 {
			t.Errorf("% x: %v allocations", b, n)
		}
	}
}

func TestAnOlderOrSimplerClientNeedNotKnowEpochs(t *testing.T) {
	whole := AppendMessage(nil, &FetchRequest{Partitions: []Fetch{{Topic: someTopic, Partition: 1, FetchOffset: 5, MaxBytes: 9}}})
	short := bytes.Clone(whole[:len(whole)-2])
	short[bytes.IndexByte(short, 0x96)] = 0x94
	var got FetchRequest
	if err := Parse(short, &got); err != nil {
		t.Fatal(err)
	}
	if p := got.Partitions[0]; p.CurrentEpoch != NoEpoch || p.LastFetchedEpoch != NoEpoch || p.MaxBytes != 9 {
		t.Errorf("it was read as %+v", p)
	}
}

func TestAFrameCarriesItsPayloadBehindItsHead(t *testing.T) {
	payload := []byte("record batches")
	b := AppendFrame([]byte("before"), 7, KindProduce, &ProduceRequest{Topic: someTopic, Acks: AcksLeader}, len(payload))
	b = append(b, payload...)[len("before"):]
	r := NewFrameReader(bytes.NewReader(b), 1<<20)
	buf, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	f, err := ParseFrame(buf.Bytes)
	if err != nil || f.Correlation != 7 || f.Kind != KindProduce || !bytes.Equal(f.Payload, payload) {
		t.Fatalf("ParseFrame = %+v, %v", f, err)
	}
	var req ProduceRequest
	if err := Parse(f.Body, &req); err != nil || req.Topic != someTopic || req.Acks != AcksLeader {
		t.Errorf("Parse = %+v, %v", req, err)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("behind the last frame: %v", err)
	}
}

func TestALyingHeadIsRefused(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":                           {},
		"no array":                          {0x01},
		"no fields":                         {0x90},
		"no body":                           {0x93, 1, 2, 0},
		"a payload longer than the frame":   {0x94, 1, 2, 9, 0x90},
		"a negative payload":                {0x94, 1, 2, 0xff, 0x90},
		"a negative correlation id":         {0x94, 0xff, 2, 0, 0x90},
		"an array of four thousand million": {0xdd, 0xff, 0xff, 0xff, 0xff, 1},
		"nil in the place of numbers":       {0x94, 0xc0, 0xc0, 0xc0, 0xc0},
	} {
		if f, err := ParseFrame(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

// zeros is an endless stream that counts what is read of it.
type zeros struct{ read int }

func (z *zeros) Read(p []byte) (int, error) {
	clear(p)
	z.read += len(p)
	return len(p), nil
}

func TestALongFrameIsReadInStepsThatFollowWhatHasCome(t *testing.T) {
	const size = 5 << 20
	source := new(zeros)
	r := NewFrameReader(source, 1<<30)
	r.Limit(1 << 30)
	short := NewFrameReader(io.LimitReader(&zeros{}, 100), 1<<30)
	short.Limit(1 << 30)
	if n := testing.AllocsPerRun(1, func() {
		if _, err := short.Read(1 << 30); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("a frame that ends early: %v", err)
		}
	}); n > 3 {
		t.Errorf("%v allocations for a hundred bytes of a gigabyte", n)
	}
	buf, err := r.Read(size)
	if err != nil || len(buf.Bytes) != size || source.read != size {
		t.Errorf("read %d bytes of %d, %v", source.read, size, err)
	}
}

func TestAFrameBeyondTheLimitIsRefusedBeforeItIsRead(t *testing.T) {
	r := NewFrameReader(bytes.NewReader([]byte{0, 1, 0, 1, 'x'}), 1<<30)
	if _, err := r.Length(); !errors.Is(err, ErrFrameTooLarge) {
		t.Errorf("a first frame of 64 KiB and a byte: %v", err)
	}
	r = NewFrameReader(bytes.NewReader([]byte{0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), 1<<20)
	r.Limit(1 << 20)
	for range 2 {
		if _, err := r.Length(); !errors.Is(err, ErrFrameTooLarge) {
			t.Errorf("a gigantic frame: %v", err)
		}
	}
}

func TestTheMagicIsNoLengthThatKafkaKnows(t *testing.T) {
	if Magic[0] < 0x80 {
		t.Errorf("% x is a positive length", Magic)
	}
}

// protocolExamples are the frames that PROTOCOL.md shows, by the titles they have there.
func protocolExamples() map[string][]byte {
	batch := []byte("<record batch>")
	records := "<records>"
	return map[string][]byte{
		"greeting":        AppendFrame(bytes.Clone(Magic[:]), 0, KindGreeting, &Greeting{MinProtocol: 1, MaxProtocol: 1, Software: "demo", Version: "1"}, 0),
		"welcome":         AppendFrame(bytes.Clone(Magic[:]), 0, KindGreeting, &Welcome{Protocol: 1, Software: "troupe", Version: "v0.1", ClusterID: "IaXBTR2jSYq6kGh0X4v9Dg", Broker: 1, MaxFrame: 104857600, MaxInFlight: 1024, MaxFetches: 64}, 0),
		"produce":         append(AppendFrame(nil, 1, KindProduce, &ProduceRequest{Topic: someTopic, Partition: 3, Acks: AcksAll, Timeout: 30 * time.Second}, len(batch)), batch...),
		"produced":        AppendFrame(nil, 1, KindProduce, &ProduceReply{BaseOffset: 42, Leader: NoHint}, 0),
		"not the leader":  AppendFrame(nil, 1, KindProduce, &ProduceReply{Err: &CodedError{Code: NotLeaderOrFollower, Message: "broker 2 leads it"}, BaseOffset: -1, LogStartOffset: -1, Leader: LeaderHint{Broker: 2, LeaderEpoch: 9}}, 0),
		"fetch":           AppendFrame(nil, 2, KindFetch, &FetchRequest{MaxWait: 500 * time.Millisecond, MinBytes: 1, MaxBytes: 1 << 20, Partitions: []Fetch{{Topic: someTopic, Partition: 3, FetchOffset: 42, MaxBytes: 1 << 20, CurrentEpoch: NoEpoch, LastFetchedEpoch: NoEpoch}}}, 0),
		"fetched":         append(AppendFrame(nil, 2, KindFetch, &FetchReply{Partitions: []Fetched{{HighWatermark: 43, LastStableOffset: 43, Records: Records{Length: len(records)}, Leader: NoHint}}}, len(records)), records...),
		"a member joins":  AppendFrame(nil, 4, KindConsumerHeartbeat, &ConsumerHeartbeat{Group: "billing", Member: "m1", RebalanceTimeout: 5 * time.Minute, Subscribed: true, Topics: []string{"orders"}, OwnedTold: true}, 0),
		"an unknown kind": AppendFrame(nil, 3, KindFailed, &Failure{Err: &CodedError{Code: InvalidRequest, Message: "this broker does not know requests of kind 99"}}, 0),
	}
}

var exampleBlock = regexp.MustCompile("(?s)<!-- example: ([^>]*) -->\n+```\n(.*?)```")

func TestTheExamplesInTheProtocolPageAreWhatTheCodeWrites(t *testing.T) {
	page, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := make(map[string][]byte)
	for _, m := range exampleBlock.FindAllStringSubmatch(string(page), -1) {
		var digits strings.Builder
		for line := range strings.Lines(m[2]) {
			bytesOfLine, _, _ := strings.Cut(line, "|")
			digits.WriteString(strings.Join(strings.Fields(bytesOfLine), ""))
		}
		b, err := hex.DecodeString(digits.String())
		if err != nil {
			t.Errorf("example %q: %v", m[1], err)
		}
		shown[m[1]] = b
	}
	for name, want := range protocolExamples() {
		if got, ok := shown[name]; !ok || !bytes.Equal(got, want) {
			t.Errorf("example %q shows\n% x, the code writes\n% x\n%s", name, got, want, dump(want))
		}
		delete(shown, name)
	}
	for name := range shown {
		t.Errorf("example %q is checked by nobody", name)
	}
}

// dump renders bytes as the page shows them.
func dump(b []byte) string {
	var s strings.Builder
	for line := range slices.Chunk(b, 16) {
		printable := strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '.'
			}
			return r
		}, string(latin1(line)))
		fmt.Fprintf(&s, "%-47s | %s\n", fmt.Sprintf("% x", line), printable)
	}
	return s.String()
}

func latin1(b []byte) []rune {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return runes
}

// Every parser on the same bytes: none panics, and what one accepts it writes and reads again.
func FuzzParse(f *testing.F) {
	var kinds []Message
	for _, m := range samples() {
		kinds = append(kinds, m)
		f.Add(AppendMessage(nil, m))
	}
	for _, b := range protocolExamples() {
		f.Add(b[4:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if frame, err := ParseFrame(b); err == nil && len(frame.Body)+len(frame.Payload) > len(b) {
			t.Errorf("a frame of %d bytes contains %d and %d", len(b), len(frame.Body), len(frame.Payload))
		}
		for _, kind := range kinds {
			first, second := blank(kind), blank(kind)
			if Parse(b, first) != nil {
				continue
			}
			if err := Parse(AppendMessage(nil, first), second); err != nil {
				t.Errorf("%T: what was read cannot be read again: %v", kind, err)
			}
			if !bytes.Equal(AppendMessage(nil, first), AppendMessage(nil, second)) {
				t.Errorf("%T: %+v became %+v", kind, first, second)
			}
		}
	})
}

func BenchmarkProduceHead(b *testing.B) {
	req := &ProduceRequest{Topic: someTopic, Partition: 3, Acks: AcksAll, Timeout: 30 * time.Second}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		var buf []byte
		for b.Loop() {
			buf = AppendFrame(buf[:0], 1, KindProduce, req, 0)
		}
	})
	frame := AppendFrame(nil, 1, KindProduce, req, 0)[4:]
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		got := new(ProduceRequest)
		for b.Loop() {
			f, err := ParseFrame(frame)
			if err == nil {
				err = Parse(f.Body, got)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
