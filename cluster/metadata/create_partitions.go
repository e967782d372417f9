package metadata

import "github.com/troupe-mq/troupe/wire"

// CreatePartitions asks that topics have more partitions. The reply is a []error in the order
// asked, nil for what is done.
type CreatePartitions struct {
	Topics       []wire.MorePartitions
	ValidateOnly bool
}

// Decide implements Command.
func (c CreatePartitions) Decide(img *Image, _ Env) Decision {
	var records []Record
	reply := make([]error, len(c.Topics))
	asked := make(map[string]int, len(c.Topics))
	for _, t := range c.Topics {
		asked[t.Topic]++
	}
	room := MaxPartitionsPerRequest
	for i, t := range c.Topics {
		if asked[t.Topic] > 1 {
			reply[i] = wire.Errorf(wire.InvalidRequest, "topic %.300q is there more than once", t.Topic)
			continue
		}
		rec, err := img.morePartitions(t, room)
		if err != nil {
			reply[i] = err
			continue
		}
		room -= len(rec.Partitions)
		records = append(records, rec)
	}
	if c.ValidateOnly {
		records = nil
	}
	return Decision{Records: records, Reply: reply}
}

func (img *Image) morePartitions(m wire.MorePartitions, room int) (*PartitionsAdded, error) {
	t := img.topicByName(m.Topic)
	if t == nil {
		return nil, wire.Errorf(wire.UnknownTopicOrPartition, "there is no topic %.300q", m.Topic)
	}
	added := int(m.Count) - int(t.partitions)
	switch {
	case internalTopic(t.name):
		// Kafka: adds them, whereupon most groups are looked for where they are not.
		return nil, wire.Errorf(wire.InvalidTopic, "topic %s belongs to the brokers, which find groups by its number of partitions", t.name)
	case added == 0:
		return nil, wire.Errorf(wire.InvalidPartitions, "topic %s has %d partitions already", t.name, t.partitions)
	case added < 0:
		return nil, wire.Errorf(wire.InvalidPartitions, "topic %s has %d partitions: there cannot be fewer, as %d would be", t.name, t.partitions, m.Count)
	case added > room:
		return nil, tooManyPartitions(added)
	}
	first, _ := t.partition(0)
	factor := len(first.replicas)
	assignment := m.Assignment
	if len(assignment) > 0 {
		if len(assignment) != added {
			return nil, wire.Errorf(wire.InvalidReplicaAssignment,
				"%d partitions are added, the assignment is for %d", added, len(assignment))
		}
		if err := img.checkAssignment(assignment, factor); err != nil {
			return nil, err
		}
	} else {
		var err error
		if assignment, err = img.placeReplicas(t.number, int(t.partitions), added, factor); err != nil {
			return nil, err
		}
	}
	return &PartitionsAdded{
		Topic: t.number, First: t.partitions,
		Partitions: img.newPartitions(t.number, int(t.partitions), assignment),
	}, nil
}
