package wire

import "time"

// FetchRequest asks for records of several partitions in one answer.
type FetchRequest struct {
	MaxWait    time.Duration // how long to wait for MinBytes; whole milliseconds
	MinBytes   int
	MaxBytes   int // of records in all
	Isolation  IsolationLevel
	Partitions []Fetch // Isolation and AtLeastOne are not encoded here
}

// minFetchBytes is what a Fetch takes at least: array, topic id, partition, offset, maximum.
const minFetchBytes = 1 + 2 + len(TopicID{}) + 3

func (m *FetchRequest) encode(e *Encoder) {
	e.array(5)
	e.int(m.MaxWait.Milliseconds())
	e.int(int64(m.MinBytes))
	e.int(int64(m.MaxBytes))
	e.int(int64(m.Isolation))
	e.array(len(m.Partitions))
	for i := range m.Partitions {
		p := &m.Partitions[i]
		e.array(6)
		e.topicID(p.Topic)
		e.int(int64(p.Partition))
		e.int(int64(p.FetchOffset))
		e.int(int64(p.MaxBytes))
		e.int(int64(p.CurrentEpoch))
		e.int(int64(p.LastFetchedEpoch))
	}
}

func (m *FetchRequest) decode(d *Decoder) {
	_, outer := d.open()
	m.MaxWait = time.Duration(d.length()) * time.Millisecond
	m.MinBytes, m.MaxBytes = d.length(), d.length()
	m.Isolation = integer[IsolationLevel](d)
	m.Partitions = structs(d, minFetchBytes, func(p *Fetch) {
		p.Isolation, p.CurrentEpoch, p.LastFetchedEpoch = m.Isolation, NoEpoch, NoEpoch
		p.Topic = d.topicID()
		p.Partition = integer[int32](d)
		p.FetchOffset = integer[Offset](d)
		p.MaxBytes = d.length()
		if d.more() { // a simple client knows no epochs
			p.CurrentEpoch = integer[LeaderEpoch](d)
		}
		if d.more() {
			p.LastFetchedEpoch = integer[LeaderEpoch](d)
		}
	})
	d.close(outer)
}

// FetchReply answers the partitions of a FetchRequest in their order. Of Records only the length
// travels: the payload of the frame is the records of all partitions, one after the other.
type FetchReply struct{ Partitions []Fetched }

// What these take at least: an array and a byte for each field.
const (
	minFetchedBytes = 1 + 8
	minAbortedBytes = 1 + 2
)

func (m *FetchReply) encode(e *Encoder) {
	e.array(1)
	e.array(len(m.Partitions))
	for i := range m.Partitions {
		p := &m.Partitions[i]
		e.array(8)
		e.failure(p.Err)
		e.int(int64(p.HighWatermark))
		e.int(int64(p.LastStableOffset))
		e.int(int64(p.LogStartOffset))
		e.int(int64(p.Records.Length))
		e.leader(p.Err, p.Leader)
		e.epochEnd(p.Diverging)
		e.array(len(p.Aborted))
		for _, a := range p.Aborted {
			e.array(2)
			e.int(int64(a.Producer))
			e.int(int64(a.FirstOffset))
		}
	}
}

func (m *FetchReply) decode(d *Decoder) {
	_, outer := d.open()
	m.Partitions = structs(d, minFetchedBytes, func(p *Fetched) {
		p.Err = d.failure()
		p.HighWatermark, p.LastStableOffset, p.LogStartOffset = integer[Offset](d), integer[Offset](d), integer[Offset](d)
		p.Records.Length = d.length()
		p.Leader = d.leader()
		p.Diverging = d.epochEnd()
		p.Aborted = orNil(structs(d, minAbortedBytes, func(a *AbortedTransaction) {
			a.Producer, a.FirstOffset = integer[ProducerID](d), integer[Offset](d)
		}))
	})
	d.close(outer)
}

func (e *Encoder) epochEnd(end *EpochEnd) {
	if end == nil {
		e.nothing()
		return
	}
	e.array(2)
	e.int(int64(end.LeaderEpoch))
	e.int(int64(end.EndOffset))
}

func (d *Decoder) epochEnd() *EpochEnd {
	if d.isNil() {
		return nil
	}
	_, outer := d.open()
	end := &EpochEnd{LeaderEpoch: integer[LeaderEpoch](d), EndOffset: integer[Offset](d)}
	d.close(outer)
	return end
}
