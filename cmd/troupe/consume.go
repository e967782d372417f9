package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// outputBytes is the buffer between records and stdout.
const outputBytes = 256 << 10

// consumeFlags are the flags of troupe consume.
type consumeFlags struct {
	bootstrap   string
	start       startFlags
	partition   int32
	maxMessages int64
	exitAtEnd   bool
	format      string
	json        bool
	group       string
	instance    string
}

func newConsume(std streams) *cobra.Command {
	var flags consumeFlags
	cmd := &cobra.Command{
		Use:   "consume TOPIC",
		Short: "Write the records of a topic to stdout",
		Long: `Consume reads a topic and writes the value of each record and a line feed to stdout, until it is
interrupted. It begins at the end, with what is produced from then on, unless a flag says
otherwise.

With --group the copies of the command that name the same group share the partitions, and the group goes
on where it was: the flags that say where to begin count only for partitions of which it has committed
nothing, and where these begin is committed at once: no other copy skips what comes then. What was
written to stdout is committed once a second, when partitions go to another copy, and at the end; so every
record is written at least once, and again only after a crash or a long stop. With --exit-at-end a copy
ends when it has come to the end of the partitions that it was given.

With --json, each record is an object with topic, partition, offset, timestamp_ms, key, value and
headers. What is not UTF-8 becomes {"base64": "..."}, and null is no key, or no value.

` + offsetHelp + `

` + formatHelp,
		Example: `  troupe consume access-log --from-beginning --exit-at-end > access.log
  troupe consume access-log --offset -10 --exit-at-end
  troupe consume orders --timestamp -1h --format '%p %o %k: %s\n'
  troupe consume orders --partition 0 --max-messages 1 --json | jq .
  troupe consume orders --group billing --from-beginning`,
		GroupID: groupUse,
		Args:    exactly("TOPIC"),

		ValidArgsFunction: completeTopics(&flags.bootstrap, 1),
	}
	flags.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		write, err := flags.writer()
		if err != nil {
			return err
		}
		from, err := flags.start.parse(std.now())
		if err != nil {
			return err
		}
		if err := flags.check(cmd.Flags().Changed("group"), from); err != nil {
			return err
		}
		troubles := newTroubles(std)
		c, err := connectWith(cmd.Context(), flags.bootstrap, client.Config{OnRetry: troubles.retry})
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }() // nothing is left to be told
		run := &consumption{
			client: c, topic: args[0], from: from, write: write,
			limit: flags.maxMessages, exitAtEnd: flags.exitAtEnd,
			troubles: troubles, failed: make(map[int32]error),
			out: bufio.NewWriterSize(std.out, outputBytes),
		}
		if err := checkPartition(cmd.Context(), c, args[0], flags.partition); err != nil {
			return explain(err, hintFor(err, args[0]))
		}
		if flags.group != "" {
			if err := checkTopic(cmd.Context(), c, args[0]); err != nil {
				return explain(err, hintFor(err, args[0]))
			}
			member := &groupRun{consumption: run, group: flags.group, instance: flags.instance, std: std}
			return run.follow(cmd.Context(), std, member.run)
		}
		return run.follow(cmd.Context(), std, func(ctx context.Context) error { return run.run(ctx, flags.partition) })
	}
	return cmd
}

// add adds the flags to the command.
func (f *consumeFlags) add(cmd *cobra.Command) {
	set := cmd.Flags()
	bootstrapFlag(set, &f.bootstrap)
	set.BoolVar(&f.start.fromBeginning, "from-beginning", false, "begin with the oldest record")
	set.StringVar(&f.start.offset, "offset", "", "begin at an `offset`")
	set.StringVar(&f.start.timestamp, "timestamp", "", "begin with the first record from a `time` on")
	set.Int32Var(&f.partition, "partition", -1, "`number` of the only partition to read; -1 for all")
	set.Int64Var(&f.maxMessages, "max-messages", 0, "end after so many `records`; 0 for no limit")
	set.BoolVar(&f.exitAtEnd, "exit-at-end", false, "end with the last record that is there now")
	set.StringVar(&f.format, "format", "", "write each record in this `format`")
	set.BoolVar(&f.json, "json", false, "write each record as a JSON object on a line")
	set.StringVar(&f.group, "group", "", "share the work with all who name the same `group`, and go on where it was")
	set.StringVar(&f.instance, "instance", "", "`name` of a static member of the group, whose partitions wait for its restart")
	completeFlagWith(cmd, "group", ofFlag(completeGroups(&f.bootstrap, anyNumber)))
}

