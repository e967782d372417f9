package kafka

import (
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

func TestMetadataOfAllNoneAndSomeTopics(t *testing.T) {
	backend, topic := fakeBroker()
	backend.create("invoices", 1)
	h := start(t, backend)
	client := h.dial(t)
	for _, c := range []struct {
		name    string
		version int16
		topics  []kmsg.MetadataRequestTopic
		want    []string
	}{
		{"version 0, an empty list is all", 0, []kmsg.MetadataRequestTopic{}, []string{"invoices", "orders"}},
		{"null is all", 1, nil, []string{"invoices", "orders"}},
		{"null is all, flexible", 12, nil, []string{"invoices", "orders"}},
		{"empty is none", 1, []kmsg.MetadataRequestTopic{}, nil},
		{"empty is none, flexible", 12, []kmsg.MetadataRequestTopic{}, nil},
		{"by name", 9, []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr("orders")}}, []string{"orders"}},
		{"by id", 12, []kmsg.MetadataRequestTopic{{TopicID: topic.ID}}, []string{"orders"}},
		{"by id, as the Java client does", 12, []kmsg.MetadataRequestTopic{{Topic: new(string), TopicID: topic.ID}}, []string{"orders"}},
		{"by id, whatever the name", 13, []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr("invoices"), TopicID: topic.ID}}, []string{"orders"}},
	} {
		q := kmsg.NewPtrMetadataRequest()
		q.SetVersion(c.version)
		q.Topics = c.topics
		a := client.ask(q).(*kmsg.MetadataResponse)
		var got []string
		for _, topic := range a.Topics {
			got = append(got, *topic.Topic)
			if topic.ErrorCode != 0 {
				t.Errorf("%s: topic %s has error %d", c.name, *topic.Topic, topic.ErrorCode)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if c.version >= 1 && a.ControllerID != 1 || len(a.Brokers) != 1 || a.Brokers[0].Host != "127.0.0.1" {
			t.Errorf("%s: controller %d, brokers %+v", c.name, a.ControllerID, a.Brokers)
		}
	}
}

func TestMetadataOfATopicThatIsNotThere(t *testing.T) {
	id := [16]byte{9}
	name := kmsg.StringPtr
	for what, c := range map[string]struct {
		version int16
		topic   kmsg.MetadataRequestTopic
		auto    bool
		autoErr error
		want    wire.ErrorCode
	}{
		"unknown":                         {version: 9, topic: kmsg.MetadataRequestTopic{Topic: name("new")}, want: wire.UnknownTopicOrPartition},
		"created":                         {version: 9, topic: kmsg.MetadataRequestTopic{Topic: name("new")}, auto: true, want: wire.None},
		"created, by an old client":       {version: 3, topic: kmsg.MetadataRequestTopic{Topic: name("new")}, want: wire.None},
		"creation is off":                 {version: 9, topic: kmsg.MetadataRequestTopic{Topic: name("new")}, auto: true, autoErr: wire.UnknownTopicOrPartition, want: wire.UnknownTopicOrPartition},
		"created by somebody else":        {version: 9, topic: kmsg.MetadataRequestTopic{Topic: name("new")}, auto: true, autoErr: wire.TopicAlreadyExists, want: wire.LeaderNotAvailable},
		"creation took too long":          {version: 9, topic: kmsg.MetadataRequestTopic{Topic: name("new")}, auto: true, autoErr: wire.RequestTimedOut, want: wire.RequestTimedOut},
		"invalid name":                    {version: 9, topic: kmsg.MetadataRequestTopic{Topic: name("a topic")}, auto: true, want: wire.InvalidTopic},
		"invalid name, without creation":  {version: 9, topic: kmsg.MetadataRequestTopic{Topic: name("..")}, want: wire.InvalidTopic},
		"unknown id":                      {version: 12, topic: kmsg.MetadataRequestTopic{TopicID: id}, want: wire.UnknownTopicID},
		"unknown id of an unknown name":   {version: 12, topic: kmsg.MetadataRequestTopic{Topic: name("new"), TopicID: id}, auto: true, want: wire.UnknownTopicID},
		"an id in a version without them": {version: 10, topic: kmsg.MetadataRequestTopic{Topic: name("orders"), TopicID: id}, want: wire.InvalidRequest},
		"neither name nor id":             {version: 12, topic: kmsg.MetadataRequestTopic{}, want: wire.InvalidRequest},
	} {
		backend, _ := fakeBroker()
		backend.autoErr = c.autoErr
		h := start(t, backend)
		q := kmsg.NewPtrMetadataRequest()
		q.SetVersion(c.version)
		q.AllowAutoTopicCreation = c.auto
		q.Topics = []kmsg.MetadataRequestTopic{c.topic}
		a := h.dial(t).ask(q).(*kmsg.MetadataResponse)
		if got := wire.ErrorCode(a.Topics[0].ErrorCode); got != c.want {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
		if c.want == wire.UnknownTopicID && a.Topics[0].Topic != nil {
			t.Errorf("%s: the answer names %q", what, *a.Topics[0].Topic)
		}
		if _, made := backend.View().Topic("new"); made && c.want == wire.UnknownTopicID {
			t.Errorf("%s: a topic was created", what)
		}
	}
}

func TestMetadataOfAPartitionWithoutALeader(t *testing.T) {
	backend, topic := fakeBroker()
	backend.view.leader[wire.TopicPartition{Topic: topic.ID, Partition: 1}] = wire.NoBroker
	h := start(t, backend)
	q := kmsg.NewPtrMetadataRequest()
	q.SetVersion(9)
	q.Topics = nil
	a := h.dial(t).ask(q).(*kmsg.MetadataResponse)
	parts := a.Topics[0].Partitions
	if parts[0].ErrorCode != 0 || parts[0].Leader != 1 || parts[0].LeaderEpoch != 3 {
		t.Errorf("partition 0: %+v", parts[0])
	}
	if parts[1].ErrorCode != int16(wire.LeaderNotAvailable) || parts[1].Leader != -1 {
		t.Errorf("partition 1: %+v", parts[1])
	}
}

func TestListOffsetsKnowsSpecialTimestampsByVersion(t *testing.T) {
	backend, topic := fakeBroker()
	h := start(t, backend)
	client := h.dial(t)
	client.ask(produceOf(9, topic, -1, batchOf(3, 10)))
	for _, c := range []struct {
		timestamp int64
		since     int16
		want      int64
	}{
		{-1, 1, 3},
		{-2, 1, 0},
		{-3, 7, 2},
		{-4, 8, 0},
		{-5, 9, -1},
		{-6, 11, -1},
		{-7, 99, -1},
		{1_700_000_000_001, 1, 0},
		{1_800_000_000_000, 1, -1},
	} {
		for version := int16(1); version <= 11; version++ {
			q := kmsg.NewPtrListOffsetsRequest()
			q.SetVersion(version)
			q.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "orders", Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Timestamp: c.timestamp}}}}
			p := client.ask(q).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
			want, code := c.want, wire.None
			if version < c.since {
				want, code = -1, wire.UnsupportedVersion
			}
			if p.Offset != want || p.ErrorCode != int16(code) {
				t.Errorf("timestamp %d in version %d: offset %d and %v, want %d and %v", c.timestamp, version, p.Offset, wire.ErrorCode(p.ErrorCode), want, code)
			}
		}
	}
}

