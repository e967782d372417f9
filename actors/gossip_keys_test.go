package actors

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/troupe-mq/troupe/wire"
)

// rings are the keys of all brokers of a test, which are looked at after every change.
type rings struct {
	t *testing.T

	mu      sync.Mutex
	of      map[wire.BrokerID]*memoryRing
	changes int
	fail    int // the change that fails; 0: none
}

var errRing = errors.New("the key file cannot be written")

// memoryRing is the keys of one broker.
type memoryRing struct {
	all  *rings
	keys []wire.GossipKey
}

// encrypt gives brokers of a cluster one key.
func (cl *cluster) encrypt(ids ...wire.BrokerID) *rings {
	all := &rings{t: cl.t, of: make(map[wire.BrokerID]*memoryRing)}
	for _, id := range ids {
		all.give(cl, id, bytes.Repeat([]byte{7}, 32))
	}
	return all
}

// give starts a broker's keys with these.
func (all *rings) give(cl *cluster, id wire.BrokerID, keys ...wire.GossipKey) {
	ring := &memoryRing{all: all, keys: keys}
	all.of[id], cl.members[id].gossipKeys = ring, ring
}

func (r *memoryRing) Fingerprints() (names []string) {
	r.all.mu.Lock()
	defer r.all.mu.Unlock()
	return r.names()
}

func (r *memoryRing) names() (names []string) {
	for _, key := range r.keys {
		names = append(names, key.Fingerprint())
	}
	return names
}

func (r *memoryRing) Learn(key wire.GossipKey) error {
	return r.change(func() { r.keys = append(r.keys, key) })
}

func (r *memoryRing) Use(name string) error {
	at := slices.Index(r.Fingerprints(), name)
	if at < 0 {
		return wire.ResourceNotFound
	}
	return r.change(func() { r.keys[0], r.keys[at] = r.keys[at], r.keys[0] })
}

func (r *memoryRing) Forget(but []string) error {
	return r.change(func() {
		r.keys = slices.DeleteFunc(r.keys, func(key wire.GossipKey) bool { return !slices.Contains(but, key.Fingerprint()) })
	})
}

func (r *memoryRing) change(do func()) error {
	r.all.mu.Lock()
	defer r.all.mu.Unlock()
	r.all.changes++
	if r.all.changes == r.all.fail {
		return errRing
	}
	do()
	r.all.look()
	return nil
}

// look sees that each broker understands what any other one uses.
func (all *rings) look() {
	for id, ring := range all.of {
		if len(ring.keys) == 0 || len(ring.keys) > 3 {
			all.t.Errorf("broker %d has %d keys", id, len(ring.keys))
			continue
		}
		for other, theirs := range all.of {
			if !slices.Contains(theirs.names(), ring.keys[0].Fingerprint()) {
				all.t.Errorf("broker %d does not understand the key that broker %d uses", other, id)
			}
		}
	}
}

// expectOne checks that all brokers have one key, and the same one, and returns its name.
func (all *rings) expectOne() string {
	all.t.Helper()
	all.mu.Lock()
	defer all.mu.Unlock()
	first := all.of[1].names()
	for id, ring := range all.of {
		if names := ring.names(); len(names) != 1 || !slices.Equal(names, first) {
			all.t.Errorf("broker %d has the keys %v, broker 1 has %v", id, names, first)
		}
	}
	return first[0]
}

// failAt has a change fail, counted from now on.
func (all *rings) failAt(n int) {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.changes, all.fail = 0, n
}