// follow runs it to its end, and says what became of it.
func (c *consumption) follow(ctx context.Context, std streams, run func(context.Context) error) error {
	progressTo := std.err
	if isTerminal(std.out) {
		progressTo = io.Discard // the records show that something moves
	}
	shown, watched := startProgress(progressTo, c.progress), c.troubles.watch()
	err := run(ctx)
	watched()
	shown.end()
	if len(c.failed) > 0 && err == nil {
		return c.failures()
	}
	if errors.Is(err, context.Canceled) && !c.exitAtEnd && c.limit == 0 {
		err = nil // it was to run until interrupted
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted before the end")
	}
	return explain(err, hintFor(err, c.topic))
}

// writer returns what writes a record.
func (f *consumeFlags) writer() (recordWriter, error) {
	switch {
	case f.json && f.format != "":
		return nil, usagef("--json and --format exclude each other; give one of them")
	case f.json:
		return newJSONWriter(), nil
	case f.format != "":
		write, err := parseFormat(f.format)
		if err != nil {
			return nil, usagef("--format: %w", err)
		}
		return write, nil
	}
	return writeValue, nil
}

// consumption is one run of troupe consume.
type consumption struct {
	client    *client.Client
	topic     string
	from      start
	write     recordWriter
	limit     int64 // records; 0 for none
	exitAtEnd bool
	out       *bufio.Writer
	troubles  *troubles

	written atomic.Int64
	pending map[int32]wire.Offset // by partition that has not come to its end: where that is
	line    []byte

	mu     sync.Mutex      // of failed and pending, while the ends are asked for
	failed map[int32]error // by partition that was not read to its end, though it should have been
}

const (
	// patience is how long a run that ends at the end waits for a partition that cannot be read, if
	// only for the lack of a leader; and patienceForBrokers, if its broker is away.
	patience           = 10 * time.Second
	patienceForBrokers = 30 * time.Second
)

