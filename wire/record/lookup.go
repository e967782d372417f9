package record

import "github.com/troupe-mq/troupe/wire"

// TimestampOffset is a record's place in time and in the log.
type TimestampOffset struct {
	Timestamp int64
	Offset    wire.Offset
}

// FirstAtOrAfter returns the first record of a whole batch, from an offset on, that is not older than
// timestamp, and false when there is none.
func FirstAtOrAfter(batch []byte, from wire.Offset, timestamp int64, maxDecompressed int) (TimestampOffset, bool, error) {
	h, err := ParseHeader(batch)
	if err != nil || h.MaxTimestamp < timestamp {
		return TimestampOffset{}, false, err
	}
	return search(batch, from, maxDecompressed, func(_ *TimestampOffset, ts int64) (better, enough bool) {
		return ts >= timestamp, ts >= timestamp
	})
}

// MaxTimestampRecord returns the record of a whole batch, from an offset on, with the largest timestamp, the
// first of several, and false when there are no such records or they have no timestamps.
func MaxTimestampRecord(batch []byte, from wire.Offset, maxDecompressed int) (TimestampOffset, bool, error) {
	return search(batch, from, maxDecompressed, func(best *TimestampOffset, ts int64) (better, enough bool) {
		return ts > best.Timestamp, false
	})
}

// search goes through the records of a batch from an offset on and asks of each whether it is better than the best
// so far, which begins as NoTimestamp, and good enough to end the search.
func search(
	batch []byte, from wire.Offset, maxDecompressed int, judge func(best *TimestampOffset, timestamp int64) (better, enough bool),
) (TimestampOffset, bool, error) {
	var r Reader
	defer r.Close()
	if err := r.Reset(batch, maxDecompressed); err != nil {
		return TimestampOffset{}, false, err
	}
	best, found := TimestampOffset{Timestamp: NoTimestamp, Offset: wire.NoOffset}, false
	var rec Record
	for r.Next(&rec) {
		if rec.Offset < from {
			continue
		}
		better, enough := judge(&best, rec.Timestamp)
		if better {
			best, found = TimestampOffset{Timestamp: rec.Timestamp, Offset: rec.Offset}, true
		}
		if enough {
			return best, true, nil
		}
	}
	return best, found && r.Err() == nil, r.Err()
}
