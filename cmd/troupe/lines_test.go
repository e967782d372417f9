package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// readLines returns all lines and the error that ended them, nil for io.EOF.
func readLines(in io.Reader, maximum int) (lines [][]byte, err error) {
	reader := newLineReader(in, maximum)
	for {
		line, err := reader.next()
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
		lines = append(lines, line)
	}
}

func TestLFEndsARecordAndNothingElseDoes(t *testing.T) {
	long := strings.Repeat("x", 3*readBytes)
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"nothing", "", nil},
		{"one line", "a\n", []string{"a"}},
		{"the last line has no end", "a\nb", []string{"a", "b"}},
		{"CR belongs to the record", "a\r\nb\r\n\r\n", []string{"a\r", "b\r", "\r"}},
		{"empty lines are records", "\n\na\n\n", []string{"", "", "a", ""}},
		{"bytes that are no text", "\x00\xff\n\xfe", []string{"\x00\xff", "\xfe"}},
		{"longer than the buffer", "a\n" + long + "\nb", []string{"a", long, "b"}},
		{"longer than the buffer and without end", long, []string{long}},
		{"as long as the buffer", long[:readBytes] + "\n" + long[:readBytes-1] + "\nx", []string{long[:readBytes], long[:readBytes-1], "x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines, err := readLines(strings.NewReader(c.in), len(long))
			if err != nil || len(lines) != len(c.want) {
				t.Fatalf("%d lines, %v; want %d", len(lines), err, len(c.want))
			}
			for i, line := range lines { // after all were read: none may share the buffer
				if line == nil || string(line) != c.want[i] {
					t.Errorf("line %d has %d bytes and differs (nil: %t)", i+1, len(line), line == nil)
				}
			}
		})
	}
}

func TestALineThatNoBrokerWouldTakeIsRefusedByItsNumber(t *testing.T) {
	for _, size := range []int{101, chunkBytes, 2*readBytes + 1, 2*readBytes + 100} {
		lines, err := readLines(strings.NewReader("ok\n"+strings.Repeat("x", size)+"\nmore"), size-1)
		var tooLong *lineTooLongError
		if !errors.As(err, &tooLong) || tooLong.line != 2 || len(lines) != 1 {
			t.Errorf("%d bytes: %d lines and %v", size, len(lines), err)
		}
	}
}

func TestAnEndlessLineIsRefusedBeforeItFillsTheMemory(t *testing.T) {
	var tooLong *lineTooLongError
	if _, err := readLines(endless{}, 2*readBytes); !errors.As(err, &tooLong) {
		t.Errorf("got %v", err)
	}
}

// endless is a line without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestAReadErrorIsNoEndOfTheInput(t *testing.T) {
	broken := errors.New("disk gone")
	_, err := readLines(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)), 100)
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// FuzzLines checks that lines joined by LF are what was read, however the input arrives.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\n\nb"))
	f.Add([]byte("\n\n\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		lines, err := readLines(iotest.HalfReader(bytes.NewReader(in)), len(in))
		if err != nil {
			t.Fatal(err)
		}
		got := append(bytes.Join(lines, []byte("\n")), '\n')
		if len(lines) == 0 {
			got = nil
		}
		want := in
		if len(in) > 0 && in[len(in)-1] != '\n' {
			want = append(bytes.Clone(in), '\n')
		}
		if !bytes.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
