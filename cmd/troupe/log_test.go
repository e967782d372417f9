package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/troupe-mq/troupe/wire/record"
)

// writtenLog returns a log directory that a broker has left behind, and its first segment of a
// topic with three records, each in a batch of its own.
func writtenLog(t *testing.T) (dir, segment string) {
	t.Helper()
	dir = t.TempDir()
	broker := startBroker(t, dir)
	bootstrap := "--bootstrap=" + broker.ready["kafka"]
	must(t, "", "topic", "create", "kept", bootstrap)
	for _, line := range []string{"one\n", "two\n", "\xff\n"} {
		must(t, line, "produce", "kept", "--key-separator=w", bootstrap)
	}
	broker.stop(t, syscall.SIGTERM)
	return dir, filepath.Join(dir, "kept-0", "00000000000000000000.log")
}

func TestLogDumpShowsWhatIsInTheFiles(t *testing.T) {
	dir, segment := writtenLog(t)
	text := must(t, "", "log", "dump", filepath.Join(dir, "kept-0"), "--records")
	for _, want := range []string{segment + "\n", "baseOffset: 1 lastOffset: 1 count: 1", `value: "one"`, "topic_id: "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	var values []any
	decoder := json.NewDecoder(strings.NewReader(must(t, "", "log", "dump", segment, "--records", "--json")))
	for decoder.More() {
		var d dumpedJSON
		if err := decoder.Decode(&d); err != nil {
			t.Fatal(err)
		}
		if d.Batch == nil || d.Batch.Count != 1 || d.Batch.BaseOffset != int64(len(values)) || d.File != segment {
			t.Errorf("batch %d is %+v", len(values), d)
		}
		for _, r := range d.Records {
			values = append(values, r.Value)
		}
	}
	if len(values) != 3 || values[0] != "one" || values[1] != "o" {
		t.Errorf("values %v", values)
	}
	if got := must(t, "", "log", "dump", segment); strings.Contains(got, "value") {
		t.Errorf("records are shown although nobody asked:\n%s", got)
	}
}

func TestLogDumpTellsNothingFromWhatIsEmpty(t *testing.T) {
	for _, c := range []struct {
		record record.Record
		want   string
	}{
		{record.Record{Value: []byte{}}, `| offset: 0 timestamp: 0 key: null value: ""`},
		{record.Record{Offset: 7, Timestamp: 9, Key: []byte{}}, `| offset: 7 timestamp: 9 key: "" value: null`},
		{
			record.Record{Key: []byte("k"), Value: []byte("\n"), Headers: []record.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "b"}}},
			`| offset: 0 timestamp: 0 key: "k" value: "\n" headers: "a"="1" "b"=null`,
		},
	} {
		if got := dumpedRecord(&c.record); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

func TestLogVerifyNamesFileAndOffsetOfDamage(t *testing.T) {
	dir, segment := writtenLog(t)
	sound := inProcess(t, "", "log", "verify", dir, segment)
	if sound.code != exitDone || sound.out != dir+": 1 partition, 1 segment, 0.0 MB: no damage\n"+segment+": 1 segment, 0.0 MB: no damage\n" {
		t.Errorf("sound files: exit code %d\n%s", sound.code, sound.out)
	}
	metadata := filepath.Join(dir, metadataDir)
	if sound.err != "not checked: "+metadata+"\n" {
		t.Errorf("what was not checked: %q", sound.err)
	}
	for _, wrong := range []string{metadata, t.TempDir()} {
		for _, verb := range []string{"verify", "dump"} {
			if got := inProcess(t, "", "log", verb, wrong); got.code != exitFailed || got.out != "" || !strings.Contains(got.err, "partition") {
				t.Errorf("%s %s: exit code %d, %q, %q", verb, wrong, got.code, got.out, got.err)
			}
		}
	}
	if out := must(t, "", "log", "verify", dir, "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("sound files as JSON: %s", out)
	}

	bytes, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	bytes[strings.Index(string(bytes), "one")]++ // within the first batch
	if err := os.WriteFile(segment, bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	got := inProcess(t, "", "log", "verify", dir)
	if got.code != exitFailed || !strings.Contains(got.out, segment+": position 0, offset 0: ") || strings.Contains(got.out, "unfinished") || !strings.Contains(got.err, "1 damaged place;") {
		t.Errorf("exit code %d\n%s%s", got.code, got.out, got.err)
	}
	var found []damageJSON
	if err := json.Unmarshal([]byte(inProcess(t, "", "log", "verify", dir, "--json").out), &found); err != nil || len(found) != 1 || found[0].File != segment || found[0].Offset == nil || *found[0].Offset != 0 {
		t.Errorf("as JSON: %+v, %v", found, err)
	}
	if got := inProcess(t, "", "log", "dump", segment); got.code != exitFailed || !strings.Contains(got.out, "DAMAGED") {
		t.Errorf("dump: exit code %d\n%s", got.code, got.out)
	}
}
