package storage

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/troupe-mq/troupe/wire"
)

// Dir is a log directory: the logs of many partitions on one disk. The first failed write or sync
// takes it offline for good.
type Dir struct {
	fsys    FS
	path    string
	cfg     DirConfig
	log     *slog.Logger
	metrics *Metrics
	lock    io.Closer
	files   *fileCache
	syncer  *syncer
	keeper  *keeper
	scrub   *scrubber
	cleaner *cleaner
	opener  opener

	full      atomic.Bool   // appends are refused until space is free again
	unchecked atomic.Int64  // bytes appended since the free space was last looked at
	due       atomic.Uint32 // which checkpoint files have something new to say
	closing   atomic.Bool

	failOnce sync.Once
	failed   chan struct{}
	err      error // set before failed is closed

	mu           sync.Mutex
	identity     Identity
	points       map[place]*points
	closedPlaces map[place]bool // logs of these names were closed, and the keeper may be busy with them
	stalePoints  bool           // the checkpoint files speak of logs that are gone
}

const (
	lockFileName   = ".lock"
	deletedDirMark = "-delete"
	strayDirMark   = "-stray"
	maxNameBytes   = 255

	// closeConcurrency is how many logs are closed at once: enough for them to share syncs.
	closeConcurrency = 64
)

// OpenDir opens a log directory, or makes one, and locks it. It opens no log.
func OpenDir(fsys FS, path string, cfg DirConfig, log *slog.Logger) (*Dir, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := fsys.MkdirAll(path, dirPerm); err != nil {
		return nil, err
	}
	lock, err := fsys.Lock(filepath.Join(path, lockFileName))
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, errInUse{}
	case err != nil:
		return nil, fmt.Errorf("it cannot be written: %w", err)
	}
	d := &Dir{
		fsys: fsys, path: path, cfg: cfg, log: log, metrics: cfg.Metrics, lock: lock,
		files:  &fileCache{fsys: fsys, limit: cfg.MaxOpenFiles, metrics: cfg.Metrics},
		failed: make(chan struct{}), points: map[place]*points{}, closedPlaces: map[place]bool{},
	}
	d.opener.limit = cfg.OpenConcurrency
	if err := d.load(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	d.syncer, d.keeper, d.scrub, d.cleaner = newSyncer(d), newKeeper(d), newScrubber(d), newCleaner(d)
	d.keeper.remove(nil, d.leftovers()...)
	d.checkSpace()
	go d.syncer.run()
	go d.keeper.run()
	go d.scrub.run()
	go d.cleaner.run()
	return d, nil
}

// errInUse says that another process holds a directory, without the system's words for it.
type errInUse struct{}

func (errInUse) Error() string {
	return "it is in use by another broker: stop that one, or choose another directory"
}

func (errInUse) Unwrap() error { return syscall.EWOULDBLOCK }

// load reads what the directory says of itself, or writes it.
func (d *Dir) load() error {
	places, err := d.places()
	if err != nil {
		return err
	}
	switch d.identity, err = loadIdentity(d.fsys, d.path); {
	case isMissing(err) && len(places) > 0:
		return fmt.Errorf("log directory %s holds partitions, such as %s, but no %s: is it one of Troupe's, and whole?", d.path, places[0], metaFile)
	case isMissing(err):
		d.identity = newIdentity()
		if err := saveIdentity(d.fsys, d.path, d.identity); err != nil {
			return err
		}
		// The directory itself must not vanish either.
		if err := d.fsys.SyncDir(filepath.Dir(d.path)); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	recovery, starts, hws := d.loadOffsetCheckpoint(recoveryPointFile), d.loadOffsetCheckpoint(logStartFile), d.loadOffsetCheckpoint(highWatermarkFile)
	cleaned := d.loadOffsetCheckpoint(cleanedFile)
	boots := d.loadBootCheckpoint()
	for _, at := range places {
		d.points[at] = &points{recovery: recovery[at], start: starts[at], hw: hws[at], cleaned: cleaned[at], recovered: boots.logs[at]}
	}
	gone := func(at place) bool { return d.points[at] == nil }
	d.stalePoints = anyKey(recovery, gone) || anyKey(starts, gone) || anyKey(hws, gone) || anyKey(cleaned, gone) || anyKey(boots.logs, gone)
	return nil
}

func anyKey[V any](m map[place]V, is func(place) bool) bool {
	for at := range m {
		if is(at) {
			return true
		}
	}
	return false
}

// Path returns where the directory is.
func (d *Dir) Path() string { return d.path }

// Identity returns what meta.json says.
func (d *Dir) Identity() Identity {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.identity
}

// SaveIdentity writes meta.json, durably. The directory's own id cannot be changed.
func (d *Dir) SaveIdentity(id Identity) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if id.DirectoryID != d.identity.DirectoryID {
		return fmt.Errorf("log directory %s is %s: it cannot become %s", d.path, d.identity.DirectoryID, id.DirectoryID)
	}
	if err := d.Err(); err != nil {
		return err
	}
	id.Version = metaVersion
	if err := saveIdentity(d.fsys, d.path, id); err != nil {
		if !passes(err) {
			d.fail(err)
		}
		return err
	}
	d.identity = id
	return nil
}

// places lists the partition directories, sorted.
func (d *Dir) places() ([]place, error) {
	entries, err := d.fsys.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	var places []place
	for _, entry := range entries {
		if at, err := parsePlace(entry.Name()); err == nil && entry.IsDir() {
			places = append(places, at)
		}
	}
	slices.SortFunc(places, comparePlaces)
	return places, nil
}

