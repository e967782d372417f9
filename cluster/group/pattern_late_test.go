package group

import (
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// A coordinator that is busy looks at a group late, each time. Then nobody is believed to be silent, but names are matched.
func TestNamesAreMatchedAlsoByACoordinatorThatIsAlwaysLate(t *testing.T) {
	d := newDesk(t)
	d.unfolded = true
	d.view = manyTopics(500, 3)
	wantError(t, ask[*wire.ConsumerHeartbeatReply](d, subscriber("m", wire.MemberJoins, costly)).Err, wire.None)
	p := d.g.consumer.subs.patterns[costly]
	for turns := 0; p.round != nil; turns++ {
		if turns > 500 {
			t.Fatalf("%d of %d names are matched, and no more will be", p.round.next, len(p.round.names))
		}
		d.stands(maxLate + time.Millisecond)
	}
	if len(p.matched) != 3 {
		t.Errorf("%d names are matched", len(p.matched))
	}
}
