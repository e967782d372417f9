package actors

import (
	"errors"
	"fmt"
	"path/filepath"

	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/troupe-mq/troupe/storage"
)

// SurveySalvage is SurveyMetadata for a damaged metadata log, which is kept under a name of its own: it tells
// of what is left. The directory, which the caller has locked, says whose it is.
func SurveySalvage(fsys storage.FS, dir *storage.Dir, name string) (MetadataSurvey, error) {
	log, err := salvage(fsys, dir, name)
	if err != nil {
		return MetadataSurvey{}, err
	}
	return log.survey(), nil
}

// RecoverSalvage is RecoverMetadata from what is left of a damaged log that was moved to a name of its own: there
// must be none in use. Dying halfway leaves one that was not finished.
func RecoverSalvage(fsys storage.FS, dirs []*storage.Dir, name string) (survey MetadataSurvey, err error) {
	log, err := salvage(fsys, dirs[0], name)
	if err != nil {
		return MetadataSurvey{}, err
	}
	inUse := filepath.Join(dirs[0].Path(), metadataLogDir)
	if log.wal, _, err = storage.OpenWAL(fsys, inUse, storage.DefaultWALConfig()); err != nil {
		return MetadataSurvey{}, err
	}
	err = log.recover()
	if err = errors.Join(err, log.wal.Close()); err != nil {
		return MetadataSurvey{}, fmt.Errorf("recover the metadata log: %w", err)
	}
	return log.survey(), saveRecoveryEpoch(dirs, log.image)
}

// salvage reads what is left of a log. It may have lost entries that it knew to be committed.
func salvage(fsys storage.FS, dir *storage.Dir, name string) (*offlineLog, error) {
	state, err := storage.SalvageWAL(fsys, name)
	if err != nil {
		return nil, err
	}
	last := state.Snapshot.Index + uint64(len(state.Entries))
	var hardState raftpb.HardState
	if err := proto.Unmarshal(state.HardState, &hardState); err != nil {
		return nil, fmt.Errorf("read the hard state of the metadata log: %w", err)
	}
	hardState.Commit = proto.Uint64(min(hardState.GetCommit(), last))
	if state.HardState, err = proto.Marshal(&hardState); err != nil {
		return nil, err
	}
	log := &offlineLog{identity: dir.Identity()}
	return log, log.replay(&state)
}