func TestAPartitionListedTwiceIsRefused(t *testing.T) {
	backend, _ := fakeBroker()
	h := start(t, backend)
	q := kmsg.NewPtrListOffsetsRequest()
	q.SetVersion(5)
	q.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "orders", Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Timestamp: -1}, {Timestamp: -2}, {Partition: 1, Timestamp: -1}}}}
	parts := h.dial(t).ask(q).(*kmsg.ListOffsetsResponse).Topics[0].Partitions
	for i, want := range []wire.ErrorCode{wire.InvalidRequest, wire.InvalidRequest, wire.None} {
		if parts[i].ErrorCode != int16(want) {
			t.Errorf("place %d: %v, want %v", i, wire.ErrorCode(parts[i].ErrorCode), want)
		}
	}
}

// A transactional producer must stop with an error, not try for ever.
func TestInitProducerIDRefusesTransactions(t *testing.T) {
	for what, c := range map[string]struct {
		id    *string
		pid   int64
		epoch int16
		want  wire.ErrorCode
	}{
		"a new producer":      {nil, -1, -1, wire.None},
		"the next epoch":      {nil, 5, 2, wire.None},
		"a transactional id":  {kmsg.StringPtr("tx"), -1, -1, wire.TransactionalIDAuthorizationFailed},
		"an empty one":        {kmsg.StringPtr(""), -1, -1, wire.InvalidRequest},
		"an id without epoch": {nil, 5, -1, wire.InvalidRequest},
		"an epoch without id": {nil, -1, 5, wire.InvalidRequest},
	} {
		backend, _ := fakeBroker()
		h := start(t, backend)
		q := kmsg.NewPtrInitProducerIDRequest()
		q.SetVersion(4)
		q.TransactionalID, q.ProducerID, q.ProducerEpoch = c.id, c.pid, c.epoch
		a := h.dial(t).ask(q).(*kmsg.InitProducerIDResponse)
		if a.ErrorCode != int16(c.want) || (a.ProducerID >= 0) != (c.want == wire.None) {
			t.Errorf("%s: %v and producer %d, want %v", what, wire.ErrorCode(a.ErrorCode), a.ProducerID, c.want)
		}
		if c.want.Retriable() {
			t.Errorf("%s: clients retry %v", what, c.want)
		}
	}
}

