package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// resetPlan is what a reset is to do.
type resetPlan struct {
	selected []topicSelection
	all      bool                 // every topic that the group has committed an offset of
	offsets  []client.GroupOffset // from a file, in place of both

	target    string // the flag
	timestamp int64  // of the flags that look one up
	offset    int64  // --to-offset
	shift     int64  // --shift-by
}

// compute returns the new offsets, and what a person should know about them.
func (p *resetPlan) compute(ctx context.Context, c *client.Client, group string) (resets []resetJSON, warnings []string, err error) {
	fetched, err := c.FetchOffsets(ctx, group)
	if err != nil {
		return nil, nil, err
	}
	committed := make(map[client.PartitionName]int64)
	for _, o := range fetched {
		committed[client.PartitionName{Topic: o.Topic, Partition: o.Partition}] = int64(o.Offset)
	}
	names, wanted, err := p.partitions(ctx, c, committed)
	if err != nil {
		return nil, nil, err
	}
	if len(names) == 0 {
		return nil, nil, fmt.Errorf("group %s has committed nothing that could be reset; name topics with --topic", group)
	}
	resets, warnings = make([]resetJSON, len(names)), make([]string, len(names))
	asks, ctx := errgroup.WithContext(ctx)
	asks.SetLimit(maxAsks)
	for i, name := range names {
		old, known := committed[name]
		if !known {
			old = unknownOffset
		}
		resets[i] = resetJSON{Group: group, Topic: name.Topic, Partition: name.Partition, OldOffset: old}
		asks.Go(func() error {
			var err error
			resets[i].NewOffset, warnings[i], err = p.find(ctx, c, name, old, wanted[name])
			return err
		})
	}
	if err := asks.Wait(); err != nil {
		return nil, nil, err
	}
	return resets, slices.DeleteFunc(warnings, func(s string) bool { return s == "" }), nil
}

// partitions returns the partitions that are selected, sorted, and the offsets of a file.
func (p *resetPlan) partitions(ctx context.Context, c *client.Client, committed map[client.PartitionName]int64,
) (names []client.PartitionName, wanted map[client.PartitionName]int64, err error) {
	wanted = make(map[client.PartitionName]int64)
	for _, o := range p.offsets {
		wanted[client.PartitionName{Topic: o.Topic, Partition: o.Partition}] = int64(o.Offset)
	}
	found := make(map[client.PartitionName]bool)
	if p.all {
		for name := range committed {
			found[name] = true
		}
	}
	for name := range wanted {
		found[name] = true
	}
	for _, s := range p.selected {
		there, err := s.partitions(ctx, c)
		if err != nil {
			return nil, nil, err
		}
		for _, name := range there {
			found[name] = true
		}
	}
	for name := range found {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b client.PartitionName) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return names, wanted, nil
}

// find returns the new offset of a partition, within what the log has.
func (p *resetPlan) find(ctx context.Context, c *client.Client, name client.PartitionName, old, wanted int64) (offset int64, warning string, err error) {
	first, _, err := c.ListOffset(ctx, name.Topic, name.Partition, client.Earliest)
	if err != nil {
		return 0, "", err
	}
	end, _, err := c.ListOffset(ctx, name.Topic, name.Partition, client.Latest)
	if err != nil {
		return 0, "", err
	}
	switch p.target {
	case "--to-earliest":
		return int64(first), "", nil
	case "--to-latest":
		return int64(end), "", nil
	case "--to-current":
		if offset = old; old == unknownOffset {
			offset = int64(end)
		}
	case "--to-offset":
		offset = p.offset
	case "--shift-by":
		if old == unknownOffset {
			return 0, "", fmt.Errorf("%v cannot be shifted: the group has committed nothing there", place{name.Topic, name.Partition})
		}
		offset = shifted(old, p.shift)
	case "--from-file":
		offset = wanted
	default:
		found, _, err := c.ListOffset(ctx, name.Topic, name.Partition, p.timestamp)
		if err != nil {
			return 0, "", err
		}
		if found == wire.NoOffset { // no record is that new
			found = end
		}
		offset = int64(found)
	}
	switch {
	case offset < int64(first):
		warning = fmt.Sprintf("%v begins at %d, after offset %d: the group goes on there", place{name.Topic, name.Partition}, first, offset)
		return int64(first), warning, nil
	case offset > int64(end):
		warning = fmt.Sprintf("%v ends at %d, before offset %d: the group goes on there", place{name.Topic, name.Partition}, end, offset)
		return int64(end), warning, nil
	}
	return offset, "", nil
}

// shifted is old+by, or as far as numbers go.
func shifted(old, by int64) int64 {
	if sum := old + by; by < 0 || sum >= old {
		return max(sum, 0)
	}
	return int64(^uint64(0) >> 1)
}
