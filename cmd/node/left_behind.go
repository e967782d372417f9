package node

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/troupe-mq/troupe/actors"
	"github.com/troupe-mq/troupe/cluster/bootstrap"
	"github.com/troupe-mq/troupe/wire"
)

// A cluster that has lost most of its voters for good is recovered from one that is left (recover.go), in a
// new recovery epoch. Should any of the others turn up after all, they still have the old metadata, and may
// even be most of the old voters. There are no links between the epochs. Whoever is in the lower one and
// hears of the higher one sets its metadata log aside and joins the cluster anew, as the broker that it was
// and with the partitions that it has: that is rule B12 of cluster/bootstrap.

// LeftBehindError ends a broker whose cluster was recovered without it. Started again, it joins that; the
// broker at the address Join is there.
type LeftBehindError struct {
	RecoveryEpoch uint64
	Join          string
}

func (e *LeftBehindError) Error() string {
	return fmt.Sprintf("the cluster was recovered without this broker, as the one at %s says (recovery epoch %d): it starts over there", e.Join, e.RecoveryEpoch)
}

// leftBehind keeps what a broker that runs has heard of a recovery.
type leftBehind struct {
	mu      sync.Mutex
	looking map[string]bool // at which addresses
	met     *LeftBehindError
	abandon context.CancelCauseFunc // ends the start, if it has not ended
}

// error returns why this broker must start again, or nil.
func (l *leftBehind) error() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.met == nil {
		return nil
	}
	return l.met
}

// begin says that nobody looks at an address yet.
func (l *leftBehind) begin(address string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.met != nil || l.looking[address] {
		return false
	}
	if l.looking == nil {
		l.looking = make(map[string]bool)
	}
	l.looking[address] = true
	return true
}

func (l *leftBehind) end(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.looking, address)
}

// heardOfRecovery hears of somebody in this broker's cluster who may be in a higher recovery epoch. Whoever
// says so must be where it says: anybody can say things. It does not block.
func (n *Node) heardOfRecovery(there wire.Hello) {
	me := n.identity.Load()
	if me == nil {
		return
	}
	self := bootstrap.Self{ClusterID: me.ClusterID, RecoveryEpoch: me.RecoveryEpoch}
	if !self.LeftBehind(there) || !n.left.begin(there.Address) {
		return
	}
	n.tasks.Go(func() {
		defer n.left.end(there.Address)
		for range recoveryLooks {
			answer, err := n.caller.hello(n.life, there.Address, n.introduction())
			if err == nil {
				if self.LeftBehind(answer) {
					n.startAgainIn(answer.RecoveryEpoch, there.Address)
				}
				return
			}
			if rest(n.life, claimInterval) != nil {
				return
			}
		}
	})
}

// recoveryLooks is how often somebody is looked for who is said to be in a higher recovery epoch. Gossip
// and the other broker say it again.
const recoveryLooks = 10

// startAgainIn ends this broker. The next start begins with startOver.
func (n *Node) startAgainIn(epoch uint64, address string) {
	n.left.mu.Lock()
	defer n.left.mu.Unlock()
	if n.left.met != nil {
		return
	}
	identity := n.dirs[0].Identity()
	if err := n.begin(savedBeginning{ClusterID: identity.ClusterID, DirectoryID: identity.DirectoryID, RecoveryEpoch: epoch}); err != nil {
		n.log.Error("this broker cannot start over in its cluster, which was recovered without it", "err", err)
		return
	}
	n.left.met = &LeftBehindError{RecoveryEpoch: epoch, Join: address}
	n.left.abandon(n.left.met)
	select {
	case n.ended <- n.left.met:
	default:
	}
}

// settleRecovery refuses to start in the middle of a recovery, and finishes what startAgainIn has begun.
func (n *Node) settleRecovery(context.Context) error {
	mark, err := loadRecovery(n.opts.FS, n.dirs[0])
	if err != nil {
		return err
	}
	if mark.RecoveryEpoch > 0 {
		return fmt.Errorf("a recovery of the cluster was begun in %s and not finished: run \"troupe cluster recover\" there again", n.dirs[0].Path())
	}
	first := n.dirs[0].Identity()
	for _, d := range n.dirs[1:] {
		if d.Identity().RecoveryEpoch > first.RecoveryEpoch {
			return fmt.Errorf("%s holds the metadata from before a recovery of the cluster, of which %s knows: put the later copy of it back",
				n.dirs[0].Path(), d.Path())
		}
	}
	if epoch := n.beginning().RecoveryEpoch; epoch > first.RecoveryEpoch {
		return n.startOver(epoch)
	}
	return raiseRecoveryEpoch(n.dirs, first.RecoveryEpoch)
}

// startOver makes this broker one that has yet to join its cluster in a recovery epoch. Before the last step
// it belongs to the old epoch; whatever it is interrupted after, it never has votes in the name of a log that
// is gone, and comes here again.
func (n *Node) startOver(epoch uint64) error {
	identity := n.dirs[0].Identity()
	if err := n.begin(savedBeginning{ClusterID: identity.ClusterID, DirectoryID: identity.DirectoryID, RecoveryEpoch: epoch}); err != nil {
		return err
	}
	kept := "none"
	if _, err := n.opts.FS.Stat(filepath.Join(n.dirs[0].Path(), metadataLogDir)); err == nil {
		if kept, _, err = actors.SetAsideMetadataLog(n.opts.FS, n.dirs, n.opts.Now()); err != nil {
			return fmt.Errorf("set the metadata log from before the recovery aside: %w", err)
		}
	}
	n.log.Warn("the cluster was recovered without this broker: it starts over there, with its partitions",
		"recovery_epoch", epoch, "metadata_log_kept_as", kept)
	return raiseRecoveryEpoch(n.dirs, epoch)
}

// inEpoch is a broker of this cluster as gossip tells of it.
func (n *Node) inEpoch(epoch uint64, address string) wire.Hello {
	return wire.Hello{ClusterID: n.identity.Load().ClusterID, RecoveryEpoch: epoch, Address: address}
}
