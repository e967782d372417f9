package wire

import (
	"reflect"
	"testing"
)

func helloMessages() []Message {
	members := []Member{{Broker: 1, Address: "a:1"}, {Broker: 2, Address: "b.example.com:7946"}}
	return []Message{
		&Hello{Protocol: 1, ClusterID: "c", Broker: 3, Directory: "d", Incarnation: 1<<64 - 1, RecoveryEpoch: 2, Seeds: 1 << 63, Address: "a:1", Known: 4, Members: members},
		&Hello{Protocol: 1, Broker: NoBroker, Directory: "d", Known: NoBroker, Members: []Member{}},
		&JoinCluster{Protocol: 1, ClusterID: "c"},
		&JoinedCluster{ClusterID: "c", Broker: 7, Members: members},
		&JoinedCluster{Err: Errorf(InvalidRegistration, "a directory was removed"), Broker: NoBroker, Members: []Member{}},
	}
}

func TestWhatBrokersSayBeforeTheyHaveLinksIsReadBack(t *testing.T) {
	for _, m := range helloMessages() {
		again := reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message)
		if err := Parse(AppendMessage(nil, m), again); err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		if joined, ok := m.(*JoinedCluster); ok {
			if got := again.(*JoinedCluster); Code(got.Err) != Code(joined.Err) || Sentence(got.Err) != Sentence(joined.Err) {
				t.Errorf("read back %v, want %v", got.Err, joined.Err)
			}
			again.(*JoinedCluster).Err, joined.Err = nil, nil
		}
		if !reflect.DeepEqual(again, m) {
			t.Errorf("read back %+v, want %+v", again, m)
		}
	}
}

func FuzzHello(f *testing.F) {
	for _, m := range helloMessages() {
		f.Add(AppendMessage(nil, m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range []Message{new(Hello), new(JoinCluster), new(JoinedCluster)} {
			if Parse(b, m) != nil {
				continue
			}
			again := reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message)
			if err := Parse(AppendMessage(nil, m), again); err != nil {
				t.Errorf("%T that was read cannot be written: %v", m, err)
			}
		}
	})
}
