package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// start is where consuming begins in a partition: at the first offset whose timestamp is at least
// timestamp, which may be one of the client's special ones, and from there back by so many.
type start struct {
	timestamp int64 // milliseconds, client.Earliest or client.Latest
	back      int64 // offsets before that
	offset    int64 // if absolute
	absolute  bool
}

// client returns the start in the client's terms, and false when it has none for it.
func (s start) client() (client.Start, bool) {
	switch {
	case s.absolute:
		return client.AtOffset(wire.Offset(s.offset)), true
	case s.back > 0:
		return client.Start{}, false
	case s.timestamp == client.Earliest:
		return client.Beginning(), true
	case s.timestamp == client.Latest:
		return client.End(), true
	}
	return client.AtTime(time.UnixMilli(s.timestamp)), true
}

// offsetHelp explains --offset and --timestamp.
const offsetHelp = `An offset is a number, beginning, end, or -N for the last N records of each partition.
A timestamp is RFC 3339 (2026-01-31T09:00:00Z), a date (2026-01-31, local time), milliseconds since
1970 (@1769850000000), or a time ago (-90m).`

// parseOffset reads --offset.
func parseOffset(s string) (start, error) {
	switch s {
	case "beginning":
		return start{timestamp: client.Earliest}, nil
	case "end":
		return start{timestamp: client.Latest}, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil:
		return start{}, usagef("--offset %s: write a number, beginning, end, or -N for the last N records", s)
	case n < 0:
		return start{timestamp: client.Latest, back: -n}, nil
	}
	return start{offset: n, absolute: true}, nil
}

// parseTimestamp reads --timestamp.
func parseTimestamp(s string, now time.Time) (start, error) {
	if text, found := strings.CutPrefix(s, "@"); found {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
			return start{timestamp: n}, nil
		}
	} else if ago, err := time.ParseDuration(s); err == nil && ago <= 0 {
		return start{timestamp: now.Add(ago).UnixMilli()}, nil
	} else {
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02"} {
			if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil && t.UnixMilli() >= 0 {
				return start{timestamp: t.UnixMilli()}, nil
			}
		}
	}
	return start{}, usagef("--timestamp %s: write 2026-01-31T09:00:00Z, 2026-01-31, @ and milliseconds since 1970, or a time ago as in -90m", s)
}

// flags of which consume takes one at most.
type startFlags struct {
	fromBeginning bool
	offset        string
	timestamp     string
}

// parse returns where to begin: at the end, unless a flag says otherwise.
func (f startFlags) parse(now time.Time) (start, error) {
	given := 0
	for _, set := range []bool{f.fromBeginning, f.offset != "", f.timestamp != ""} {
		if set {
			given++
		}
	}
	switch {
	case given > 1:
		return start{}, &usageError{fmt.Errorf("--from-beginning, --offset and --timestamp exclude each other; give one of them")}
	case f.fromBeginning:
		return start{timestamp: client.Earliest}, nil
	case f.offset != "":
		return parseOffset(f.offset)
	case f.timestamp != "":
		return parseTimestamp(f.timestamp, now)
	}
	return start{timestamp: client.Latest}, nil
}
