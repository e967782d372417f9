package actors

import (
	"errors"
	"testing"

	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// storageWith holds a snapshot at 1 and entries of 36 bytes, so that each counts for 100, up to an index.
func storageWith(t *testing.T, last uint64) *raftStorage {
	t.Helper()
	s := &raftStorage{MemoryStorage: raft.NewMemoryStorage()}
	one := proto.Uint64(1)
	err := s.ApplySnapshot(&raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		Index: one, Term: one, ConfState: &raftpb.ConfState{Voters: []uint64{1}},
	}})
	for i := uint64(2); i <= last; i++ {
		err = errors.Join(err, s.Append([]*raftpb.Entry{{Index: proto.Uint64(i), Term: one, Data: make([]byte, 100-entryOverheadBytes)}}))
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCompactionKeepsTheLastEntriesForThoseWhoAreALittleBehind(t *testing.T) {
	for _, c := range []struct {
		name  string
		keep  int
		first uint64 // that is kept
	}{
		{"nothing", 0, 51},
		{"less than one", 99, 51},
		{"one", 100, 50},
		{"ten and a half", 1050, 41},
		{"more than there are", 1 << 20, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := storageWith(t, 60)
			for range 2 { // the second time there is nothing to do
				if err := s.compact(50, c.keep); err != nil {
					t.Fatal(err)
				}
				if first, err := s.FirstIndex(); first != c.first || err != nil {
					t.Fatalf("the first entry is %d, %v, want %d", first, err, c.first)
				}
			}
			if entries, kept := s.between(c.first-1, 60, 1<<20); !kept || len(entries) != int(61-c.first) {
				t.Errorf("%d entries from %d on, %v", len(entries), c.first, kept)
			}
			if _, kept := s.between(c.first-2, 60, 1<<20); kept {
				t.Errorf("entry %d is kept", c.first-1)
			}
			if entries, _ := s.between(c.first-1, 60, 1); len(entries) != 1 || entries[0].GetIndex() != c.first {
				t.Errorf("with room for none: %v", entries)
			}
		})
	}
}

func TestASnapshotFromBeforeSomebodyJoinedIsNotGivenOut(t *testing.T) {
	s := storageWith(t, 10)
	if snapshot, err := s.Snapshot(); snapshot.GetMetadata().GetIndex() != 1 || err != nil || s.wanted {
		t.Fatalf("%v, %v", snapshot, err)
	}
	s.joined = 7
	if _, err := s.Snapshot(); !errors.Is(err, raft.ErrSnapshotTemporarilyUnavailable) || !s.wanted {
		t.Fatalf("%v, wanted %v", err, s.wanted)
	}
	if _, err := s.CreateSnapshot(7, &raftpb.ConfState{Voters: []uint64{1}, Learners: []uint64{2}}, nil); err != nil {
		t.Fatal(err)
	}
	if snapshot, err := s.Snapshot(); snapshot.GetMetadata().GetIndex() != 7 || err != nil {
		t.Fatalf("%v, %v", snapshot, err)
	}
}
