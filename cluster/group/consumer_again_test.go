package group

import (
	"testing"
	"time"
)

func TestAnAssignmentThatAnotherCoordinatorToldIsToldAgain(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 1})
	m := b.client("a", "t").join()
	b.settle(m)
	b.topics(map[string]int{"t": 2})
	late := m.send(m.request(m.epoch)) // of a connection that broke: nobody hears the answer
	if !late.Assigned {
		t.Fatalf("the member is told %+v", late)
	}
	b.restart()
	if again := m.send(m.request(m.epoch)); !again.Assigned {
		t.Errorf("another coordinator tells %+v", again)
	}
	// Clients that have it already do not say so: Java's. They are not told for ever.
	for range 10 {
		b.pass(5 * time.Second)
		late = m.send(m.request(m.epoch))
	}
	if late.Assigned {
		t.Errorf("after more than a session it is told %+v", late)
	}
}
