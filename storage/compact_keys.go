package storage

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math/bits"
)

// keySet is the set of keys that a compaction has met so far, going from the newest record to the
// oldest: a record whose key is in it has a successor, and may go.
//
// It holds fingerprints, not keys: 128 bits of a salted SHA-256, of which 96 lie in the slot and 32
// say where the slot is looked for (open addressing, the next free slot upwards):
//
//	fingerprint   | 32 bits: home slot | 96 bits: what is in the slot |
//	slots         ...| 96 bits |  free  | 96 bits | 96 bits |...        12 bytes each
//
// Two keys are taken for one only if all 96 bits are the same and their home slots are so near that
// the same run of slots holds them. With n keys the probability of that is below n^2/2 * 2^-96 for
// the slots alone: for ten million keys 10^-15, and with the homes some 10^-20, for whatever
// keys, since the salt is drawn for each set after they were written. That is far less than that
// a checksum of 32 bits passes a batch that has rotted, which every record depends on. So no key is
// ever compared: a key that was kept would cost its bytes, and one that was read again a seek for
// each record that goes.
//
// No offsets are needed, because the records come newest first. That is what makes 96 bits for a
// key affordable: 12 bytes at a load of 0.9 are 128 MiB for ten million.
type keySet struct {
	slots  []byte
	count  uint64 // of slots
	n      int
	limit  int // as many keys as it takes
	digest hash.Hash
	salt   [16]byte
	sum    [sha256.Size]byte
}

const (
	slotBytes = 12
	// slotLoad is the share of the slots that is filled, in tenths: some ten are looked at for a
	// key when the set is half full on the way there, some fifty for the last ones.
	slotLoad = 9
)

// fingerprint is what a keySet knows a key by. The zero fingerprint marks a free slot.
type fingerprint struct {
	high uint64
	low  uint32
	home uint32
}

// newKeySet makes a set for that many keys, or as many as go into maxBytes.
func newKeySet(keys int64, maxBytes int64) *keySet {
	slots := max(2, min(maxBytes/slotBytes, keys/slotLoad*10+16)) // one is always free
	s := &keySet{
		slots: make([]byte, slots*slotBytes), count: uint64(slots), limit: max(1, int(slots*slotLoad/10)),
		digest: sha256.New(),
	}
	_, _ = rand.Read(s.salt[:]) // never fails
	return s
}

// of returns the fingerprint of a key.
func (s *keySet) of(key []byte) fingerprint {
	s.digest.Reset()
	_, _ = s.digest.Write(s.salt[:])
	_, _ = s.digest.Write(key)
	sum := s.digest.Sum(s.sum[:0])
	f := fingerprint{binary.LittleEndian.Uint64(sum), binary.LittleEndian.Uint32(sum[8:]), binary.LittleEndian.Uint32(sum[12:])}
	if f.high == 0 && f.low == 0 {
		f.low = 1
	}
	return f
}

// find returns where the key's slot is, or where it would be, and whether the key is there. At
// least one slot is always free.
func (s *keySet) find(f fingerprint) (at uint64, found bool) {
	// The home is scaled to the slots without a division.
	home, _ := bits.Mul64(uint64(f.home)<<32, s.count)
	for at = home * slotBytes; ; {
		high, low := binary.LittleEndian.Uint64(s.slots[at:]), binary.LittleEndian.Uint32(s.slots[at+8:])
		switch {
		case high == f.high && low == f.low:
			return at, true
		case high == 0 && low == 0:
			return at, false
		}
		if at += slotBytes; at == uint64(len(s.slots)) {
			at = 0
		}
	}
}

// has says whether the key is in the set.
func (s *keySet) has(f fingerprint) bool {
	_, found := s.find(f)
	return found
}

// full says that no further key goes in.
func (s *keySet) full() bool { return s.n >= s.limit }

// add takes a key in and says whether it is new. The set must not be full.
func (s *keySet) add(f fingerprint) bool {
	at, found := s.find(f)
	if found {
		return false
	}
	binary.LittleEndian.PutUint64(s.slots[at:], f.high)
	binary.LittleEndian.PutUint32(s.slots[at+8:], f.low)
	s.n++
	return true
}
