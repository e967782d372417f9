package actors

import (
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// chores is what the controller does by itself, now and then, so that the cluster is as it should be when all
// are well again: leaders go back to the brokers that are preferred, the internal topics that were
// made while there were fewer brokers get the replicas they lack, and partitions that wait for replicas which
// stay away go on without them.
type chores struct {
	well  map[wire.BrokerID]time.Time // since when each broker has been usable
	due   time.Time
	since time.Time // when they began
}

const (
	choresInterval = 5 * time.Second
	// wellAfter is how long a broker has to be well before it gets leaderships back: moving them to one that comes
	// and goes would make it worse.
	wellAfter = 10 * time.Second
	// reportPatience is how long a new controller waits for all replicas of a partition without a leader to report how
	// far they are, before it makes do with those that have.
	reportPatience = 30 * time.Second
)

// doChores is called with each look at the leases.
func (c *controller) doChores(ctx actor.Context, now time.Time) {
	c.noteWell(now)
	if now.Before(c.chores.due) {
		return
	}
	c.chores.due = now.Add(choresInterval)
	if c.chores.since.IsZero() {
		c.chores.since = now
	}
	for range c.image.Reassigning() {
		c.onPropose(ctx, &propose{command: metadata.CompleteReassignments{}})
		break
	}
	if now.Sub(c.chores.since) >= reportPatience {
		for range c.image.Leaderless() {
			c.onPropose(ctx, &propose{command: metadata.ElectReported{}})
			break
		}
	}
	var well []wire.BrokerID
	for id, since := range c.chores.well {
		if now.Sub(since) >= wellAfter {
			well = append(well, id)
		}
	}
	if len(well) < 2 {
		return
	}
	slices.Sort(well)
	c.onPropose(ctx, &propose{command: metadata.BalanceLeaders{To: well}})
	if len(well) == len(c.chores.well) { // else somebody has just come, and takes replicas soon
		c.onPropose(ctx, &propose{command: metadata.GrowInternalTopics{}})
	}
}

func (c *controller) noteWell(now time.Time) {
	well := make(map[wire.BrokerID]time.Time, len(c.chores.well))
	for _, b := range c.image.Brokers() {
		registration, _ := c.image.Registration(b.ID)
		if !registration.Usable() {
			continue
		}
		since, before := c.chores.well[b.ID]
		if !before {
			since = now
		}
		well[b.ID] = since
	}
	c.chores.well = well
}
