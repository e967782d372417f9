package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	brokerID      = 1
	maxPartitions = 10_000
)

// broker holds the topics.
type broker struct {
	data        string
	groupCommit bool
	host        string
	port        int32
	producers   atomic.Int64

	mu     sync.RWMutex
	topics map[string][]*partition
}

func newBroker(data string, groupCommit bool, at *net.TCPAddr) *broker {
	return &broker{
		data: data, groupCommit: groupCommit,
		host: at.IP.String(), port: int32(at.Port),
		topics: map[string][]*partition{},
	}
}

// topic returns a topic's partitions, or nil when there is no such topic.
func (b *broker) topic(name string) []*partition {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.topics[name]
}

func within(partitions []*partition, number int32) *partition {
	if number < 0 || int(number) >= len(partitions) {
		return nil
	}
	return partitions[number]
}

// answer returns nil for a request that floor does not serve.
func (b *broker) answer(request kmsg.Request) kmsg.Response {
	switch request := request.(type) {
	case *kmsg.MetadataRequest:
		return b.metadata(request)
	case *kmsg.ListOffsetsRequest:
		return b.listOffsets(request)
	case *kmsg.CreateTopicsRequest:
		return b.createTopics(request)
	case *kmsg.DeleteTopicsRequest:
		return b.deleteTopics(request)
	case *kmsg.InitProducerIDRequest:
		response := kmsg.NewPtrInitProducerIDResponse()
		response.ProducerID, response.ProducerEpoch = b.producers.Add(1), 0
		return response
	}
	return nil
}

// apiVersions answers without reading the request: whatever its version, the answer tells ours.
func (c *conn) apiVersions(a *answer, version int16) error {
	response := kmsg.NewPtrApiVersionsResponse()
	for _, v := range versions {
		key := kmsg.NewApiVersionsResponseApiKey()
		key.ApiKey, key.MinVersion, key.MaxVersion = v.key, v.lowest, v.highest
		response.ApiKeys = append(response.ApiKeys, key)
	}
	if version > 3 {
		version, response.ErrorCode = 0, kerr.UnsupportedVersion.Code
	}
	response.SetVersion(version)
	a.bytes = response.AppendTo(a.bytes)
	return c.emit(a)
}

func (b *broker) metadata(request *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	response := kmsg.NewPtrMetadataResponse()
	self := kmsg.NewMetadataResponseBroker()
	self.NodeID, self.Host, self.Port = brokerID, b.host, b.port
	response.Brokers = append(response.Brokers, self)
	response.ControllerID = brokerID
	response.ClusterID = kmsg.StringPtr("floor")

	var names []string
	for _, t := range request.Topics {
		names = append(names, *t.Topic)
	}
	if request.Topics == nil {
		b.mu.RLock()
		for name := range b.topics {
			names = append(names, name)
		}
		b.mu.RUnlock()
	}
	for _, name := range names {
		t := kmsg.NewMetadataResponseTopic()
		t.Topic = kmsg.StringPtr(name)
		partitions := b.topic(name)
		if partitions == nil {
			t.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
		for i := range partitions {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition, p.Leader, p.LeaderEpoch = int32(i), brokerID, 0
			p.Replicas, p.ISR = []int32{brokerID}, []int32{brokerID}
			t.Partitions = append(t.Partitions, p)
		}
		response.Topics = append(response.Topics, t)
	}
	return response
}

// listOffsets knows the two ends only: floor has no time index.
func (b *broker) listOffsets(request *kmsg.ListOffsetsRequest) *kmsg.ListOffsetsResponse {
	const latest = -1
	response := kmsg.NewPtrListOffsetsResponse()
	for _, t := range request.Topics {
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic = t.Topic
		partitions := b.topic(t.Topic)
		for _, asked := range t.Partitions {
			p := kmsg.NewListOffsetsResponseTopicPartition()
			p.Partition, p.LeaderEpoch, p.Timestamp, p.Offset = asked.Partition, 0, -1, 0
			switch found := within(partitions, asked.Partition); {
			case found == nil:
				p.ErrorCode = kerr.UnknownTopicOrPartition.Code
			case asked.Timestamp == latest:
				p.Offset = found.logEndOffset()
			}
			topic.Partitions = append(topic.Partitions, p)
		}
		response.Topics = append(response.Topics, topic)
	}
	return response
}

func (b *broker) createTopics(request *kmsg.CreateTopicsRequest) *kmsg.CreateTopicsResponse {
	response := kmsg.NewPtrCreateTopicsResponse()
	for _, wanted := range request.Topics {
		t := kmsg.NewCreateTopicsResponseTopic()
		t.Topic = wanted.Topic
		if refused := b.create(wanted.Topic, int(wanted.NumPartitions)); refused != nil {
			t.ErrorCode = refused.Code
		}
		response.Topics = append(response.Topics, t)
	}
	return response
}

func (b *broker) create(name string, count int) *kerr.Error {
	if name == "" || len(name) > 249 || strings.ContainsAny(name, "/\x00") {
		return kerr.InvalidTopicException
	}
	if count < 1 || count > maxPartitions {
		return kerr.InvalidPartitions
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.topics[name] != nil {
		return kerr.TopicAlreadyExists
	}
	var partitions []*partition
	for i := range count {
		path := filepath.Join(b.data, fmt.Sprintf("%s-%d.log", name, i))
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return kerr.KafkaStorageError
		}
		p := &partition{file: file}
		if b.groupCommit {
			p.syncs = make(chan chan struct{}, 1024)
			go p.syncer()
		}
		partitions = append(partitions, p)
	}
	b.topics[name] = partitions
	return nil
}

// deleteTopics gives the disk space back. The files stay open, empty, until the process ends: a
// request under way may still use them.
func (b *broker) deleteTopics(request *kmsg.DeleteTopicsRequest) *kmsg.DeleteTopicsResponse {
	response := kmsg.NewPtrDeleteTopicsResponse()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range request.TopicNames {
		t := kmsg.NewDeleteTopicsResponseTopic()
		t.Topic = kmsg.StringPtr(name)
		if b.topics[name] == nil {
			t.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
		for _, p := range b.topics[name] {
			if os.Remove(p.file.Name()) != nil || p.file.Truncate(0) != nil {
				t.ErrorCode = kerr.KafkaStorageError.Code
			}
		}
		delete(b.topics, name)
		response.Topics = append(response.Topics, t)
	}
	return response
}
