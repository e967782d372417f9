package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// maxOffsetLines bounds what --from-file reads.
const maxOffsetLines = 1_000_000

// readOffsets reads a file with lines of topic,partition,offset.
func readOffsets(std streams, path string) (offsets []client.GroupOffset, err error) {
	in := std.in
	if path != "-" {
		file, err := openFile(path)
		if err != nil {
			return nil, &usageError{fmt.Errorf("--from-file: %w", err)}
		}
		defer func() { _ = file.Close() }() // it was only read
		in = file
	}
	reader := csv.NewReader(in)
	reader.Comment, reader.FieldsPerRecord, reader.TrimLeadingSpace, reader.ReuseRecord = '#', -1, true, true
	seen := make(map[client.PartitionName]bool)
	for {
		fields, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("--from-file %s: %w", path, err)
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

type offsetLine struct{ client.GroupOffset }

func (o offsetLine) name() client.PartitionName {
	return client.PartitionName{Topic: o.Topic, Partition: o.Partition}
}

func parseOffsetLine(fields []string) (offsetLine, error) {
	if len(fields) != 3 {
		return offsetLine{}, fmt.Errorf("there are %d fields; write topic,partition,offset", len(fields))
	}
	if fields[0] == "" {
		return offsetLine{}, errors.New("the topic is missing; write topic,partition,offset")
	}
	partition, err := strconv.ParseInt(strings.TrimSpace(fields[1]), 10, 32)
	if err != nil || partition < 0 {
		return offsetLine{}, fmt.Errorf("%q is no partition; write topic,partition,offset", fields[1])
	}
	offset, err := strconv.ParseInt(strings.TrimSpace(fields[2]), 10, 64)
	if err != nil || offset < 0 {
		return offsetLine{}, fmt.Errorf("%q is no offset; write topic,partition,offset", fields[2])
	}
	return offsetLine{client.GroupOffset{Topic: fields[0], Partition: int32(partition), Offset: wire.Offset(offset)}}, nil
}
