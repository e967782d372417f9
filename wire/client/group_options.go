package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// GroupConfig configures a GroupConsumer. Begin with DefaultGroupConfig, or give options to NewGroupConsumer.
type GroupConfig struct {
	// Consumer says what is read, by Topics and Pattern, and how much is read ahead. Its Start is where a partition begins of
	// which the group has committed nothing: the beginning, unless told otherwise. Its Partitions must be empty,
	// since the group gives them out. Pattern is matched by the brokers, as RE2, and against the whole name of a topic.
	//
	// Kafka: Start and Consumer.OutOfRange together are auto.offset.reset, which is the end if nothing is said.
	Consumer ConsumerConfig
	// MustBeCommitted has Poll return ErrNothingCommitted for a partition of which nothing is committed, in the place of reading it from
	// Start. Seek goes on.
	MustBeCommitted bool
	// AutoCommit commits what Poll has returned, every AutoCommitInterval once Poll is called again, before partitions are given
	// up, and at the end. 5 s. Without it nothing is committed but by CommitSync and CommitAsync.
	//
	// Where the member begins in a partition of which nothing is committed is committed as soon as it is known, before the
	// first record: so whoever goes on later, or in its place, skips nothing, even if Start is the end.
	AutoCommit         bool
	AutoCommitInterval time.Duration
	// CommitStart has that first commit made although AutoCommit is off.
	CommitStart bool
	// MaxPollInterval is how long the program may take between two calls of Poll; then the member leaves, so that others
	// go on with its partitions, and comes back with the next Poll. It is also how long others wait for it to give
	// partitions up. 5 min.
	MaxPollInterval time.Duration
	// Instance is the name of a static member, the same after each of its restarts: its partitions are kept for it while it is
	// away, until its session has ended. While another member has the name it waits; Config.OnRetry is told. "" for none.
	Instance string
	// Assignor is how the coordinator shares out partitions: "uniform", "range" or "" for its default.
	Assignor string
	// Rack is where the member is, for assignors that care.
	Rack string
	// ClientID names the program to people who look at the group. The software of the Client, if not told.
	ClientID string
	// OnAssigned is told which partitions have come to the member, before records of them are returned; the program may Seek there.
	// OnRevoked is told which are about to go, while they are still the member's: it may commit. OnLost is told which are the
	// member's no longer, without its having been asked: others may have them already, and a commit would be refused.
	//
	// All three are called by Poll and Close, on the goroutine of their caller. They may call every method but those two, which
	// return ErrInCallback then. Until OnRevoked returns, nobody else gets the partitions.
	OnAssigned, OnRevoked, OnLost func(partitions []PartitionName)
}

// DefaultGroupConfig returns the configuration of a group consumer made without options.
func DefaultGroupConfig() GroupConfig {
	c := GroupConfig{
		Consumer: DefaultConsumerConfig(), AutoCommit: true, AutoCommitInterval: 5 * time.Second,
		MaxPollInterval: 5 * time.Minute,
	}
	c.Consumer.OutOfRange = OutOfRangeEarliest
	return c
}

// Validate says what is wrong with the configuration.
func (c *GroupConfig) Validate() error {
	if err := c.Consumer.Validate(); err != nil {
		return err
	}
	switch {
	case len(c.Consumer.Partitions) > 0:
		return errors.New("group consumer: the group gives out the partitions: name topics")
	case c.Consumer.Start.exact:
		return errors.New("group consumer: partitions without a committed offset cannot all begin at the same offset")
	case c.AutoCommit && c.AutoCommitInterval <= 0:
		return fmt.Errorf("group consumer: an interval of %s between commits", c.AutoCommitInterval)
	case c.MaxPollInterval <= 0:
		return fmt.Errorf("group consumer: an interval of %s between polls", c.MaxPollInterval)
	case len(c.Instance) > maxInstanceBytes:
		return fmt.Errorf("group consumer: an instance's name has at most %d bytes", maxInstanceBytes)
	}
	return nil
}

