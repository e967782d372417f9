package storage_test

import (
	"testing"

	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/storage/faultfs"
)

func TestClosingDoesNotTakeAFailedSyncOfTheDirectoryForSuccess(t *testing.T) {
	disk := faultfs.New(crashfs.New())
	s, err := openSession(disk, "boot", &history{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.append(1); err != nil {
		t.Fatal(err)
	}
	disk.Fail(faultfs.Rule{Kind: faultfs.SyncDir, Match: func(n string) bool { return n == "data/orders-0" }, Nth: 1})
	err = s.log.Close()
	if err == nil && s.dir.Err() == nil {
		t.Error("the log was closed without an error, and the name of its file may not last")
	}
	_ = s.dir.Close()
}
