package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

// api is one row of what this listener speaks.
type api struct {
	name     string
	key      int16
	min, max int16 // advertised, and accepted
	shape    *shape
	serve    func(c *conn) error // answers c.request; an error closes the connection
	index    int                 // in apis
}

// The keys that the code asks about.
const (
	keyProduce        = int16(kmsg.Produce)
	keyFetch          = int16(kmsg.Fetch)
	keyListOffsets    = int16(kmsg.ListOffsets)
	keyAPIVersions    = int16(kmsg.ApiVersions)
	keyInitProducerID = int16(kmsg.InitProducerID)
)

// apis is everything advertised: each key from Kafka 4.0's lowest version to the highest of 4.3.
// What is not here does not exist: clients choose their behaviour by what a broker advertises, so
// a key enters this table when it works.
var apis []api

// byKey finds an API's row by its key.
var byKey [kmsg.MaxKey + 1]*api

// init breaks the cycle between the table and ApiVersions, which tells what is in it.
func init() {
	apis = []api{
		// librdkafka before 2.8.1 looks for version 0 before it compresses, so Produce is advertised
		// from there, as Kafka does (KAFKA-18659); 0 to 2 are answered UNSUPPORTED_VERSION.
		{name: "Produce", key: keyProduce, min: 0, max: 13, shape: &produceShape, serve: (*conn).serveProduce},
		{name: "Fetch", key: keyFetch, min: 4, max: 18, shape: &fetchShape, serve: (*conn).serveFetch},
		{name: "ListOffsets", key: keyListOffsets, min: 1, max: 11, shape: &listOffsetsShape, serve: kmsgAPI((*conn).listOffsets)},
		{name: "Metadata", key: 3, min: 0, max: 13, shape: &metadataShape, serve: kmsgAPI((*conn).metadata)},
		{name: "OffsetCommit", key: 8, min: 2, max: 10, shape: &offsetCommitShape, serve: kmsgAPI((*conn).offsetCommit)},
		{name: "OffsetFetch", key: 9, min: 1, max: 10, shape: &offsetFetchShape, serve: kmsgAPI((*conn).offsetFetch)},
		{name: "FindCoordinator", key: 10, min: 0, max: 6, shape: &findCoordinatorShape, serve: kmsgAPI((*conn).findCoordinator)},
		{name: "JoinGroup", key: 11, min: 0, max: 9, shape: &joinGroupShape, serve: kmsgAPI((*conn).joinGroup)},
		{name: "Heartbeat", key: 12, min: 0, max: 4, shape: &heartbeatShape, serve: kmsgAPI((*conn).heartbeat)},
		{name: "LeaveGroup", key: 13, min: 0, max: 5, shape: &leaveGroupShape, serve: kmsgAPI((*conn).leaveGroup)},
		{name: "SyncGroup", key: 14, min: 0, max: 5, shape: &syncGroupShape, serve: kmsgAPI((*conn).syncGroup)},
		{name: "DescribeGroups", key: 15, min: 0, max: 6, shape: &describeGroupsShape, serve: kmsgAPI((*conn).describeGroups)},
		{name: "ListGroups", key: 16, min: 0, max: 5, shape: &listGroupsShape, serve: kmsgAPI((*conn).listGroups)},
		{name: "ApiVersions", key: keyAPIVersions, min: 0, max: 4, shape: &apiVersionsShape, serve: (*conn).serveAPIVersions},
		{name: "CreateTopics", key: 19, min: 2, max: 7, shape: &createTopicsShape, serve: kmsgAPI((*conn).createTopics)},
		{name: "DeleteTopics", key: 20, min: 1, max: 6, shape: &deleteTopicsShape, serve: kmsgAPI((*conn).deleteTopics)},
		{name: "DeleteRecords", key: 21, min: 0, max: 2, shape: &deleteRecordsShape, serve: kmsgAPI((*conn).deleteRecords)},
		{name: "InitProducerId", key: keyInitProducerID, min: 0, max: 5, shape: &initProducerIDShape, serve: kmsgAPI((*conn).initProducerID)},
		{name: "OffsetForLeaderEpoch", key: 23, min: 2, max: 4, shape: &offsetForLeaderEpochShape, serve: kmsgAPI((*conn).offsetForLeaderEpoch)},
		{name: "DescribeConfigs", key: 32, min: 1, max: 4, shape: &describeConfigsShape, serve: kmsgAPI((*conn).describeConfigs)},
		{name: "AlterConfigs", key: 33, min: 0, max: 2, shape: &alterConfigsShape, serve: kmsgAPI((*conn).alterConfigs)},
		{name: "DescribeLogDirs", key: 35, min: 1, max: 5, shape: &describeLogDirsShape, serve: kmsgAPI((*conn).describeLogDirs)},
		{name: "CreatePartitions", key: 37, min: 0, max: 3, shape: &createPartitionsShape, serve: kmsgAPI((*conn).createPartitions)},
		{name: "DeleteGroups", key: 42, min: 0, max: 2, shape: &deleteGroupsShape, serve: kmsgAPI((*conn).deleteGroups)},
		{name: "ElectLeaders", key: 43, min: 0, max: 2, shape: &electLeadersShape, serve: kmsgAPI((*conn).electLeaders)},
		{name: "IncrementalAlterConfigs", key: 44, min: 0, max: 1, shape: &incrementalAlterConfigsShape, serve: kmsgAPI((*conn).incrementalAlterConfigs)},
		{name: "AlterPartitionReassignments", key: 45, min: 0, max: 1, shape: &alterPartitionReassignmentsShape, serve: kmsgAPI((*conn).alterPartitionReassignments)},
		{name: "ListPartitionReassignments", key: 46, min: 0, max: 0, shape: &listPartitionReassignmentsShape, serve: kmsgAPI((*conn).listPartitionReassignments)},
		{name: "OffsetDelete", key: 47, min: 0, max: 0, shape: &offsetDeleteShape, serve: kmsgAPI((*conn).offsetDelete)},
		{name: "DescribeQuorum", key: 55, min: 0, max: 2, shape: &describeQuorumShape, serve: kmsgAPI((*conn).describeQuorum)},
		{name: "DescribeCluster", key: 60, min: 0, max: 2, shape: &describeClusterShape, serve: kmsgAPI((*conn).describeCluster)},
		{name: "DescribeProducers", key: 61, min: 0, max: 0, shape: &describeProducersShape, serve: kmsgAPI((*conn).describeProducers)},
		{name: "ConsumerGroupHeartbeat", key: 68, min: 0, max: 1, shape: &consumerGroupHeartbeatShape, serve: kmsgAPI((*conn).consumerGroupHeartbeat)},
		{name: "ConsumerGroupDescribe", key: 69, min: 0, max: 1, shape: &consumerGroupDescribeShape, serve: kmsgAPI((*conn).consumerGroupDescribe)},
		{name: "ListConfigResources", key: 74, min: 0, max: 1, shape: &listConfigResourcesShape, serve: kmsgAPI((*conn).listConfigResources)},
		{name: "DescribeTopicPartitions", key: 75, min: 0, max: 0, shape: &describeTopicPartitionsShape, serve: kmsgAPI((*conn).describeTopicPartitions)},
	}
	for i := range apis {
		apis[i].index = i
		byKey[apis[i].key] = &apis[i]
	}
}

