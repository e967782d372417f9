package clients

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A static member of KIP-848 that leaves says that it will be back. Until its session has ended nobody gets what it had,
// and then it has that again.
func TestAStaticMemberOfKIP848ComesBackToItsPartitions(t *testing.T) {
	t.Parallel()
	eachClient(t, needs{staticMembers, modernGroups}, func(t *testing.T, k kind) {
		c := newCrew(t, 4)
		as := func(instance string) request {
			return request{Assignor: "uniform", Protocol: modern, Instance: instance}
		}
		first, second := c.join(k, as("one")), c.join(k, as("two"))
		c.share(first, second)
		before, epoch := c.instances()
		second.leave()
		if away, now := c.instances(); now != epoch || !slices.Equal(away["one"], before["one"]) {
			t.Errorf("while it is away the epoch is %d, and was %d, and the other one has %v", now, epoch, away["one"])
		}
		second = c.join(k, as("two"))
		c.share(first, second)
		if after, _ := c.instances(); !reflect.DeepEqual(before, after) {
			t.Errorf("the instances had %v and have %v", before, after)
		}
	})
}

// instances returns the partitions of each instance of a group of KIP-848, and the group's epoch.
func (c *crew) instances() (assigned map[string][]int32, epoch int32) {
	c.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(c.bootstrap, ",")...))
	if err != nil {
		c.t.Fatal(err)
	}
	defer client.Close()
	q := kmsg.NewPtrConsumerGroupDescribeRequest()
	q.Groups = []string{c.group}
	described, err := q.RequestWith(c.t.Context(), client)
	if err != nil {
		c.t.Fatal(err)
	}
	g := described.Groups[0]
	if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
		c.t.Fatal(fmt.Errorf("describe %s: %w", c.group, err))
	}
	assigned = map[string][]int32{}
	for _, m := range g.Members {
		if m.InstanceID == nil {
			c.t.Fatalf("member %s has no instance", m.MemberID)
		}
		for _, topic := range m.Assignment.TopicPartitions {
			assigned[*m.InstanceID] = slices.Sorted(slices.Values(topic.Partitions))
		}
	}
	return assigned, g.Epoch
}
