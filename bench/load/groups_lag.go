package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-mq/troupe/bench/testbed"
)

// measureLag produces records at known times and compares what is said of a group that has got so far.
func (f *groupsFlags) measureLag(ctx context.Context, b *costBench) (rows []costRow, err error) {
	err = b.with(ctx, 1, func(c *testbed.Cluster) error {
		client, err := kgo.NewClient(kgo.SeedBrokers(c.Kafka()), kgo.DefaultProduceTopic(groupTopic))
		if err != nil {
			return err
		}
		defer client.Close()
		topic, err := createCommitted(ctx, client, 1, 1)
		if err != nil {
			return err
		}
		var acknowledged []time.Time // by offset
		for end := time.Now().Add(f.watch); time.Now().Before(end); {
			if err := client.ProduceSync(ctx, kgo.StringRecord("one")).FirstErr(); err != nil {
				return err
			}
			acknowledged = append(acknowledged, time.Now())
			if err := sleep(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
		var worst float64
		const positions = 20
		for n := range positions {
			at := n * len(acknowledged) / positions
			if err := topic.commit(ctx, client, groupName, 1, int64(at)); err != nil {
				return err
			}
			said, err := lagSeconds(ctx, b.binary, c.Members[0].Kafka())
			if err != nil {
				return err
			}
			worst = max(worst, math.Abs(said-time.Since(acknowledged[at]).Seconds()))
		}
		rows = append(rows, costRow{
			What: "lag in seconds is wrong by at most", Value: worst, Unit: "s",
			Note: fmt.Sprintf("at %d positions in %d records", positions, len(acknowledged)),
		}.against("<= 1", worst <= 1))
		return nil
	})
	return rows, err
}

// lagSeconds asks troupe how far the group is behind. The time that its start takes is in the answer.
func lagSeconds(ctx context.Context, binary, addr string) (float64, error) {
	out, err := exec.CommandContext(ctx, binary, "group", "describe", groupName, "--json", "--bootstrap", addr).Output()
	if err != nil {
		return 0, fmt.Errorf("describe the group: %w", err)
	}
	var groups []struct {
		Partitions []struct {
			LagSeconds float64 `json:"lag_seconds"`
		} `json:"partitions"`
	}
	if err := json.Unmarshal(out, &groups); err != nil {
		return 0, err
	}
	if len(groups) != 1 || len(groups[0].Partitions) != 1 {
		return 0, fmt.Errorf("describe says %s", out)
	}
	return groups[0].Partitions[0].LagSeconds, nil
}