func TestCreateTopicsRefusesWhatMakesNoSense(t *testing.T) {
	assigned := func(partitions ...int32) []kmsg.CreateTopicsRequestTopicReplicaAssignment {
		var all []kmsg.CreateTopicsRequestTopicReplicaAssignment
		for _, p := range partitions {
			all = append(all, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: p, Replicas: []int32{1}})
		}
		return all
	}
	backend, _ := fakeBroker()
	h := start(t, backend)
	client := h.dial(t)
	for what, c := range map[string]struct {
		topics []kmsg.CreateTopicsRequestTopic
		want   wire.ErrorCode
	}{
		"a good one":                 {[]kmsg.CreateTopicsRequestTopic{{Topic: "good", NumPartitions: 3, ReplicationFactor: 1}}, wire.None},
		"with the defaults":          {[]kmsg.CreateTopicsRequestTopic{{Topic: "defaults", NumPartitions: -1, ReplicationFactor: -1}}, wire.None},
		"with an assignment":         {[]kmsg.CreateTopicsRequestTopic{{Topic: "assigned", NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: assigned(1, 0)}}, wire.None},
		"one that exists":            {[]kmsg.CreateTopicsRequestTopic{{Topic: "orders", NumPartitions: 1, ReplicationFactor: 1}}, wire.TopicAlreadyExists},
		"a bad name":                 {[]kmsg.CreateTopicsRequestTopic{{Topic: "a/b", NumPartitions: 1, ReplicationFactor: 1}}, wire.InvalidTopic},
		"one named twice":            {[]kmsg.CreateTopicsRequestTopic{{Topic: "x", NumPartitions: 1}, {Topic: "x", NumPartitions: 2}}, wire.InvalidRequest},
		"assignment and count":       {[]kmsg.CreateTopicsRequestTopic{{Topic: "x", NumPartitions: 2, ReplicationFactor: -1, ReplicaAssignment: assigned(0, 1)}}, wire.InvalidRequest},
		"assignment with a hole":     {[]kmsg.CreateTopicsRequestTopic{{Topic: "x", NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: assigned(0, 2)}}, wire.InvalidReplicaAssignment},
		"assignment of one twice":    {[]kmsg.CreateTopicsRequestTopic{{Topic: "x", NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: assigned(0, 0)}}, wire.InvalidReplicaAssignment},
		"assignment to a negative":   {[]kmsg.CreateTopicsRequestTopic{{Topic: "x", NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: assigned(-1)}}, wire.InvalidReplicaAssignment},
		"a name that is a directory": {[]kmsg.CreateTopicsRequestTopic{{Topic: "..", NumPartitions: 1, ReplicationFactor: 1}}, wire.InvalidTopic},
	} {
		q := kmsg.NewPtrCreateTopicsRequest()
		q.SetVersion(7)
		q.TimeoutMillis, q.Topics = 1000, c.topics
		a := client.ask(q).(*kmsg.CreateTopicsResponse)
		if len(a.Topics) != len(c.topics) {
			t.Fatalf("%s: %d answers to %d topics", what, len(a.Topics), len(c.topics))
		}
		for _, topic := range a.Topics {
			if topic.ErrorCode != int16(c.want) {
				t.Errorf("%s: %v, want %v", what, wire.ErrorCode(topic.ErrorCode), c.want)
			}
			if (topic.ErrorMessage == nil) != (c.want == wire.None) {
				t.Errorf("%s: the answer's message is %v", what, topic.ErrorMessage)
			}
			if c.want == wire.None && (topic.TopicID == [16]byte{} || topic.NumPartitions < 1) {
				t.Errorf("%s: the answer is %+v", what, topic)
			}
		}
	}
}

