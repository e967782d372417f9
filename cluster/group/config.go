package group

import (
	"math"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// Config is the limits and times of groups. Kafka's names are in the comments.
type Config struct {
	// Classic groups.
	MinSessionTimeout     time.Duration // group.min.session.timeout.ms
	MaxSessionTimeout     time.Duration // group.max.session.timeout.ms
	InitialRebalanceDelay time.Duration // group.initial.rebalance.delay.ms: how long an empty group waits for more members
	MaxSize               int           // group.max.size: members of a classic group
	// NewMemberJoinTimeout is how long the JoinGroup of a member that knows no id of its own is waited for: it cannot
	// send heartbeats yet.
	NewMemberJoinTimeout time.Duration
	// NewMemberID makes an id for a member that comes without one, which nobody else ever had. It begins with the client's
	// or the instance's name. Rules know no chance, so that the coordinator brings it.
	NewMemberID func(name string) wire.MemberID

	// Groups of KIP-848.
	ConsumerSessionTimeout    time.Duration // group.consumer.session.timeout.ms
	ConsumerHeartbeatInterval time.Duration // group.consumer.heartbeat.interval.ms
	ConsumerMaxSize           int           // group.consumer.max.size
	ConsumerAssignors         []string      // group.consumer.assignors: the first is the default
	MigrationPolicy           MigrationPolicy

	// Offsets.
	MaxOffsetMetadataBytes int           // offset.metadata.max.bytes
	OffsetsRetention       time.Duration // offsets.retention.minutes
	OffsetsCheckInterval   time.Duration // offsets.retention.check.interval.ms: expired offsets go in one sweep

	// MaxRecordBytes bounds each record, so that the members' metadata of a group, and its log accepts whatever is emitted.
	MaxRecordBytes int
}

// MigrationPolicy says which changes of protocol a group with members may make (group.consumer.migration.policy).
type MigrationPolicy string

// The policies.
const (
	MigrateBoth  MigrationPolicy = "bidirectional"
	MigrateUp    MigrationPolicy = "upgrade"   // from the classic protocol to that of KIP-848
	MigrateDown  MigrationPolicy = "downgrade" // the other way
	MigrateNever MigrationPolicy = "disabled"
)

// Default returns Kafka's defaults. NewMemberID is left to be set.
func Default() Config {
	return Config{
		MinSessionTimeout:     6 * time.Second,
		MaxSessionTimeout:     30 * time.Minute,
		InitialRebalanceDelay: 3 * time.Second,
		MaxSize:               math.MaxInt32,
		NewMemberJoinTimeout:  5 * time.Minute,

		ConsumerSessionTimeout:    45 * time.Second,
		ConsumerHeartbeatInterval: 5 * time.Second,
		ConsumerMaxSize:           math.MaxInt32,
		ConsumerAssignors:         []string{"uniform", "range"},
		MigrationPolicy:           MigrateBoth,

		MaxOffsetMetadataBytes: 4096,
		OffsetsRetention:       7 * 24 * time.Hour,
		OffsetsCheckInterval:   10 * time.Minute,

		MaxRecordBytes: 1 << 20,
	}
}
