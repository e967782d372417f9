package kafka

import (
	"context"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/troupe-mq/troupe/wire"
)

// TestVersionsAreThoseOfKafka compares with franz-go's table of what Kafka 4.0 and 4.3 speak.
func TestVersionsAreThoseOfKafka(t *testing.T) {
	newest := kversion.V4_3_0()
	for i := range apis {
		a := &apis[i]
		if most, ok := newest.LookupMaxKeyVersion(a.key); !ok || most != a.max {
			t.Errorf("%s: the highest version is %d, Kafka 4.3 has %d", a.name, a.max, most)
		}
		if name := kmsg.NameForKey(a.key); name != a.name && name != "InitProducerID" && name != "AlterPartitionAssignments" {
			t.Errorf("key %d is %s, kmsg calls it %s", a.key, a.name, name)
		}
	}
	for _, absent := range []kmsg.Key{
		kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.SASLHandshake, kmsg.ShareGroupHeartbeat,
		kmsg.StreamsGroupHeartbeat, kmsg.GetTelemetrySubscriptions,
	} {
		if apiOf(int16(absent)) != nil {
			t.Errorf("%s is advertised and does not work yet", absent.Name())
		}
	}
}

// requestFor returns one that makes sense to the fake backend.
func requestFor(key int16, topic wire.Topic) kmsg.Request {
	name := topic.Name
	switch key {
	case 0:
		return produceOf(0, topic, 1, batchOf(3, 20))
	case 1:
		return fetchOf(0, topic, 0, 2)
	}
	q := kmsg.RequestForKey(key)
	switch q := q.(type) {
	case *kmsg.ListOffsetsRequest:
		q.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{
			{Partition: 0, Timestamp: -1}, {Partition: 1, Timestamp: -2}, {Partition: 9, Timestamp: -1},
		}}}
	case *kmsg.MetadataRequest:
		q.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}, {Topic: kmsg.StringPtr("not here")}}
	case *kmsg.ApiVersionsRequest:
		q.ClientSoftwareName, q.ClientSoftwareVersion = "test", "1.0"
	case *kmsg.CreateTopicsRequest:
		q.Topics = []kmsg.CreateTopicsRequestTopic{
			{Topic: "fresh", NumPartitions: 2, ReplicationFactor: 1, Configs: []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: kmsg.StringPtr("1")}}},
			{Topic: name, NumPartitions: 1, ReplicationFactor: 1},
		}
	case *kmsg.DeleteTopicsRequest:
		q.TopicNames = []string{"nowhere"}
		q.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: kmsg.StringPtr("nowhere")}, {TopicID: [16]byte{1}}}
	case *kmsg.DeleteRecordsRequest:
		q.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: name, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0, Offset: -1}, {Partition: 1, Offset: 99}}}}
	case *kmsg.OffsetForLeaderEpochRequest:
		q.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: name, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{Partition: 0, LeaderEpoch: 2}, {Partition: 7}}}}
	case *kmsg.DescribeConfigsRequest:
		q.IncludeSynonyms, q.IncludeDocumentation = true, true
		q.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name}, {ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "77"}}
	case *kmsg.AlterConfigsRequest:
		q.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name, Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: kmsg.StringPtr("5")}}}}
	case *kmsg.IncrementalAlterConfigsRequest:
		q.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: name, Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "retention.ms", Op: kmsg.IncrementalAlterConfigOpSet, Value: kmsg.StringPtr("5")}}}}
	case *kmsg.CreatePartitionsRequest:
		q.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: name, Count: 9}, {Topic: "nowhere", Count: 2}}
	case *kmsg.ElectLeadersRequest:
		q.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: name, Partitions: []int32{0, 9}}, {Topic: "nowhere", Partitions: []int32{0}}}
	case *kmsg.AlterPartitionAssignmentsRequest:
		q.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: name, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: 0, Replicas: []int32{1}}, {Partition: 1}}}}
	case *kmsg.DescribeQuorumRequest:
		q.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: metadataLogName, Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
	case *kmsg.DescribeProducersRequest:
		q.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: name, Partitions: []int32{0, 9}}}
	case *kmsg.DescribeClusterRequest:
		q.EndpointType = 1
	default:
		fillGroupRequest(q, topic)
	}
	return q
}