// What is refused here and what the Backend answers must each come back in their own place.
func TestAnswersKeepTheirPlaces(t *testing.T) {
	backend, _ := fakeBroker()
	h := start(t, backend)
	client := h.dial(t)
	create := kmsg.NewPtrCreateTopicsRequest()
	create.SetVersion(5)
	create.TimeoutMillis = 1000
	for _, name := range []string{"bad name", "fresh", "twice", "orders", "twice"} {
		create.Topics = append(create.Topics, kmsg.CreateTopicsRequestTopic{Topic: name, NumPartitions: 1, ReplicationFactor: 1})
	}
	var got []wire.ErrorCode
	for i, topic := range client.ask(create).(*kmsg.CreateTopicsResponse).Topics {
		got = append(got, wire.ErrorCode(topic.ErrorCode))
		if topic.Topic != create.Topics[i].Topic {
			t.Errorf("place %d: %s", i, topic.Topic)
		}
	}
	if want := []wire.ErrorCode{wire.InvalidTopic, wire.None, wire.InvalidRequest, wire.TopicAlreadyExists, wire.InvalidRequest}; !slices.Equal(got, want) {
		t.Errorf("created: %v, want %v", got, want)
	}

	remove := kmsg.NewPtrDeleteTopicsRequest()
	remove.SetVersion(6)
	fresh, _ := backend.View().Topic("fresh")
	remove.TimeoutMillis = 1000
	remove.Topics = []kmsg.DeleteTopicsRequestTopic{
		{},
		{Topic: kmsg.StringPtr("nowhere")},
		{TopicID: [16]byte{77}},
		{TopicID: fresh.ID},
		{Topic: kmsg.StringPtr("orders"), TopicID: fresh.ID},
		{Topic: kmsg.StringPtr("orders")},
	}
	got = nil
	for _, topic := range client.ask(remove).(*kmsg.DeleteTopicsResponse).Topics {
		got = append(got, wire.ErrorCode(topic.ErrorCode))
	}
	if want := []wire.ErrorCode{wire.InvalidRequest, wire.UnknownTopicOrPartition, wire.UnknownTopicID, wire.None, wire.InvalidRequest, wire.None}; !slices.Equal(got, want) {
		t.Errorf("deleted: %v, want %v", got, want)
	}
}

