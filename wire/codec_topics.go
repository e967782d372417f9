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
	n, list := d.list(minNewTopicBytes)
	m.Topics = make([]NewTopic, n)
	for i := range m.Topics {
		t := &m.Topics[i]
		_, one := d.open()
		t.Name = d.string()
		t.Partitions = integer[int32](d)
		t.ReplicationFactor = integer[int16](d)
		t.Assignment = d.assignment()
		t.Configs = d.configValues()
		d.close(one)
	}
	d.close(list)
	d.close(outer)
}

func (d *Decoder) configValues() []ConfigValue {
	n, outer := d.list(3)
	values := make([]ConfigValue, n)
	for i := range values {
		_, one := d.open()
		values[i] = ConfigValue{Name: d.string(), Value: d.optionalString()}
		d.close(one)
	}
	d.close(outer)
	return values
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
	n, outer := d.list(1)
	a := make([][]BrokerID, n)
	for i := range a {
		a[i] = d.brokers()
	}
	d.close(outer)
	return a
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
	n, list := d.list(minCreatedTopicBytes)
	m.Topics = make([]CreatedTopic, n)
	for i := range m.Topics {
		t := &m.Topics[i]
		_, one := d.open()
		t.Err = d.failure()
		t.Name = d.string()
		t.ID = d.topicID()
		t.Partitions = integer[int32](d)
		t.ReplicationFactor = integer[int16](d)
		t.Configs = d.configEntries()
		d.close(one)
	}
	d.close(list)
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
	n, list := d.list(minTopicRefBytes)
	m.Topics = make([]TopicRef, n)
	for i := range m.Topics {
		_, one := d.open()
		m.Topics[i] = TopicRef{Name: d.string(), ID: d.topicID()}
		d.close(one)
	}
	d.close(list)
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
	n, list := d.list(minDeletedTopicBytes)
	m.Topics = make([]DeletedTopic, n)
	for i := range m.Topics {
		_, one := d.open()
		m.Topics[i] = DeletedTopic{Err: d.failure(), Name: d.string(), ID: d.topicID()}
		d.close(one)
	}
	d.close(list)
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
	n, list := d.list(minMorePartitionsBytes)
	m.Topics = make([]MorePartitions, n)
	for i := range m.Topics {
		_, one := d.open()
		m.Topics[i] = MorePartitions{Topic: d.string(), Count: integer[int32](d), Assignment: d.assignment()}
		d.close(one)
	}
	d.close(list)
	d.close(outer)
}

func (m *ErrorsReply) encode(e *Encoder) {
	e.array(1)
	e.array(len(m.Errors))
	for _, err := range m.Errors {
		e.failure(err)
	}
}

func (m *ErrorsReply) decode(d *Decoder) {
	_, outer := d.open()
	n, list := d.list(1)
	m.Errors = make([]error, n)
	for i := range m.Errors {
		m.Errors[i] = d.failure()
	}
	d.close(list)
	d.close(outer)
}
