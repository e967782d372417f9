package node

import (
	"slices"
	"testing"

	"github.com/troupe-mq/troupe/cluster/gossip"
	"github.com/troupe-mq/troupe/wire"
)

// process is one run of broker 2.
func process(incarnation wire.Incarnation, address string) gossip.Member {
	return gossip.Member{Broker: 2, Directory: "d", Incarnation: incarnation, Address: address}
}

func TestABrokerIsLookedForWhereverAnybodySawIt(t *testing.T) {
	b := newAddressBook()
	steps := []struct {
		what string
		do   func()
		want []string
	}{
		{"it was there once", func() { b.remember([]wire.Member{{Broker: 2, Address: "once:1"}}) }, []string{"once:1"}},
		{"the metadata log tells", func() { b.register(2, 7, []string{"log:1"}) }, []string{"log:1", "once:1"}},
		{"gossip sees it", func() { b.alive(process(7, "log:1")) }, []string{"log:1", "once:1"}},
		{"it has begun elsewhere", func() { b.alive(process(8, "new:1")) }, []string{"new:1", "log:1", "once:1"}},
		{"its former process is dead", func() { b.failed(process(7, "log:1")) }, []string{"new:1", "log:1", "once:1"}},
		{"it has registered", func() { b.register(2, 8, []string{"new:1"}) }, []string{"new:1", "once:1"}},
		{"it is dead", func() { b.failed(process(8, "new:1")) }, []string{"new:1"}},
	}
	for _, step := range steps {
		step.do()
		if got := b.brokers[2].addresses(); !slices.Equal(got, step.want) {
			t.Errorf("%s: it is looked for at %v, want %v", step.what, got, step.want)
		}
	}
	if got := b.members(); !slices.Equal(got, []wire.Member{{Broker: 2, Address: "new:1"}}) {
		t.Errorf("members are %v", got)
	}
}

func TestABrokerThatWasRemovedIsNoContact(t *testing.T) {
	b := newAddressBook()
	b.register(2, 7, []string{"two:1"})
	b.register(3, 7, []string{"three:1"})
	b.alive(process(7, "two:1"))
	b.forget(2)
	if got := b.contacts(); !slices.Equal(got, []string{"three:1"}) {
		t.Errorf("contacts are %v", got)
	}
	b.register(2, 9, []string{"two:2"}) // another may have its id, one day
	if got := b.contacts(); !slices.Contains(got, "two:2") {
		t.Errorf("contacts are %v", got)
	}
}