const maxInstanceBytes = 249

// GroupOption changes a GroupConfig. Those of a Consumer can be given to a group consumer too.
type GroupOption interface{ applyToGroup(c *GroupConfig) }

func (o ConsumerOption) applyToGroup(c *GroupConfig) { o(&c.Consumer) }

type groupOption func(*GroupConfig)

func (o groupOption) applyToGroup(c *GroupConfig) { o(c) }

// WithGroupConfig replaces the whole configuration.
func WithGroupConfig(cfg GroupConfig) GroupOption {
	return groupOption(func(c *GroupConfig) { *c = cfg })
}

// ManualCommit leaves it to the program to commit.
func ManualCommit() GroupOption { return groupOption(func(c *GroupConfig) { c.AutoCommit = false }) }

// CommitStart commits where the member begins in partitions of which nothing is committed, also with ManualCommit.
func CommitStart() GroupOption { return groupOption(func(c *GroupConfig) { c.CommitStart = true }) }

// CommitEvery sets how often offsets are committed.
func CommitEvery(d time.Duration) GroupOption {
	return groupOption(func(c *GroupConfig) { c.AutoCommit, c.AutoCommitInterval = true, d })
}

// Instance makes the member a static one.
func Instance(name string) GroupOption {
	return groupOption(func(c *GroupConfig) { c.Instance = name })
}

// WithMaxPollInterval sets how long the program may take between two calls of Poll.
func WithMaxPollInterval(d time.Duration) GroupOption {
	return groupOption(func(c *GroupConfig) { c.MaxPollInterval = d })
}

// WithAssignor sets how partitions are shared out.
func WithAssignor(name string) GroupOption {
	return groupOption(func(c *GroupConfig) { c.Assignor = name })
}

// WithClientID names the program.
func WithClientID(id string) GroupOption {
	return groupOption(func(c *GroupConfig) { c.ClientID = id })
}

// MustBeCommitted refuses to begin where nothing is committed.
func MustBeCommitted() GroupOption {
	return groupOption(func(c *GroupConfig) { c.MustBeCommitted = true })
}

// OnAssigned sets what is called with the partitions that come to the member.
func OnAssigned(f func([]PartitionName)) GroupOption {
	return groupOption(func(c *GroupConfig) { c.OnAssigned = f })
}

// OnRevoked sets what is called with the partitions that the member is about to give up.
func OnRevoked(f func([]PartitionName)) GroupOption {
	return groupOption(func(c *GroupConfig) { c.OnRevoked = f })
}

// OnLost sets what is called with the partitions that the member has lost.
func OnLost(f func([]PartitionName)) GroupOption {
	return groupOption(func(c *GroupConfig) { c.OnLost = f })
}

// GroupOffset is where a group goes on reading a partition.
type GroupOffset struct {
	Topic     string
	Partition int32
	// Offset is that of the next record to read: one more than that of the last one that was.
	Offset Offset
	// Metadata is whatever the program wants to find beside the offset, 4096 bytes at most.
	Metadata string
	// Committed is when it was committed; the zero time where nothing is. It is not looked at by commits.
	Committed time.Time
}

// After returns the offsets with which a group goes on behind these records, in any order.
func After(records ...Record) []GroupOffset {
	var list []GroupOffset
	at := make(map[PartitionName]int)
	for i := range records {
		r := &records[i]
		name := PartitionName{Topic: r.Topic, Partition: r.Partition}
		n, known := at[name]
		if !known {
			n = len(list)
			at[name] = n
			list = append(list, GroupOffset{Topic: r.Topic, Partition: r.Partition})
		}
		list[n].Offset = max(list[n].Offset, r.Offset+1)
	}
	return list
}

// wireCommit is an offset as it is committed.
func (o *GroupOffset) wireCommit() wire.OffsetCommit {
	return wire.OffsetCommit{
		Topic: o.Topic, Partition: o.Partition, Offset: o.Offset, LeaderEpoch: wire.NoEpoch, Metadata: o.Metadata,
	}
}
