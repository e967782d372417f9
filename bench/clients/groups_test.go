package clients

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each client forms groups with each assignor that it has: members come and go, and whoever takes over goes on where
// the last commit ended.
func TestEveryClientFormsGroupsWithEveryAssignor(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		for _, assignor := range k.assignors {
			t.Run(k.name+"/"+assignor, func(t *testing.T) {
				t.Parallel()
				comeAndGo(t, k, request{Assignor: assignor})
			})
		}
	}
}

func TestEveryClientOfKIP848FormsGroups(t *testing.T) {
	t.Parallel()
	for _, assignor := range []string{"uniform", "range"} {
		t.Run(assignor, func(t *testing.T) {
			t.Parallel()
			eachClient(t, needs{modernGroups}, func(t *testing.T, k kind) {
				comeAndGo(t, k, request{Assignor: assignor, Protocol: modern})
			})
		})
	}
}

func comeAndGo(t *testing.T, k kind, how request) {
	c := newCrew(t, 4)
	c.produce(20)
	first := c.join(k, how)
	c.settle(first)
	second := c.join(k, how)
	c.share(first, second)
	second.leave()
	c.share(first)
	first.leave()

	committed := append([]int64{}, c.produced...)
	c.produce(5)
	third := c.join(k, how)
	c.settle(third)
	third.expectNothingBefore(committed)
}

// A member that dies is missed once its session is over.
func TestTheOthersTakeOverFromAMemberThatDied(t *testing.T) {
	t.Parallel()
	eachClient(t, nil, func(t *testing.T, k kind) {
		c := newCrew(t, 4)
		how := request{Assignor: k.assignors[0]}
		first, second := c.join(k, how), c.join(k, how)
		c.share(first, second)
		second.die()
		committed := append([]int64{}, c.produced...)
		c.produce(5)
		c.settle(first)
		first.mu.Lock()
		defer first.mu.Unlock()
		for partition, end := range committed {
			if !first.read[place{int32(partition), end}] {
				t.Errorf("partition %d has no owner", partition)
			}
		}
	})
}

// The range assignor is the one that most have: its metadata and assignments are the same bytes for all.
func TestMembersOfEveryClientShareOneGroup(t *testing.T) {
	t.Parallel()
	var members []*hand
	c := newCrew(t, 2*int32(len(kinds)))
	for _, k := range kinds {
		if !k.has("range") {
			t.Logf("%s has no range assignor", k.name)
			continue
		}
		members = append(members, c.join(k, request{Assignor: "range"}))
	}
	c.share(members...)
	// kafka-go goes first, while franz-go leads. Its subscription says version 1 and lacks the partitions that it has, which Java's client
	// as leader refuses; and as leader it refuses those that do not lack them.
	first := slices.IndexFunc(members, func(h *hand) bool { return h.name == "kafka-go" })
	members[0], members[first] = members[first], members[0]
	for len(members) > 1 { // also the leader goes, once
		members[0].leave()
		members = members[1:]
		c.share(members...)
	}
}

func TestMembersOfEveryClientShareOneGroupOfKIP848(t *testing.T) {
	t.Parallel()
	var members []*hand
	c := newCrew(t, 2*int32(len(kinds)))
	for _, k := range kinds {
		if k.can(modernGroups) {
			members = append(members, c.join(k, request{Assignor: "uniform", Protocol: modern}))
		}
	}
	c.share(members...)
	for len(members) > 1 {
		members[0].leave()
		members = members[1:]
		c.share(members...)
	}
}

// A static member that comes back within its session has what it had, and nobody else notices.
func TestAStaticMemberComesBackToItsPartitions(t *testing.T) {
	t.Parallel()
	eachClient(t, needs{staticMembers}, func(t *testing.T, k kind) {
		c := newCrew(t, 4)
		as := func(instance string) request { return request{Assignor: k.assignors[0], Instance: instance} }
		first, second := c.join(k, as("one")), c.join(k, as("two"))
		c.share(first, second)
		before := c.assignments()
		second.die()
		second = c.join(k, as("two"))
		c.share(first, second)
		if after := c.assignments(); fmt.Sprint(before) != fmt.Sprint(after) {
			t.Errorf("the instances had %v and have %v", before, after)
		}
	})
}

