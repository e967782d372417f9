package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// maxOffsetLines bounds what --from-file reads.
const maxOffsetLines = 1_000_000

// readOffsets reads a file with lines of topic,partition,offset. A header and spaces, as people and spreadsheets write them, do no harm.
func readOffsets(std streams, path string) (offsets []client.GroupOffset, err error) {
	in, err := openOffsets(std, path)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--from-file: %w", err)}
	}
	defer func() { _ = in.Close() }() // it was only read
	text := bufio.NewReader(in)
	if mark, _ := text.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
		_, _ = text.Discard(len(byteOrderMark)) // it has been read
	}
	reader := csv.NewReader(text)
	reader.Comment, reader.FieldsPerRecord, reader.TrimLeadingSpace, reader.ReuseRecord = '#', -1, true, true
	seen := make(map[client.PartitionName]bool)
	for first := true; ; first = false {
		fields, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("--from-file %s: %w", path, err)
		}
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		if first && strings.EqualFold(strings.Join(fields, ","), offsetsHeader) {
			continue
		}
		line, _ := reader.FieldPos(0)
		o, err := parseOffsetLine(fields)
		if err == nil && seen[o.name()] {
			err = fmt.Errorf("%v is there twice", place{o.Topic, o.Partition})
		}
		if err == nil && len(offsets) == maxOffsetLines {
			err = errors.New("the file is too long")
		}
		if err != nil {
			return nil, fmt.Errorf("--from-file %s, line %d: %w", path, line, err)
		}
		seen[o.name()] = true
		offsets = append(offsets, o.GroupOffset)
	}
	if len(offsets) == 0 {
		return nil, fmt.Errorf("--from-file %s: there is nothing in it", path)
	}
	return offsets, nil
}

const (
	offsetsHeader = "topic,partition,offset"
	byteOrderMark = "\uFEFF" // which spreadsheets begin a file with
)

// openOffsets opens a file, or stdin.
func openOffsets(std streams, path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(std.in), nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err == nil && info.IsDir() {
		_ = file.Close() // nothing can be read of it
		return nil, fmt.Errorf("%s is a directory", path)
	}
	return file, nil
}

type offsetLine struct{ client.GroupOffset }

func (o offsetLine) name() client.PartitionName {
	return client.PartitionName{Topic: o.Topic, Partition: o.Partition}
}

func parseOffsetLine(fields []string) (offsetLine, error) {
	switch {
	case len(fields) == 1 && strings.ContainsAny(fields[0], ";\t"):
		return offsetLine{}, errors.New("there is no comma; write topic,partition,offset with commas between, not semicolons or tabs")
	case len(fields) == 1:
		return offsetLine{}, errors.New("there is 1 field; write topic,partition,offset")
	case len(fields) != 3:
		return offsetLine{}, fmt.Errorf("there are %d fields; write topic,partition,offset", len(fields))
	}
	if fields[0] == "" {
		return offsetLine{}, errors.New("the topic is missing; write topic,partition,offset")
	}
	partition, err := strconv.ParseInt(fields[1], 10, 32)
	if err != nil || partition < 0 {
		return offsetLine{}, fmt.Errorf("%q is no partition; write topic,partition,offset", fields[1])
	}
	offset, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || offset < 0 {
		return offsetLine{}, fmt.Errorf("%q is no offset; write topic,partition,offset", fields[2])
	}
	return offsetLine{client.GroupOffset{Topic: fields[0], Partition: int32(partition), Offset: wire.Offset(offset)}}, nil
}
