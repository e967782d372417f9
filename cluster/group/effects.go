package group

import (
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// Call tells one request from the others that wait for their answers. 0 is nobody's.
type Call uint64

// Record is a record of the offsets topic: a tombstone where Value is nil.
type Record struct{ Key, Value []byte }

// Answer answers a call.
type Answer struct {
	Call  Call
	Reply wire.GroupReply
}

// Effects is what the coordinator has to do after an event, in the order of the fields.
type Effects struct {
	// Records are to be appended to the group's partition, all or none, in this order.
	Records []Record
	// Answers go out once all that the group has emitted so far, these Records too, is committed.
	Answers []Answer
	// Deadline is when Tick is due next; zero: never. It is the present truth after every event.
	Deadline time.Time
	// Gone says that nothing is left of the group once the Records are committed: it may be forgotten.
	Gone bool
}

// turn is one event being handled: what is known, and what has come of it so far.
type turn struct {
	view    wire.View
	now     time.Time
	records []Record
	answers []Answer
	size    int // of the records
}

// One turn's records go into the log together. maxSweep and maxTurnBytes bound them where a turn could have any number;
// what is left over is done in another turn.
const (
	maxSweep     = 50_000
	maxTurnBytes = 8 << 20
)

// full says that no more records should be emitted that can wait.
func (t *turn) full() bool { return len(t.records) >= maxSweep || t.size >= maxTurnBytes }

// emit appends records to the log. The state has to be what a fold of them makes of it by the end of the turn.
func (t *turn) emit(records ...Record) {
	t.records = append(t.records, records...)
	for _, r := range records {
		t.size += len(r.Key) + len(r.Value)
	}
}

// answer answers a call; that of nobody is dropped.
func (t *turn) answer(call Call, reply wire.GroupReply) {
	if call != 0 {
		t.answers = append(t.answers, Answer{Call: call, Reply: reply})
	}
}
