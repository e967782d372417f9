package metadata

import (
	"encoding/hex"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// registeredWithoutRaftID is what the version before wrote of broker 1.
const registeredWithoutRaftID = "91940201c29901cf100000000000000092a26431a26432a4686f7374cd2384a9686f73743a37393436a47261636ba4626f6f74c2"

func TestTheFounderOfTheVersionBeforeHasRaftIDOne(t *testing.T) {
	b, _ := hex.DecodeString(registeredWithoutRaftID)
	records, err := DecodeRecords(b)
	if err != nil {
		t.Fatal(err)
	}
	img, _, err := NewImage().Apply(1, records)
	if err != nil {
		t.Fatal(err)
	}
	if r, ok := img.BrokerByRaftID(1); !ok || r.ID != 1 {
		t.Errorf("%+v, %t", r, ok)
	}
	img.brokers[0].RaftID = 0 // as its snapshot had it
	restored, err := DecodeSnapshot(img.EncodeSnapshot())
	if err != nil {
		t.Fatal(err)
	}
	if r, ok := restored.BrokerByRaftID(1); !ok || r.ID != 1 {
		t.Errorf("after the snapshot: %+v, %t", r, ok)
	}
}

func TestARaftIDLeadsToTheBrokerThatHasItNow(t *testing.T) {
	c := newCluster(t, 2)
	register := func(r RegisterBroker) error { return c.do(r).(RegisteredBroker).Err }
	joined := registration(3, 1)
	joined.RaftID = 33
	if err := register(joined); err != nil {
		t.Fatal(err)
	}
	if r, ok := c.img.BrokerByRaftID(33); !ok || r.ID != 3 {
		t.Errorf("%+v, %t", r, ok)
	}
	if r, ok := c.img.BrokerByRaftID(0); ok { // broker 2 has none
		t.Errorf("%+v", r)
	}
	again := registration(3, 2) // one that does not say keeps what it has
	if err := register(again); err != nil {
		t.Fatal(err)
	}
	if r, ok := c.img.BrokerByRaftID(33); !ok || r.Incarnation != 2 {
		t.Errorf("%+v, %t", r, ok)
	}
	again.Incarnation, again.RaftID = 3, 34 // its metadata log began anew
	if err := register(again); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.img.BrokerByRaftID(33); ok {
		t.Error("the raft id of before still belongs to it")
	}
	thief := registration(2, 2)
	thief.RaftID = 34
	if err := register(thief); wire.Code(err) != wire.InvalidRegistration {
		t.Errorf("somebody else's raft id: %v", err)
	}
}

// The log that the old raft id stood for is gone with the disk: what it voted would be forgotten.
func TestAWipedBrokerDoesNotKeepItsRaftID(t *testing.T) {
	c := newCluster(t, 2)
	first := registration(2, 2)
	first.RaftID = 22
	c.do(first)
	c.fence(true, 2)
	wiped := registration(2, 3)
	wiped.Directories = []DirectoryID{"a-new-disk"}
	wiped.RaftID = 22
	if reply := c.do(wiped).(RegisteredBroker); wire.Code(reply.Err) != wire.InvalidRegistration {
		t.Errorf("with its old raft id: %v", reply.Err)
	}
	wiped.RaftID = 0
	if reply := c.do(wiped).(RegisteredBroker); reply.Err != nil {
		t.Fatal(reply.Err)
	}
	if r, ok := c.img.BrokerByRaftID(22); ok {
		t.Errorf("%+v", r)
	}
}