// fail gives a partition up.
func (c *consumption) fail(partition int32, err error) {
	if hint := hintFor(err, c.topic); hint != "" {
		err = fmt.Errorf("%w; %s", err, hint)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed[partition] = err
	delete(c.pending, partition)
}

// giveUp gives up the partitions that have failed for too long.
func (c *consumption) giveUp() {
	for partition := range c.pending {
		lasting, err := c.troubles.lasting(c.topic, partition)
		if lasting >= patienceForBrokers || (lasting >= patience && !errors.Is(err, client.ErrConnection)) {
			c.fail(partition, fmt.Errorf("%v: %w", place{c.topic, partition}, err))
		}
	}
}

// failures returns why the partitions that were given up failed.
func (c *consumption) failures() error {
	var all []error
	for _, partition := range slices.Sorted(maps.Keys(c.failed)) {
		all = append(all, c.failed[partition])
	}
	return errors.Join(all...)
}

// run consumes one partition, or all with -1, and leaves nothing in the buffer.
func (c *consumption) run(ctx context.Context, partition int32) error {
	options, err := c.plan(ctx, partition)
	if err != nil {
		return err
	}
	if c.exitAtEnd && len(c.pending) == 0 {
		return nil
	}
	consumer, err := c.client.NewConsumer(options...)
	if err != nil {
		return err
	}
	defer func() { _ = consumer.Close() }() // nothing is left to be told
	err = c.poll(ctx, consumer)
	if flushErr := c.out.Flush(); err == nil { // or else it is the same again
		err = flushErr
	}
	return err
}

func (c *consumption) progress() string {
	return grouped(c.written.Load()) + " records"
}

// pollInterval is how often a run that ends at the end looks whether it has come there without a
// record to tell: the last offsets of a partition may hold none.
const pollInterval = 250 * time.Millisecond

func (c *consumption) poll(ctx context.Context, consumer *client.Consumer) error {
	for {
		wait, cancel := ctx, context.CancelFunc(func() {})
		if c.exitAtEnd {
			wait, cancel = context.WithTimeout(ctx, pollInterval)
		}
		records, err := consumer.Poll(wait)
		cancel()
		var unreadable *client.PartitionError
		switch {
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			for _, position := range consumer.Positions() {
				c.reached(position.Partition, position.Next)
			}
			c.giveUp()
		case c.exitAtEnd && errors.As(err, &unreadable):
			c.fail(unreadable.Partition, err)
		case err != nil:
			return err
		}
		if done, err := c.writeAll(records); done || err != nil {
			return err
		}
		// Poll gave all that there was: whoever reads stdout shall not wait for more.
		if err := c.out.Flush(); err != nil {
			return err
		}
	}
}

// writeAll writes records and says whether the run is done.
func (c *consumption) writeAll(records []client.Record) (done bool, err error) {
	for i := range records {
		r := &records[i]
		if c.exitAtEnd {
			end, pending := c.pending[r.Partition]
			if !pending || r.Offset >= end {
				c.reached(r.Partition, r.Offset)
				continue // it came after the run began
			}
		}
		c.line = c.write(c.line[:0], r)
		if _, err := c.out.Write(c.line); err != nil {
			return false, err
		}
		c.reached(r.Partition, r.Offset+1)
		if c.written.Add(1) == c.limit { // a limit of 0 is never met
			return true, nil
		}
	}
	return c.exitAtEnd && len(c.pending) == 0, nil
}

// reached notes how far a partition has come.
func (c *consumption) reached(partition int32, next wire.Offset) {
	if end, pending := c.pending[partition]; pending && next >= end {
		delete(c.pending, partition)
	}
}

// plan returns what to read. Where the client cannot find the beginning by itself, or the end
// matters, every partition is asked first, and those that are added later are not read.
func (c *consumption) plan(ctx context.Context, partition int32) ([]client.ConsumerOption, error) {
	if from, ok := c.from.client(); ok && !c.exitAtEnd {
		if partition >= 0 {
			return []client.ConsumerOption{client.Partition(c.topic, partition, from)}, nil
		}
		return []client.ConsumerOption{client.Topics(c.topic), client.From(from)}, nil
	}
	interrupted := ctx
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	numbers := []int32{partition}
	if partition < 0 {
		count, err := partitionCount(ctx, c.client, c.topic)
		if err != nil {
			return nil, err
		}
		numbers = numbers[:0]
		for number := range count {
			numbers = append(numbers, number)
		}
	}
	c.pending = make(map[int32]wire.Offset)
	var options []client.ConsumerOption
	asks, ctx := errgroup.WithContext(ctx)
	asks.SetLimit(maxAsks)
	for _, number := range numbers {
		asks.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			first, end, err := c.ends(ctx, number)
			if err != nil && c.exitAtEnd && interrupted.Err() == nil && !errors.Is(err, wire.UnknownTopicOrPartition) {
				c.fail(number, err)
				return nil
			}
			if err != nil {
				return err
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			options = append(options, client.Partition(c.topic, number, client.AtOffset(first)))
			if c.exitAtEnd && first != end {
				c.pending[number] = end
			}
			return nil
		})
	}
	return options, asks.Wait()
}

// ends returns where a partition is to begin, and where it ends now.
func (c *consumption) ends(ctx context.Context, number int32) (first, end wire.Offset, err error) {
	end, _, err = c.client.ListOffset(ctx, c.topic, number, client.Latest)
	if err != nil {
		return 0, 0, err
	}
	if c.from.absolute {
		return wire.Offset(c.from.offset), end, nil // one outside of the log is told by fetching
	}
	if c.from.timestamp == client.Latest && c.from.back == 0 {
		return end, end, nil
	}
	oldest, _, err := c.client.ListOffset(ctx, c.topic, number, client.Earliest)
	if err != nil || c.from.timestamp == client.Earliest {
		return oldest, end, err
	}
	if c.from.timestamp == client.Latest {
		return max(oldest, end-wire.Offset(c.from.back)), end, nil
	}
	first, _, err = c.client.ListOffset(ctx, c.topic, number, c.from.timestamp)
	if err != nil {
		return 0, 0, err
	}
	if first == wire.NoOffset { // no record is that new
		return end, end, nil
	}
	return first, max(first, end), nil
}
