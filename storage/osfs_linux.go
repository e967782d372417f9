package storage

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// syncData is fdatasync: the content, and of the metadata only what is needed to read it back.
func syncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

func volumeSpace(name string) (total, free int64, err error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(name, &stat); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: name, Err: err}
	}
	return int64(stat.Blocks) * stat.Bsize, int64(stat.Bavail) * stat.Bsize, nil
}

// volume holds a descriptor for its whole life: the kernel reports to it each write-back error
// that came after it was opened, once.
type volume struct{ dir *os.File }

func openVolume(name string) (Volume, error) {
	if !kernelAtLeast(5, 8) { // before 5.8 syncfs kept write-back errors to itself
		return nil, errors.ErrUnsupported
	}
	dir, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return &volume{dir: dir}, nil
}

func (v *volume) Sync() error  { return os.NewSyscallError("syncfs", unix.Syncfs(int(v.dir.Fd()))) }
func (v *volume) Close() error { return v.dir.Close() }

func kernelAtLeast(major, minor int) bool {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return false
	}
	var have [2]int
	field := 0
	for _, c := range name.Release {
		switch {
		case c >= '0' && c <= '9':
			have[field] = have[field]*10 + int(c-'0')
			continue
		case c == '.' && field == 0:
			field++
			continue
		}
		break
	}
	return have[0] > major || have[0] == major && have[1] >= minor
}

// BootID names the present run of the operating system, or is "" where it cannot be known.
func BootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

func maxOpenFiles() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(limit.Cur, 1<<20))
}
