package wire

// CreateTopicsRequest asks for topics; with ValidateOnly nothing is created.
type CreateTopicsRequest struct {
	ValidateOnly bool
	Topics       []NewTopic
}

// CreateTopicsReply answers them in their order.
type CreateTopicsReply struct{ Topics []CreatedTopic }

// DeleteTopicsRequest asks for the deletion of topics, by name or by id.
type DeleteTopicsRequest struct{ Topics []TopicRef }

// DeleteTopicsReply answers them in their order.
type DeleteTopicsReply struct{ Topics []DeletedTopic }

// CreatePartitionsRequest asks for more partitions; with ValidateOnly none are created.
type CreatePartitionsRequest struct {
	ValidateOnly bool
	Topics       []MorePartitions
}

// ErrorsReply answers each part of a request, in order, with nil or what went wrong.
type ErrorsReply struct{ Errors []error }

const (
	minNewTopicBytes       = 1 + 5
	minConfigValueBytes    = 1 + 2
	minCreatedTopicBytes   = 1 + 5 + encodedTopicIDBytes
	minTopicRefBytes       = 1 + 1 + encodedTopicIDBytes
	minDeletedTopicBytes   = 1 + 2 + encodedTopicIDBytes
	minMorePartitionsBytes = 1 + 3
)

func (m *CreateTopicsRequest) encode(e *Encoder) {
	e.array(2)
	e.bool(m.ValidateOnly)
	e.array(len(m.Topics))
	for i := range m.Topics {
		t := &m.Topics[i]
		e.array(5)
		e.string(t.Name)
		e.int(int64(t.Partitions))
		e.int(int64(t.ReplicationFactor))
		e.assignment(t.Assignment)
		e.array(len(t.Configs))
		for _, c := range t.Configs {
			e.array(2)
			e.string(c.Name)
			e.optionalString(c.Value)
		}
	}
}

func (m *CreateTopicsRequest) decode(d *Decoder) {
	_, outer := d.open()
	m.ValidateOnly = d.bool()
	m.Topics = structs(d, minNewTopicBytes, func(t *NewTopic) {
		t.Name = d.string()
		t.Partitions = integer[int32](d)
		t.ReplicationFactor = integer[int16](d)
		t.Assignment = d.assignment()
		t.Configs = structs(d, minConfigValueBytes, func(c *ConfigValue) {
			c.Name, c.Value = d.string(), d.optionalString()
		})
	})
	d.close(outer)
}

// assignment encodes replicas by partition, or nil where the controller is to place them.
func (e *Encoder) assignment(a [][]BrokerID) {
	if a == nil {
		e.nothing()
		return
	}
	e.array(len(a))
	for _, replicas := range a {
		e.brokers(replicas)
	}
}

func (d *Decoder) assignment() [][]BrokerID {
	if d.isNil() {
		return nil
	}
	return listOf(d, 1, (*Decoder).brokers)
}

func (m *CreateTopicsReply) encode(e *Encoder) {
	e.array(1)
	e.array(len(m.Topics))
	for i := range m.Topics {
		t := &m.Topics[i]
		e.array(6)
		e.failure(t.Err)
		e.string(t.Name)
		e.topicID(t.ID)
		e.int(int64(t.Partitions))
		e.int(int64(t.ReplicationFactor))
		e.configEntries(t.Configs)
	}
}

func (m *CreateTopicsReply) decode(d *Decoder) {
	_, outer := d.open()
	m.Topics = structs(d, minCreatedTopicBytes, func(t *CreatedTopic) {
		t.Err = d.failure()
		t.Name = d.string()
		t.ID = d.topicID()
		t.Partitions = integer[int32](d)
		t.ReplicationFactor = integer[int16](d)
		t.Configs = d.configEntries()
	})
	d.close(outer)
}

func (m *DeleteTopicsRequest) encode(e *Encoder) {
	e.array(1)
	e.array(len(m.Topics))
	for i := range m.Topics {
		e.array(2)
		e.string(m.Topics[i].Name)
		e.topicID(m.Topics[i].ID)
	}
}

func (m *DeleteTopicsRequest) decode(d *Decoder) {
	_, outer := d.open()
	m.Topics = structs(d, minTopicRefBytes, func(t *TopicRef) { t.Name, t.ID = d.string(), d.topicID() })
	d.close(outer)
}

func (m *DeleteTopicsReply) encode(e *Encoder) {
	e.array(1)
	e.array(len(m.Topics))
	for i := range m.Topics {
		e.array(3)
		e.failure(m.Topics[i].Err)
		e.string(m.Topics[i].Name)
		e.topicID(m.Topics[i].ID)
	}
}

func (m *DeleteTopicsReply) decode(d *Decoder) {
	_, outer := d.open()
	m.Topics = structs(d, minDeletedTopicBytes, func(t *DeletedTopic) {
		t.Err, t.Name, t.ID = d.failure(), d.string(), d.topicID()
	})
	d.close(outer)
}

func (m *CreatePartitionsRequest) encode(e *Encoder) {
	e.array(2)
	e.bool(m.ValidateOnly)
	e.array(len(m.Topics))
	for i := range m.Topics {
		e.array(3)
		e.string(m.Topics[i].Topic)
		e.int(int64(m.Topics[i].Count))
		e.assignment(m.Topics[i].Assignment)
	}
}

func (m *CreatePartitionsRequest) decode(d *Decoder) {
	_, outer := d.open()
	m.ValidateOnly = d.bool()
	m.Topics = structs(d, minMorePartitionsBytes, func(t *MorePartitions) {
		t.Topic, t.Count, t.Assignment = d.string(), integer[int32](d), d.assignment()
	})
	d.close(outer)
}

func (m *ErrorsReply) encode(e *Encoder) {
	e.array(1)
	e.failures(m.Errors)
}

func (m *ErrorsReply) decode(d *Decoder) {
	_, outer := d.open()
	m.Errors = d.failures()
	d.close(outer)
}
