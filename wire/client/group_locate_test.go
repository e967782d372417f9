package client_test

import (
	"sync/atomic"
	"testing"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// The race detector is the judge: the answer that tells where to begin comes together with another assignment.
func TestAnAssignmentThatComesWhileTheLastOneIsLookedUpIsNoRace(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 2)
	var lookups atomic.Int32
	b.FailGroups(func(q wire.GroupRequest) error {
		if _, ok := q.(*wire.FetchOffsets); ok && lookups.Add(1) <= 30 {
			return wire.CoordinatorLoadInProgress
		}
		return nil
	})
	c, err := client.NewWith(client.Config{Addrs: []string{serve(t, b)}, RetryBackoff: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	one := join(t, c)
	two := join(t, c)
	pollUntil(t, func() bool { return owns(one, 1)() && owns(two, 1)() }, one, two)
}