func TestDescribeConfigsShowsWhatWasAskedFor(t *testing.T) {
	backend, _ := fakeBroker()
	h := start(t, backend)
	client := h.dial(t)
	ask := func(names []string, synonyms, docs bool) kmsg.DescribeConfigsResponseResource {
		q := kmsg.NewPtrDescribeConfigsRequest()
		q.SetVersion(4)
		q.IncludeSynonyms, q.IncludeDocumentation = synonyms, docs
		q.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "orders", ConfigNames: names}}
		return client.ask(q).(*kmsg.DescribeConfigsResponse).Resources[0]
	}
	all := ask(nil, true, true)
	if len(all.Configs) != 2 || len(all.Configs[0].ConfigSynonyms) != 1 || all.Configs[0].Documentation == nil {
		t.Errorf("all: %+v", all)
	}
	if secret := all.Configs[1]; secret.Value != nil || secret.ConfigSynonyms[0].Value != nil {
		t.Errorf("a sensitive value is shown: %+v", secret)
	}
	one := ask([]string{"retention.ms"}, false, false)
	if len(one.Configs) != 1 || len(one.Configs[0].ConfigSynonyms) > 0 || one.Configs[0].Documentation != nil {
		t.Errorf("one: %+v", one)
	}
	if none := ask([]string{}, false, false); len(none.Configs) != 0 {
		t.Errorf("none: %+v", none)
	}
}

func TestConfigsOfWhatCannotExist(t *testing.T) {
	backend, _ := fakeBroker()
	backend.configs[wire.ConfigResource{Type: wire.ConfigBroker, Name: "1"}] = nil
	backend.configs[wire.ConfigResource{Type: wire.ConfigBroker}] = nil
	h := start(t, backend)
	client := h.dial(t)
	for _, c := range []struct {
		kind kmsg.ConfigResourceType
		name string
		want wire.ErrorCode
	}{
		{kmsg.ConfigResourceTypeTopic, "orders", wire.None},
		{kmsg.ConfigResourceTypeTopic, "nowhere", wire.UnknownTopicOrPartition},
		{kmsg.ConfigResourceTypeTopic, "", wire.InvalidTopic},
		{kmsg.ConfigResourceTypeBroker, "1", wire.None},
		{kmsg.ConfigResourceTypeBroker, "", wire.None},
		{kmsg.ConfigResourceTypeBroker, "2", wire.InvalidRequest},
		{kmsg.ConfigResourceTypeBroker, "one", wire.InvalidRequest},
		{kmsg.ConfigResourceType(3), "x", wire.InvalidRequest},
	} {
		q := kmsg.NewPtrDescribeConfigsRequest()
		q.SetVersion(4)
		q.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: c.kind, ResourceName: c.name}}
		r := client.ask(q).(*kmsg.DescribeConfigsResponse).Resources[0]
		if r.ErrorCode != int16(c.want) || r.ResourceName != c.name || r.ResourceType != c.kind {
			t.Errorf("%v %q: %v, want %v", c.kind, c.name, wire.ErrorCode(r.ErrorCode), c.want)
		}
	}
}

