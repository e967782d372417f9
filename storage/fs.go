package storage

import (
	"io"
	"io/fs"
)

// FS is what storage needs of a file system. OSFS is the real one; tests put a file system under
// a whole broker that forgets what was not synced, or that fails the n-th call.
//
// Names are paths as the operating system takes them.
type FS interface {
	// OpenFile opens name with the flags of package os (O_RDONLY, O_RDWR, O_CREATE, O_EXCL,
	// O_TRUNC).
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Remove(name string) error
	RemoveAll(name string) error
	Rename(from, to string) error
	MkdirAll(name string, perm fs.FileMode) error
	// ReadDir returns the entries sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the creations, renames and removals in a directory durable.
	SyncDir(name string) error
	// Lock takes an exclusive lock on a file, which it creates, and fails at once if another
	// process holds it. Closing releases it.
	Lock(name string) (io.Closer, error)
	// Space returns the size of the volume that holds name, and what is free on it, in bytes.
	Space(name string) (total, free int64, err error)
}

// File is an open file. ReadAt and WriteAt may be called from many goroutines.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	// Sync makes the content and the size durable (fdatasync).
	Sync() error
	Size() (int64, error)
	// Descriptor returns the file descriptor for sendfile; ok is false where there is none.
	Descriptor() (fd uintptr, ok bool)
}
