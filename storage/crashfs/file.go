package crashfs

import (
	"io"
	"io/fs"
	"syscall"
)

// maxFileBytes keeps a wild offset from filling memory with page tables.
const maxFileBytes = 1 << 34

// file is an open file. Its node outlives its name, as on Unix.
type file struct {
	fs       *FS
	node     *node
	name     string
	writable bool
	closed   bool
}

// usable says why op cannot go on.
func (f *file) usable(op string, writing bool, upTo int64) error {
	switch {
	case f.closed:
		return pathError(op, f.name, fs.ErrClosed)
	case writing && !f.writable:
		return pathError(op, f.name, syscall.EBADF)
	case upTo < 0:
		return pathError(op, f.name, syscall.EINVAL)
	case writing && upTo > maxFileBytes:
		return pathError(op, f.name, syscall.EFBIG)
	}
	return nil
}

// ReadAt reads what a program would see, synced or not.
func (f *file) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.fs.look(func() error {
		if err := f.usable("read", false, off); err != nil {
			return err
		}
		if n = f.node.read(p, off); n < len(p) {
			return io.EOF
		}
		return nil
	})
	return n, err
}

// WriteAt writes to the page cache, so to say.
func (f *file) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.fs.change(func() (bool, error) {
		if err := f.usable("write", true, min(off, off+int64(len(p)))); err != nil {
			return false, err
		}
		if n = len(p); n > 0 {
			f.node.write(p, off)
		}
		return n > 0, nil
	})
	return n, err
}

// Truncate changes the size; what it adds reads as zeros.
func (f *file) Truncate(size int64) error {
	return f.fs.change(func() (bool, error) {
		if err := f.usable("truncate", true, size); err != nil {
			return false, err
		}
		if size == f.node.size {
			return false, nil
		}
		f.node.truncate(size)
		return true, nil
	})
}

// Sync makes content and size durable; the name is not (see SyncDir).
func (f *file) Sync() error {
	return f.fs.change(func() (bool, error) {
		if err := f.usable("sync", false, 0); err != nil {
			return false, err
		}
		if f.fs.syncsToFailure--; f.fs.syncsToFailure == 0 {
			f.node.giveUp()
			return true, pathError("sync", f.name, f.fs.syncErr)
		}
		f.node.sync()
		return true, nil
	})
}

// Size returns the size that a program would see.
func (f *file) Size() (size int64, err error) {
	err = f.fs.look(func() error {
		size = f.node.size
		return f.usable("size", false, 0)
	})
	return size, err
}

// Descriptor says that there is none.
func (f *file) Descriptor() (uintptr, bool) { return 0, false }

// Close makes nothing durable.
func (f *file) Close() error {
	return f.fs.change(func() (bool, error) {
		if err := f.usable("close", false, 0); err != nil {
			return false, err
		}
		f.closed = true
		f.fs.open--
		return false, nil
	})
}
