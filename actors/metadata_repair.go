package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
)

// A metadata log that is damaged has lost something that was promised: entries that others count on, or
// votes. Its broker must not vote in its name again. Where the cluster goes on without it, the broker sets the
// log aside, takes another raft id, and is filled again like one that joins; the old number is replaced among
// the voters. Where nobody else leads, that log may be the only one there is, and nothing is touched.

// repairable says whether a damaged log could be replaced: there are others that may have it.
func (b *brokerActor) repairable(err error) bool {
	return b.peers != nil && !b.cfg.Alone && errors.As(err, new(*storage.WALDamage))
}

// clusterLives tells the broker actor that the cluster is led without this broker.
type clusterLives struct{}

const (
	lookForClusterPause = 500 * time.Millisecond
	// lookForClusterPatience is how long to look before saying what can be done if nobody is found.
	lookForClusterPatience = 30 * time.Second
)

// seekCluster looks for somebody who leads: somebody who answers a command that has nothing to write has just made
// sure of its majority.
func (b *brokerActor) seekCluster(ctx actor.Context, damage error) {
	b.logger.Error("metadata log is damaged: it is replaced if the cluster goes on without it", "err", damage)
	self, began, told := ctx.Self(), b.now(), false
	command := metadata.FoundCluster{ClusterID: b.dirs[0].Identity().ClusterID}
	b.work.Go(func() {
		for {
			for _, id := range b.peers.ids() {
				asked, cancel := context.WithTimeout(b.lost, askPatience)
				p := b.askThere(asked, id, command)
				cancel()
				if p.decided {
					b.send(self, &clusterLives{})
					return
				}
			}
			if !told && b.now().Sub(began) > lookForClusterPatience {
				told = true
				b.logger.Error("metadata log is damaged and nobody else leads: if there is no majority without this broker, " +
					"stop it and see 'troupe cluster recover'")
			}
			timer := time.NewTimer(lookForClusterPause)
			select {
			case <-timer.C:
			case <-b.ending:
				timer.Stop()
				return
			case <-b.lost.Done():
				timer.Stop()
				return
			}
		}
	})
}

// onClusterLives begins anew with a blank log.
func (b *brokerActor) onClusterLives(ctx actor.Context) {
	if b.stopping != nil || b.controllerPID != nil {
		return
	}
	kept, raftID, err := SetAsideMetadataLog(b.fs, b.dirs, b.now())
	if err != nil {
		b.fail(fmt.Errorf("replace the damaged metadata log: %w", err))
		return
	}
	b.raftID.Store(raftID)
	b.refill = true
	b.logger.Warn("damaged metadata log was set aside, and is filled again", "kept_as", kept)
	b.lastFailure = nil
	b.startController(ctx)
	if b.registered { // else it does not know of the former number
		registration := b.cfg.Registration
		registration.RaftID = b.raftID.Load()
		b.tellAbout(registration)
	}
}
