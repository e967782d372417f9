package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// sum is the sum of a partition, and the offset of the first record that is not in it.
type sum struct{ Next, Sum int64 }

// store is a directory with the sum of each partition in a file of its own.
type store string

func (s store) file(partition int32) string {
	return filepath.Join(string(s), strconv.Itoa(int(partition)))
}

// load returns the sum of a partition, zero when there is none yet.
func (s store) load(partition int32) (sum, error) {
	var found sum
	b, err := os.ReadFile(s.file(partition))
	if errors.Is(err, os.ErrNotExist) {
		return sum{}, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &found)
	}
	return found, err
}

// replace puts a sum in the place of the one that it was computed from. It fails if that is not there any more: a member that was
// thought dead goes on, perhaps, and must not undo what has been added meanwhile.
func (s store) replace(partition int32, old, next sum) error {
	lock, err := os.OpenFile(s.file(partition)+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	now, err := s.load(partition)
	if err != nil {
		return err
	}
	if now != old {
		return fmt.Errorf("partition %d was added up to %d by another member", partition, now.Next)
	}
	b, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.file(partition)+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(s.file(partition)+".new", s.file(partition))
}