func TestAlterConfigsPassesChangesOn(t *testing.T) {
	backend, _ := fakeBroker()
	h := start(t, backend)
	client := h.dial(t)
	value := "5"
	resource := wire.ConfigResource{Type: wire.ConfigTopic, Name: "orders"}

	whole := kmsg.NewPtrAlterConfigsRequest()
	whole.SetVersion(2)
	whole.Resources = []kmsg.AlterConfigsRequestResource{{
		ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "orders",
		Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: &value}},
	}}
	client.ask(whole)

	type change = kmsg.IncrementalAlterConfigsRequestResourceConfig
	for _, c := range []struct {
		changes []change
		want    wire.ErrorCode
	}{
		{[]change{{Name: "a", Op: 0, Value: &value}, {Name: "b", Op: 1}, {Name: "c", Op: 2, Value: &value}}, wire.None},
		{[]change{{Name: "a", Op: 0}}, wire.InvalidRequest},
		{[]change{{Name: "a", Op: 4, Value: &value}}, wire.InvalidRequest},
		{[]change{{Name: "a", Op: 1}, {Name: "a", Op: 1}}, wire.InvalidRequest},
	} {
		q := kmsg.NewPtrIncrementalAlterConfigsRequest()
		q.SetVersion(1)
		q.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "orders", Configs: c.changes}}
		r := client.ask(q).(*kmsg.IncrementalAlterConfigsResponse).Resources[0]
		if r.ErrorCode != int16(c.want) {
			t.Errorf("%+v: %v, want %v", c.changes, wire.ErrorCode(r.ErrorCode), c.want)
		}
	}
	want := []wire.AlterConfigs{
		{Resource: resource, Replace: true, Changes: []wire.ConfigChange{{Name: "retention.ms", Op: wire.OpSet, Value: &value}}},
		{Resource: resource, Changes: []wire.ConfigChange{
			{Name: "a", Op: wire.OpSet, Value: &value}, {Name: "b", Op: wire.OpDelete}, {Name: "c", Op: wire.OpAppend, Value: &value},
		}},
	}
	if !reflect.DeepEqual(backend.altered, want) {
		t.Errorf("the Backend was asked for %+v", backend.altered)
	}
}

func TestDescribeTopicPartitionsGoesOnFromItsCursor(t *testing.T) {
	backend, _ := fakeBroker() // orders has 2 partitions
	backend.create("a", 3)
	backend.create("z", 1)
	h := start(t, backend)
	client := h.dial(t)
	q := kmsg.NewPtrDescribeTopicPartitionsRequest()
	q.ResponsePartitionLimit = 2
	type place struct {
		topic     string
		partition int32
	}
	var got []place
	for range 10 {
		a := client.ask(q).(*kmsg.DescribeTopicPartitionsResponse)
		n := 0
		for _, topic := range a.Topics {
			for _, p := range topic.Partitions {
				got = append(got, place{*topic.Topic, p.Partition})
				n++
			}
		}
		if n > 2 {
			t.Errorf("%d partitions in an answer", n)
		}
		if a.NextCursor == nil {
			break
		}
		q.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: a.NextCursor.Topic, Partition: a.NextCursor.Partition}
	}
	want := []place{{"a", 0}, {"a", 1}, {"a", 2}, {"orders", 0}, {"orders", 1}, {"z", 0}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	q.Cursor = nil
	q.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "nowhere"}, {Topic: "a b"}}
	a := client.ask(q).(*kmsg.DescribeTopicPartitionsResponse)
	if len(a.Topics) != 2 || a.Topics[0].ErrorCode != int16(wire.InvalidTopic) || a.Topics[1].ErrorCode != int16(wire.UnknownTopicOrPartition) {
		t.Errorf("topics that are not there: %+v", a.Topics)
	}
}

func TestDescribeLogDirsGroupsByTopicAndFilters(t *testing.T) {
	backend, _ := fakeBroker()
	h := start(t, backend)
	client := h.dial(t)
	q := kmsg.NewPtrDescribeLogDirsRequest()
	q.SetVersion(4)
	q.Topics = nil
	a := client.ask(q).(*kmsg.DescribeLogDirsResponse)
	if len(a.Dirs) != 2 || len(a.Dirs[0].Topics) != 2 || len(a.Dirs[0].Topics[0].Partitions) != 2 || a.Dirs[0].TotalBytes != 100 {
		t.Errorf("all: %+v", a.Dirs)
	}
	if a.Dirs[1].ErrorCode != int16(wire.KafkaStorageError) {
		t.Errorf("the offline directory: %+v", a.Dirs[1])
	}
	q.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: "one", Partitions: []int32{1}}}
	a = client.ask(q).(*kmsg.DescribeLogDirsResponse)
	if topics := a.Dirs[0].Topics; len(topics) != 1 || len(topics[0].Partitions) != 1 || topics[0].Partitions[0].Size != 30 {
		t.Errorf("one: %+v", topics)
	}
}

