package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	numberedTopic  = "numbered"
	numberedBytes  = 100
	numberedBuffer = 2000 // records in flight per writer
	maxProblems    = 20
)

// numberedWriters write the numbers 0, 1, 2, ... to each partition, as fast as they are
// acknowledged, until they are told to finish. Each partition has one idempotent producer that
// never gives up, so what a partition must hold in the end is known exactly: every number, once,
// in order, at the offset that its acknowledgement named.
type numberedWriters struct {
	writers []*numberedWriter
	cancel  context.CancelFunc // ends the writing; what is in flight is still acknowledged
	writing sync.WaitGroup

	mu    sync.Mutex
	first chan time.Time // told of the next acknowledgement, then nil
}

type numberedWriter struct {
	client    *kgo.Client
	partition int32

	mu      sync.Mutex
	sent    int64
	offsets []int64 // by number; notYet while unacknowledged
	acked   int64
	failed  error
}

const notYet = -1

func startNumberedWriters(ctx context.Context, addr string, partitions int32) (*numberedWriters, error) {
	w := defaultWorkload()
	w.Topic, w.Partitions = numberedTopic, partitions
	if err := (kafkaDriver{}).createTopic(ctx, &target{name: "troupe", addr: addr, durable: true}, w); err != nil {
		return nil, err
	}
	all := &numberedWriters{}
	var writing context.Context
	writing, all.cancel = context.WithCancel(ctx)
	for partition := range partitions {
		client, err := kgo.NewClient(
			kgo.SeedBrokers(addr),
			kgo.DefaultProduceTopic(numberedTopic),
			kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.MaxBufferedRecords(numberedBuffer),
			kgo.ProducerBatchCompression(kgo.NoCompression()),
			kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		)
		if err != nil {
			all.close()
			return nil, err
		}
		n := &numberedWriter{client: client, partition: partition}
		all.writers = append(all.writers, n)
		all.writing.Go(func() { n.write(ctx, writing, all.acknowledged) })
	}
	return all, nil
}

// write sends numbers until writing ends.
func (n *numberedWriter) write(ctx, writing context.Context, acknowledged func()) {
	for number := int64(0); writing.Err() == nil; number++ {
		n.mu.Lock()
		n.sent++
		n.offsets = append(n.offsets, notYet)
		n.mu.Unlock()
		n.client.Produce(ctx, &kgo.Record{Partition: n.partition, Value: numbered(number)}, func(r *kgo.Record, err error) {
			n.mu.Lock()
			if err != nil {
				n.failed = errors.Join(n.failed, fmt.Errorf("partition %d number %d: %w", n.partition, number, err))
			} else {
				n.offsets[number] = r.Offset
				n.acked++
			}
			n.mu.Unlock()
			if err == nil {
				acknowledged()
			}
		})
	}
}

// numbered is the record of a number: its 8 bytes, and then others that follow from it.
func numbered(number int64) []byte {
	value := binary.BigEndian.AppendUint64(make([]byte, 0, numberedBytes), uint64(number))
	for i := len(value); i < numberedBytes; i++ {
		value = append(value, byte(number)+byte(i))
	}
	return value
}

func (w *numberedWriters) acknowledged() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first != nil {
		w.first <- time.Now()
		w.first = nil
	}
}

// nextAcknowledgement delivers the time of the next acknowledgement from now on.
func (w *numberedWriters) nextAcknowledgement() <-chan time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := make(chan time.Time, 1)
	w.first = first
	return first
}

func (w *numberedWriters) inFlight() (records int64) {
	for _, n := range w.writers {
		n.mu.Lock()
		records += n.sent - n.acked
		n.mu.Unlock()
	}
	return records
}

// finish stops the writing and returns when all that was sent is acknowledged.
func (w *numberedWriters) finish(ctx context.Context) (acknowledged int64, err error) {
	w.cancel()
	w.writing.Wait()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, n := range w.writers {
		if err := n.client.Flush(ctx); err != nil {
			return 0, fmt.Errorf("the last records were not acknowledged: %w", err)
		}
		n.mu.Lock()
		acknowledged += n.acked
		failed := n.failed
		n.mu.Unlock()
		if failed != nil {
			return 0, failed
		}
	}
	return acknowledged, nil
}

func (w *numberedWriters) close() {
	w.cancel()
	for _, n := range w.writers {
		n.client.Close() // it also frees a writer that waits for room in the buffer
	}
	w.writing.Wait()
}

// verify reads every partition from its start and compares it with what was acknowledged.
func (w *numberedWriters) verify(ctx context.Context, addr string) (consumed int64, problems []string, err error) {
	for _, n := range w.writers {
		read, found, err := n.verify(ctx, addr)
		if err != nil {
			return consumed, problems, fmt.Errorf("read partition %d: %w", n.partition, err)
		}
		consumed += read
		problems = append(problems, found...)
	}
	return consumed, problems[:min(len(problems), maxProblems)], nil
}

func (n *numberedWriter) verify(ctx context.Context, addr string) (read int64, problems []string, err error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(addr),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{numberedTopic: {n.partition: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return 0, nil, err
	}
	defer client.Close()
	next, highWatermark := int64(0), int64(0)
	for next < n.sent && len(problems) < maxProblems {
		quiet, cancel := context.WithTimeout(ctx, 10*time.Second)
		fetches := client.PollFetches(quiet)
		cancel()
		if err := fetches.Err(); errors.Is(err, context.DeadlineExceeded) {
			return read, append(problems, fmt.Sprintf("partition %d ends before number %d of %d", n.partition, next, n.sent)), nil
		} else if err != nil {
			return read, problems, err
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			highWatermark = p.HighWatermark
			for _, r := range p.Records {
				read++
				if problem := n.judge(r, next); problem != "" {
					problems = append(problems, problem)
				}
				if len(r.Value) >= 8 {
					next = int64(binary.BigEndian.Uint64(r.Value)) + 1
				}
			}
		})
	}
	if len(problems) == 0 && highWatermark != n.sent {
		problems = append(problems, fmt.Sprintf("partition %d holds %d records where %d were sent", n.partition, highWatermark, n.sent))
	}
	return read, problems, nil
}

// judge says what is wrong with a record where number want is due.
func (n *numberedWriter) judge(r *kgo.Record, want int64) string {
	if len(r.Value) != numberedBytes {
		return fmt.Sprintf("partition %d offset %d: a record of %d bytes that nobody wrote", n.partition, r.Offset, len(r.Value))
	}
	got := int64(binary.BigEndian.Uint64(r.Value))
	switch {
	case got < 0 || got >= n.sent || !bytes.Equal(r.Value, numbered(got)):
		return fmt.Sprintf("partition %d offset %d: bytes that nobody wrote", n.partition, r.Offset)
	case got > want:
		return fmt.Sprintf("partition %d offset %d: number %d comes where %d is due: %d lost", n.partition, r.Offset, got, want, got-want)
	case got < want:
		return fmt.Sprintf("partition %d offset %d: number %d comes again, or late: %d is due", n.partition, r.Offset, got, want)
	case n.offsets[got] != r.Offset:
		return fmt.Sprintf("partition %d offset %d: number %d was acknowledged at %d", n.partition, r.Offset, got, n.offsets[got])
	}
	return ""
}
