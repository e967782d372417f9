package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// askLeader asks the leader of a partition, again after each error that new metadata or a little
// patience may cure, until ctx ends. build makes the request for the topic as it is then known;
// check returns the error within the answer.
func (cl *Client) askLeader(ctx context.Context, name string, partition int32,
	try func(ctx context.Context, c *conn, t *topic) (wire.LeaderHint, error),
) error {
	for failures := 1; ; failures++ {
		t, err := cl.topic(ctx, name, false)
		if err != nil {
			return err
		}
		if partition < 0 || int(partition) >= len(t.partitions) {
			return wire.Errorf(wire.UnknownTopicOrPartition, "there is no partition %s/%d", name, partition)
		}
		hint := wire.NoHint
		addr, _ := cl.meta.Load().leader(name, t.id, partition)
		if addr == "" {
			err = wire.LeaderNotAvailable
		} else if c, connErr := cl.waitLeader(ctx, addr); connErr != nil {
			err = connErr
		} else {
			attempt, cancel := context.WithTimeout(ctx, cl.cfg.RequestTimeout)
			hint, err = try(attempt, c, t)
			cancel()
		}
		switch {
		case err == nil:
			if failures > 1 {
				cl.retried(name, partition, nil)
			}
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%s/%d: %w", name, partition, ctx.Err())
		case !retriable(err) && !errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("%s/%d: %w", name, partition, err)
		}
		if cl.hint(name, t.id, partition, hint) && failures == 1 {
			continue
		}
		cl.retried(name, partition, err)
		if staleMetadata(err) {
			cl.refresh.ask()
		}
		if pauseErr := cl.pause(ctx, failures); pauseErr != nil {
			return fmt.Errorf("%s/%d: %w", name, partition, giveUp(pauseErr, err))
		}
	}
}

// waitLeader returns a connection to the leader at addr or, if that cannot be reached, to a broker that
// forwards to it.
func (cl *Client) waitLeader(ctx context.Context, addr string) (*conn, error) {
	if c := cl.relay(addr, now()); c != nil {
		return c, nil
	}
	c, err := cl.waitConn(ctx, addr)
	if err != nil {
		if other := cl.relay(addr, now()); other != nil {
			return other, nil
		}
	}
	return c, err
}

// giveUp returns why the asking ended, and the last failure if there was one.
func giveUp(why, last error) error {
	if last == nil {
		return why
	}
	return fmt.Errorf("%w: %w", why, last)
}

// Where ListOffsets looks, besides a time.
const (
	Latest       = wire.LatestTimestamp   // the offset that the next record gets
	Earliest     = wire.EarliestTimestamp // the first record that is kept
	MaxTimestamp = wire.MaxTimestamp      // the record with the largest timestamp
)

// ListOffset returns the offset of the first record whose timestamp, in milliseconds since 1970,
// is at least timestamp; or what Latest, Earliest and MaxTimestamp say. The offset is -1, and the
// time zero, when there is no such record.
func (cl *Client) ListOffset(ctx context.Context, topicName string, partition int32, timestamp int64) (Offset, time.Time, error) {
	var got wire.ListedOffset
	err := cl.askLeader(ctx, topicName, partition, func(ctx context.Context, c *conn, t *topic) (wire.LeaderHint, error) {
		req := wire.ListOffsetsRequest{Partitions: []wire.ListOffsets{
			{Topic: t.id, Partition: partition, Timestamp: timestamp, CurrentEpoch: wire.NoEpoch},
		}}
		var reply wire.ListOffsetsReply
		if err := c.ask(ctx, wire.KindListOffsets, &req, &reply); err != nil {
			return wire.NoHint, err
		}
		if len(reply.Partitions) != 1 {
			return wire.NoHint, errAnswerCount
		}
		got = reply.Partitions[0]
		return got.Leader, got.Err
	})
	if err != nil {
		return wire.NoOffset, time.Time{}, err
	}
	if got.Timestamp < 0 {
		return got.Offset, time.Time{}, nil
	}
	return got.Offset, time.UnixMilli(got.Timestamp), nil
}

