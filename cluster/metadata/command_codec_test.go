package metadata

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

func pointer[T any](v T) *T { return &v }

// everyCommand has one of each kind, with every field set, and a reply to it.
func everyCommand() []struct {
	command Command
	reply   any
} {
	id := wire.TopicID{1, 15: 2}
	tp := []wire.TopicPartition{{Topic: id, Partition: 7}}
	err := wire.Errorf(wire.PolicyViolation, "because")
	errs := []error{nil, wire.NotController, err}
	outcomes := []wire.PartitionOutcome{{Topic: "t", Partition: 1, Err: err}}
	type one = struct {
		command Command
		reply   any
	}
	return []one{
		{FoundCluster{ClusterID: "c"}, err},
		{RegisterBroker{
			ID: 3, Incarnation: 1 << 63, Directories: []DirectoryID{"a", "b"}, Host: "h", Port: 9092, ClusterAddress: "h:1",
			Rack: "r", BootID: "boot", RaftID: 1 << 62, LostDurable: tp, Fenced: true,
		}, RegisteredBroker{Err: err, ID: 3}},
		{ChangeBrokers{Brokers: []BrokerState{{ID: 1, Epoch: 2, Fenced: true, ShuttingDown: true}}}, nil},
		{AllocateProducerIDs{Broker: 1, Count: 5}, AllocatedProducerIDs{Err: err, First: 1 << 40, Count: 5}},
		{AlterPartitions{Broker: 1, Incarnation: 2, Proposals: []ISRProposal{{
			Topic: id, Partition: 1, LeaderEpoch: 2, PartitionEpoch: 3, ISR: []ISRMember{{Broker: 1, Incarnation: 2}},
		}}}, errs},
		{CreateTopics{ValidateOnly: true, Topics: []wire.NewTopic{{
			Name: "t", Partitions: -1, ReplicationFactor: 3, Assignment: [][]wire.BrokerID{{1, 2}, {2, 300}},
			Configs: []wire.ConfigValue{{Name: "a", Value: pointer("1")}, {Name: "b", Value: pointer("")}, {Name: "c"}},
		}}}, []wire.CreatedTopic{{
			Name: "t", ID: id, Err: err, Partitions: 2, ReplicationFactor: 1, Configs: []wire.ConfigEntry{{
				Name: "retention.ms", Value: pointer("1"), Source: 1, Type: 5, ReadOnly: true, Sensitive: true,
				Doc:      topicKeyDoc("retention.ms"),
				Synonyms: []wire.ConfigSynonym{{Name: "log.retention.ms", Value: pointer("1"), Source: 4}},
			}},
		}}},
		{CreatePartitions{ValidateOnly: true, Topics: []wire.MorePartitions{{Topic: "t", Count: 4, Assignment: [][]wire.BrokerID{{1}}}}}, errs},
		{DeleteTopics{Topics: []wire.TopicRef{{Name: "t", ID: id}}}, []wire.DeletedTopic{{Name: "t", ID: id, Err: err}}},
		{AlterConfigs{ValidateOnly: true, Changes: []wire.AlterConfigs{{
			Resource: wire.ConfigResource{Type: wire.ConfigTopic, Name: "t"}, Replace: true,
			Changes: []wire.ConfigChange{{Name: "k", Op: wire.OpAppend, Value: pointer("v")}},
		}}}, errs},
		{FailDirectories{Broker: 1, Incarnation: 2, Directories: []DirectoryID{"a"}}, wire.NotController},
		{MoveReplica{Topic: id, Partition: 1, Broker: 2, Incarnation: 3, Directory: "d", Empty: true}, err},
		{FailReplicas{Broker: 1, Incarnation: 2, Replicas: tp}, err},
		{ReplicaRestarted{Topic: id, Partition: 1, Broker: 2, Incarnation: 3, LeaderEpoch: 4}, err},
		{ElectLeaders{Unclean: true, Partitions: []wire.TopicNamePartition{{Topic: "t", Partition: 1}}}, outcomes},
		{AlterReassignments{SameFactor: true, Partitions: []wire.Reassignment{
			{Topic: "t", Partition: 1, Replicas: []wire.BrokerID{1, 2}}, {Topic: "t"}, {Topic: "t", Replicas: []wire.BrokerID{}},
		}}, outcomes},
		{CompleteReassignments{}, nil},
		{BalanceLeaders{To: []wire.BrokerID{1}, Limit: 2}, 2},
		{RemoveBroker{Broker: 1, Cancel: true}, RemovedBroker{Err: err, Left: 3, Moving: 2, Done: true}},
		{GrowInternalTopics{Factor: 2}, 3},
		{ReportReplicas{Broker: 1, Incarnation: 2, Replicas: []ReportedReplica{{Topic: id, Partition: 3, LastEpoch: 4, End: 5}}}, err},
		{ElectReported{}, nil},
		{LoseTails{Broker: 1, Incarnation: 2, Replicas: tp}, err},
		{CreateInternalTopic{Name: "t"}, err},
	}
}

