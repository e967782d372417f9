package groups

import (
	"slices"
	"time"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/wire"
)

// grace is what a rebalance may take beyond the times that groups are configured with.
const grace = 2 * time.Second

// checkSettled is asked when nothing has gone wrong for a while: every group is at rest, and each partition that a member
// wants is consumed by exactly one.
func (w *World) checkSettled() {
	for number := range w.profile.Groups {
		w.checkGroup(number)
	}
	w.checkOpen()
}

func (w *World) checkGroup(number int) {
	var members []*client
	for _, c := range w.clients {
		if c.number() == number && c.alive() {
			members = append(members, c)
		}
	}
	if len(members) == 0 {
		return
	}
	id := members[0].group
	if w.log.leader == nil || w.log.leader.led == nil || w.log.leader.led.loading {
		w.Violate("%s: nobody coordinates it at the end", id)
		return
	}
	c := w.log.leader.led.coordinator(id)
	if state := c.rules.Listed().State; state != wire.GroupStable {
		w.Violate("%s: its state is %s at the end: %s", id, state, c.peek(c.rules, &wire.DescribeGroup{Group: id}))
		return
	}
	for _, p := range w.image.places(func(string) bool { return true }) {
		wanted := false
		var owners []string
		for _, m := range members {
			wanted = wanted || m.subscribed(p.topic)
			if h, ok := m.holds(p); ok {
				owners = append(owners, m.name)
				if !h.fetched {
					w.Violate("%s: %s does not know where to begin in %v", id, m.name, p)
				}
			}
		}
		if wanted && len(owners) != 1 {
			w.Violate("%s: at the end %v is consumed by %q of %d members: %s", id, p, owners, len(members),
				c.peek(c.rules, &wire.DescribeGroup{Group: id}))
			return
		}
	}
	w.truth(id).checkFold(c)
}

// checkOpen finds calls that nobody will answer any more.
func (w *World) checkOpen() {
	for handle := uint64(1); handle <= w.calls; handle++ {
		c := w.open[group.Call(handle)]
		if c == nil {
			continue
		}
		if longest := w.profile.RebalanceTimeout + w.profile.Session + 5*time.Second; w.Now()-c.asked > longest || c.at == nil || c.at.ended {
			w.Violate("call %d, asked %v ago, was never answered: %s", handle, w.Now()-c.asked, show(c.request))
			return
		}
	}
}

// drill lets one thing happen at a time to groups that are at rest: then the times are kept to the letter, and who has
// nothing to give up goes on.
func (w *World) drill() {
	for range 2 {
		if w.Outcome().Violation != "" {
			return
		}
		w.stats.Drills++
		w.forget() // a client goes by itself when another one has its name
		before := make(map[*client][]holding)
		for _, c := range w.clients {
			before[c] = slices.Clone(c.owned)
		}
		clear(w.vacant)
		began, within, goOn := w.Now(), grace, (*client).incremental
		w.Guard(func() { within, goOn = w.exercise() })
		w.patience = within
		w.Until(w.Now() + within)
		w.Guard(func() { w.checkVacant(began) })
		if slices.ContainsFunc(w.clients, (*client).roundabout) {
			w.Until(w.Now() + 2*grace)
		}
		w.patience = 0
		w.Guard(w.checkSettled)
		for _, c := range w.clients {
			if goOn(c) {
				w.checkUnmoved(c, before[c], began)
			}
		}
		w.release()
	}
}

// seat is a partition in a group.
type seat struct {
	group wire.GroupID
	place
}

// vacated is a client that consumes some partitions no more.
func (w *World) vacated(group wire.GroupID, places []place) {
	for _, p := range places {
		w.vacant[seat{group, p}] = w.Now()
	}
}

// taken is the end of the time that nobody consumes a partition.
func (w *World) taken(s seat) {
	if since, ok := w.vacant[s]; ok && w.patience > 0 && w.consumers(s) == 0 && w.Now()-since > w.patience {
		w.Violate("%s: nobody has consumed %v for %v, and that may take %v", s.group, s.place, w.Now()-since, w.patience)
	}
}

// checkVacant: when one thing has happened to a group at rest, nobody waits for a partition for longer than that takes.
func (w *World) checkVacant(began time.Duration) {
	for _, c := range w.clients {
		for _, p := range w.image.places(c.subscribed) {
			s := seat{c.group, p}
			if since := max(w.vacant[s], began); w.consumers(s) == 0 && w.Now()-since >= w.patience {
				w.Violate("%s: nobody consumes %v since %v", s.group, p, since)
				return
			}
		}
	}
}

// consumers of a partition.
func (w *World) consumers(s seat) (count int) {
	for _, c := range w.clients {
		if _, holds := c.holds(s.place); holds && c.group == s.group && c.alive() {
			count++
		}
	}
	return count
}

// release lets those poll again that were made to stop, and waits for what comes of it.
func (w *World) release() {
	for _, c := range w.clients {
		if m, ok := c.protocol.(*classicMember); ok && m.stuck {
			m.stuck = false
			w.Until(w.Now() + w.profile.Session + grace)
		}
	}
}

// exercise does one thing, and tells how long groups may take to be at rest again, and who of the clients goes on with
// what he keeps.
func (w *World) exercise() (within time.Duration, goOn func(*client) bool) {
	c := w.someClient()
	switch n := w.Random.IntN(5); {
	case n == 0 && len(w.clients) > 1:
		w.Note("world", "drill: %s crashes", c.name)
		c.crash()
		w.forget()
		return w.profile.Session + grace, (*client).incremental
	case n == 1:
		w.Note("world", "drill: a client comes")
		w.newClient(w.Random.IntN(w.profile.Groups), "")
	case n == 2:
		if t, ok := w.image.Topic("orders"); ok {
			w.Note("world", "drill: a topic grows to %d", t.Partitions+1)
			w.setImage(w.image.grow("orders"))
		}
	case n == 3 && c != nil && c.mayStop():
		w.Note("world", "drill: %s stops polling", c.name)
		c.protocol.(*classicMember).stuck = true
		w.newClient(c.number(), "")
		return w.profile.RebalanceTimeout + grace, func(*client) bool { return false } // two things: it comes, the other goes
	default:
		w.Note("world", "drill: another broker leads")
		w.move()
		return w.profile.Session + grace, func(*client) bool { return true }
	}
	return grace, (*client).incremental
}

// mayStop says that the others of a group go on when the client's application polls no more.
func (c *client) mayStop() bool {
	m, classic := c.protocol.(*classicMember)
	return classic && !m.cooperative() && c.instance == ""
}

// roundabout says that a client leaves it to members to assign and gives up one partition after the other: the assignor of
// these may take several rebalances, each of them as long as others take in all.
func (c *client) roundabout() bool {
	m, classic := c.protocol.(*classicMember)
	return classic && m.cooperative()
}

// incremental says that a client only ever gives up what it is to have no longer.
func (c *client) incremental() bool {
	m, classic := c.protocol.(*classicMember)
	return !classic || m.cooperative()
}

// checkUnmoved: what a client has after a rebalance as before it never stopped.
func (w *World) checkUnmoved(c *client, before []holding, began time.Duration) {
	for _, was := range before {
		if is, ok := c.holds(was.place); ok && is.since > began {
			w.Violate("%s: %s stopped consuming %v, to take it up again at %v", c.group, c.name, was.place, is.since)
		}
	}
}