var errAnswerCount = fmt.Errorf("%w: the answer has another number of parts than the request", wire.ErrMalformed)

// FetchOptions bounds a Fetch. The zero value of each field stands for its default.
type FetchOptions struct {
	MaxBytes int           // of the answer; 1 MiB. One batch is returned even if it is larger.
	MinBytes int           // to wait for; 1
	MaxWait  time.Duration // for MinBytes; 0 does not wait
}

// Fetched is what one Fetch returned.
type Fetched struct {
	Records        []Record // from the offset that was asked for on; none when nothing was there in time
	HighWatermark  Offset   // records below it can be fetched
	LogStartOffset Offset   // the first record that is kept
}

// Fetch reads once from a partition, from offset on. A Consumer is the better way to read on and
// on: it knows when to fetch again.
func (cl *Client) Fetch(ctx context.Context, topicName string, partition int32, offset Offset, opts FetchOptions) (Fetched, error) {
	orDefault(&opts.MaxBytes, 1<<20)
	orDefault(&opts.MinBytes, 1)
	var got Fetched
	err := cl.askLeader(ctx, topicName, partition, func(ctx context.Context, c *conn, t *topic) (wire.LeaderHint, error) {
		req := wire.FetchRequest{
			MaxWait: opts.MaxWait, MinBytes: opts.MinBytes, MaxBytes: opts.MaxBytes,
			Partitions: []wire.Fetch{{
				Topic: t.id, Partition: partition, FetchOffset: offset, MaxBytes: opts.MaxBytes,
				CurrentEpoch: wire.NoEpoch, LastFetchedEpoch: wire.NoEpoch,
			}},
		}
		answer, err := c.fetch(ctx, &req)
		if err != nil {
			return wire.NoHint, err
		}
		p := &answer[0]
		if p.Err != nil {
			return p.Leader, p.Err
		}
		chunk := chunk{topic: topicName, partition: partition, bytes: p.records, next: offset}
		got = Fetched{HighWatermark: p.HighWatermark, LogStartOffset: p.LogStartOffset}
		got.Records, err = chunk.take(nil, int(^uint(0)>>1))
		return wire.NoHint, err
	})
	return got, err
}

// fetchedPartition is one partition of a fetch's answer, with its records in memory of its own.
type fetchedPartition struct {
	wire.Fetched

	records []byte
}

// parseFetched reads the answer to a fetch of n partitions. The records are copied out of the
// frame: they live as long as the program keeps one of them, and the frame is larger.
func parseFetched(f wire.Frame, n int) ([]fetchedPartition, error) {
	var reply wire.FetchReply
	if err := parseAnswer(f, wire.KindFetch, &reply); err != nil {
		return nil, err
	}
	if len(reply.Partitions) != n {
		return nil, errAnswerCount
	}
	list := make([]fetchedPartition, n)
	payload := f.Payload
	for i := range list {
		list[i].Fetched = reply.Partitions[i]
		length := reply.Partitions[i].Records.Length
		if length > len(payload) {
			return nil, fmt.Errorf("%w: the records of a fetch end too early", wire.ErrMalformed)
		}
		list[i].records = append([]byte(nil), payload[:length]...)
		payload = payload[length:]
	}
	return list, nil
}

// fetch asks and waits.
func (c *conn) fetch(ctx context.Context, req *wire.FetchRequest) ([]fetchedPartition, error) {
	type outcome struct {
		list []fetchedPartition
		err  error
	}
	answered := make(chan outcome, 1)
	err := c.send(wire.KindFetch, req, nil, func(f wire.Frame, err error) {
		var o outcome
		if o.err = err; err == nil {
			o.list, o.err = parseFetched(f, len(req.Partitions))
		}
		answered <- o
	})
	if err != nil {
		return nil, err
	}
	select {
	case o := <-answered:
		return o.list, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