// leftovers lists what deletions of an earlier run left.
func (d *Dir) leftovers() []string {
	entries, err := d.fsys.ReadDir(d.path)
	if err != nil {
		return nil
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() && strings.HasSuffix(entry.Name(), deletedDirMark) || !entry.IsDir() && strings.HasSuffix(entry.Name(), tmpSuffix) {
			names = append(names, filepath.Join(d.path, entry.Name()))
		}
	}
	return names
}

// Logs returns the partitions that the directory holds, open or not. One whose topic id cannot be
// read has a zero id: it is not to be opened, nor removed.
func (d *Dir) Logs() ([]LogRef, error) {
	places, err := d.places()
	if err != nil {
		return nil, err
	}
	refs := make([]LogRef, 0, len(places))
	for _, at := range places {
		path := filepath.Join(d.path, at.String())
		id, err := loadTopicID(d.fsys, path)
		if err != nil {
			entries, listErr := d.fsys.ReadDir(path)
			if listErr == nil && isUnfinished(entries) {
				continue // its making was never finished, so nothing was ever in it
			}
			d.log.Warn("partition's topic id cannot be read", "topic", at.topic, "partition", at.partition, "err", err)
		}
		refs = append(refs, LogRef{Topic: at.topic, Partition: at.partition, ID: id})
	}
	return refs, nil
}

// DeleteLog takes a log out of the directory at once, and removes its files in the background.
// The log is closed; what was lent of it stays readable.
func (d *Dir) DeleteLog(l *Log) error {
	l.abandon()
	if err := d.renameAway(l.ref.place(), deletedDirMark); err != nil {
		err = l.wrap("delete", l.EndOffset(), err)
		d.fail(err)
		return err
	}
	return nil
}

// MarkStray takes a partition that is not this broker's out of use: it is renamed, never adopted and
// never deleted. It must not be open.
func (d *Dir) MarkStray(ref LogRef) error {
	d.mu.Lock()
	p := d.points[ref.place()]
	d.mu.Unlock()
	if p != nil && p.log != nil {
		return fmt.Errorf("mark %s stray: it is open", ref)
	}
	return d.renameAway(ref.place(), strayDirMark)
}

// renameAway renames a partition's directory to "topic-partition.<32 hex digits>MARK".
func (d *Dir) renameAway(at place, mark string) error {
	var unique [16]byte
	_, _ = rand.Read(unique[:]) // never fails
	suffix := "." + hex.EncodeToString(unique[:]) + mark
	name := at.String()
	name = name[:min(len(name), maxNameBytes-len(suffix))] + suffix
	d.mu.Lock()
	delete(d.points, at)
	d.stalePoints = true
	d.mu.Unlock()
	d.due.Or(dueAll)
	to := filepath.Join(d.path, name)
	if err := d.fsys.Rename(filepath.Join(d.path, at.String()), to); err != nil {
		return err
	}
	if mark == deletedDirMark {
		d.keeper.remove(nil, to)
	}
	return nil
}

// Failed is closed when the directory goes offline; Err tells why.
func (d *Dir) Failed() <-chan struct{} { return d.failed }

// Err returns what took the directory offline, or nil.
func (d *Dir) Err() error {
	select {
	case <-d.failed:
		return d.err
	default:
		return nil
	}
}

func (d *Dir) fail(err error) {
	d.failOnce.Do(func() {
		d.err = err
		d.metrics.dirOffline()
		d.log.Error("log directory is offline", "dir", d.path, "err", err)
		close(d.failed)
	})
}

// offline is what callers are told once the directory has failed.
func (d *Dir) offline() error {
	return wire.Errorf(wire.KafkaStorageError, "log directory %s is offline: %v", d.path, d.Err())
}

// Writable is false while the volume has no more free space than the reserve.
func (d *Dir) Writable() bool { return !d.full.Load() }

// admit says whether n bytes may be appended to any log of the directory.
func (d *Dir) admit(n int) error {
	if d.Err() != nil {
		return d.offline()
	}
	if d.full.Load() {
		d.metrics.refused()
		return errDiskFull
	}
	if d.cfg.ReserveBytes > 0 && d.unchecked.Add(int64(n)) > d.cfg.ReserveBytes/8 {
		d.unchecked.Store(0)
		select {
		case d.keeper.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// Usage returns the size of the volume and what is free on it.
func (d *Dir) Usage() (total, free int64) {
	total, free, err := d.fsys.Space(d.path)
	if err != nil {
		return -1, -1
	}
	return total, free
}

// track has the keeper look after a log that was written to.
func (d *Dir) track(l *Log) {
	if l.tracked.Load() || l.tracked.Swap(true) {
		return
	}
	d.keeper.mu.Lock()
	d.keeper.tracked = append(d.keeper.tracked, l)
	d.keeper.mu.Unlock()
}

// Close closes all logs, writes the checkpoints and releases the lock. The appenders have stopped.
func (d *Dir) Close() error {
	if d.closing.Swap(true) {
		return nil
	}
	d.opener.stop()
	close(d.keeper.stop)
	close(d.scrub.stop)
	close(d.cleaner.stop)
	<-d.keeper.done
	<-d.scrub.done
	<-d.cleaner.done
	d.keeper.tick() // what was asked for while the logs were open
	open := d.openLogs()
	errs := make([]error, len(open))
	var group sync.WaitGroup
	for worker := range min(closeConcurrency, len(open)) {
		group.Go(func() {
			for i := worker; i < len(open); i += closeConcurrency {
				errs[i] = open[i].Close()
			}
		})
	}
	group.Wait()
	d.keeper.tick()
	d.syncer.stop()
	return errors.Join(d.Err(), errors.Join(errs...), d.lock.Close())
}
