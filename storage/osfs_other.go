//go:build !linux

package storage

import (
	"errors"
	"math"
	"os"
)

// What follows is for building and trying Troupe elsewhere; it runs in earnest on Linux.

func syncData(f *os.File) error { return f.Sync() }

// lockFile takes no lock: package syscall has no portable one.
func lockFile(*os.File) error { return nil }

func volumeSpace(string) (total, free int64, err error) { return math.MaxInt64, math.MaxInt64, nil }

func openVolume(string) (Volume, error) { return nil, errors.ErrUnsupported }

// BootID names the present run of the operating system, or is "" where it cannot be known.
func BootID() string { return "" }

func maxOpenFiles() int { return 1024 }
