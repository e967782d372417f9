package actors

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// groupConfig is what the broker's configuration says of groups.
func groupConfig(image *metadata.Local) *group.Config {
	c := group.Default()
	number := func(key string) int64 {
		text, _ := image.Value(key)
		n, _ := strconv.ParseInt(text, 10, 64) // it was checked when it was set
		return n
	}
	millis := func(key string) time.Duration { return time.Duration(number(key)) * time.Millisecond }
	c.MinSessionTimeout = millis("group.min.session.timeout.ms")
	c.MaxSessionTimeout = millis("group.max.session.timeout.ms")
	c.InitialRebalanceDelay = millis("group.initial.rebalance.delay.ms")
	c.MaxSize = int(number("group.max.size"))
	c.ConsumerSessionTimeout = millis("group.consumer.session.timeout.ms")
	c.ConsumerHeartbeatInterval = millis("group.consumer.heartbeat.interval.ms")
	c.ConsumerMaxSize = int(number("group.consumer.max.size"))
	c.OffsetsRetention = time.Duration(number("offsets.retention.minutes")) * time.Minute
	c.OffsetsCheckInterval = millis("offsets.retention.check.interval.ms")
	c.MaxOffsetMetadataBytes = int(number("offset.metadata.max.bytes"))
	assignors, _ := image.Value("group.consumer.assignors")
	c.ConsumerAssignors = nil
	for name := range strings.SplitSeq(assignors, ",") {
		c.ConsumerAssignors = append(c.ConsumerAssignors, strings.TrimSpace(name))
	}
	policy, _ := image.Value("group.consumer.migration.policy")
	c.MigrationPolicy = group.MigrationPolicy(policy)
	c.NewMemberID = newMemberID
	return &c
}

// newMemberID makes an id as Kafka's look: a name, and 128 random bits.
func newMemberID(name string) wire.MemberID {
	var bits [16]byte
	_, _ = rand.Read(bits[:]) // never fails
	bits[6], bits[8] = bits[6]&0x0f|0x40, bits[8]&0x3f|0x80
	return wire.MemberID(fmt.Sprintf("%s-%x-%x-%x-%x-%x", name, bits[:4], bits[4:6], bits[6:8], bits[8:10], bits[10:]))
}
