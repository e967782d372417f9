package metadata

import (
	"strconv"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// Command is a request to change the metadata. Decide looks at the image, which no one else is
// changing, and says what to write and what to answer once that is committed. It changes nothing.
type Command interface {
	Decide(img *Image, env Env) Decision
}

// Env is what a decision may depend on besides the image.
type Env struct {
	Now        time.Time
	Self       wire.BrokerID // the controller's broker
	NewTopicID func() wire.TopicID
	// Static is the configuration that the controller's broker was started with: the defaults of
	// new topics. It is not to be changed.
	Static map[string]string
}

// Decision is what follows from a command. Without Records there is nothing to write, and the
// reply can be given as soon as all is committed that the image was decided on.
type Decision struct {
	Records []Record // one entry of the log
	Reply   any      // each command says of what type; where that is an error, nil means done
}

// MetadataVersion is the feature that says what records may be in the log.
const MetadataVersion = "metadata.version"

// LatestMetadataVersion is the level of it that this version founds clusters with.
const LatestMetadataVersion = 2

// versionReports is the level from which on brokers report how far their replicas are wherever a
// partition waits for that. Below it an unclean election takes the first replica that works.
const versionReports = 2

// FoundCluster makes a cluster out of nothing. The reply is an error or nil.
type FoundCluster struct {
	ClusterID string
}

// Decide implements Command.
func (c FoundCluster) Decide(img *Image, env Env) Decision {
	switch {
	case c.ClusterID == "":
		return refused(wire.Errorf(wire.InvalidRequest, "a cluster needs an id"))
	case img.clusterID == c.ClusterID:
		return refused(nil)
	case img.clusterID != "":
		return refused(wire.Errorf(wire.InconsistentClusterID, "this is cluster %s, not %s", img.clusterID, c.ClusterID))
	}
	records := []Record{
		&ClusterCreated{ClusterID: c.ClusterID},
		&FeatureLevelChanged{Feature: MetadataVersion, Level: LatestMetadataVersion},
	}
	// What all brokers must agree on is taken from the founder, once.
	var set []Setting
	for i := range brokerKeys {
		key := &brokerKeys[i]
		if v, given := env.Static[key.Name]; given && key.ClusterOnly {
			if err := key.Validate(v); err != nil {
				return refused(err)
			}
			set = append(set, Setting{key.Name, v})
		}
	}
	if set != nil {
		records = append(records, &ConfigChanged{Resource: wire.ConfigResource{Type: wire.ConfigBroker}, Set: set})
	}
	return Decision{Records: records}
}

// refused is the decision to write nothing, with an error or nil as the reply.
func refused(err error) Decision {
	if err == nil {
		return Decision{}
	}
	return Decision{Reply: err}
}

// AllocateProducerIDs asks for a block of producer ids. The reply is an AllocatedProducerIDs.
type AllocateProducerIDs struct {
	Broker wire.BrokerID
	Count  int32 // 0 for ProducerIDBlock
}

// ProducerIDBlock is how many producer ids a broker gets at a time.
const ProducerIDBlock = 1000

// AllocatedProducerIDs are the ids from First on.
type AllocatedProducerIDs struct {
	Err   error
	First wire.ProducerID
	Count int32
}

// Decide implements Command.
func (c AllocateProducerIDs) Decide(img *Image, _ Env) Decision {
	count := c.Count
	if count == 0 {
		count = ProducerIDBlock
	}
	switch {
	case img.broker(c.Broker) == nil:
		return Decision{Reply: AllocatedProducerIDs{Err: brokerUnknown(c.Broker)}}
	case count < 0 || count > 100*ProducerIDBlock:
		return Decision{Reply: AllocatedProducerIDs{
			Err: wire.Errorf(wire.InvalidRequest, "a block of %d producer ids", count),
		}}
	case img.nextProducerID > 1<<62:
		return Decision{Reply: AllocatedProducerIDs{
			Err: wire.Errorf(wire.UnknownServerError, "there are no producer ids left"),
		}}
	}
	first := img.nextProducerID
	return Decision{
		Records: []Record{&ProducerIDsAllocated{Broker: c.Broker, First: first, Count: count}},
		Reply:   AllocatedProducerIDs{First: first, Count: count},
	}
}

func brokerUnknown(id wire.BrokerID) error {
	return wire.Errorf(wire.BrokerIDNotRegistered, "broker %d is not registered", id)
}

func parseBrokerID(name string) (wire.BrokerID, bool) {
	id, err := strconv.ParseInt(name, 10, 32)
	return wire.BrokerID(id), err == nil && id >= 0 && strconv.FormatInt(id, 10) == name
}