func topicKeyDoc(name string) string {
	key, _ := LookupTopicKey(name)
	return key.Doc
}

// forgotten returns a field of v, or of what v holds, that is zero: a field that no test would miss.
func forgotten(v reflect.Value, path string) string {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if p := forgotten(v.Field(i), path+"."+v.Type().Field(i).Name); p != "" {
				return p
			}
		}
		return ""
	case reflect.Slice:
		if v.Len() > 0 {
			return forgotten(v.Index(0), path)
		}
	default: // a value
	}
	if v.IsZero() {
		return path
	}
	return ""
}

func TestEveryCommandAndItsReplyTravel(t *testing.T) {
	seen := map[CommandKind]bool{}
	for _, tc := range everyCommand() {
		name := fmt.Sprintf("%T", tc.command)
		if field := forgotten(reflect.ValueOf(tc.command), name); field != "" {
			t.Errorf("%s is not tested", field)
		}
		seen[tc.command.(traveller).commandKind()] = true
		command, err := DecodeCommand(EncodeCommand(tc.command))
		if err != nil || !reflect.DeepEqual(command, tc.command) {
			t.Errorf("%s arrives as %+v, %v", name, command, err)
		}
		reply, err := DecodeReply(tc.command, EncodeReply(tc.command, tc.reply))
		if err != nil || !reflect.DeepEqual(reply, tc.reply) {
			t.Errorf("the reply to %s, %+v, arrives as %+v, %v", name, tc.reply, reply, err)
		}
	}
	for kind := range commandCodecs {
		if (commandCodecs[kind].decode != nil) != seen[CommandKind(kind)] {
			t.Errorf("kind %d is known: %t, but tested: %t", kind, commandCodecs[kind].decode != nil, seen[CommandKind(kind)])
		}
	}
}

// What Decide really replies is of the type that the codec expects.
func TestTheRepliesOfDecisionsTravel(t *testing.T) {
	c := newCluster(t, 3)
	c.mustCreate("t", 3, 2)
	for _, tc := range everyCommand() {
		d := tc.command.Decide(c.img, c.env)
		reply, err := DecodeReply(tc.command, EncodeReply(tc.command, d.Reply))
		if err != nil || fmt.Sprint(reply) != fmt.Sprint(d.Reply) && !holdsPointers(d.Reply) {
			t.Errorf("%T: %+v arrives as %+v, %v", tc.command, d.Reply, reply, err)
		}
	}
	created := CreateTopics{Topics: []wire.NewTopic{{Name: "new", Partitions: 2, ReplicationFactor: -1}}}
	d := created.Decide(c.img, c.env)
	reply, err := DecodeReply(created, EncodeReply(created, d.Reply))
	if err != nil || !reflect.DeepEqual(reply, d.Reply) {
		t.Errorf("%+v arrives as %+v, %v", d.Reply, reply, err)
	}
}

func holdsPointers(reply any) bool {
	_, topics := reply.([]wire.CreatedTopic)
	return topics
}

func TestAnErrorWithoutACodeArrivesWithWhatItSays(t *testing.T) {
	reply, err := DecodeReply(FoundCluster{}, EncodeReply(FoundCluster{}, errors.New("a bug")))
	arrived, _ := reply.(error)
	if err != nil || wire.Code(arrived) != wire.UnknownServerError || wire.Sentence(arrived) != "a bug" {
		t.Errorf("%v, %v", reply, err)
	}
}