// fakeBroker has one topic with two partitions and its configs.
func fakeBroker() (*fakeBackend, wire.Topic) {
	b := newFakeBackend()
	topic := b.create("orders", 2)
	value := "604800000"
	b.configs[wire.ConfigResource{Type: wire.ConfigTopic, Name: "orders"}] = []wire.ConfigEntry{
		{
			Name: "retention.ms", Value: &value, Source: wire.SourceDefault, Type: wire.TypeLong, Doc: "How long records are kept.",
			Synonyms: []wire.ConfigSynonym{{Name: "log.retention.ms", Value: &value, Source: wire.SourceDefault}},
		},
		{
			Name: "secret", Value: &value, Sensitive: true, Source: wire.SourceDynamicTopic, Type: wire.TypePassword,
			Synonyms: []wire.ConfigSynonym{{Name: "secret", Value: &value, Source: wire.SourceDynamicTopic}},
		},
	}
	return b, topic
}

func TestEveryVersionOfEveryAPIIsAnswered(t *testing.T) {
	backend, topic := fakeBroker()
	h := start(t, backend)
	client := h.dial(t)
	eachVersion(func(a *api, version int16) {
		q := requestFor(a.key, topic)
		q.SetVersion(version)
		answer := reflect.ValueOf(client.ask(q)).Elem()
		lists := []string{"Topics", "Resources", "ApiKeys", "Dirs"}
		if a.key == 9 && version >= offsetsBatched {
			lists = []string{"Groups"}
		}
		for _, list := range lists {
			f := answer.FieldByName(list)
			if f.IsValid() && f.Len() == 0 && a.name != "ListPartitionReassignments" { // of which there are none
				t.Errorf("%s version %d: the answer has no %s", a.name, version, list)
			}
		}
	})
}

// A client that learns what the broker speaks must be understood in what it then says.
func TestEveryVersionIsAnsweredWhateverTheRequestHolds(t *testing.T) {
	backend, _ := fakeBroker()
	backend.autoErr = wire.UnknownTopicOrPartition
	h := start(t, backend)
	r := randomSource()
	eachVersion(func(a *api, version int16) {
		if a.key == keyFetch {
			return // may wait, by request
		}
		for range 5 {
			client := h.dial(t)
			q := kmsg.RequestForKey(a.key)
			q.SetVersion(version)
			fill(reflect.ValueOf(q).Elem(), r)
			if p, ok := q.(*kmsg.ProduceRequest); ok {
				p.Acks = -1
			}
			client.ask(q)
		}
	})
}

func TestApiVersionsSaysWhatIsServed(t *testing.T) {
	backend, _ := fakeBroker()
	h := start(t, backend)
	client := h.dial(t)
	q := kmsg.NewPtrApiVersionsRequest()
	q.SetVersion(4)
	q.ClientSoftwareName, q.ClientSoftwareVersion = "kgo", "1.22.2"
	a := client.ask(q).(*kmsg.ApiVersionsResponse)
	if a.ErrorCode != 0 || len(a.ApiKeys) != len(apis) {
		t.Fatalf("error %d and %d keys, want %d", a.ErrorCode, len(a.ApiKeys), len(apis))
	}
	for _, k := range a.ApiKeys {
		// librdkafka before 2.8.1 looks for Produce version 0 before it compresses.
		if k.ApiKey == keyProduce && (k.MinVersion != 0 || k.MaxVersion != 13) {
			t.Errorf("Produce is advertised from %d to %d", k.MinVersion, k.MaxVersion)
		}
	}
}

