package gossip

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
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

// FormatKeys writes keys as ParseKeys reads them.
func FormatKeys(keys [][]byte) string {
	var text strings.Builder
	for _, key := range keys {
		text.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	}
	return text.String()
}

var errNotEncrypted = errors.New("gossip is not encrypted: start the brokers with --cluster-key-file first")

// SetKeys changes the keys that are understood; the first one is used for sending. What has not been
// encrypted cannot be from now on, nor the other way round: others would not understand it.
//
// A key takes the place of another in three steps, each taken by every broker before the next one: all
// understand the new key, all use it, all forget the old one.
func (g *Gossip) SetKeys(keys [][]byte) error {
	switch {
	case g.keyring == nil:
		return errNotEncrypted
	case len(keys) == 0 || len(keys) > maxKeys:
		return fmt.Errorf("%d keys; there may be 1 to %d", len(keys), maxKeys)
	}
	for _, key := range keys {
		if err := g.keyring.AddKey(key); err != nil {
			return fmt.Errorf("gossip key: %w", err)
		}
	}
	if err := g.putInFront(keys); err != nil {
		return err
	}
	for _, key := range slices.Backward(slices.Clone(g.keyring.GetKeys())) {
		if among(keys, key) {
			break
		}
		if err := g.keyring.RemoveKey(key); err != nil {
			return fmt.Errorf("gossip key: %w", err)
		}
	}
	return nil
}

func among(keys [][]byte, key []byte) bool {
	return slices.ContainsFunc(keys, func(one []byte) bool { return bytes.Equal(one, key) })
}

// putInFront uses the first of keys, and leaves those that are to be forgotten behind all others: taken
// off from the end, they leave the rest where it is. Memberlist would move what follows a key that it
// removes, while somebody reads it. A key comes to the front by being used, which for a moment the
// other ones are then; but nothing is forgotten before all brokers understand them.
func (g *Gossip) putInFront(keys [][]byte) error {
	if !slices.ContainsFunc(g.keyring.GetKeys(), func(key []byte) bool { return !among(keys, key) }) {
		keys = keys[:1] // nothing is to be forgotten
	}
	for _, key := range slices.Backward(keys) {
		if err := g.keyring.UseKey(key); err != nil {
			return fmt.Errorf("gossip key: %w", err)
		}
	}
	return nil
}
