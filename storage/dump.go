package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// Dumped is one thing found in a file of a log: a batch, or an entry of an index, snapshot or
// checkpoint. Exactly one of the pointers, or Text, is set.
type Dumped struct {
	File     string
	Position int64

	Batch    *record.Header
	Records  []record.Record // of the batch, when they were asked for
	Index    *DumpedIndex
	Time     *DumpedTime
	Producer *wire.ProducerBatch
	Text     string // a line of a text file

	// Damage is what is wrong with it. What follows in the file cannot be told.
	Damage error
}

// DumpedIndex is an entry of an .index file, with the whole offset.
type DumpedIndex struct {
	Offset   wire.Offset
	Position int64
}

// DumpedTime is an entry of a .timeindex file, with the whole offset.
type DumpedTime struct {
	Timestamp int64
	Offset    wire.Offset
}

// String returns a line for a person.
func (d Dumped) String() string {
	var b strings.Builder
	switch {
	case d.Batch != nil:
		h := d.Batch
		fmt.Fprintf(&b, "position: %d baseOffset: %d lastOffset: %d count: %d partitionLeaderEpoch: %d producerId: %d producerEpoch: %d baseSequence: %d maxTimestamp: %d compresscodec: %s isTransactional: %t isControl: %t size: %d crc: %d",
			d.Position, h.BaseOffset, h.LastOffset(), h.Count, h.LeaderEpoch, h.Producer, h.ProducerEpoch, h.BaseSequence,
			h.MaxTimestamp, h.Codec(), h.Transactional(), h.Control(), h.Size(), h.CRC)
		for _, r := range d.Records {
			fmt.Fprintf(&b, "\n| offset: %d timestamp: %d key: %q value: %q", r.Offset, r.Timestamp, r.Key, r.Value)
		}
	case d.Index != nil:
		fmt.Fprintf(&b, "offset: %d position: %d", d.Index.Offset, d.Index.Position)
	case d.Time != nil:
		fmt.Fprintf(&b, "timestamp: %d offset: %d", d.Time.Timestamp, d.Time.Offset)
	case d.Producer != nil:
		p := d.Producer
		fmt.Fprintf(&b, "producerId: %d producerEpoch: %d lastSequence: %d lastOffset: %d offsetDelta: %d timestamp: %d coordinatorEpoch: %d currentTxnFirstOffset: %d",
			p.Producer, p.Epoch, p.LastSequence, p.LastOffset, p.OffsetDelta, p.Timestamp, p.CoordinatorEpoch, p.CurrentTxnStart)
	default:
		b.WriteString(d.Text)
	}
	if d.Damage != nil {
		fmt.Fprintf(&b, " DAMAGED at position %d: %v", d.Position, d.Damage)
	}
	return strings.TrimSpace(b.String())
}

// DumpOptions say how much to tell.
type DumpOptions struct {
	Records bool // open each batch; its records are valid until visit returns
}

// Dump tells visit all that is in a file of a log, in all files of a partition's directory, or of a
// log directory with many of them. It looks only, and may run beside a broker. What it cannot
// make sense of is passed on with its Damage; the error is visit's, or that of a file that
// cannot be read at all.
func Dump(fsys FS, path string, opts DumpOptions, visit func(Dumped) error) error {
	return eachLogFile(fsys, path, func(name string) error { return dumpFile(fsys, name, opts, visit) })
}

// eachLogFile calls fn for path, or for each file in it that a log directory may have.
func eachLogFile(fsys FS, path string, fn func(name string) error) error {
	info, err := fsys.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fn(path)
	}
	entries, err := fsys.ReadDir(path)
	if err != nil {
		return err
	}
	swaps := swapsIn(entries)
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case swapped(name, swaps):
			continue // recovery removes it
		case entry.IsDir():
			if _, err := parsePlace(name); err != nil && !strings.HasSuffix(name, strayDirMark) {
				continue
			}
			err = eachLogFile(fsys, filepath.Join(path, name), fn)
		case kindOf(name) != unknownFile:
			err = fn(filepath.Join(path, name))
		}
		if err != nil && !isMissing(err) { // a broker may remove files while we look
			return err
		}
	}
	return nil
}

type fileKind int

const (
	unknownFile fileKind = iota
	segmentFile
	offsetIndexFile
	timeIndexFile
	appendedFile
	producerFile
	offsetsFile
	epochsFile
	bootsFile
	topicIDFile
	identityFile
)

func kindOf(path string) fileKind {
	name := filepath.Base(path)
	switch name {
	case recoveryPointFile, logStartFile, highWatermarkFile, cleanedFile:
		return offsetsFile
	case epochFile:
		return epochsFile
	case bootFile:
		return bootsFile
	case topicFile:
		return topicIDFile
	case metaFile:
		return identityFile
	}
	if _, _, ok := parseSwap(name); ok {
		return segmentFile
	}
	for suffix, kind := range map[string]fileKind{
		logSuffix: segmentFile, indexSuffix: offsetIndexFile, timesSuffix: timeIndexFile, appendedSuffix: appendedFile, snapshotSuffix: producerFile,
	} {
		if _, ok := parseOffsetFile(name, suffix); ok {
			return kind
		}
	}
	return unknownFile
}

// swapsIn returns which offsets compacted segments take the place of that are not under their own names
// yet.
func swapsIn(entries []fs.DirEntry) (ranges []offsetRange) {
	for _, entry := range entries {
		if base, next, ok := parseSwap(entry.Name()); ok {
			ranges = append(ranges, offsetRange{base, next})
		}
	}
	return ranges
}

