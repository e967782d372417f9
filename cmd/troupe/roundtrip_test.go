package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// realisticText returns text like that of real log files: lines of all lengths, some of them
// very long, some empty, some with CR, some not ASCII.
func realisticText(seed uint64, bytesWanted int, lastLineEnds bool) string {
	random := rand.New(rand.NewPCG(seed, seed))
	words := []string{"INFO", "dfs.DataNode$PacketResponder:", "größe=", "/var/log/日志", "\t", "blk_-6952295868487656571", "[error]", "\u00a0", "a,b;c", "%s\\n", "😀"}
	var text strings.Builder
	for text.Len() < bytesWanted {
		length := random.IntN(12)
		if random.IntN(500) == 0 {
			length = 20_000 // a stack trace that somebody put on one line
		}
		for range length {
			text.WriteString(words[random.IntN(len(words))] + " ")
		}
		if random.IntN(3) == 0 {
			text.WriteByte('\r')
		}
		text.WriteByte('\n')
	}
	if !lastLineEnds {
		text.WriteString("the last line has no end")
	}
	return text.String()
}

// texts are what is sent there and back: generated, and every log file of TROUPE_LOGHUB.
func texts(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{
		"generated":              realisticText(1, 3<<20, true),
		"generated without end":  realisticText(2, 1<<20, false),
		"one empty line":         "\n",
		"nothing":                "",
		"bytes that are no text": "\x00\xff\xfe\r\n\x80\n\n",
	}
	dir := os.Getenv("TROUPE_LOGHUB")
	if dir == "" {
		t.Log("set TROUPE_LOGHUB to a directory with real *.log files to send those too")
		return all
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(files) == 0 {
		t.Fatalf("TROUPE_LOGHUB=%s has no *.log: %v", dir, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(file)] = string(text)
	}
	return all
}

// must runs a command line that has to succeed and returns its stdout.
func must(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	got := inProcess(t, stdin, args...)
	if got.code != exitDone {
		t.Fatalf("troupe %s: exit code %d, stderr %s", strings.Join(args, " "), got.code, got.err)
	}
	return got.out
}

func TestTextComesBackByteForByte(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	number := 0
	for name, text := range texts(t) {
		for _, partitions := range []int{1, 6} {
			number++
			topic := fmt.Sprintf("text-%d", number)
			t.Run(fmt.Sprintf("%s/%d", name, partitions), func(t *testing.T) {
				must(t, "", "topic", "create", topic, fmt.Sprintf("--partitions=%d", partitions), bootstrap)
				produced := inProcess(t, text, "produce", topic, bootstrap)
				want := text
				if text != "" && !strings.HasSuffix(text, "\n") {
					want += "\n"
				}
				count := strings.Count(want, "\n")
				if produced.code != exitDone || produced.err != plural(int64(count), "record")+" acknowledged\n" {
					t.Fatalf("produce: exit code %d, %s; want %d records", produced.code, produced.err, count)
				}
				got := must(t, "", "consume", topic, "--from-beginning", "--exit-at-end", bootstrap)
				if partitions > 1 { // in order within each partition only
					got, want = sortedLines(got), sortedLines(want)
				}
				if got != want {
					t.Errorf("%d bytes came back of %d, or others", len(got), len(want))
				}
			})
		}
	}
}

func sortedLines(text string) string {
	lines := strings.SplitAfter(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func TestEveryCompressionAndEveryAcksBringsTheTextBack(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	text := realisticText(3, 200<<10, true)
	for _, flags := range [][]string{
		{"--compression=gzip"}, {"--compression=snappy"}, {"--compression=lz4"}, {"--compression=zstd"}, {"--acks=1"}, {"--acks=0"},
	} {
		t.Run(flags[0], func(t *testing.T) {
			topic := "flags-" + strings.Trim(strings.ReplaceAll(flags[0], "=", "-"), "-")
			must(t, "", "topic", "create", topic, bootstrap)
			must(t, text, append([]string{"produce", topic, bootstrap}, flags...)...)
			count := fmt.Sprint(strings.Count(text, "\n")) // with acks=0 the end may not be there yet
			if got := must(t, "", "consume", topic, "--from-beginning", "--max-messages="+count, bootstrap); got != text {
				t.Errorf("%d bytes came back of %d, or others", len(got), len(text))
			}
		})
	}
}

func TestConsumingBeginsAndEndsWhereItIsTold(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	must(t, "", "topic", "create", "numbers", "--partitions=2", bootstrap)
	must(t, "a\nb\nc\nd\n", "produce", "numbers", "--partition=0", bootstrap)
	must(t, "w\nx\ny\n", "produce", "numbers", "--partition=1", bootstrap)
	for _, c := range []struct {
		args string
		want string
	}{
		{"--from-beginning --partition=0", "a\nb\nc\nd\n"},
		{"--from-beginning --partition=1", "w\nx\ny\n"},
		{"--offset=2 --partition=0", "c\nd\n"},
		{"--offset=-1 --partition=0", "d\n"},
		{"--offset=-100 --partition=0", "a\nb\nc\nd\n"},
		{"--offset=beginning --partition=1 --max-messages=2", "w\nx\n"},
		{"--offset=end", ""},
		{"--partition=0", ""},
		{"--timestamp=@0 --partition=1", "w\nx\ny\n"},
		{"--timestamp=-1h --partition=1", "w\nx\ny\n"},
		{"--timestamp=2100-01-01", ""},
		{`--offset=3 --partition=0 --format=%t/%p/%o=%s;`, "numbers/0/3=d;"},
	} {
		t.Run(c.args, func(t *testing.T) {
			args := append([]string{"consume", "numbers", "--exit-at-end", bootstrap}, strings.Fields(c.args)...)
			if got := must(t, "", args...); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	for args, want := range map[string]string{
		"--partition=2 --from-beginning": "no partition numbers/2, only numbers/0 to numbers/1",
		"--offset=99 --partition=0":      "OFFSET_OUT_OF_RANGE",
	} {
		got := inProcess(t, "", append([]string{"consume", "numbers", "--exit-at-end", bootstrap}, strings.Fields(args)...)...)
		if got.code != exitFailed || !strings.Contains(got.err, want) {
			t.Errorf("%s: exit code %d, %q; want %q", args, got.code, got.err, want)
		}
	}
}

func TestKeysAndHeadersComeBackAsJSON(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	must(t, "", "topic", "create", "chat", bootstrap)
	must(t, "alice:hello: you\nno key\n:empty key\nbinary:\xff\n", "produce", "chat", "--key-separator=:", "--header=from=test", bootstrap)
	out := must(t, "", "consume", "chat", "--from-beginning", "--exit-at-end", "--json", bootstrap)
	var got []recordJSON
	decoder := json.NewDecoder(strings.NewReader(out))
	for decoder.More() {
		var record recordJSON
		if err := decoder.Decode(&record); err != nil {
			t.Fatal(err)
		}
		got = append(got, record)
	}
	if len(got) != 4 {
		t.Fatalf("%d records:\n%s", len(got), out)
	}
	for i, want := range []struct{ key, value any }{
		{"alice", "hello: you"}, {nil, "no key"}, {"", "empty key"}, {"binary", map[string]any{"base64": "/w=="}},
	} {
		r := got[i]
		if fmt.Sprint(r.Key) != fmt.Sprint(want.key) || fmt.Sprint(r.Value) != fmt.Sprint(want.value) || r.Offset != int64(i) || r.Topic != "chat" || r.TimestampMS <= 0 {
			t.Errorf("record %d is %+v", i, r)
		}
		if len(r.Headers) != 1 || r.Headers[0].Key != "from" || r.Headers[0].Value != "test" {
			t.Errorf("record %d has headers %v", i, r.Headers)
		}
	}
}

func TestALineTooLongStopsTheRunWithItsNumber(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	must(t, "", "topic", "create", "small", "--config=max.message.bytes=1000", bootstrap)
	got := inProcess(t, "good\n"+strings.Repeat("x", 2000)+"\nnever read\n", "produce", "small", bootstrap)
	if got.code != exitFailed || !strings.Contains(got.err, "line 2") || !strings.Contains(got.err, "1 record acknowledged") {
		t.Errorf("exit code %d, %s", got.code, got.err)
	}
	if out := must(t, "", "consume", "small", "--from-beginning", "--exit-at-end", bootstrap); out != "good\n" {
		t.Errorf("the topic holds %q", out)
	}
}

func TestAPartitionThatIsNotThereFailsTheRun(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	must(t, "", "topic", "create", "one", bootstrap)
	got := inProcess(t, "a\n", "produce", "one", "--partition=7", bootstrap)
	if got.code != exitFailed || !strings.Contains(got.err, "no partition one/7, only one/0;") {
		t.Errorf("exit code %d, %s", got.code, got.err)
	}
}

func TestARecordThatTheBrokerRefusesFailsTheRun(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	must(t, "", "topic", "create", "small", "--config=max.message.bytes=1000", bootstrap)
	// The line is short enough, but with its header the batch is not.
	got := inProcess(t, strings.Repeat("x", 990)+"\n", "produce", "small", bootstrap)
	if got.code != exitFailed || !strings.Contains(got.err, "0 records acknowledged\n") || !strings.Contains(got.err, "1 record not acknowledged: ") || !strings.Contains(got.err, "max.message.bytes=N") {
		t.Errorf("exit code %d, %s", got.code, got.err)
	}
}

// readOneLine runs a consumer of such lines whose reader has enough after the first. It returns how it ended, and its stderr.
func readOneLine(t *testing.T, want string, args ...string) (ended *os.ProcessState, stderr string) {
	t.Helper()
	var errs bytes.Buffer
	cmd := troupe(t, append([]string{"consume"}, args...)...)
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len(want))
	if _, err := io.ReadFull(out, line); err != nil || string(line) != want {
		t.Fatalf("%q, %v", line, err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // ended by SIGPIPE, or with a failure: in no case does it go on
	return cmd.ProcessState, errs.String()
}

func TestAConsumerWhoseReaderHasEnoughEndsQuietly(t *testing.T) {
	bootstrap := startBroker(t, t.TempDir()).ready["kafka"]
	must(t, strings.Repeat("line\n", 200_000), "produce", "many", "--bootstrap", bootstrap)
	if _, stderr := readOneLine(t, "line\n", "many", "--from-beginning", "--bootstrap", bootstrap); stderr != "" {
		t.Errorf("it complains: %s", stderr)
	}
}
