package gossip

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/memberlist"
)

// maxKeys bounds how many keys a ring has: every packet that none of them fits is tried with each.
const maxKeys = 16

// ParseKeys reads keys as they lie in a file: one on a line, in base64, of 16, 24 or 32 bytes. The
// first one is used for sending. Empty lines and those that begin with # are passed over.
func ParseKeys(text string) ([][]byte, error) {
	var keys [][]byte
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil || memberlist.ValidateKey(key) != nil {
			return nil, fmt.Errorf("line %d is no key: write 16, 24 or 32 random bytes in base64, as \"openssl rand -base64 32\" prints them", number)
		}
		keys = append(keys, key)
	}
	switch {
	case len(keys) == 0:
		return nil, errors.New("there is no key; write one that \"openssl rand -base64 32\" prints")
	case len(keys) > maxKeys:
		return nil, fmt.Errorf("there are %d keys; at most %d may be in use at once", len(keys), maxKeys)
	}
	return keys, nil
}

func newKeyring(keys [][]byte) (*memberlist.Keyring, error) {
	if len(keys) == 0 {
		return nil, nil //nolint:nilnil // no keys, no ring: both are memberlist's own words for "not encrypted"
	}
	ring, err := memberlist.NewKeyring(keys, keys[0])
	if err != nil {
		return nil, fmt.Errorf("gossip keys: %w", err)
	}
	return ring, nil
}

// A key is changed in three steps, each taken on every broker before the next one: AddKey lets
// all understand the new key, UseKey has them speak it, RemoveKey forgets the old one.

var errNotEncrypted = errors.New("gossip is not encrypted: start the brokers with --cluster-key-file first")

// AddKey makes a further key understood.
func (g *Gossip) AddKey(key []byte) error {
	if g.keyring == nil {
		return errNotEncrypted
	}
	if len(g.keyring.GetKeys()) >= maxKeys {
		return fmt.Errorf("there are %d keys already: remove one first", maxKeys)
	}
	return g.keyring.AddKey(key)
}

// UseKey sends with a key from now on, one that was added before.
func (g *Gossip) UseKey(key []byte) error {
	if g.keyring == nil {
		return errNotEncrypted
	}
	return g.keyring.UseKey(key)
}

// RemoveKey makes a key no longer understood, one that is not used for sending.
func (g *Gossip) RemoveKey(key []byte) error {
	if g.keyring == nil {
		return errNotEncrypted
	}
	return g.keyring.RemoveKey(key)
}
