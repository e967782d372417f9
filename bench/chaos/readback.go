package chaos

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-mq/troupe/bench/history"
	"github.com/troupe-mq/troupe/bench/testbed"
	"github.com/troupe-mq/troupe/storage"
)

// readAll adds final readings of the whole topic, by each library, and returns where the partitions
// end.
func readAll(ctx context.Context, cfg *LoadConfig, h *history.History) (ends []int64, err error) {
	if ends, err = endOffsets(ctx, cfg); err != nil {
		return nil, err
	}
	for _, library := range cfg.Libraries {
		r, err := library.NewReader(cfg)
		if err != nil {
			return nil, err
		}
		if r == nil {
			continue
		}
		t := newTail(library.Name()+" at the end", cfg, r)
		t.final = true
		err = t.readTo(ctx, ends)
		r.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
		h.Readings = append(h.Readings, t.readings()...)
	}
	return ends, nil
}

// readTo reads until it has seen the record before each end.
func (t *tail) readTo(ctx context.Context, ends []int64) error {
	for {
		behind := -1
		for partition, end := range ends {
			if t.next(int32(partition)) < end {
				behind = partition
			}
		}
		if behind < 0 {
			return nil
		}
		if err := t.reader.Poll(ctx, t.saw); err != nil && ctx.Err() != nil {
			return fmt.Errorf("partition %d ends at %d, was read up to %d: %w", behind, ends[behind], t.next(int32(behind)), err)
		}
	}
}

// endOffsets asks for the high watermarks until every partition has one to tell.
func endOffsets(ctx context.Context, cfg *LoadConfig) ([]int64, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Addresses...), kgo.MetadataMinAge(metadataMinAge))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for {
		listed, err := kadm.NewClient(client).ListEndOffsets(ctx, cfg.Topic)
		if err == nil {
			err = listed.Error()
		}
		if err == nil {
			ends := make([]int64, cfg.Partitions)
			listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
			return ends, nil
		}
		if sleepErr := sleep(ctx, 100*time.Millisecond); sleepErr != nil {
			return nil, fmt.Errorf("where do the partitions end: %w", errors.Join(sleepErr, err))
		}
	}
}

// compareCopies holds the files of stopped brokers against each other.
func compareCopies(cluster *testbed.Cluster, cfg *LoadConfig, replicas func(partition int32) []int32, ends []int64, found *history.Findings) error {
	for partition := range cfg.Partitions {
		place := history.Place{Topic: cfg.Topic, Partition: partition}
		var copies []history.Copy
		for _, broker := range replicas(partition) {
			m := cluster.Member(broker)
			if m == nil {
				return fmt.Errorf("%s has a replica on broker %d, which is none of ours", place, broker)
			}
			c, err := readCopy(m, place)
			if err != nil {
				return err
			}
			copies = append(copies, c)
		}
		history.CompareCopies(copies, ends[partition], found)
	}
	return nil
}

// readCopy reads the segments of a partition.
func readCopy(m *testbed.Member, place history.Place) (history.Copy, error) {
	c := history.Copy{Broker: m.ID(), Place: place}
	dir := filepath.Join(m.Data(), fmt.Sprintf("%s-%d", place.Topic, place.Partition))
	files := make(map[string]*os.File)
	defer func() {
		for _, f := range files {
			_ = f.Close() // only read
		}
	}()
	err := storage.Dump(storage.OSFS{}, dir, storage.DumpOptions{}, func(d storage.Dumped) error {
		if filepath.Ext(d.File) != ".log" {
			return nil
		}
		if d.Damage != nil {
			c.Damage = fmt.Sprintf("%s at %d: %v", filepath.Base(d.File), d.Position, d.Damage)
			return nil //nolint:nilerr // what the damage hides is missing from the copy, which is compared
		}
		f, err := openOnce(files, d.File)
		if err != nil {
			return err
		}
		sum, err := sumOf(f, d.Position, int64(d.Batch.Size()))
		c.Batches = append(c.Batches, history.Batch{
			Base: int64(d.Batch.BaseOffset), Last: int64(d.Batch.LastOffset()), Epoch: int32(d.Batch.LeaderEpoch), Sum: sum,
		})
		return err
	})
	if errors.Is(err, os.ErrNotExist) {
		return c, nil // a copy without anything, which is a finding unless nothing was written
	}
	return c, err
}

func openOnce(files map[string]*os.File, name string) (*os.File, error) {
	if f := files[name]; f != nil {
		return f, nil
	}
	f, err := os.Open(name)
	if err == nil {
		files[name] = f
	}
	return f, err
}

func sumOf(f io.ReaderAt, at, size int64) (sum [32]byte, err error) {
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(f, at, size)); err != nil {
		return sum, err
	}
	hash.Sum(sum[:0])
	return sum, nil
}
