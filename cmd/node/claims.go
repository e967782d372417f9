package node

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/cluster/bootstrap"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// A broker whose disk was lost, and which starts without --join, founds a cluster although it has
// one. The members of that one look for it where it was, find it, and tell it. What becomes of that
// is rule B2 of cluster/bootstrap.

// YieldedError ends a broker that has founded a cluster and found out that it belongs to another.
// Stopped and started again, it joins that.
type YieldedError struct {
	ClusterID string
	by        string // the address to join
}

func (e *YieldedError) Error() string {
	return fmt.Sprintf("cluster %s knows this broker as its own: it drops the cluster that it has founded, and joins by %s", e.ClusterID, e.by)
}

const (
	// claimInterval is how often brokers that are missing are looked for where they were.
	claimInterval = time.Second
	// claimMemory is how long a claim that was contested keeps this broker from being ready.
	claimMemory = 10 * time.Second
	// claimTold is how often a contested claim is worth a line in the log.
	claimTold = time.Minute
)

// contest is a claim of another cluster on this broker.
type contest struct {
	mu    sync.Mutex
	last  time.Time
	told  time.Time
	claim error
}

// standing returns the claim that was made lately.
func (c *contest) standing(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claim == nil || now.Sub(c.last) > claimMemory {
		return nil
	}
	return c.claim
}

// note remembers a claim, and says whether it is news.
func (c *contest) note(now time.Time, claim error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	news := c.told.IsZero() || now.Sub(c.told) >= claimTold
	if news {
		c.told = now
	}
	c.last, c.claim = now, claim
	return news
}

// claimed hears every broker that asks who this one is.
func (n *Node) claimed(ctx context.Context, asker wire.Hello) {
	n.heardOfRecovery(asker)
	me := n.identity.Load()
	broker := n.actors.Load()
	if asker.Known < 0 || me == nil || broker == nil || !n.serving.Load() {
		return
	}
	view := broker.View()
	switch bootstrap.DecideClaim(me.ClusterID, asker.ClusterID, len(view.Brokers()), len(view.TopicNames())) {
	case bootstrap.Unclaimed:
	case bootstrap.Yield:
		// Whoever claims must be where it says: it is to be joined there.
		self := n.introduction()
		if there, err := n.caller.hello(ctx, asker.Address, self); err != nil || there.ClusterID != asker.ClusterID {
			return
		}
		yielded := &YieldedError{ClusterID: asker.ClusterID, by: asker.Address}
		if n.yielded.CompareAndSwap(nil, yielded) {
			select {
			case n.ended <- yielded:
			default:
			}
		}
	case bootstrap.Contest:
		claim := fmt.Errorf("cluster %s knows this broker as its broker %d, but it belongs to cluster %s, which is in use: remove it there, or start it with another data directory",
			asker.ClusterID, asker.Known, me.ClusterID)
		if n.contest.note(n.opts.Now(), claim) {
			n.log.Error("two clusters have a right to this broker", "err", claim)
		}
	}
}

// lookForMissing asks at the addresses of brokers that gossip does not see who is there now.
func (n *Node) lookForMissing() error {
	ticker := time.NewTicker(claimInterval)
	defer ticker.Stop()
	told := make(map[string]time.Time) // by cluster
	for {
		select {
		case <-ticker.C:
		case <-n.life.Done():
			return nil
		}
		if n.broker.Ready() != nil {
			continue // its own word may be out of date
		}
		for _, m := range n.book.missing() {
			self := n.introduction()
			self.Known, self.Members = m.Broker, nil
			found, err := n.caller.hello(n.life, m.Address, self)
			if err != nil || found.ClusterID == "" || found.ClusterID == self.ClusterID {
				n.heardOfRecovery(found)
				continue
			}
			if now := n.opts.Now(); now.Sub(told[found.ClusterID]) >= claimTold {
				told[found.ClusterID] = now
				n.log.Error("where a broker of this cluster was, there is one of another", "broker", m.Broker, "address", m.Address, "cluster_id", found.ClusterID)
			}
		}
	}
}

// yield prepares the directories for the next start to be blank, once nothing uses them any more.
// If the cluster has been used after all, it stays.
func (n *Node) yield() error {
	yielded := n.yielded.Load()
	if yielded == nil || n.broker == nil {
		return nil
	}
	if len(n.broker.View().TopicNames()) > 0 {
		n.log.Error("a topic was created before this broker could drop its cluster: it keeps it", "claimed_by", yielded.ClusterID)
		return nil
	}
	identity := n.dirs[0].Identity()
	return n.begin(savedBeginning{ClusterID: identity.ClusterID, DirectoryID: identity.DirectoryID, Yielding: true, Join: yielded.by})
}

// finishYielding makes the directories of a broker blank that has yielded, and has it join.
func (n *Node) finishYielding(context.Context) error {
	begun := n.beginning()
	if !begun.Yielding {
		return nil
	}
	for _, d := range n.dirs {
		blank := storage.Identity{DirectoryID: d.Identity().DirectoryID, BrokerID: wire.NoBroker}
		if err := d.SaveIdentity(blank); err != nil {
			return fmt.Errorf("log directory %s: %w", d.Path(), err)
		}
	}
	first := n.dirs[0].Path()
	if err := n.opts.FS.RemoveAll(filepath.Join(first, metadataLogDir)); err != nil {
		return fmt.Errorf("drop the cluster that was founded here: %w", err)
	}
	for _, name := range []string{peersFile, beginningFile} { // the latter last: until then it is done again
		if err := removeFile(n.opts.FS, filepath.Join(first, name)); err != nil {
			return err
		}
	}
	n.cfg.Join = []string{begun.Join}
	return nil
}
