package clients

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// logFiles are texts as services write them. With TROUPE_LOGHUB=DIR they are the files of DIR.
func logFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{
		"plain":   generateLog("\n", true),
		"crlf":    generateLog("\r\n", true),
		"unended": generateLog("\n", false),
	}
	directory := os.Getenv("TROUPE_LOGHUB")
	if directory == "" {
		return files
	}
	paths, err := filepath.Glob(filepath.Join(directory, "*.log"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no *.log in TROUPE_LOGHUB=%s", directory)
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(path)] = content
	}
	return files
}

// generateLog is a log of lines of all lengths, in more than one alphabet, some of them the same.
func generateLog(lineEnd string, ended bool) []byte {
	var out bytes.Buffer
	for i := range 3000 {
		fmt.Fprintf(&out, "2026-11-22 05:36:%02d,%03d INFO [worker-%d] Größe=%d %s", i%60, i%1000, i%7, i*i, strings.Repeat("ж", rand.IntN(20)))
		if i%500 == 0 {
			out.WriteString(strings.Repeat(" long", 10_000))
		}
		out.WriteString(lineEnd)
	}
	if !ended {
		out.WriteString("the last line has no end")
	}
	return out.Bytes()
}

func TestLogFilesPassThroughKcatByteForByte(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("kcat")
	if err != nil {
		missing(t, "there is no kcat")
	}
	k := kcat{path, bootstrap}
	for name, content := range logFiles(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			topic := newTopic(t, 1)
			if _, err := k.run(t.Context(), nil, "-P", "-t", topic, "-p", "0", "-X", "acks=all", "-l", file); err != nil {
				t.Fatal(err)
			}
			got, err := k.run(t.Context(), nil, "-C", "-e", "-q", "-t", topic, "-p", "0", "-o", "beginning")
			if err != nil {
				t.Fatal(err)
			}
			want := content
			if !bytes.HasSuffix(want, []byte("\n")) {
				want = append(bytes.Clone(want), '\n')
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%d bytes came out, %d went in; they differ from byte %d on", len(got), len(want), firstDifference(got, want))
			}
			lines := bytes.Split(bytes.TrimSuffix(want, []byte("\n")), []byte("\n"))
			read, err := franz{bootstrap}.consume(t.Context(), request{Topic: topic, From: "beginning", Count: len(lines)})
			if err != nil {
				t.Fatal(err)
			}
			for i, line := range lines {
				if !bytes.Equal(read[i].Value, line) {
					t.Fatalf("franz-go reads line %d as %q, it is %q", i+1, read[i].Value, line)
				}
			}
		})
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