func TestApiVersionsOfAnUnknownVersionIsAnsweredInVersion0(t *testing.T) {
	backend, _ := fakeBroker()
	h := start(t, backend)
	client := h.dial(t)
	q := kmsg.NewPtrApiVersionsRequest()
	q.SetVersion(5)
	client.send(q)
	q.SetVersion(0)
	a := client.receive(q, 1).(*kmsg.ApiVersionsResponse)
	if a.ErrorCode != int16(wire.UnsupportedVersion) || len(a.ApiKeys) != 1 || a.ApiKeys[0].MaxVersion != 4 {
		t.Errorf("answer is %+v", a)
	}
	q.SetVersion(4) // the connection goes on
	q.ClientSoftwareName, q.ClientSoftwareVersion = "kgo", "1"
	if a := client.ask(q).(*kmsg.ApiVersionsResponse); a.ErrorCode != 0 {
		t.Errorf("error %d", a.ErrorCode)
	}
}

func TestApiVersionsRefusesNamesThatAreNotOnes(t *testing.T) {
	backend, _ := fakeBroker()
	h := start(t, backend)
	for name, want := range map[string]wire.ErrorCode{
		"apache-kafka-java": 0, "x": 0, "": wire.InvalidRequest, "a b": wire.InvalidRequest, "-a": wire.InvalidRequest,
		"a.": wire.InvalidRequest, "\n": wire.InvalidRequest,
	} {
		q := kmsg.NewPtrApiVersionsRequest()
		q.SetVersion(3)
		q.ClientSoftwareName, q.ClientSoftwareVersion = name, "1.0"
		if a := h.dial(t).ask(q).(*kmsg.ApiVersionsResponse); a.ErrorCode != int16(want) {
			t.Errorf("name %q: error %d, want %d", name, a.ErrorCode, want)
		}
	}
}

func TestOldClientsGetErrorsThatTheyKnow(t *testing.T) {
	for _, c := range []struct {
		key, version int16
		code, want   wire.ErrorCode
	}{
		{keyFetch, 5, wire.KafkaStorageError, wire.NotLeaderOrFollower},
		{keyFetch, 6, wire.KafkaStorageError, wire.KafkaStorageError},
		{keyProduce, 3, wire.KafkaStorageError, wire.NotLeaderOrFollower},
		{keyProduce, 4, wire.KafkaStorageError, wire.KafkaStorageError},
		{keyListOffsets, 4, wire.OffsetNotAvailable, wire.LeaderNotAvailable},
		{keyListOffsets, 5, wire.OffsetNotAvailable, wire.OffsetNotAvailable},
		{keyInitProducerID, 3, wire.ProducerFenced, wire.InvalidProducerEpoch},
		{keyInitProducerID, 4, wire.ProducerFenced, wire.ProducerFenced},
		{keyFetch, 4, wire.OffsetOutOfRange, wire.OffsetOutOfRange},
	} {
		if got := understood(c.key, c.version, c.code); got != c.want {
			t.Errorf("key %d version %d: %v is said as %v, want %v", c.key, c.version, c.code, got, c.want)
		}
	}
}

func TestErrorsAreMappedOnce(t *testing.T) {
	backend, _ := fakeBroker()
	h := start(t, backend)
	for _, c := range []struct {
		err  error
		want wire.ErrorCode
	}{
		{nil, wire.None},
		{wire.Errorf(wire.NotLeaderOrFollower, "elsewhere"), wire.NotLeaderOrFollower},
		{context.DeadlineExceeded, wire.RequestTimedOut},
		{context.Canceled, wire.UnknownServerError},
	} {
		if got := h.code(apiOf(keyProduce), 9, c.err); got != c.want {
			t.Errorf("%v is answered %v, want %v", c.err, got, c.want)
		}
	}
	if lines := h.log.String(); len(lines) == 0 {
		t.Error("the unknown error was not logged")
	}
}
