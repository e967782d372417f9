package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// produceFlags are the flags of troupe produce.
type produceFlags struct {
	bootstrap    string
	keySeparator string
	partition    int32
	acks         string
	compression  string
	headers      []string
}

func newProduce(std streams) *cobra.Command {
	var flags produceFlags
	cmd := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "Write the lines of stdin to a topic, a record each",
		Long: `Produce reads stdin and writes each line to a topic as a record. LF ends a record and is not
part of it, CR is; a last line without LF counts.

At the end it says on stderr how many records were acknowledged. If one was not, it stops
reading, and exits with 1.`,
		Example: `  troupe produce access-log < access.log
  tail -F app.log | troupe produce app-log --compression zstd
  echo 'alice:hello' | troupe produce chat --key-separator :
  troupe produce orders --partition 0 --acks 1 --header source=import < orders.jsonl`,
		GroupID: groupUse,
		Args:    exactly("TOPIC"),

		ValidArgsFunction: completeTopics(&flags.bootstrap, 1),
	}
	set := cmd.Flags()
	bootstrapFlag(set, &flags.bootstrap)
	set.StringVar(&flags.keySeparator, "key-separator", "", "`text` that parts key and value; a line without it has no key")
	set.Int32Var(&flags.partition, "partition", client.Any, "`number` of the partition; -1 chooses by key")
	set.StringVar(&flags.acks, "acks", "all", "wait for `all` in-sync replicas, for 1 (the leader), or 0 (nobody)")
	set.StringVar(&flags.compression, "compression", "none", "`codec`: none, gzip, snappy, lz4 or zstd")
	set.StringArrayVar(&flags.headers, "header", nil, "header of every record, as `name=value`; may be repeated")
	completeFlag(cmd, "acks", "all", "1", "0")
	completeFlag(cmd, "compression", "none", "gzip", "snappy", "lz4", "zstd")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		options, err := flags.options()
		if err != nil {
			return err
		}
		headers, err := parseHeaders(flags.headers)
		if err != nil {
			return err
		}
		troubles := newTroubles(std)
		c, err := connectWith(cmd.Context(), flags.bootstrap, client.Config{OnRetry: troubles.retry})
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }() // nothing is left to be told
		producer, err := c.NewProducer(options...)
		if err != nil {
			return err
		}
		if err := checkPartition(cmd.Context(), c, args[0], flags.partition); err != nil && !errors.Is(err, wire.UnknownTopicOrPartition) {
			return explain(err, "")
		}
		maximum, exists, err := maxMessageBytes(cmd.Context(), c, args[0])
		if err != nil {
			return explain(err, hintFor(err, args[0]))
		}
		run := &production{
			producer: producer,
			lines:    newLineReader(std.in, maximum),
			template: client.Record{Topic: args[0], Partition: flags.partition, Headers: headers},
			key:      []byte(flags.keySeparator),
			outcome:  "acknowledged",
			first:    make(chan struct{}),
		}
		if flags.acks == "0" {
			run.outcome = "sent"
		}
		return run.follow(cmd.Context(), std, c, troubles, exists)
	}
	return cmd
}

// follow runs it to its end, and says what became of it. A topic that does not exist is announced.
func (p *production) follow(ctx context.Context, std streams, c *client.Client, troubles *troubles, exists bool) error {
	progressTo := std.err
	if isTerminal(std.in) {
		progressTo = io.Discard // it would get between the lines that are being typed
	}
	troubles.open = p.open
	shown, watched := startProgress(progressTo, p.progress), troubles.watch()
	announced := func() {}
	if !exists {
		announced = p.announce(ctx, c, std.err)
	}
	err := p.run(ctx)
	announced()
	watched()
	shown.end()
	return p.verdict(std.err, err)
}

// options returns what the flags ask of the producer.
func (f *produceFlags) options() ([]client.ProducerOption, error) {
	compression, err := client.ParseCompression(f.compression)
	if err != nil {
		return nil, usagef("--compression %s: write none, gzip, snappy, lz4 or zstd", f.compression)
	}
	options := []client.ProducerOption{client.WithCompression(compression)}
	switch f.acks {
	case "all", "-1":
		options = append(options, client.WithAcks(client.AcksAll))
	case "1":
		options = append(options, client.WithAcks(client.AcksLeader))
	case "0":
		options = append(options, client.WithAcks(client.AcksNone))
	default:
		return nil, usagef("--acks %s: write all, 1 or 0", f.acks)
	}
	switch {
	case f.partition < client.Any:
		return nil, usagef("--partition %d: write the number of a partition, or -1 to choose by key", f.partition)
	case f.partition != client.Any:
		options = append(options, client.WithPartitioner(client.Explicit))
	}
	return options, nil
}

