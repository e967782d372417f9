package clients

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// An operator removes members with Kafka's admin client: static ones by their instance ids, or all that there are. They
// are told that they have lost what they had, nobody else is, and those that live come back.
func TestTheAdminClientRemovesMembers(t *testing.T) {
	t.Parallel()
	admin := openJava(t, bootstrap)
	for _, how := range []request{{Protocol: classic}, {Protocol: modern}} {
		t.Run(how.Protocol, func(t *testing.T) {
			t.Parallel()
			c := newCrew(t, 6)
			members := map[string]*watched{
				"one": c.watch(how, kgo.InstanceID("one")), "two": c.watch(how, kgo.InstanceID("two")), "": c.watch(how),
			}
			for _, m := range members {
				m.give() // at once
			}
			c.expectShared(members)
			for _, remove := range []struct {
				instances []string
				refused   string
				removed   []string
			}{
				{instances: []string{"two"}, removed: []string{"two"}},
				{instances: []string{"nobody"}, refused: "UnknownMemberIdException"},
				{removed: []string{"one", "two", ""}},
			} {
				before := losses(members)
				_, err := admin.do(t.Context(), request{Op: "remove", Group: c.group, Instances: remove.instances})
				if remove.refused == "" && err != nil || remove.refused != "" && (err == nil || !strings.Contains(err.Error(), remove.refused)) {
					t.Fatalf("remove %q: %v", remove.instances, err)
				}
				for _, name := range remove.removed {
					c.retry("who was removed is told", func() bool { return losses(members)[name] > before[name] })
					before[name] = losses(members)[name]
				}
				c.expectShared(members)
				for name, lost := range losses(members) {
					if lost != before[name] {
						t.Errorf("when %q were removed, %q has lost %d partitions", remove.instances, name, lost-before[name])
					}
				}
			}
		})
	}
}

// expectShared waits until each member has as many partitions as the others.
func (c *crew) expectShared(members map[string]*watched) {
	c.t.Helper()
	c.retry("the members share the partitions", func() bool {
		for _, m := range members {
			if partitions, _ := m.has(); partitions != int(c.partitions)/len(members) {
				return false
			}
		}
		return true
	})
}

// losses are how many partitions each member was told that it has lost.
func losses(members map[string]*watched) map[string]int {
	lost := map[string]int{}
	for name, m := range members {
		_, lost[name] = m.has()
	}
	return lost
}
