package group

import (
	"cmp"

	"github.com/troupe-mq/troupe/wire"
)

// What one turn emits is one batch of the log, which the log takes whole or not at all; and as nothing is reverted, a
// batch that it never takes is the end of the coordinator, of the next one too, and of its neighbours. Some turns emit records
// of every member: three tombstones when all have gone. Each has the names of the group and of the member in its key, so
// that these bound the size of a group, beside the number of members.
//
// Kafka: has no such bound, and refuses the request whose records are too large.
const maxKeyBytes = 16 << 20

// memberKeyBytes is what the key of a member's record takes, but for the group's name. Patterns are keys too.
func memberKeyBytes(id wire.MemberID, pattern string) int {
	const record = 64 // the rest of one that has no value
	return record + len(id) + len(pattern)
}

// hasRoom refuses one member more whose names are too long, or longer names of one that is in.
func (c *consumer) hasRoom(id wire.MemberID, instance string, pattern *string) error {
	text := ""
	if pattern != nil {
		text = *pattern
	}
	more, members := memberKeyBytes(id, text), len(c.members)+1
	if m := cmp.Or(c.byID[id], c.instances[instance]); m != nil {
		more, members = more-memberKeyBytes(m.id, m.said.pattern), members-1
		if more <= 0 {
			return nil
		}
	}
	if c.keyBytes+more+members*len(c.group.id) > maxKeyBytes {
		return wire.Errorf(wire.GroupMaxSizeReached, "the members' names would take more than %d bytes", maxKeyBytes)
	}
	return nil
}
