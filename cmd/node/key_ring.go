package node

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/troupe-mq/troupe/cluster/gossip"
	"github.com/troupe-mq/troupe/wire"
)

// keyRing is the keys that encrypt gossip on this broker, and the file that they are in. It implements
// actors.GossipKeys. Every change is in the file before it is in force: a broker that starts again
// has the keys that it said it had.
type keyRing struct {
	file string // "": nothing is encrypted
	log  *slog.Logger

	mu    sync.Mutex
	keys  []wire.GossipKey // the used one first
	apply func([][]byte) error
}

// keyFileHead begins a key file that a broker has written.
const keyFileHead = "# Keys that encrypt gossip between brokers. The first one is used; the others are understood too.\n"

func newKeyRing(cfg Config, log *slog.Logger) (*keyRing, error) {
	keys, err := cfg.gossipKeys()
	if err != nil {
		return nil, err
	}
	r := &keyRing{file: cfg.ClusterKeyFile, log: log}
	for _, key := range keys {
		r.keys = append(r.keys, key)
	}
	return r, nil
}

// plain returns the keys as package gossip takes them.
func plain(keys []wire.GossipKey) [][]byte {
	list := make([][]byte, len(keys))
	for i, key := range keys {
		list[i] = key
	}
	return list
}

// use gives the ring to gossip, once that has started with the ring's keys.
func (r *keyRing) use(g *gossip.Gossip) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.apply = g.SetKeys
}

// Fingerprints implements actors.GossipKeys.
func (r *keyRing) Fingerprints() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, key := range r.keys {
		names = append(names, key.Fingerprint())
	}
	return names
}

// Learn implements actors.GossipKeys.
func (r *keyRing) Learn(key wire.GossipKey) error {
	return r.change("learn", func(keys []wire.GossipKey) ([]wire.GossipKey, error) {
		if slices.ContainsFunc(keys, func(one wire.GossipKey) bool { return bytes.Equal(one, key) }) {
			return keys, nil
		}
		return append(keys, key), nil
	})
}

// Use implements actors.GossipKeys.
func (r *keyRing) Use(fingerprint string) error {
	return r.change("use", func(keys []wire.GossipKey) ([]wire.GossipKey, error) {
		at := slices.IndexFunc(keys, func(one wire.GossipKey) bool { return one.Fingerprint() == fingerprint })
		if at < 0 {
			return nil, wire.Errorf(wire.ResourceNotFound, "it has not learnt the key %.64s", fingerprint)
		}
		key := keys[at]
		return slices.Insert(slices.Delete(keys, at, at+1), 0, key), nil
	})
}

// Forget implements actors.GossipKeys.
func (r *keyRing) Forget(but []string) error {
	return r.change("forget", func(keys []wire.GossipKey) ([]wire.GossipKey, error) {
		if !slices.Contains(but, keys[0].Fingerprint()) {
			return nil, wire.Errorf(wire.InvalidRequest, "it uses the key %s, which it was to forget", keys[0])
		}
		return slices.DeleteFunc(keys, func(one wire.GossipKey) bool { return !slices.Contains(but, one.Fingerprint()) }), nil
	})
}

// change puts other keys into the file and then in force.
func (r *keyRing) change(what string, to func([]wire.GossipKey) ([]wire.GossipKey, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.keys) == 0 || r.apply == nil {
		return wire.Errorf(wire.SecurityDisabled, "it does not encrypt gossip")
	}
	next, err := to(slices.Clone(r.keys))
	if err != nil || slices.EqualFunc(next, r.keys, func(a, b wire.GossipKey) bool { return bytes.Equal(a, b) }) {
		return err
	}
	if err := writeKeyFile(r.file, plain(next)); err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	if err := r.apply(plain(next)); err != nil {
		return err
	}
	r.keys = next
	r.log.Info("gossip keys changed", "step", what, "used", next[0].Fingerprint(), "understood", len(next))
	return nil
}

// writeKeyFile replaces a key file: after a crash there is the old one or the new one. Nobody but its
// owner may read it.
func writeKeyFile(name string, keys [][]byte) error {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".troupe-keys-*") // of mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(keyFileHead + gossip.FormatKeys(keys))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
