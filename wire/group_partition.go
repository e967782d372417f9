package wire

import "unicode/utf16"

// Partition returns the partition of the offsets topic whose leader coordinates the group, if the topic has so many: the hash of
// its name as Java has it, made positive.
func (g GroupID) Partition(partitions int32) int32 {
	if partitions <= 0 {
		return 0
	}
	var hash int32
	for _, r := range string(g) {
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
