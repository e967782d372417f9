package metadata

import "github.com/troupe-mq/troupe/wire"

// DeleteTopics asks that topics and all that is in them be gone. The reply is a
// []wire.DeletedTopic in the order asked.
type DeleteTopics struct {
	Topics []wire.TopicRef
}

// Decide implements Command.
func (c DeleteTopics) Decide(img *Image, env Env) Decision {
	var records []Record
	reply := make([]wire.DeletedTopic, len(c.Topics))
	src := img.sources()
	src.static = env.Static
	enabled, _ := parseBool(brokerText("delete.topic.enable", src))
	gone := make(map[TopicNumber]bool)
	for i, ref := range c.Topics {
		reply[i] = wire.DeletedTopic{Name: ref.Name, ID: ref.ID}
		t, err := img.find(ref)
		switch {
		case !enabled:
			reply[i].Err = wire.Errorf(wire.TopicDeletionDisabled, "delete.topic.enable is false")
		case err != nil:
			reply[i].Err = err
		case internalTopic(t.name):
			// Kafka: leaves it to the permissions of who asks. Without it every group would begin anew.
			reply[i].Err = wire.Errorf(wire.InvalidTopic, "topic %s belongs to the brokers and cannot be deleted", t.name)
		case gone[t.number]:
			reply[i].Err = wire.Errorf(wire.InvalidRequest, "topic %s is there more than once", t.name)
		default:
			gone[t.number] = true
			reply[i] = wire.DeletedTopic{Name: t.name, ID: t.id}
			records = append(records, &TopicDeleted{Topic: t.number})
		}
	}
	return Decision{Records: records, Reply: reply}
}

// find returns the topic that a reference names.
func (img *Image) find(ref wire.TopicRef) (*topic, error) {
	switch {
	case ref.Name != "" && !ref.ID.IsZero():
		return nil, wire.Errorf(wire.InvalidRequest, "topic %.300q is named by id too", ref.Name)
	case ref.Name != "":
		if t := img.topicByName(ref.Name); t != nil {
			return t, nil
		}
		return nil, wire.Errorf(wire.UnknownTopicOrPartition, "there is no topic %.300q", ref.Name)
	case ref.ID.IsZero():
		return nil, wire.Errorf(wire.InvalidRequest, "neither a name nor an id of a topic")
	}
	if t := img.topicByID(ref.ID); t != nil {
		return t, nil
	}
	return nil, wire.Errorf(wire.UnknownTopicID, "no topic has id %s", ref.ID)
}

func brokerText(key string, src sources) string {
	k, _ := LookupBrokerKey(key)
	v, _ := k.first(nil, src)
	return v.value
}
