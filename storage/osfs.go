package storage

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// OSFS is the operating system's file system.
type OSFS struct{}

// OpenFile implements FS.
func (OSFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f}, nil
}

// Remove implements FS.
func (OSFS) Remove(name string) error { return os.Remove(name) }

// RemoveAll implements FS.
func (OSFS) RemoveAll(name string) error { return os.RemoveAll(name) }

// Rename implements FS.
func (OSFS) Rename(from, to string) error { return os.Rename(from, to) }

// MkdirAll implements FS.
func (OSFS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }

// ReadDir implements FS.
func (OSFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// Stat implements FS.
func (OSFS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// SyncDir implements FS.
func (OSFS) SyncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Lock implements FS.
func (OSFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	return f, nil
}

// Space implements FS.
func (OSFS) Space(name string) (total, free int64, err error) { return volumeSpace(name) }

// OpenVolume implements volumeFS.
func (OSFS) OpenVolume(name string) (Volume, error) { return openVolume(name) }

// osFile is an os.File under the names of File.
type osFile struct{ *os.File }

func (f *osFile) Sync() error { return syncData(f.File) }

func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *osFile) Descriptor() (uintptr, bool) { return f.Fd(), true }

// Volume is a mounted file system that can be synced as a whole: one call in place of one for
// each of many files.
type Volume interface {
	// Sync makes everything durable that was written to the volume before the call. It returns
	// the errors of all write-back since the last call.
	Sync() error
	Close() error
}

// volumeFS is implemented by an FS that may know volumes. OpenVolume returns errors.ErrUnsupported
// where syncing one is not possible, or does not tell errors.
type volumeFS interface {
	OpenVolume(name string) (Volume, error)
}

// isCrowded says that err means too many open files, which says nothing of the disk.
func isCrowded(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// passes says that what failed with err may be tried again: nothing was written and lost.
func passes(err error) bool { return IsFull(err) || isCrowded(err) }

// IsFull says that err means a volume without space, which passes, not a broken one.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
