package group

import (
	"unicode/utf16"

	"github.com/troupe-mq/troupe/wire"
)

// PartitionOf returns the partition of the offsets topic that a group's records are in, and whose leader coordinates it:
// the hash of its name as Java has it, made positive.
func PartitionOf(id wire.GroupID, partitions int32) int32 {
	if partitions <= 0 {
		return 0
	}
	var hash int32
	for _, r := range string(id) {
		if high, low := utf16.EncodeRune(r); high != '\uFFFD' {
			hash = 31*(31*hash+high) + low
		} else {
			hash = 31*hash + r
		}
	}
	switch {
	case hash == -1<<31: // has no positive counterpart
		hash = 0
	case hash < 0:
		hash = -hash
	}
	return hash % partitions
}