func TestDescribeClusterTellsEndpointsApart(t *testing.T) {
	backend, _ := fakeBroker()
	backend.view.brokers = append(backend.view.brokers, wire.Broker{ID: 2, Host: "b2", Port: 1, Fenced: true})
	h := start(t, backend)
	client := h.dial(t)
	for _, c := range []struct {
		endpoint int8
		fenced   bool
		want     wire.ErrorCode
		brokers  int
	}{
		{1, false, wire.None, 1},
		{1, true, wire.None, 2},
		{2, false, wire.MismatchedEndpointType, 0},
		{3, false, wire.UnsupportedEndpointType, 0},
	} {
		q := kmsg.NewPtrDescribeClusterRequest()
		q.SetVersion(2)
		q.EndpointType, q.IncludeFencedBrokers = c.endpoint, c.fenced
		a := client.ask(q).(*kmsg.DescribeClusterResponse)
		if a.ErrorCode != int16(c.want) || len(a.Brokers) != c.brokers {
			t.Errorf("endpoint %d, fenced %v: %v and %d brokers", c.endpoint, c.fenced, wire.ErrorCode(a.ErrorCode), len(a.Brokers))
		}
	}
}

func TestListConfigResources(t *testing.T) {
	backend, _ := fakeBroker()
	h := start(t, backend)
	client := h.dial(t)
	for _, c := range []struct {
		version int16
		types   []int8
		want    []string
		code    wire.ErrorCode
	}{
		{0, nil, nil, wire.None}, // only metrics that clients push
		{1, nil, []string{"orders", "1", "1"}, wire.None},
		{1, []int8{2}, []string{"orders"}, wire.None},
		{1, []int8{4, 4}, []string{"1"}, wire.None},
		{1, []int8{16, 32}, nil, wire.None},
		{1, []int8{2, 99}, nil, wire.UnsupportedVersion},
	} {
		q := kmsg.NewPtrListConfigResourcesRequest()
		q.SetVersion(c.version)
		q.ResourceTypes = c.types
		a := client.ask(q).(*kmsg.ListConfigResourcesResponse)
		var got []string
		for _, r := range a.ConfigResources {
			got = append(got, r.Name)
		}
		if !slices.Equal(got, c.want) || a.ErrorCode != int16(c.code) {
			t.Errorf("version %d, types %v: %q and %v", c.version, c.types, got, wire.ErrorCode(a.ErrorCode))
		}
	}
}

func TestProduceToAnInternalTopicIsRefused(t *testing.T) {
	backend, _ := fakeBroker()
	topic := backend.create("__internal", 1)
	topic.Internal = true
	backend.view.topics["__internal"] = topic
	h := start(t, backend)
	client := h.dial(t)
	if a := produced(t, client.ask(produceOf(9, topic, -1, batchOf(1, 10)))); a.ErrorCode != int16(wire.InvalidTopic) {
		t.Errorf("a client is answered %v", wire.ErrorCode(a.ErrorCode))
	}
	q := produceOf(9, topic, -1, batchOf(1, 10))
	client.write(kmsg.NewRequestFormatter(kmsg.FormatterClientID(adminClient)).AppendRequest(nil, q, 9))
	if a := produced(t, client.receive(q, 9)); a.ErrorCode != 0 {
		t.Errorf("a repair is answered %v", wire.ErrorCode(a.ErrorCode))
	}
}
