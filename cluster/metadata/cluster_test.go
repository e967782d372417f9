package metadata

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// cluster plays the controller for tests: it decides, sends the entry through its bytes, applies.
type cluster struct {
	t      testing.TB
	img    *Image
	env    Env
	log    [][]byte
	delta  Delta
	topics uint64
}

func newCluster(t testing.TB, brokers int) *cluster {
	c := &cluster{t: t, img: NewImage()}
	c.env = Env{Now: time.Unix(1_700_000_000, 0), Self: 1, NewTopicID: c.newTopicID}
	c.do(FoundCluster{ClusterID: "MkU3OEVBNTcwNTJENDM2Qg"})
	for id := 1; id <= brokers; id++ {
		c.do(registration(wire.BrokerID(id), 1))
	}
	return c
}

func (c *cluster) newTopicID() (id wire.TopicID) {
	c.topics++
	binary.BigEndian.PutUint64(id[:], c.topics*0x9E3779B97F4A7C15) // ids that are in no order
	binary.BigEndian.PutUint64(id[8:], c.topics)
	return id
}

func registration(id wire.BrokerID, incarnation wire.Incarnation) RegisterBroker {
	return RegisterBroker{
		ID: id, Incarnation: incarnation, Directories: []DirectoryID{DirectoryID("dir-" + string(rune('a'+id)))},
		Host: "127.0.0.1", Port: 9092, ClusterAddress: fmt.Sprintf("127.0.0.1:%d", 7946+id), BootID: "boot-1",
	}
}

// do decides and applies; it returns the reply.
func (c *cluster) do(cmd Command) any {
	c.t.Helper()
	d := cmd.Decide(c.img, c.env)
	if len(d.Records) > 0 {
		c.write(d.Records)
	}
	return d.Reply
}

func (c *cluster) write(records []Record) {
	c.t.Helper()
	b := EncodeRecords(records)
	decoded, err := DecodeRecords(b)
	if err != nil {
		c.t.Fatalf("decode what was encoded: %v", err)
	}
	next, delta, err := c.img.Apply(c.img.Index()+1, decoded)
	if err != nil {
		c.t.Fatalf("apply what was decided: %v", err)
	}
	c.img, c.delta, c.log = next, delta, append(c.log, b)
}

func (c *cluster) create(name string, partitions int32, factor int16, configs ...string) wire.CreatedTopic {
	c.t.Helper()
	n := wire.NewTopic{Name: name, Partitions: partitions, ReplicationFactor: factor}
	for i := 0; i < len(configs); i += 2 {
		n.Configs = append(n.Configs, wire.ConfigValue{Name: configs[i], Value: &configs[i+1]})
	}
	return c.do(CreateTopics{Topics: []wire.NewTopic{n}}).([]wire.CreatedTopic)[0]
}

func (c *cluster) mustCreate(name string, partitions int32, factor int16, configs ...string) wire.TopicID {
	c.t.Helper()
	created := c.create(name, partitions, factor, configs...)
	if created.Err != nil {
		c.t.Fatalf("create %s: %v", name, created.Err)
	}
	return created.ID
}

func (c *cluster) partition(id wire.TopicID, number int32) wire.Partition {
	c.t.Helper()
	p, ok := c.img.Partition(id, number)
	if !ok {
		c.t.Fatalf("there is no partition %s/%d", id, number)
	}
	return p
}

func TestASnapshotIsTheImage(t *testing.T) {
	c := newCluster(t, 3)
	c.mustCreate("orders", 130, 3, "retention.ms", "1000")
	c.mustCreate("a.b", 1, 1, "durability", "replicated")
	c.do(AllocateProducerIDs{Broker: 1})
	c.do(registration(1, 2))
	b := c.img.EncodeSnapshot()
	again, err := DecodeSnapshot(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again, c.img) {
		t.Errorf("the image read back is another one:\n%+v\n%+v", again, c.img)
	}
}
