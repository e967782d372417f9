package faultfs

import (
	"io/fs"
	"sync"
	"syscall"

	"github.com/troupe-mq/troupe/storage"
)

type file struct {
	storage.File
	fs   *FS
	name string

	growing sync.Mutex // taken while the size matters: with a limit set
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.check(Read, f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	fail := func(n int, err error) (int, error) {
		return n, &fs.PathError{Op: "write", Path: f.name, Err: err}
	}
	if r := f.fs.call(Write, f.name); r != nil {
		n := 0
		if short := min(r.Short, len(p)); short > 0 {
			var err error
			if n, err = f.File.WriteAt(p[:short], off); err != nil {
				return n, err
			}
		}
		return fail(n, r.Err)
	}
	if !f.fs.limited() {
		return f.File.WriteAt(p, off)
	}
	f.growing.Lock()
	defer f.growing.Unlock()
	size, err := f.File.Size()
	if err != nil {
		return 0, err
	}
	grow := off + int64(len(p)) - size
	missing := max(grow, 0) - f.fs.take(max(grow, 0))
	if missing == 0 {
		return f.File.WriteAt(p, off)
	}
	fits := max(int64(len(p))-missing, 0)
	n, err := f.File.WriteAt(p[:fits], off)
	if err != nil {
		return n, err
	}
	if fits == 0 { // it would have left a hole that did not fit either
		f.fs.giveBack(max(grow, 0) - missing)
	}
	return fail(n, syscall.ENOSPC)
}

func (f *file) Truncate(size int64) error {
	if err := f.fs.check(Truncate, f.name); err != nil {
		return err
	}
	if !f.fs.limited() {
		return f.File.Truncate(size)
	}
	f.growing.Lock()
	defer f.growing.Unlock()
	before, err := f.File.Size()
	if err != nil {
		return err
	}
	if grow := size - before; grow > 0 {
		if got := f.fs.take(grow); got < grow {
			f.fs.giveBack(got)
			return &fs.PathError{Op: "truncate", Path: f.name, Err: syscall.ENOSPC}
		}
	}
	if err := f.File.Truncate(size); err != nil {
		return err
	}
	f.fs.giveBack(before - size)
	return nil
}

func (f *file) Sync() error {
	if err := f.fs.check(Sync, f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *file) Size() (int64, error) {
	if err := f.fs.check(Size, f.name); err != nil {
		return 0, err
	}
	return f.File.Size()
}

// Close closes the file also when it fails, as the operating system does.
func (f *file) Close() error {
	err := f.fs.check(Close, f.name)
	if closed := f.File.Close(); err == nil {
		err = closed
	}
	return err
}

// Descriptor hides the one below, so that reads cannot go around the faults.
func (f *file) Descriptor() (uintptr, bool) { return 0, false }
