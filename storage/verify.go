package storage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// Damage is something wrong in a file of a log.
type Damage struct {
	File     string
	Position int64
	Offset   wire.Offset // the first one that is affected, or wire.NoOffset
	What     string
	// Tail says that no valid batch follows in the last segment: a write that a broker is in the middle
	// of, or was when it died. Recovery cuts it off if it lies above the durable point.
	Tail bool
}

func (d Damage) String() string {
	if d.Offset == wire.NoOffset {
		return fmt.Sprintf("%s: position %d: %s", d.File, d.Position, d.What)
	}
	return fmt.Sprintf("%s: position %d, offset %d: %s", d.File, d.Position, d.Offset, d.What)
}

// maxDamage bounds a report about a disk that is beyond repair.
const maxDamage = 10_000

// Verify checks a segment, all files of a partition's directory, or a log directory: every batch
// with its checksum, the order of batches and segments, indexes against the batches that
// they name, snapshots and checkpoints. It looks only, and may run beside a broker. The error is
// about a file that cannot be read at all.
func Verify(fsys FS, path string) ([]Damage, error) {
	v := verifier{fsys: fsys}
	var names []string
	if err := eachLogFile(fsys, path, func(name string) error { names = append(names, name); return nil }); err != nil {
		return nil, err
	}
	for i, name := range names {
		known, last := len(v.found), isLastSegment(names[i:])
		err := v.file(name, last)
		if kind := kindOf(name); len(v.found) > known && (kind == offsetIndexFile || kind == timeIndexFile) {
			// Between the index and its segment a broker may have compacted both: they are compared again.
			v.found = v.found[:known]
			err = v.file(name, last)
		}
		switch {
		case isMissing(err): // a broker has taken it away meanwhile, or has compacted it into the one before
			v.whole = false
		case err != nil:
			return v.found, fmt.Errorf("verify %s: %w", name, err)
		}
		if len(v.found) >= maxDamage {
			break
		}
	}
	return v.found, nil
}

// isLastSegment says that no other segment of the same partition follows the first of names.
func isLastSegment(names []string) bool {
	for _, name := range names[1:] {
		if kindOf(name) == segmentFile {
			return filepath.Dir(name) != filepath.Dir(names[0])
		}
	}
	return true
}

type verifier struct {
	fsys  FS
	found []Damage

	dir   string      // of the last segment
	end   wire.Offset // where it ended
	whole bool        // and that is where its batches end, not damage
}

func (v *verifier) report(d Damage) {
	if len(v.found) < maxDamage {
		v.found = append(v.found, d)
	}
}

func (v *verifier) file(name string, last bool) error {
	kind := kindOf(name)
	switch kind {
	case unknownFile:
		return errors.New("not a file of a log directory")
	case segmentFile, offsetIndexFile, timeIndexFile:
	case appendedFile:
		return nil // it is never synced, and may end in anything
	default:
		content, err := readFile(v.fsys, name, maxCheckpointBytes)
		if err != nil {
			return err
		}
		if damage := checkSmall(kind, content); damage != nil {
			v.report(Damage{File: name, Offset: wire.NoOffset, What: damage.Error()})
		}
		return nil
	}
	f, err := v.fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	if err != nil {
		return err
	}
	switch kind {
	case segmentFile:
		return v.segment(f, name, size, last)
	case offsetIndexFile:
		return v.index(f, name, size)
	default:
		return v.times(f, name, size)
	}
}

// segment checks all batches. Behind a bad one it looks for the next that is whole.
func (v *verifier) segment(f File, name string, size int64, last bool) error {
	base := baseOf(name)
	switch dir := filepath.Dir(name); {
	case dir != v.dir:
	case base < v.end:
		v.report(Damage{File: name, Offset: base, What: fmt.Sprintf("the segment begins below %d, where the one before it ends", v.end)})
	case base > v.end && v.whole:
		v.report(Damage{File: name, Offset: v.end, What: "the segment before it ends here: its last batches are missing"})
	}
	v.whole = true
	w := newWalker(f, base, 0, size, scanWindow)
	defer w.close()
	for {
		h, err := w.header()
		if err == nil {
			err = w.verify(&h)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if isReadError(err) {
			return err
		}
		if err != nil {
			next, _, found, findErr := record.Find(f, w.pos+1, size, func(h record.Header) bool {
				return h.BaseOffset >= w.next && w.base <= h.BaseOffset
			})
			if findErr != nil {
				return findErr
			}
			v.report(Damage{File: name, Position: w.pos, Offset: max(w.next, base), What: err.Error(), Tail: !found && last})
			v.whole = v.whole && found
			if !found {
				break
			}
			w.pos, w.epoch = next, wire.NoEpoch
			continue
		}
		w.pass(&h)
	}
	v.dir, v.end = filepath.Dir(name), w.next
	return nil
}

// log opens the segment that an index belongs to.
func (v *verifier) log(name string) (File, int64, error) {
	f, err := v.fsys.OpenFile(filepath.Join(filepath.Dir(name), offsetFile(baseOf(name), logSuffix)), os.O_RDONLY, 0)
	if err != nil {
		return nil, 0, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, size, nil
}

func (v *verifier) index(f File, name string, size int64) error {
	log, logSize, err := v.log(name)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	base := baseOf(name)
	if _, ok, err := checkIndex(f, size, logSize); err != nil || !ok {
		v.report(Damage{File: name, Offset: base, What: "the entries are out of order, or point outside the segment"})
		return err
	}
	at := int64(0)
	return eachEntry(f, size, indexEntryBytes, func(b []byte) bool {
		e := parseIndexEntry(b)
		w := newWalker(log, base, int64(e.position), logSize, lookupWindow)
		h, err := w.header()
		w.close()
		if err != nil || h.LastOffset() != base+wire.Offset(e.offset) {
			v.report(Damage{File: name, Position: at, Offset: base + wire.Offset(e.offset), What: errIndex.Error()})
		}
		at += indexEntryBytes
		return true
	})
}

func (v *verifier) times(f File, name string, size int64) error {
	log, logSize, err := v.log(name)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	base := baseOf(name)
	if _, _, ok, err := checkTimes(f, size); err != nil || !ok {
		v.report(Damage{File: name, Offset: base, What: "the entries are out of order"})
		return err
	}
	// Both go up together, so one walk meets every entry's batch.
	w := newWalker(log, base, 0, logSize, lookupWindow)
	defer w.close()
	at := int64(0)
	return eachEntry(f, size, timeEntryBytes, func(b []byte) bool {
		e := parseTimeEntry(b)
		h, err := w.seek(base + wire.Offset(e.offset))
		if err != nil || h.LastOffset() != base+wire.Offset(e.offset) || h.MaxTimestamp != e.timestamp {
			v.report(Damage{File: name, Position: at, Offset: base + wire.Offset(e.offset), What: "the batch that the entry names has another timestamp"})
		}
		at += timeEntryBytes
		return len(v.found) < maxDamage
	})
}
