package wire

import (
	"crypto/sha256"
	"encoding/hex"
)

// Gossip between brokers may be encrypted by a key of which every broker has a copy. The keys never
// leave the brokers: everybody else is told their fingerprints.

// GossipKey is a key that encrypts gossip. It prints as its fingerprint.
type GossipKey []byte

// fingerprintBytes is how much of a hash tells keys apart. They are random, so nobody finds them by it.
const fingerprintBytes = 8

// Fingerprint names the key without giving it away.
func (k GossipKey) Fingerprint() string {
	sum := sha256.Sum256(append([]byte("troupe gossip key "), k...))
	return hex.EncodeToString(sum[:fingerprintBytes])
}

// String implements fmt.Stringer, so that no key gets into a log by mistake.
func (k GossipKey) String() string { return k.Fingerprint() }

// GossipKeys is what one broker encrypts gossip with.
type GossipKeys struct {
	Broker BrokerID
	Err    error // why it is not known
	// Fingerprints are those of the keys that it understands, that of the one it uses first; none
	// when it does not encrypt.
	Fingerprints []string
}

// GossipKeyList tells of every registered broker, by id.
type GossipKeyList struct{ Brokers []GossipKeys }

// RotateGossipKey asks that a new key take the place of all others.
type RotateGossipKey struct {
	Without bool // those brokers that are not online: they will need the new key file
}

// GossipKeyAction is what a broker does to its keys.
type GossipKeyAction int8

// The actions, of which each is done by all brokers before the next one.
const (
	LookAtGossipKeys  GossipKeyAction = 0
	LearnGossipKey    GossipKeyAction = 1 // understand Key too
	UseGossipKey      GossipKeyAction = 2 // send with the first of Fingerprints
	ForgetGossipKeys  GossipKeyAction = 3 // all but Fingerprints
	maxGossipKeyBytes                 = 32
)

var gossipKeyActions = [...]string{"look", "learn", "use", "forget"}

// String names the action.
func (a GossipKeyAction) String() string {
	if a < 0 || int(a) >= len(gossipKeyActions) {
		return "unknown"
	}
	return gossipKeyActions[a]
}

// GossipKeyStep is what one broker asks of another in a rotation. No client may send it.
type GossipKeyStep struct {
	Action       GossipKeyAction
	Key          GossipKey
	Fingerprints []string
}