type offsetRange struct{ from, to wire.Offset }

// swapped says that a file is of a segment that has been compacted.
func swapped(name string, swaps []offsetRange) bool {
	suffix := filepath.Ext(name)
	base, ok := parseOffsetFile(name, suffix)
	return ok && suffix != snapshotSuffix &&
		slices.ContainsFunc(swaps, func(r offsetRange) bool { return r.from <= base && base < r.to })
}

// baseOf returns the base offset in a segment file's name.
func baseOf(name string) wire.Offset {
	if base, _, ok := parseSwap(filepath.Base(name)); ok {
		return base
	}
	base, _ := parseOffsetFile(filepath.Base(name), filepath.Ext(name))
	return base
}

func dumpFile(fsys FS, name string, opts DumpOptions, visit func(Dumped) error) error {
	kind := kindOf(name)
	switch kind {
	case unknownFile:
		return fmt.Errorf("%s: not a file of a log directory", name)
	case segmentFile, offsetIndexFile, timeIndexFile, appendedFile:
	default:
		return dumpSmall(fsys, name, kind, visit)
	}
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	if err != nil {
		return err
	}
	base := baseOf(name)
	switch kind {
	case segmentFile:
		return dumpSegment(f, name, base, size, opts, visit)
	case offsetIndexFile:
		return dumpEntries(f, name, size, indexEntryBytes, visit, func(d *Dumped, b []byte) {
			e := parseIndexEntry(b)
			d.Index = &DumpedIndex{base + wire.Offset(e.offset), int64(e.position)}
		})
	case appendedFile:
		return dumpEntries(f, name, size, stampBytes, visit, func(d *Dumped, b []byte) {
			e, ok := parseStamp(b, base)
			if d.Text = fmt.Sprintf("offset: %d appendedAt: %d", e.offset, e.millis); !ok {
				d.Damage = errChecksum
			}
		})
	default:
		return dumpEntries(f, name, size, timeEntryBytes, visit, func(d *Dumped, b []byte) {
			e := parseTimeEntry(b)
			d.Time = &DumpedTime{e.timestamp, base + wire.Offset(e.offset)}
		})
	}
}

func dumpSegment(f File, name string, base wire.Offset, size int64, opts DumpOptions, visit func(Dumped) error) error {
	w := newWalker(f, base, 0, size, scanWindow)
	defer w.close()
	for {
		h, err := w.header()
		if err == nil {
			err = w.verify(&h)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case isReadError(err):
			return err
		case err != nil:
			return visit(Dumped{File: name, Position: w.pos, Damage: err})
		}
		d := Dumped{File: name, Position: w.pos, Batch: &h}
		if opts.Records {
			if err := dumpRecords(f, &d); err != nil {
				return err
			}
		}
		if err := visit(d); err != nil {
			return err
		}
		w.pass(&h)
	}
}

func dumpRecords(f File, d *Dumped) error {
	batch := make([]byte, d.Batch.Size()) // its checksum held
	if err := readFull(f, batch, d.Position); err != nil {
		return err
	}
	var r record.Reader // not closed: the records outlive it
	d.Damage = r.Reset(batch, maxDecompressed)
	var rec record.Record
	for d.Damage == nil && r.Next(&rec) {
		d.Records = append(d.Records, rec)
		rec = record.Record{}
	}
	d.Damage = errors.Join(d.Damage, r.Err())
	return nil
}

func dumpEntries(f File, name string, size int64, entryBytes int, visit func(Dumped) error, fill func(*Dumped, []byte)) error {
	var failed error
	at := int64(0)
	err := eachEntry(f, size, entryBytes, func(b []byte) bool {
		d := Dumped{File: name, Position: at}
		fill(&d, b)
		at += int64(entryBytes)
		failed = visit(d)
		return failed == nil
	})
	if err = errors.Join(failed, err); err == nil && at < size {
		err = visit(Dumped{File: name, Position: at, Damage: io.ErrUnexpectedEOF})
	}
	return err
}

// dumpSmall tells what is in a file that is read whole.
func dumpSmall(fsys FS, name string, kind fileKind, visit func(Dumped) error) error {
	content, err := readFile(fsys, name, maxCheckpointBytes)
	if err != nil {
		return err
	}
	if kind == producerFile {
		producers, damage := parseProducers(content)
		if damage != nil {
			return visit(Dumped{File: name, Damage: damage})
		}
		for i := range producers {
			at := int64(snapshotHeaderBytes + i*snapshotEntryBytes)
			if err := visit(Dumped{File: name, Position: at, Producer: &producers[i]}); err != nil {
				return err
			}
		}
		return nil
	}
	if damage := checkSmall(kind, content); damage != nil {
		return visit(Dumped{File: name, Damage: damage})
	}
	at := int64(0)
	for line := range strings.Lines(string(content)) {
		if err := visit(Dumped{File: name, Position: at, Text: strings.TrimSuffix(line, "\n")}); err != nil {
			return err
		}
		at += int64(len(line))
	}
	return nil
}

func checkSmall(kind fileKind, content []byte) (err error) {
	switch kind {
	case producerFile:
		_, err = parseProducers(content)
	case offsetsFile:
		_, err = parseOffsetCheckpoint(content)
	case epochsFile:
		_, err = parseEpochs(content)
	case bootsFile:
		_, err = parseBootCheckpoint(content)
	case topicIDFile:
		_, err = parseTopicFile(content)
	case identityFile:
		_, err = parseIdentity(content)
	default:
	}
	return err
}
