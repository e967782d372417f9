package client

import (
	"sync"
	"sync/atomic"
)

// Partitioner chooses the partition of a record of a topic with so many partitions, or Any. It is
// called by many goroutines at once. What it returns outside of 0 to partitions-1 fails the record.
type Partitioner func(r Record, partitions int32) int32

// Any leaves the choice to the producer, which fills one batch before it goes to another
// partition, chosen at random among those that have a leader.
const Any int32 = -1

// ByKey is the default: the same key goes to the same partition, namely the one that Kafka's Java
// client chooses, and records without a key go anywhere.
func ByKey(r Record, partitions int32) int32 {
	if r.Key == nil {
		return Any
	}
	return int32(murmur2(r.Key)&0x7fffffff) % partitions
}

// Explicit takes the Partition of each record, which may be Any.
func Explicit(r Record, _ int32) int32 { return r.Partition }

// RoundRobin takes the partitions of a topic in turn, whatever the key. Batches are smaller for
// it than with Any.
func RoundRobin() Partitioner {
	var turns sync.Map // topic -> *atomic.Uint32
	return func(r Record, partitions int32) int32 {
		turn, ok := turns.Load(r.Topic)
		if !ok {
			turn, _ = turns.LoadOrStore(r.Topic, new(atomic.Uint32))
		}
		return int32((turn.(*atomic.Uint32).Add(1) - 1) % uint32(partitions))
	}
}

// murmur2 is Austin Appleby's hash with the seed that Kafka's Java client uses.
func murmur2(b []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := seed ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(b[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}
