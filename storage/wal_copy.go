package storage

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// CopyWAL copies the directory of a metadata log that nobody uses, file by file and as it is, damage
// included. There is no copy at all, or a whole one that survives a power cut; one that is there already
// is left alone.
func CopyWAL(fsys FS, from, to string) error {
	if _, err := fsys.Stat(to); !isMissing(err) {
		return err
	}
	unfinished := to + tmpSuffix
	if err := fsys.RemoveAll(unfinished); err != nil {
		return err
	}
	if err := fsys.MkdirAll(unfinished, dirPerm); err != nil {
		return err
	}
	entries, err := fsys.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			continue // none of ours
		}
		if err := copyFile(fsys, filepath.Join(from, e.Name()), filepath.Join(unfinished, e.Name())); err != nil {
			return err
		}
	}
	if err := fsys.SyncDir(unfinished); err != nil {
		return err
	}
	if err := fsys.Rename(unfinished, to); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(to))
}

// copyFile makes a durable copy of a file.
func copyFile(fsys FS, from, to string) (err error) {
	source, err := fsys.OpenFile(from, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := fsys.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_TRUNC, filePerm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	size, err := source.Size()
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.NewOffsetWriter(target, 0), io.NewSectionReader(source, 0, size)); err != nil {
		return err
	}
	return target.Sync()
}
