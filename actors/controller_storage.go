package actors

import (
	"errors"
	"fmt"
	"log/slog"

	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"
)

// raftStorage is what raft sees of the log: a MemoryStorage that gives out no snapshot from before somebody
// has joined, since one who is not named in it would pass it over.
type raftStorage struct {
	*raft.MemoryStorage
	joined uint64 // index of the last change of voters that was applied
	wanted bool   // a snapshot has been asked for that is not there yet
}

// Snapshot implements raft.Storage.
func (s *raftStorage) Snapshot() (*raftpb.Snapshot, error) {
	snapshot, err := s.MemoryStorage.Snapshot()
	if err == nil && snapshot.GetMetadata().GetIndex() < s.joined {
		s.wanted = true
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return snapshot, err
}

// compact forgets the entries up to index, but for the last ones of them within a number of bytes.
func (s *raftStorage) compact(index uint64, keep int) error {
	first, err := s.FirstIndex()
	if err != nil {
		return err
	}
	if index < first {
		return nil
	}
	entries, err := s.Entries(first, index+1, maxEntriesInMemory)
	if err != nil {
		return err
	}
	for i := len(entries) - 1; i >= 0; i-- {
		if keep -= len(entries[i].GetData()) + entryOverheadBytes; keep < 0 {
			return s.Compact(entries[i].GetIndex())
		}
	}
	return nil
}

// maxEntriesInMemory is no limit: what is in memory is lent, not copied.
const maxEntriesInMemory = 1 << 62

// between returns the entries after one index up to another, within a number of bytes but at
// least one. There are none if they are not kept any more.
func (s *raftStorage) between(after, upTo uint64, maxBytes uint64) ([]*raftpb.Entry, bool) {
	entries, err := s.Entries(after+1, upTo+1, maxBytes)
	if errors.Is(err, raft.ErrCompacted) {
		return nil, false
	}
	if err != nil {
		panic(fmt.Sprintf("actors: entries %d to %d are not in storage: %v", after+1, upTo, err))
	}
	return entries, true
}

// raftLogger lets raft speak through ours. What it calls information is for those who look into raft.
type raftLogger struct{ logger *slog.Logger }

const raftSays = "raft"

func (l raftLogger) Debug(...any)             {}
func (l raftLogger) Debugf(string, ...any)    {}
func (l raftLogger) Info(v ...any)            { l.logger.Debug(raftSays, "text", fmt.Sprint(v...)) }
func (l raftLogger) Infof(f string, v ...any) { l.logger.Debug(raftSays, "text", fmt.Sprintf(f, v...)) }
func (l raftLogger) Warning(v ...any)         { l.logger.Warn(raftSays, "text", fmt.Sprint(v...)) }
func (l raftLogger) Warningf(f string, v ...any) {
	l.logger.Warn(raftSays, "text", fmt.Sprintf(f, v...))
}
func (l raftLogger) Error(v ...any) { l.logger.Error(raftSays, "text", fmt.Sprint(v...)) }
func (l raftLogger) Errorf(f string, v ...any) {
	l.logger.Error(raftSays, "text", fmt.Sprintf(f, v...))
}
func (l raftLogger) Fatal(v ...any)            { panic(fmt.Sprint(v...)) }
func (l raftLogger) Fatalf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
func (l raftLogger) Panic(v ...any)            { panic(fmt.Sprint(v...)) }
func (l raftLogger) Panicf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
