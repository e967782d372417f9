package storage

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// swappingFS is a disk on which a segment is taken away after it was listed, as compaction does.
type swappingFS struct {
	OSFS
	gone string
}

func (f swappingFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if filepath.Base(name) == f.gone {
		return nil, fs.ErrNotExist
	}
	return f.OSFS.OpenFile(name, flag, perm)
}

func TestASegmentThatIsCompactedMeanwhileIsNotMissing(t *testing.T) {
	path := t.TempDir()
	k := openKeyedLog(t, path, OSFS{}, compactedConfig())
	for range 60 {
		k.put("a=1")
	}
	k.commitAll()
	k.mu.RLock()
	second := k.segments[1].base
	k.mu.RUnlock()
	if second == wire.Offset(0) || k.active().base == second {
		t.Fatal("there are too few segments")
	}
	for _, suffix := range []string{logSuffix, indexSuffix, timesSuffix} {
		damage, err := Verify(swappingFS{gone: offsetFile(second, suffix)}, path)
		if err != nil || len(damage) > 0 {
			t.Errorf("without %s: %v, %v", suffix, damage, err)
		}
	}
}

// compactingFS is a disk on which a log is compacted when one of its files has just been opened.
type compactingFS struct {
	OSFS
	when    string
	compact func()
}

func (f *compactingFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	file, err := f.OSFS.OpenFile(name, flag, perm)
	if compact := f.compact; compact != nil && filepath.Base(name) == f.when {
		f.compact = nil
		compact()
	}
	return file, err
}

func TestAnIndexIsNotHeldAgainstTheSegmentOfACompaction(t *testing.T) {
	for _, suffix := range []string{logSuffix, indexSuffix, timesSuffix} {
		path := t.TempDir()
		k := openKeyedLog(t, path, OSFS{}, compactedConfig())
		for i := range 90 {
			k.put(fmt.Sprintf("key-%d=1", i%17))
		}
		k.commitAll()
		fsys := &compactingFS{when: offsetFile(0, suffix), compact: func() { k.clean(1 << 20) }}
		damage, err := Verify(fsys, path)
		if err != nil || len(damage) > 0 || fsys.compact != nil {
			t.Errorf("compacted when %s is open: %v, %v", fsys.when, damage, err)
		}
	}
}
