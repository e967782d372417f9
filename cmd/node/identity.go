package node

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// identify settles who this broker is. The directories of one broker agree on it; one that is
// blank, because it is new, is given the others' identity.
func (n *Node) identify() error {
	var known *storage.Identity
	for _, d := range n.dirs {
		identity := d.Identity()
		if identity.ClusterID == "" {
			continue
		}
		if known != nil && (known.ClusterID != identity.ClusterID || known.BrokerID != identity.BrokerID) {
			return fmt.Errorf("%s belongs to broker %d of cluster %s, and %s to broker %d of cluster %s: they cannot be used together",
				n.dirs[0].Path(), known.BrokerID, known.ClusterID, d.Path(), identity.BrokerID, identity.ClusterID)
		}
		known = &identity
	}
	first := n.dirs[0].Identity()
	if known == nil {
		return nil // all are blank: bootstrap.go gives them a cluster
	}
	if first.ClusterID == "" {
		return fmt.Errorf("%s is blank, but %s belongs to cluster %s: the directory with the metadata ("+metadataLogDir+") must be the first --data",
			n.dirs[0].Path(), n.cfg.Data[len(n.cfg.Data)-1], known.ClusterID)
	}
	if id, ok := n.cfg.nodeID(); ok && id != first.BrokerID {
		return fmt.Errorf("node.id is %d, but %s belongs to broker %d: remove node.id, or use another directory", id, n.dirs[0].Path(), first.BrokerID)
	}
	return nil
}

// metadataLogDir is where the metadata log lies, in the first directory.
const metadataLogDir = "__cluster_metadata"

// firstBroker is the founder of a cluster, unless it was told another id.
const firstBroker = 1

func (n *Node) firstBrokerID() wire.BrokerID {
	if id, ok := n.cfg.nodeID(); ok {
		return id
	}
	return firstBroker
}

// remember writes the cluster's id into every directory, once the metadata log has it. A crash
// before that is made good at the next start, which goes on founding.
func (n *Node) remember(clusterID string) error {
	me := n.identity.Load()
	if me.ClusterID != clusterID {
		return fmt.Errorf("%s is of cluster %s, but the metadata log in it of %s", n.dirs[0].Path(), me.ClusterID, clusterID)
	}
	if err := n.keepIdentity(*me); err != nil {
		return err
	}
	return removeFile(n.opts.FS, n.beginningName())
}

// keepIdentity writes into every directory whose it is.
func (n *Node) keepIdentity(me storage.Identity) error {
	for _, d := range n.dirs {
		identity := d.Identity()
		if identity.ClusterID == me.ClusterID {
			continue
		}
		if identity.ClusterID != "" {
			return fmt.Errorf("%s belongs to cluster %s, but the metadata to %s", d.Path(), identity.ClusterID, me.ClusterID)
		}
		identity.ClusterID, identity.BrokerID, identity.RaftID = me.ClusterID, me.BrokerID, me.RaftID
		identity.RecoveryEpoch = me.RecoveryEpoch
		if err := d.SaveIdentity(identity); err != nil {
			return fmt.Errorf("log directory %s: %w", d.Path(), err)
		}
	}
	return nil
}

// newUUID returns a random id in Kafka's form: 22 characters of URL-safe base64.
func newUUID() string {
	var id [16]byte
	for {
		_, _ = rand.Read(id[:]) // never fails
		id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
		if s := base64.RawURLEncoding.EncodeToString(id[:]); s[0] != '-' { // it would look like a flag
			return s
		}
	}
}
