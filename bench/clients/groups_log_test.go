package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/bench/testbed"
	"github.com/troupe-mq/troupe/wire"
)

const offsetsTopic = "__consumer_offsets"

// What coordinators write down is in the format of Apache Kafka: its console consumer shows it to those who ask over the
// network, and its dump tool reads the files.
func TestKafkasOwnToolsReadTheLogOfGroups(t *testing.T) {
	t.Parallel()
	if process == nil {
		t.Skip("the data directory of another's broker is not ours to read")
	}
	javaCommand(t, groupCommand) // a broker for nothing is not started
	ctx := context.Background()  // the broker is stopped below, whatever becomes of the test
	data := filepath.Join(t.TempDir(), "data")
	p, err := testbed.StartProcess(ctx, binary, testbed.BrokerArgs(data, groupSettings...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	crews := map[string]*crew{}
	for _, protocol := range []string{classic, modern} {
		t.Run("write/"+protocol, func(t *testing.T) {
			c := newCrewAt(t, p.Kafka(), 2, 1)
			c.produce(10)
			member := c.join(kinds[0], request{Assignor: "range", Protocol: protocol})
			c.settle(member)
			member.leave()
			crews[protocol] = c
		})
	}
	for protocol, c := range crews {
		t.Run("consume/"+protocol, func(t *testing.T) {
			log := consumeLog(t, p.Kafka(), c.group, "OffsetsMessageFormatter")
			for partition, end := range c.produced {
				if !strings.Contains(log, fmt.Sprintf(`"topic":%q,"partition":%d}},"value":{"version":4,"data":{"offset":%d,`, c.topic, partition, end)) {
					t.Errorf("the commit of %d in partition %d is not there:\n%s", end, partition, log)
				}
			}
			log = consumeLog(t, p.Kafka(), c.group, "GroupMetadataMessageFormatter")
			// Of KIP-848 Kafka's formatter shows nothing; its dump tool does.
			if got := strings.Count(log, strconv.Quote(c.group)); (got > 0) != (protocol != modern) {
				t.Errorf("%d records of the group as a whole:\n%s", got, log)
			}
		})
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	for protocol, c := range crews {
		t.Run("dump/"+protocol, func(t *testing.T) { c.expectDumped(t, data, protocol) })
	}
}

// consumeLog has Kafka's console consumer print what one of its formatters makes of the log that a group is in.
func consumeLog(t *testing.T, bootstrap, group, formatter string) string {
	t.Helper()
	partition := fmt.Sprint(logOf(group))
	end := strings.TrimSpace(tool(t, "", "org.apache.kafka.tools.GetOffsetShell",
		"--bootstrap-server", bootstrap, "--topic", offsetsTopic, "--partitions", partition))
	_, count, _ := strings.Cut(strings.TrimPrefix(end, offsetsTopic+":"), ":")
	return tool(t, "", "org.apache.kafka.tools.consumer.ConsoleConsumer",
		"--bootstrap-server", bootstrap, "--topic", offsetsTopic, "--partition", partition, "--offset", "earliest",
		"--max-messages", count, "--formatter", "org.apache.kafka.tools.consumer."+formatter)
}

func logOf(group string) int32 { return wire.GroupID(group).Partition(50) }

// expectDumped fails when Kafka's dump tool finds something in the log of the group that it cannot read, or not what a
// member that came, committed and left leaves behind. What is the brokers' own, the history of rebalances, it passes over.
func (c *crew) expectDumped(t *testing.T, data, protocol string) {
	t.Helper()
	segment := filepath.Join(data, fmt.Sprintf("%s-%d", offsetsTopic, logOf(c.group)), "00000000000000000000.log")
	out := tool(t, "", "org.apache.kafka.tools.DumpLogSegments", "--offsets-decoder", "--files", segment)
	if bad := complaint.FindString(out); bad != "" {
		t.Errorf("the dump tool says %q:\n%s", bad, excerpt(out, bad))
	}
	kinds := map[string]int{}
	for line := range strings.Lines(out) {
		_, key, ok := strings.Cut(line, " key: ")
		if !ok || strings.HasPrefix(key, "Unknown record type") {
			continue
		}
		var is struct {
			Type string
			Data map[string]any
		}
		if err := json.NewDecoder(strings.NewReader(key)).Decode(&is); err != nil {
			t.Fatalf("the dump tool cannot read a key: %v\n%s", err, line)
		}
		if is.Data["group"] == c.group || is.Data["groupId"] == c.group {
			kinds[is.Type]++
		}
	}
	const offset, group, epoch, member, targetEpoch, target, current = "1", "2", "3", "5", "6", "7", "8"
	want := []string{offset, group}
	if protocol == modern {
		want = []string{offset, epoch, member, targetEpoch, target, current}
	}
	for _, kind := range want {
		if kinds[kind] == 0 {
			t.Errorf("no record of type %s:\n%s", kind, out)
		}
	}
	if len(kinds) != len(want) {
		t.Errorf("the records are of types %v, want %v", kinds, want)
	}
}