// assignments returns the partitions of each instance of a classic group.
func (c *crew) assignments() map[string]string {
	c.t.Helper()
	groups, err := c.admin.DescribeGroups(c.t.Context(), c.group)
	if err == nil {
		err = groups.Error()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	assigned := map[string]string{}
	for _, m := range groups[c.group].Members {
		if m.InstanceID == nil {
			c.t.Fatalf("member %s has no instance", m.MemberID)
		}
		topics, ok := m.Assigned.AsConsumer()
		if !ok {
			c.t.Fatalf("the assignment of %s cannot be read", *m.InstanceID)
		}
		for _, topic := range topics.Topics {
			assigned[*m.InstanceID] = fmt.Sprint(topic.Partitions)
		}
	}
	return assigned
}

// Two members cannot have one instance id: the newer one has it, and the older one is told so at once.
func TestAnInstanceIDUsedTwiceEndsTheOlderMember(t *testing.T) {
	t.Parallel()
	eachClient(t, needs{staticMembers, tellsFencing}, func(t *testing.T, k kind) {
		c := newCrew(t, 2)
		how := request{Assignor: k.assignors[0], Instance: "one"}
		older := c.join(k, how)
		c.share(older)
		newer := c.join(k, how)
		c.share(newer)
		for deadline := time.Now().Add(settleLimit); older.err() == nil; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the older member goes on as if nothing had been")
			}
		}
		t.Logf("the older member: %v", older.err())
	})
}

// The coordinator of a group is an actor; one that crashes is put together again from the log, and members
// notice nothing but a moment's silence.
func TestGroupsOutliveTheirCoordinator(t *testing.T) {
	t.Parallel()
	if process == nil {
		t.Skip("actors of another's broker are not ours to kill")
	}
	eachProtocol(t, func(t *testing.T, k kind, how request) {
		c := newCrew(t, 4)
		first, second := c.join(k, how), c.join(k, how)
		c.share(first, second)
		for _, how := range []string{"panic", "stop"} {
			killActor(t, "group/"+c.group, how)
			c.share(first, second)
		}
		third := c.join(k, how)
		killActor(t, "group/"+c.group, "panic") // in the middle of the rebalance
		c.share(first, second, third)
	})
}

// killActor ends an actor, once there is one: a coordinator that nobody has asked since it was loaded has none.
func killActor(t *testing.T, actor, how string) {
	t.Helper()
	body := fmt.Sprintf(`{"actor": %q, "how": %q}`, actor, how)
	for deadline := time.Now().Add(settleLimit); ; time.Sleep(10 * time.Millisecond) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+process.Ready("admin")+"/chaos/kill", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+chaosToken)
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(a.Body)
		_ = a.Body.Close()
		switch {
		case err == nil && a.StatusCode == http.StatusOK:
			return
		case err != nil || a.StatusCode != http.StatusConflict || time.Now().After(deadline):
			t.Fatalf("kill %s: %s, %s, %v", actor, a.Status, text, err)
		}
	}
}

// A member of a classic group may be replaced by one of KIP-848, and back, without the group ever stopping.
func TestAGroupMovesFromOneProtocolToTheOtherAndBack(t *testing.T) {
	t.Parallel()
	eachClient(t, needs{modernGroups}, func(t *testing.T, k kind) {
		c := newCrew(t, 4)
		old, fresh := request{Assignor: k.assignors[0]}, request{Assignor: "uniform", Protocol: modern}
		first, second := c.join(k, old), c.join(k, old)
		c.share(first, second)
		for _, next := range []request{fresh, old} {
			first.leave()
			first = c.join(k, next)
			c.share(first, second)
			second.leave()
			second = c.join(k, next)
			c.share(first, second)
		}
	})
}

// The coordinator finds the topics that match; one that is made later comes by itself.
func TestMembersOfKIP848SubscribeByARegularExpression(t *testing.T) {
	t.Parallel()
	eachClient(t, needs{modernGroups}, func(t *testing.T, k kind) {
		c := newCrew(t, 2)
		c.produce(5)
		member := c.join(k, request{Assignor: "range", Protocol: modern, Pattern: true, Topic: "^" + regexp.QuoteMeta(c.topic) + "(-[a-z]+)?$"})
		c.settle(member)
		for _, topic := range []string{c.topic + "-more", c.topic + "-0"} {
			if _, err := c.admin.CreateTopic(t.Context(), 1, 1, nil, topic); err != nil {
				t.Fatal(err)
			}
			produce(t, franz{c.bootstrap}, request{Topic: topic, Codec: "none", Acks: "all", Records: someRecords(kinds[0], 0, 7)})
		}
		for deadline := time.Now().Add(settleLimit); ; time.Sleep(50 * time.Millisecond) {
			offsets, err := c.offsets()
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := offsets.Lookup(c.topic+"-more", 0); ok && got.At == 7 {
				break
			}
			if time.Now().After(deadline) || member.err() != nil {
				t.Fatalf("nobody reads the topic that was made later: %v", member.err())
			}
		}
		offsets, err := c.offsets()
		if _, ok := offsets.Lookup(c.topic+"-0", 0); ok || err != nil {
			t.Errorf("a topic that does not match was read, or %v", err)
		}
	})
}