func parseHeaders(assignments []string) ([]client.Header, error) {
	var headers []client.Header
	for _, assignment := range assignments {
		name, value, found := strings.Cut(assignment, "=")
		if !found || name == "" {
			return nil, usagef("--header %s: write name=value", assignment)
		}
		headers = append(headers, client.Header{Key: name, Value: []byte(value)})
	}
	return headers, nil
}

// production is one run of troupe produce. One goroutine reads lines and hands them over; the
// producer's tells what became of them.
type production struct {
	producer *client.Producer
	lines    *lineReader
	template client.Record
	key      []byte // separator; empty for none
	outcome  string // what the producer's word means: "acknowledged", or "sent" with --acks 0

	first        chan struct{} // closed with the first acknowledgement
	taken        atomic.Int64  // lines that were read
	acknowledged atomic.Int64
	bytes        atomic.Int64
	mu           sync.Mutex
	lost         int64
	firstLoss    error
	stop         context.CancelCauseFunc
}

// run produces until the input ends, a record is lost, or ctx ends, and waits for what is under way.
func (p *production) run(ctx context.Context) error {
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p.stop = stop

	// Nothing interrupts a read of stdin, so that the goroutine is left behind if ctx ends first:
	// then the process is about to end.
	read := make(chan error, 1)
	go func() { read <- p.read(reading) }()
	var err error
	select {
	case err = <-read:
	case <-reading.Done():
		err = context.Cause(reading)
	}
	return errors.Join(err, p.flush(ctx))
}

// announce says that the cluster created the topic, which was not there before, once it has a
// record: the name may have been mistyped. The function that is returned waits for that.
func (p *production) announce(ctx context.Context, c *client.Client, stderr io.Writer) (end func()) {
	ended := make(chan struct{})
	var announcing sync.WaitGroup
	announcing.Go(func() {
		select {
		case <-p.first:
		case <-ended:
			return
		}
		short, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		count, err := partitionCount(short, c, p.template.Topic)
		if err != nil {
			return // the records are there; whatever is wrong now is not theirs
		}
		line := fmt.Sprintf("created topic %s (%s)\n", p.template.Topic, plural(int64(count), "partition"))
		if isTerminal(stderr) {
			line = clearLine + line // which may show progress
		}
		_, _ = io.WriteString(stderr, line) // a lost terminal loses nothing else
	})
	return func() {
		select {
		case <-p.first:
		default:
			close(ended)
		}
		announcing.Wait()
	}
}

func (p *production) progress() string {
	return fmt.Sprintf("%s records, %s %s", grouped(p.acknowledged.Load()), megabytes(p.bytes.Load()), p.outcome)
}

// open is what troubles ask.
func (p *production) open() (done int64, more bool) {
	done = p.acknowledged.Load()
	return done, p.taken.Load() > done
}

// flush waits for every record that was handed over. Interrupted, it does not wait for long.
func (p *production) flush(ctx context.Context) error {
	if ctx.Err() == nil {
		err := p.producer.Flush(ctx)
		if err == nil || ctx.Err() == nil {
			return err
		}
	}
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if p.producer.Flush(short) != nil {
		return errUnderWay
	}
	return nil
}

var errUnderWay = fmt.Errorf("interrupted, and records under way were not acknowledged within %v: they may be in the log or not", stopTimeout)

// read hands over the lines until there are no more.
func (p *production) read(ctx context.Context) error {
	for {
		line, err := p.lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read stdin: %w", err)
		}
		p.taken.Add(1)
		record := p.template
		record.Value = line
		if len(p.key) > 0 {
			if key, value, found := bytes.Cut(line, p.key); found {
				record.Key, record.Value = key[:len(key):len(key)], value
			}
		}
		if err := p.producer.Produce(ctx, record, p.done); err != nil {
			return err
		}
	}
}

// done counts an acknowledgement. The first loss stops the reading: what follows would be lost
// too, or be written out of order.
func (p *production) done(r client.Record, err error) {
	if err == nil {
		if p.acknowledged.Add(1) == 1 {
			close(p.first)
		}
		p.bytes.Add(int64(len(r.Key) + len(r.Value)))
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost++; p.firstLoss == nil {
		p.firstLoss = err
		p.stop(errLost)
	}
}

var errLost = errors.New("a record was not acknowledged")

// verdict writes the count and returns why the run failed, if it did.
func (p *production) verdict(stderr io.Writer, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, countErr := fmt.Fprintf(stderr, "%s %s\n", plural(p.acknowledged.Load(), "record"), p.outcome); countErr != nil {
		err = errors.Join(err, countErr)
	}
	switch {
	case p.lost > 0:
		hint := hintFor(p.firstLoss, p.template.Topic)
		return explain(fmt.Errorf("%s not acknowledged: %w", plural(p.lost, "record"), p.firstLoss), hint)
	case errors.Is(err, errUnderWay):
		return errUnderWay
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted before the end of the input")
	}
	return explain(err, hintFor(err, p.template.Topic))
}
