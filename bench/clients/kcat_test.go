package clients

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// kcat is run once for each request.
type kcat struct{ path, bootstrap string }

func openKcat(t *testing.T, bootstrap string) client {
	t.Helper()
	path, err := exec.LookPath("kcat")
	if err != nil {
		missing(t, "there is no kcat")
	}
	return kcat{path, bootstrap}
}

func (k kcat) do(ctx context.Context, r request) (answer, error) {
	switch r.Op {
	case "produce":
		return answer{}, k.produce(ctx, r)
	case "consume":
		records, err := k.consume(ctx, r)
		return answer{Records: records}, err
	}
	return answer{}, fmt.Errorf("kcat has no %s", r.Op)
}

// What separates the records of kcat's input, and key from value.
const (
	kcatRecord = "<end of record>"
	kcatKey    = "<end of key>"
)

// produce runs kcat for each run of records that have the same partition and headers, since
// those are options.
func (k kcat) produce(ctx context.Context, r request) error {
	for len(r.Records) > 0 {
		first := r.Records[0]
		n := slices.IndexFunc(r.Records, func(other record) bool {
			return other.Partition != first.Partition || !slices.EqualFunc(other.Headers, first.Headers, sameHeader)
		})
		if n < 0 {
			n = len(r.Records)
		}
		args := []string{
			"-P", "-t", r.Topic, "-p", fmt.Sprint(first.Partition), "-z", r.Codec, "-D", kcatRecord, "-K", kcatKey,
			"-X", "acks=" + r.Acks, "-X", fmt.Sprintf("enable.idempotence=%v", r.Idempotent), "-X", "linger.ms=20",
		}
		for _, h := range first.Headers {
			args = append(args, "-H", h.Key+"="+string(*h.Value))
		}
		var input bytes.Buffer
		for _, record := range r.Records[:n] {
			input.Write(*record.Key)
			input.WriteString(kcatKey)
			input.Write(*record.Value)
			input.WriteString(kcatRecord)
		}
		if _, err := k.run(ctx, &input, args...); err != nil {
			return err
		}
		r.Records = r.Records[n:]
	}
	return nil
}

func sameHeader(a, b header) bool {
	return a.Key == b.Key && (a.Value == nil) == (b.Value == nil) && (a.Value == nil || bytes.Equal(*a.Value, *b.Value))
}

func (k kcat) consume(ctx context.Context, r request) ([]record, error) {
	from := r.From
	switch from {
	case "offset":
		from = fmt.Sprint(r.At)
	case "timestamp":
		from = fmt.Sprintf("s@%d", r.At)
	}
	out, err := k.run(ctx, nil, "-C", "-q", "-t", r.Topic, "-p", fmt.Sprint(r.Partition), "-o", from, "-c", fmt.Sprint(r.Count),
		"-f", `%o %T %K %S %h\n%k%s\n`)
	if err != nil {
		return nil, err
	}
	var records []record
	for in := bufio.NewReader(bytes.NewReader(out)); ; {
		head, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return records, nil
		} else if err != nil {
			return nil, err
		}
		one, err := kcatParse(strings.TrimSuffix(head, "\n"), in)
		if err != nil {
			return nil, fmt.Errorf("after %q: %w", head, err)
		}
		one.Partition = r.Partition
		records = append(records, one)
	}
}

// kcatParse reads "offset timestamp keyLength valueLength headers", and the bytes that follow.
func kcatParse(head string, in io.Reader) (record, error) {
	fields := strings.SplitN(head, " ", 5)
	if len(fields) != 5 {
		return record{}, errors.New("want five fields")
	}
	var numbers [4]int64
	for i := range numbers {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return record{}, err
		}
		numbers[i] = n
	}
	one := record{Offset: numbers[0], Timestamp: numbers[1]}
	for i, field := range []**[]byte{&one.Key, &one.Value} {
		if length := numbers[2+i]; length >= 0 {
			b := make([]byte, length)
			if _, err := io.ReadFull(in, b); err != nil {
				return record{}, err
			}
			*field = &b
		}
	}
	if _, err := io.ReadFull(in, make([]byte, 1)); err != nil { // the newline after the value
		return record{}, err
	}
	if fields[4] == "" {
		return one, nil
	}
	for pair := range strings.SplitSeq(fields[4], ",") {
		key, value, _ := strings.Cut(pair, "=")
		h := header{Key: key}
		if value != "NULL" {
			b := []byte(value)
			h.Value = &b
		}
		one.Headers = append(one.Headers, h)
	}
	return one, nil
}

func (k kcat) run(ctx context.Context, input io.Reader, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, k.path, append([]string{"-b", k.bootstrap}, args...)...)
	cmd.Stdin = input
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("kcat %s: %w\n%s", strings.Join(args, " "), err, complaint.String())
	}
	return out.Bytes(), nil
}