func TestACommandThatOnlyANewerVersionKnowsIsRefused(t *testing.T) {
	var w writer
	w.array(2)
	w.uint(250)
	w.array(1)
	w.string("?")
	if _, err := DecodeCommand(w.b); !errors.Is(err, ErrTooNew) || wire.Code(err) != wire.UnsupportedVersion {
		t.Errorf("%v", err)
	}
}

func TestACommandOfAnotherVersionIsReadAsFarAsItIsKnown(t *testing.T) {
	var w writer
	w.array(2)
	w.uint(uint64(CommandAllocateProducerIDs))
	w.array(4) // of a newer version
	w.int(3)
	w.int(5)
	w.string("new")
	w.array(0)
	if c, err := DecodeCommand(w.b); err != nil || c != (AllocateProducerIDs{Broker: 3, Count: 5}) {
		t.Errorf("%+v, %v", c, err)
	}
	w.b = nil
	w.array(2)
	w.uint(uint64(CommandAllocateProducerIDs))
	w.array(1) // of an older one
	w.int(3)
	if c, err := DecodeCommand(w.b); err != nil || c != (AllocateProducerIDs{Broker: 3}) {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestACommandTooLargeIsRefused(t *testing.T) {
	if _, err := DecodeCommand(make([]byte, MaxCommandBytes+1)); wire.Code(err) != wire.InvalidRequest {
		t.Errorf("by its bytes: %v", err)
	}
	var w writer
	w.array(2)
	w.uint(uint64(CommandDeleteTopics))
	w.array(1)
	w.array(maxListLength + 1)
	for range maxListLength + 1 {
		w.array(0)
	}
	if _, err := DecodeCommand(w.b); wire.Code(err) != wire.InvalidRequest {
		t.Errorf("by its list: %v", err)
	}
}

func TestEntriesArriveInTheirOrder(t *testing.T) {
	entries := []Entry{{Index: 3, Records: []byte("records")}, {Index: 4, Records: []byte{}}, {Index: 1 << 40, Records: make([]byte, 300)}}
	if got, err := DecodeEntries(EncodeEntries(entries)); err != nil || !reflect.DeepEqual(got, entries) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := DecodeEntries(EncodeEntries(nil)); err != nil || len(got) != 0 {
		t.Errorf("none: %v, %v", got, err)
	}
	entries[2].Index = 4
	if _, err := DecodeEntries(EncodeEntries(entries)); !errors.Is(err, ErrMalformed) {
		t.Errorf("one index twice: %v", err)
	}
}

func FuzzDecodeCommand(f *testing.F) {
	for _, tc := range everyCommand() {
		f.Add(EncodeCommand(tc.command))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		command, err := DecodeCommand(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooNew) {
				t.Errorf("%v", err)
			}
			return
		}
		again, err := DecodeCommand(EncodeCommand(command))
		if err != nil || !reflect.DeepEqual(again, command) {
			t.Errorf("read back: %+v, %v", again, err)
		}
		c := newCluster(t, 2)
		c.mustCreate("t", 2, 2)
		c.do(command) // what it decides applies
	})
}

func FuzzDecodeReply(f *testing.F) {
	commands := map[CommandKind]Command{}
	for _, tc := range everyCommand() {
		kind := tc.command.(traveller).commandKind()
		commands[kind] = tc.command
		f.Add(uint8(kind), EncodeReply(tc.command, tc.reply))
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		command := commands[CommandKind(kind)]
		if command == nil {
			return
		}
		reply, err := DecodeReply(command, b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%v", err)
			}
			return
		}
		if again, err := DecodeReply(command, EncodeReply(command, reply)); err != nil || !reflect.DeepEqual(again, reply) {
			t.Errorf("read back: %+v, %v", again, err)
		}
	})
}

func FuzzDecodeEntries(f *testing.F) {
	f.Add(EncodeEntries([]Entry{{Index: 1, Records: []byte("r")}, {Index: 2}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := DecodeEntries(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%v", err)
			}
			return
		}
		if again, err := DecodeEntries(EncodeEntries(entries)); err != nil || len(again) != len(entries) {
			t.Errorf("read back: %v, %v", again, err)
		}
	})
}
