package clients

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/troupe-mq/troupe/bench/testbed"
)

// tool runs one of Apache Kafka's command line tools and returns what it printed.
func tool(t *testing.T, input, class string, args ...string) string {
	t.Helper()
	out, err := tryTool(t, input, class, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", class, strings.Join(args, " "), err, out)
	}
	return out
}

// tryTool also returns how the tool ended.
func tryTool(t *testing.T, input, class string, args ...string) (string, error) {
	t.Helper()
	cmd := javaCommand(t, class, args...)
	cmd.Stdin = strings.NewReader(input)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func TestKafkasOwnToolsWorkAgainstTheBroker(t *testing.T) {
	t.Parallel()
	topic := topicName(t)
	below := filepath.Join(t.TempDir(), "delete.json")
	document := fmt.Sprintf(`{"version": 1, "partitions": [{"topic": %q, "partition": 0, "offset": 2}]}`, topic)
	if err := os.WriteFile(below, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	const (
		topics  = "org.apache.kafka.tools.TopicCommand"
		configs = "kafka.admin.ConfigCommand"
	)
	at := []string{"--bootstrap-server", bootstrap}
	for _, step := range []struct {
		name, input, class string
		args               []string
		want               []string
	}{
		{
			"create", "", topics,
			[]string{"--create", "--topic", topic, "--partitions", "1", "--config", "retention.ms=3600000"},
			[]string{"Created topic " + topic},
		},
		{
			"describe", "", topics,
			[]string{"--describe", "--topic", topic},
			[]string{"PartitionCount: 1", "ReplicationFactor: 1", "retention.ms=3600000", "Leader: "},
		},
		{
			"produce", "one\ntwo\nthree\n", "org.apache.kafka.tools.ConsoleProducer",
			[]string{"--topic", topic, "--sync"},
			nil,
		},
		{
			"consume", "", "org.apache.kafka.tools.consumer.ConsoleConsumer",
			[]string{"--topic", topic, "--partition", "0", "--offset", "earliest", "--max-messages", "3"},
			[]string{"one\ntwo\nthree\n"},
		},
		{
			"offsets", "", "org.apache.kafka.tools.GetOffsetShell",
			[]string{"--topic", topic},
			[]string{topic + ":0:3"},
		},
		{
			"delete records", "", "org.apache.kafka.tools.DeleteRecordsCommand",
			[]string{"--offset-json-file", below},
			[]string{"low_watermark: 2"},
		},
		{
			"earliest offset", "", "org.apache.kafka.tools.GetOffsetShell",
			[]string{"--topic", topic, "--time", "earliest"},
			[]string{topic + ":0:2"},
		},
		{
			"grow", "", topics,
			[]string{"--alter", "--topic", topic, "--partitions", "4"},
			nil,
		},
		{
			"alter a topic's configuration", "", configs,
			[]string{"--entity-type", "topics", "--entity-name", topic, "--alter", "--add-config", "max.message.bytes=2000000"},
			[]string{"Completed updating config for topic"},
		},
		{
			"describe a topic's configuration", "", configs,
			[]string{"--entity-type", "topics", "--entity-name", topic, "--describe"},
			[]string{"max.message.bytes=2000000", "retention.ms=3600000"},
		},
		{
			"describe a broker's configuration", "", configs,
			[]string{"--entity-type", "brokers", "--entity-name", "1", "--describe", "--all"},
			[]string{"log.retention"},
		},
		{
			"produce as fast as possible", "", "org.apache.kafka.tools.ProducerPerformance",
			[]string{"--topic", topic, "--num-records", "50000", "--record-size", "100", "--throughput", "-1"},
			[]string{"50000 records sent"},
		},
		{
			"log directories", "", "org.apache.kafka.tools.LogDirsCommand",
			[]string{"--describe", "--topic-list", topic},
			[]string{topic + "-3"},
		},
		{
			"API versions", "", "org.apache.kafka.tools.BrokerApiVersionsCommand",
			nil,
			[]string{"Produce(0): 0 to 13", "Fetch(1): 4 to 18"},
		},
		{
			"cluster id", "", "org.apache.kafka.tools.ClusterTool",
			[]string{"cluster-id"},
			[]string{"Cluster ID: "},
		},
		{
			"delete", "", topics,
			[]string{"--delete", "--topic", topic},
			nil,
		},
	} {
		args := append(append([]string{}, step.args...), at...)
		out := tool(t, step.input, step.class, args...)
		for _, want := range step.want {
			if !strings.Contains(out, want) {
				t.Fatalf("%s: no %q in what the tool printed:\n%s", step.name, want, out)
			}
		}
	}
	if out := tool(t, "", topics, append([]string{"--list"}, at...)...); strings.Contains(out, topic) {
		t.Fatalf("the deleted topic is listed:\n%s", out)
	}
}

func TestKafkasDumpToolReadsOurSegments(t *testing.T) {
	t.Parallel()
	if process == nil {
		t.Skip("the data directory of another's broker is not ours to read")
	}
	javaCommand(t, "kafka.tools.DumpLogSegments") // a broker for nothing is not started
	data := filepath.Join(t.TempDir(), "data")
	const records = 40_000
	fillSegments(t, data, records)

	segments, err := filepath.Glob(filepath.Join(data, "dumped-0", "*"))
	if err != nil {
		t.Fatal(err)
	}
	byKind := map[string][]string{}
	for _, path := range segments {
		byKind[filepath.Ext(path)] = append(byKind[filepath.Ext(path)], path)
	}
	if len(byKind[".log"]) < 2 || len(byKind[".snapshot"]) == 0 {
		t.Errorf("want at least 2 segments and a snapshot of producers: %v", segments)
	}
	for _, kind := range []string{".log", ".index", ".timeindex", ".snapshot"} {
		out := tool(t, "", "org.apache.kafka.tools.DumpLogSegments", "--files", strings.Join(byKind[kind], ","), "--deep-iteration")
		if bad := complaint.FindString(out); bad != "" {
			t.Errorf("%s files: the dump tool says %q:\n%s", kind, bad, excerpt(out, bad))
		}
		switch kind {
		case ".log":
			if n := strings.Count(out, "| offset: "); n != records {
				t.Errorf("the dump tool found %d records, %d were written:\n%s", n, records, excerpt(out, "baseOffset"))
			}
			if !strings.Contains(out, "compresscodec: zstd") || !strings.Contains(out, "producerId: ") {
				t.Errorf("the dump tool sees no zstd, or no producer:\n%s", excerpt(out, "baseOffset"))
			}
		case ".snapshot":
			if !strings.Contains(out, "producerId: ") {
				t.Errorf("the dump tool found no producer in the snapshots:\n%s", out)
			}
		default:
			if !strings.Contains(out, "offset: ") {
				t.Errorf("%s: no entry in the index:\n%s", kind, excerpt(out, "Dumping"))
			}
		}
	}
}

// complaint is what the dump tool says of a file that is damaged. Of any segment but the first it
// says that offset -1 is followed by another, which is its own mistake.
var complaint = regexp.MustCompile(`isvalid: false|Mismatches in|\n +\d+ is followed by|Could not|Exception|corrupt`)

// excerpt is some lines of out, from the first with the word on.
func excerpt(out, word string) string {
	from := max(strings.Index(out, word), 0)
	from = strings.LastIndex(out[:from], "\n") + 1
	return out[from:min(len(out), from+2000)]
}

// fillSegments has a broker of its own write the records into several segments of dumped-0, and
// stops it.
func fillSegments(t *testing.T, data string, records int) {
	t.Helper()
	ctx := context.Background() // the broker is stopped below, whatever becomes of the test
	p, err := testbed.StartProcess(ctx, binary, testbed.BrokerArgs(data)...)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	configs := map[string]string{"segment.bytes": "1048576"}
	if _, err := (franz{p.Kafka()}).do(ctx, request{Op: "create", Topic: "dumped", Partitions: 1, Configs: configs}); err != nil {
		t.Fatal(err)
	}
	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.ZstdCompression()} {
		c, err := kgo.NewClient(kgo.SeedBrokers(p.Kafka()), kgo.DefaultProduceTopic("dumped"),
			kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(16<<10))
		if err != nil {
			t.Fatal(err)
		}
		for i := range records / 2 {
			c.Produce(ctx, &kgo.Record{Key: fmt.Append(nil, i), Value: append(randomBytes(80), "the end"...)}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		if err := c.Flush(ctx); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
}