func apiOf(key int16) *api {
	if key < 0 || int(key) >= len(byKey) {
		return nil
	}
	return byKey[key]
}

// kmsgAPI serves an API whose request and answer kmsg decodes and encodes.
func kmsgAPI[Q any, P interface {
	*Q
	kmsg.Request
}](answer func(*conn, P) kmsg.Response) func(*conn) error {
	return func(c *conn) error {
		q := P(new(Q))
		if err := c.decode(q); err != nil {
			return err
		}
		return c.answer(answer(c, q))
	}
}

// answer encodes a and sends it.
func (c *conn) answer(a kmsg.Response) error {
	a.SetVersion(c.request.version)
	out := wire.NewBuffer(1)
	defer out.Release()
	b := a.AppendTo(c.begin(out.Bytes[:0]))
	endAnswer(b, 0, 0)
	return c.write(b)
}

// decode reads the request being served into q. What is in q may alias the frame.
func (c *conn) decode(q kmsg.Request) error {
	if _, err := c.measure(); err != nil {
		return err
	}
	return c.read(q)
}

// measure returns how many things the request being served enumerates.
func (c *conn) measure() (elements int, err error) {
	r := &c.request
	elements, fits := r.api.shape.measure(r.body, r.version)
	if !fits {
		return 0, errMalformed
	}
	return elements, nil
}

// read is decode of a request that was measured.
func (c *conn) read(q kmsg.Request) error {
	r := &c.request
	q.SetVersion(r.version)
	if err := q.ReadFrom(r.body); err != nil {
		return errMalformed
	}
	return nil
}
