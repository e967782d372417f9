package storage

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/troupe-mq/troupe/wire"
)

// The checkpoint files of a log directory, in Kafka's text form: a version, the number of
// entries, and a line "topic partition offset" for each.
const (
	recoveryPointFile = "recovery-point-offset-checkpoint" // all below is durable
	logStartFile      = "log-start-offset-checkpoint"
	highWatermarkFile = "replication-offset-checkpoint"
	cleanedFile       = "cleaner-offset-checkpoint"
	bootFile          = "boot-checkpoint" // ours: which logs were recovered in which run of the machine
)

// maxCheckpointBytes is far above a million partitions with the longest names.
const maxCheckpointBytes = 512 << 20

var errCheckpoint = errors.New("malformed checkpoint")

// offsetCheckpoint is the content of one of the offset files.
type offsetCheckpoint map[place]wire.Offset

// lines splits a checkpoint into its entries, after checking version and count.
func checkpointLines(content []byte) ([]string, error) {
	text := strings.TrimSuffix(string(content), "\n")
	version, rest, _ := strings.Cut(text, "\n")
	if version != "0" {
		return nil, fmt.Errorf("%w: version %.20q", errCheckpoint, version)
	}
	count, rest, more := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("%w: count %.20q", errCheckpoint, count)
	}
	var entries []string
	if more {
		entries = strings.Split(rest, "\n")
	}
	if len(entries) != n {
		return nil, fmt.Errorf("%w: %d entries, want %d", errCheckpoint, len(entries), n)
	}
	return entries, nil
}

func parseOffsetCheckpoint(content []byte) (offsetCheckpoint, error) {
	entries, err := checkpointLines(content)
	if err != nil {
		return nil, err
	}
	c := make(offsetCheckpoint, len(entries))
	for _, line := range entries {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("%w: line %.100q", errCheckpoint, line)
		}
		partition, err1 := strconv.ParseInt(fields[1], 10, 32)
		offset, err2 := strconv.ParseInt(fields[2], 10, 64)
		if err1 != nil || err2 != nil || partition < 0 || offset < 0 {
			return nil, fmt.Errorf("%w: line %.100q", errCheckpoint, line)
		}
		c[place{fields[0], int32(partition)}] = wire.Offset(offset)
	}
	return c, nil
}

func (c offsetCheckpoint) encode() []byte {
	b := make([]byte, 0, 16+40*len(c))
	b = append(b, "0\n"...)
	b = strconv.AppendInt(b, int64(len(c)), 10)
	b = append(b, '\n')
	for p, offset := range c {
		b = append(b, p.topic...)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(p.partition), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(offset), 10)
		b = append(b, '\n')
	}
	return b
}

// loadOffsetCheckpoint reads one of the offset files of a directory. A missing or malformed one
// is empty: it costs a longer recovery, never data.
func (d *Dir) loadOffsetCheckpoint(name string) offsetCheckpoint {
	content, err := readFile(d.fsys, filepath.Join(d.path, name), maxCheckpointBytes)
	if err == nil {
		var c offsetCheckpoint
		if c, err = parseOffsetCheckpoint(content); err == nil {
			return c
		}
	}
	if !isMissing(err) {
		d.log.Warn("checkpoint is unreadable and will be rebuilt", "file", name, "err", err)
	}
	return offsetCheckpoint{}
}

// bootCheckpoint tells which logs were recovered, or made, since the machine started: what they
// hold has been in the page cache from then on, so a killed process cannot have lost a part of it.
// See cluster/decisions/0002-torn-tail-or-corruption.md.
type bootCheckpoint struct {
	bootID string
	logs   map[place]bool
}

// The first entry is the boot id; the others are "topic partition".
func parseBootCheckpoint(content []byte) (bootCheckpoint, error) {
	entries, err := checkpointLines(content)
	if err != nil {
		return bootCheckpoint{}, err
	}
	if len(entries) == 0 {
		return bootCheckpoint{}, fmt.Errorf("%w: no boot id", errCheckpoint)
	}
	c := bootCheckpoint{bootID: entries[0], logs: make(map[place]bool, len(entries)-1)}
	for _, line := range entries[1:] {
		topic, number, _ := strings.Cut(line, " ")
		partition, err := strconv.ParseInt(number, 10, 32)
		if err != nil || partition < 0 {
			return bootCheckpoint{}, fmt.Errorf("%w: line %.100q", errCheckpoint, line)
		}
		c.logs[place{topic, int32(partition)}] = true
	}
	return c, nil
}

func (c bootCheckpoint) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "0\n%d\n%s\n", len(c.logs)+1, c.bootID)
	for p := range c.logs {
		b.WriteString(p.topic)
		b.WriteByte(' ')
		b.WriteString(strconv.Itoa(int(p.partition)))
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// loadBootCheckpoint returns the logs known to have been recovered in this run of the machine.
func (d *Dir) loadBootCheckpoint() bootCheckpoint {
	blank := bootCheckpoint{bootID: d.cfg.BootID, logs: map[place]bool{}}
	content, err := readFile(d.fsys, filepath.Join(d.path, bootFile), maxCheckpointBytes)
	if err == nil {
		var c bootCheckpoint
		if c, err = parseBootCheckpoint(content); err == nil {
			if c.bootID == "" || c.bootID != d.cfg.BootID {
				return blank
			}
			return c
		}
	}
	if !isMissing(err) {
		d.log.Warn("checkpoint is unreadable and will be rebuilt", "file", bootFile, "err", err)
	}
	return blank
}

// EpochStart is where the batches of a leader epoch begin.
type EpochStart struct {
	LeaderEpoch wire.LeaderEpoch
	StartOffset wire.Offset
}

const epochFile = "leader-epoch-checkpoint"

func parseEpochs(content []byte) ([]EpochStart, error) {
	entries, err := checkpointLines(content)
	if err != nil {
		return nil, err
	}
	epochs := make([]EpochStart, 0, len(entries))
	for _, line := range entries {
		first, second, _ := strings.Cut(line, " ")
		epoch, err1 := strconv.ParseInt(first, 10, 32)
		start, err2 := strconv.ParseInt(second, 10, 64)
		if err1 != nil || err2 != nil || epoch < 0 || start < 0 {
			return nil, fmt.Errorf("%w: line %.100q", errCheckpoint, line)
		}
		entry := EpochStart{wire.LeaderEpoch(epoch), wire.Offset(start)}
		if n := len(epochs); n > 0 && (entry.LeaderEpoch <= epochs[n-1].LeaderEpoch || entry.StartOffset < epochs[n-1].StartOffset) {
			return nil, fmt.Errorf("%w: line %.100q is out of order", errCheckpoint, line)
		}
		epochs = append(epochs, entry)
	}
	return epochs, nil
}

func encodeEpochs(epochs []EpochStart) []byte {
	b := make([]byte, 0, 16+24*len(epochs))
	b = append(b, "0\n"...)
	b = strconv.AppendInt(b, int64(len(epochs)), 10)
	b = append(b, '\n')
	for _, e := range epochs {
		b = strconv.AppendInt(b, int64(e.LeaderEpoch), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(e.StartOffset), 10)
		b = append(b, '\n')
	}
	return b
}