func TestAtNoMomentOfARotationIsABrokerNotUnderstood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		all := cl.encrypt(1, 2, 3)
		cl.awaitReady()
		before := all.expectOne()
		for n := 1; ; n++ { // the n-th change fails, whoever makes it
			all.failAt(n)
			_, err := cl.members[2].RotateGossipKey(t.Context(), wire.RotateGossipKey{})
			if err == nil {
				break
			}
			if wire.Code(err) != wire.KafkaStorageError {
				t.Fatalf("change %d: %v", n, err)
			}
			all.failAt(0)
			described, err := cl.members[3].RotateGossipKey(t.Context(), wire.RotateGossipKey{})
			if err != nil {
				t.Fatalf("after change %d: %v", n, err)
			}
			now := all.expectOne()
			for i, ring := range described {
				if ring.Broker != wire.BrokerID(i+1) || !slices.Equal(ring.Fingerprints, []string{now}) {
					t.Errorf("after change %d broker %d is described as %+v", n, i+1, ring)
				}
			}
			if now == before {
				t.Errorf("after change %d they use the key that they used before", n)
			}
			before = now
		}
		if all.changes != 4*3 {
			t.Errorf("a rotation took %d changes", all.changes)
		}
	})
}

func TestNobodyIsLeftBehindByARotationUnlessItIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		all := cl.encrypt(1, 2, 3)
		cl.awaitVoters(1, 2, 3)
		cl.awaitReady()
		before := all.expectOne()
		cl.kill(3)
		if _, err := cl.members[1].RotateGossipKey(t.Context(), wire.RotateGossipKey{}); !errors.Is(err, wire.BrokerNotAvailable) {
			t.Errorf("while a broker is dying: %v", err)
		}
		cl.await("it is fenced", func() bool { return cl.members[1].fenced(3) })
		if _, err := cl.members[1].RotateGossipKey(t.Context(), wire.RotateGossipKey{}); !errors.Is(err, wire.BrokerNotAvailable) {
			t.Errorf("while a broker is dead: %v", err)
		}
		if now := all.expectOne(); now != before {
			t.Error("keys have changed")
		}
		delete(all.of, 3)
		described, err := cl.members[1].RotateGossipKey(t.Context(), wire.RotateGossipKey{Without: true})
		if err != nil || len(described) != 2 {
			t.Fatalf("%+v, %v", described, err)
		}
		now := all.expectOne()
		shown := cl.members[2].DescribeGossipKeys(t.Context())
		if len(shown) != 3 || shown[2].Err == nil || !slices.Equal(shown[1].Fingerprints, []string{now}) {
			t.Errorf("shown: %+v", shown)
		}
		// What was left behind comes back with the key file of another.
		cl.start(3)
		all.give(cl, 3, all.of[1].keys...)
		cl.awaitReady()
		if _, err := cl.members[3].RotateGossipKey(t.Context(), wire.RotateGossipKey{}); err != nil {
			t.Error(err)
		}
		if all.expectOne() == now {
			t.Error("the key has not changed")
		}
	})
}

func TestWhatIsNotEncryptedHasNoKeyToRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		all := cl.encrypt(1, 3) // broker 2 was forgotten
		cl.awaitReady()
		before := all.expectOne()
		_, err := cl.members[3].RotateGossipKey(t.Context(), wire.RotateGossipKey{})
		if !errors.Is(err, wire.SecurityDisabled) || wire.Sentence(err) == "" {
			t.Errorf("%v", err)
		}
		if all.expectOne() != before {
			t.Error("keys have changed")
		}
		for _, ring := range cl.members[2].DescribeGossipKeys(t.Context()) {
			if ring.Err != nil || len(ring.Fingerprints) == 1 != (ring.Broker != 2) {
				t.Errorf("shown: %+v", ring)
			}
		}
	})
}

func TestAKeyIsPrintedByItsFingerprint(t *testing.T) {
	key := wire.GossipKey("thirty-two bytes that are secret")
	for _, format := range []string{"%v", "%s", "%+v", "%q"} {
		if got := fmt.Sprintf(format, key); bytes.Contains([]byte(got), key) || !bytes.Contains([]byte(got), []byte(key.Fingerprint())) {
			t.Errorf("%s prints %s", format, got)
		}
	}
}
