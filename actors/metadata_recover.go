package actors

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// This file is for brokers that do not run: what is done to a metadata log when raft cannot go on with it.

// MetadataSurvey tells what a metadata log holds. Of several that are left, the one with the highest term of its
// last entry, and then the highest index, lacks the least.
type MetadataSurvey struct {
	ClusterID     string
	Broker        wire.BrokerID
	RaftID        uint64
	RecoveryEpoch uint32
	Term, Index   uint64          // of the last entry
	Committed     uint64          // index up to which it was known to be committed
	Voters        []wire.BrokerID // NoBroker for one that belongs to none
	Learners      []wire.BrokerID // who follow the log in order to become voters
	Brokers       []wire.Broker
	Topics        int
	Partitions    int
}

// SurveyMetadata reads the metadata log in a directory, which the caller has locked.
func SurveyMetadata(fsys storage.FS, dir *storage.Dir) (MetadataSurvey, error) {
	log, err := openOffline(fsys, dir)
	if err != nil {
		return MetadataSurvey{}, err
	}
	return log.survey(), log.wal.Close()
}

// RecoverMetadata makes the broker of these directories the only voter, after the majority was lost for good.
// What is in its log counts as committed, and the cluster's image begins a new recovery epoch, which the
// directories remember: brokers of the one before cannot link with those of this one, so that what is left
// of the old majority cannot come back as a second cluster. The metadata log is in the first directory.
//
// Dying halfway leaves a log that can be recovered again.
func RecoverMetadata(fsys storage.FS, dirs []*storage.Dir) (MetadataSurvey, error) {
	log, err := openOffline(fsys, dirs[0])
	if err != nil {
		return MetadataSurvey{}, err
	}
	err = log.recover()
	if err = errors.Join(err, log.wal.Close()); err != nil {
		return MetadataSurvey{}, fmt.Errorf("recover the metadata log: %w", err)
	}
	return log.survey(), saveRecoveryEpoch(dirs, log.image)
}

func saveRecoveryEpoch(dirs []*storage.Dir, image *metadata.Image) error {
	for _, d := range dirs {
		identity := d.Identity()
		if identity.ClusterID == "" {
			continue
		}
		identity.RecoveryEpoch = uint64(image.RecoveryEpoch())
		if err := d.SaveIdentity(identity); err != nil {
			return fmt.Errorf("log directory %s: %w", d.Path(), err)
		}
	}
	return nil
}

// offlineLog is a metadata log with all that it leads to, committed or not.
type offlineLog struct {
	wal         *storage.WAL
	identity    storage.Identity
	image       *metadata.Image
	confState   *raftpb.ConfState
	term, index uint64 // of the last entry
	latest      uint64 // the latest term that this broker has heard of
	committed   uint64
}

func openOffline(fsys storage.FS, dir *storage.Dir) (*offlineLog, error) {
	wal, state, err := storage.OpenWAL(fsys, filepath.Join(dir.Path(), metadataLogDir), storage.DefaultWALConfig())
	if err != nil {
		return nil, err
	}
	log := &offlineLog{wal: wal, identity: dir.Identity()}
	if err := log.replay(&state); err != nil {
		return nil, errors.Join(err, wal.Close())
	}
	return log, nil
}

// replay does what a controller would do with the log if all of it were committed.
func (l *offlineLog) replay(state *storage.WALState) error {
	if state.Snapshot.Index == 0 {
		return errors.New("it holds no metadata: this broker has never been a voter")
	}
	logger := slog.New(slog.DiscardHandler)
	c := newController(controllerConfig{raftID: l.identity.RaftID, logger: logger}).(*controller)
	if err := c.restore(state); err != nil {
		return err
	}
	l.term, l.index = state.Snapshot.Term, state.Snapshot.Index
	for _, e := range state.Entries {
		entry := &raftpb.Entry{}
		if err := proto.Unmarshal(e.Data, entry); err != nil {
			return fmt.Errorf("read entry %d of the metadata log: %w", e.Index, err)
		}
		if _, err := c.applyEntry(entry, &metadata.Delta{}); err != nil {
			return fmt.Errorf("apply entry %d of the metadata log: %w", e.Index, err)
		}
		l.term, l.index = e.Term, e.Index
	}
	l.image, l.confState, l.committed = c.image, c.confState, c.restored
	l.latest = max(l.term, c.node.BasicStatus().GetTerm())
	return nil
}

