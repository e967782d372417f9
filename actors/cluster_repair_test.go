package actors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// These are the tests of metadata logs that are damaged, or that most voters have lost.

// damage spoils the metadata log of a broker that does not run, well before its end.
func (cl *cluster) damage(id wire.BrokerID) {
	cl.t.Helper()
	dir := "/data/" + metadataLogDir
	entries, err := cl.disks[id].ReadDir(dir)
	if err != nil {
		cl.t.Fatal(err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".wal" {
			continue
		}
		f, err := cl.disks[id].OpenFile(filepath.Join(dir, e.Name()), os.O_RDWR, 0)
		if err != nil {
			cl.t.Fatal(err)
		}
		_, err = f.WriteAt([]byte("spoiled"), 40)
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			cl.t.Fatal(err)
		}
	}
}

func TestADamagedMetadataLogIsReplacedWhereTheClusterGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		cl.awaitReady()
		for i := range 5 {
			cl.any().topic(fmt.Sprint("before-", i), 1)
		}
		cl.kill(3)
		cl.damage(3)
		cl.start(3)
		cl.awaitReady()
		cl.awaitTopic("before-4")
		identity := cl.members[3].dirs[0].Identity()
		if identity.RaftID == 103 || identity.RaftID == 0 {
			t.Errorf("its raft id is %d, as it was before", identity.RaftID)
		}
		cl.awaitAtMost(time.Minute, "it votes under its new number", func() bool {
			q := cl.members[1].Quorum()
			return len(q.Voters) == 3 && slices.ContainsFunc(q.Voters, func(v wire.QuorumMember) bool {
				return v.Broker == 3 && v.RaftID == identity.RaftID
			})
		})
		kept, err := cl.disks[3].ReadDir("/data")
		if err != nil || !slices.ContainsFunc(kept, func(e fs.DirEntry) bool { return strings.HasSuffix(e.Name(), setAsideMark) }) {
			t.Errorf("nothing was kept: %v, %v", kept, err)
		}
		cl.kill(3)
		cl.start(3)
		cl.kill(1) // it counts
		cl.members[2].topic("afterwards", 1)
		cl.awaitTopic("afterwards")
	})
}

func TestADamagedMetadataLogIsNotTouchedWhereNobodyElseLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 2) // broker 1 is the only voter
		defer cl.end()
		cl.awaitReady()
		cl.kill(1)
		cl.damage(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := cl.beginWithin(ctx, 1); err == nil {
			t.Fatal("it has started")
		}
		entries, err := cl.disks[1].ReadDir("/data")
		if err != nil || slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return strings.HasSuffix(e.Name(), setAsideMark) }) {
			t.Errorf("it was set aside: %v, %v", entries, err)
		}
	})
}

// offline opens the directory of a broker that does not run, for as long as f takes.
func (cl *cluster) offline(id wire.BrokerID, f func(dir *storage.Dir) error) {
	cl.t.Helper()
	dc := storage.DefaultDirConfig()
	dc.Now, dc.BootID, dc.ReserveBytes = time.Now, "boot", 0
	dir, err := storage.OpenDir(cl.disks[id], "/data", dc, clusterLog)
	if err != nil {
		cl.t.Fatal(err)
	}
	if err := errors.Join(f(dir), dir.Close()); err != nil {
		cl.t.Fatal(err)
	}
}

func TestOneVoterOfALostMajorityMakesTheClusterAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		cl.awaitReady()
		cl.topic("kept", 2)
		cl.awaitTopic("kept")
		for id := range wire.BrokerID(3) {
			cl.kill(id + 1)
		}
		var before, after MetadataSurvey
		cl.offline(2, func(dir *storage.Dir) (err error) {
			before, err = SurveyMetadata(cl.disks[2], dir)
			return err
		})
		if !slices.Equal(before.Voters, []wire.BrokerID{1, 2, 3}) || before.ClusterID != "cluster" || before.Topics != 1 || before.Partitions != 2 {
			t.Errorf("%+v", before)
		}
		cl.offline(2, func(dir *storage.Dir) (err error) {
			after, err = RecoverMetadata(cl.disks[2], []*storage.Dir{dir})
			return errors.Join(err, check(dir.Identity().RecoveryEpoch == 1, "meta.json does not tell of the recovery"))
		})
		if !slices.Equal(after.Voters, []wire.BrokerID{2}) || after.RecoveryEpoch != 1 || after.Term <= before.Term || after.Index <= before.Index {
			t.Errorf("%+v, was %+v", after, before)
		}
		cl.start(2) // nobody else is there
		cl.awaitReady()
		cl.members[2].topic("new", 1)
		cl.awaitTopic("kept")
		// One that was left behind may not vote with what it has.
		cl.offline(3, func(dir *storage.Dir) error {
			_, raftID, err := SetAsideMetadataLog(cl.disks[3], []*storage.Dir{dir}, time.Now())
			return errors.Join(err, check(raftID != 103 && dir.Identity().RaftID == raftID, "it has its old number"))
		})
		cl.joins = map[wire.BrokerID]bool{3: true}
		cl.start(3)
		cl.awaitReady()
		cl.awaitTopic("kept")
		cl.awaitTopic("new")
	})
}

func check(so bool, otherwise string) error {
	if so {
		return nil
	}
	return errors.New(otherwise)
}