func (l *offlineLog) survey() MetadataSurvey {
	s := MetadataSurvey{
		ClusterID: l.image.ClusterID(), Broker: l.identity.BrokerID, RaftID: l.identity.RaftID,
		RecoveryEpoch: l.image.RecoveryEpoch(), Term: l.term, Index: l.index, Committed: l.committed,
		Brokers: l.image.Brokers(), Topics: l.image.TopicCount(), Partitions: l.image.PartitionCount(),
	}
	s.Voters, s.Learners = l.brokersOf(l.confState.GetVoters()), l.brokersOf(l.confState.GetLearners())
	return s
}

func (l *offlineLog) brokersOf(raftIDs []uint64) (ids []wire.BrokerID) {
	for _, raftID := range raftIDs {
		id := wire.NoBroker
		if b, known := l.image.BrokerByRaftID(raftID); known {
			id = b.ID
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// recover puts a snapshot with one voter, in a term of its own, in the place of the log.
func (l *offlineLog) recover() error {
	decision := metadata.Recover{RaftID: l.identity.RaftID}.Decide(l.image, metadata.Env{})
	if refusal, refused := decision.Reply.(error); refused && refusal != nil {
		return refusal
	}
	image, _, err := l.image.Apply(l.index+1, decision.Records)
	if err != nil {
		return err
	}
	l.image, l.index, l.term, l.committed = image, l.index+1, l.latest+1, l.index+1
	l.confState = &raftpb.ConfState{Voters: []uint64{l.identity.RaftID}}
	hardState, snapshot, err := oneVoter(l.image, l.confState, l.index, l.term)
	if err != nil {
		return err
	}
	return l.wal.InstallSnapshot(hardState, storage.WALSnapshot{Index: l.index, Term: l.term, Data: snapshot})
}

// oneVoter returns what a metadata log begins with: an image, and nobody to ask.
func oneVoter(image *metadata.Image, confState *raftpb.ConfState, index, term uint64) (hardState, snapshot []byte, err error) {
	hardState, err = proto.Marshal(&raftpb.HardState{Term: proto.Uint64(term), Commit: proto.Uint64(index)})
	if err != nil {
		return nil, nil, err
	}
	snapshot, err = proto.Marshal(&raftpb.Snapshot{
		Data:     image.EncodeSnapshot(),
		Metadata: &raftpb.SnapshotMetadata{Index: proto.Uint64(index), Term: proto.Uint64(term), ConfState: confState},
	})
	return hardState, snapshot, err
}

// SetAsideMetadataLog takes a metadata log out of use that its broker must not vote with any more: one that is
// damaged, or that was left behind when the cluster was recovered. The broker gets another raft id, and joins
// anew (Config.Join). It returns where the log is kept.
//
// The number is changed first: dying halfway leaves the log to be found again, never a blank one under
// the old number.
func SetAsideMetadataLog(fsys storage.FS, dirs []*storage.Dir, now time.Time) (kept string, raftID uint64, err error) {
	former, raftID := dirs[0].Identity().RaftID, rand.Uint64()|1
	for _, d := range dirs {
		identity := d.Identity()
		if d.Err() != nil || identity.RaftID != former {
			continue
		}
		identity.RaftID = raftID
		if err := d.SaveIdentity(identity); err != nil {
			return "", 0, err
		}
	}
	dir := filepath.Join(dirs[0].Path(), metadataLogDir)
	kept = dir + "-" + strconv.FormatInt(now.UnixMilli(), 10) + "-" + setAsideMark
	if err := fsys.Rename(dir, kept); err != nil {
		return "", 0, err
	}
	return kept, raftID, fsys.SyncDir(dirs[0].Path())
}

const setAsideMark = "set-aside"
