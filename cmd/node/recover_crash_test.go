package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/cmd/node"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

// recoverOnce is one run of the recovery of a broker with two directories, which may be cut short.
func recoverOnce(disk *crashfs.FS) error {
	r, err := node.PrepareRecovery([]string{"/a", "/b"}, node.Options{FS: disk})
	if err != nil {
		return err
	}
	_, err = r.Run()
	return errors.Join(err, r.Close())
}

// survey looks at what a recovery would begin with.
func survey(t *testing.T, disk *crashfs.FS) *node.Recovery {
	t.Helper()
	r, err := node.PrepareRecovery([]string{"/a", "/b"}, node.Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return r
}

func identityIn(t *testing.T, disk *crashfs.FS, dir string) (identity storage.Identity) {
	t.Helper()
	content, err := json.Marshal(editJSON(t, disk, dir+"/meta.json", nil))
	if err == nil {
		err = json.Unmarshal(content, &identity)
	}
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

// namesIn lists the entries of a directory whose names begin so.
func namesIn(t *testing.T, disk *crashfs.FS, dir, prefix string) (names []string) {
	t.Helper()
	entries, err := disk.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestARecoveryThatIsCutShortIsGoneOnWith(t *testing.T) {
	t.Parallel()
	cutRecoveriesShort(t, founded(t, "/a", "/b"), rand.New(rand.NewPCG(12, 1)))
}

func TestARecoveryOfADamagedLogThatIsCutShortIsGoneOnWith(t *testing.T) {
	t.Parallel()
	base := founded(t, "/a", "/b")
	n, err := node.Start(t.Context(), localConfig("/a", "/b"), node.Options{FS: base}) // for some more entries
	if err != nil {
		t.Fatal(err)
	}
	stopBroker(t, n)
	damageLastFrame(t, base)
	if r := survey(t, base); r.Damage == nil || r.Check() != nil {
		t.Fatalf("damage %v; check: %v", r.Damage, r.Check())
	}
	cutRecoveriesShort(t, base, rand.New(rand.NewPCG(12, 3)))
}

// damageLastFrame makes a frame unreadable that was promised: there is one behind it.
func damageLastFrame(t *testing.T, disk *crashfs.FS) {
	t.Helper()
	const dir = "/a/__cluster_metadata/"
	names := namesIn(t, disk, dir, "0")
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".wal") })
	f, err := disk.OpenFile(dir+names[len(names)-1], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, size)
	if _, err := f.ReadAt(content, 0); err != nil {
		t.Fatal(err)
	}
	for at := size - 1; ; at-- { // from the end on, until it is one that counts
		content[at] ^= 0xff
		if _, err := f.WriteAt(content[at:at+1], at); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		damage, err := storage.VerifyWAL(disk, dir)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(damage, func(d storage.Damage) bool { return !d.Tail }) {
			return
		}
		content[at] ^= 0xff
		if _, err := f.WriteAt(content[at:at+1], at); err != nil {
			t.Fatal(err)
		}
	}
}

// cutRecoveriesShort cuts the power behind each step of a recovery, and runs it again.
func cutRecoveriesShort(t *testing.T, base *crashfs.FS, rng *rand.Rand) {
	t.Helper()
	before := survey(t, base)
	interrupted := 0
	for step := int64(1); ; step++ {
		disk := base.Crash(rng)
		disk.AfterStep(step, nil)
		err := recoverOnce(disk)
		found := disk.Crash(rng)

		r := survey(t, found)
		begun := r.Interrupted
		if old, recovered := r.Found.RecoveryEpoch == 0, r.Found.RecoveryEpoch == 1; !old && !recovered ||
			old && r.Found.Index < before.Found.Index || r.Found.Topics != before.Found.Topics || r.Found.ClusterID != before.Found.ClusterID {
			t.Fatalf("step %d: found %+v, there was %+v", step, r.Found, before.Found)
		}
		if begun {
			interrupted++
			_, err := node.Start(t.Context(), localConfig("/a", "/b"), node.Options{FS: found})
			if err == nil || !strings.Contains(err.Error(), "not finished") {
				t.Fatalf("step %d: a broker starts in the middle of a recovery: %v", step, err)
			}
		} else if a, b := identityIn(t, found, "/a"), identityIn(t, found, "/b"); a.RecoveryEpoch != uint64(r.Found.RecoveryEpoch) || b.RecoveryEpoch != a.RecoveryEpoch {
			t.Fatalf("step %d: the log is in recovery epoch %d, the directories in %d and %d", step, r.Found.RecoveryEpoch, a.RecoveryEpoch, b.RecoveryEpoch)
		}
		if begun || r.Found.RecoveryEpoch == 0 {
			if err := recoverOnce(found); err != nil {
				t.Fatalf("step %d: run again: %v", step, err)
			}
		}
		expectRecovered(t, found, before)
		if err == nil {
			n, err := node.Start(t.Context(), localConfig("/a", "/b"), node.Options{FS: found})
			if err != nil {
				t.Fatal(err)
			}
			stopBroker(t, n)
			break
		}
	}
	if interrupted == 0 {
		t.Fatal("no run was cut short in the middle, so the test proves nothing")
	}
}

// expectRecovered is what there is in the end, however often it took.
func expectRecovered(t *testing.T, disk *crashfs.FS, before *node.Recovery) {
	t.Helper()
	r := survey(t, disk)
	if f := r.Found; r.Interrupted || f.RecoveryEpoch != 1 || f.Term <= before.Found.Term || f.Index <= before.Found.Index ||
		!slices.Equal(f.Voters, []wire.BrokerID{1}) || f.ClusterID != before.Found.ClusterID {
		t.Fatalf("recovered: %+v, interrupted %v; before: %+v", f, r.Interrupted, before.Found)
	}
	for _, dir := range []string{"/a", "/b"} {
		if identity := identityIn(t, disk, dir); identity.RecoveryEpoch != 1 {
			t.Fatalf("%s is in recovery epoch %d", dir, identity.RecoveryEpoch)
		}
	}
	var kept []string
	for _, name := range namesIn(t, disk, "/a", "__cluster_metadata-") {
		if strings.HasSuffix(name, "-before-recovery") {
			kept = append(kept, name)
		}
	}
	if len(kept) != 1 {
		t.Fatalf("kept are %v", namesIn(t, disk, "/a", ""))
	}
	if damage, err := storage.VerifyWAL(disk, "/a/"+kept[0]); err != nil || len(damage) > 0 != (before.Damage != nil) {
		t.Fatalf("the log that is kept: %v, %v", damage, err)
	}
}

func TestARecoveredBrokerStarts(t *testing.T) {
	t.Parallel()
	disk := founded(t, "/a", "/b")
	if err := recoverOnce(disk); err != nil {
		t.Fatal(err)
	}
	n, err := node.Start(t.Context(), localConfig("/a", "/b"), node.Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	stopBroker(t, n)
	// The second directory is put back as it was before: that is made good. With the first it is not possible.
	editJSON(t, disk, "/b/meta.json", map[string]any{"recovery_epoch": 0})
	if n, err = node.Start(t.Context(), localConfig("/a", "/b"), node.Options{FS: disk}); err != nil {
		t.Fatal(err)
	}
	stopBroker(t, n)
	if identity := identityIn(t, disk, "/b"); identity.RecoveryEpoch != 1 {
		t.Errorf("/b is in recovery epoch %d", identity.RecoveryEpoch)
	}
	editJSON(t, disk, "/a/meta.json", map[string]any{"recovery_epoch": 0})
	if _, err = node.Start(t.Context(), localConfig("/a", "/b"), node.Options{FS: disk}); err == nil || !strings.Contains(err.Error(), "from before a recovery") {
		t.Fatalf("started with an old copy of the metadata: %v", err)
	}
}

func TestARecoveryRefusesWhatIsNotOneBrokersAndIdle(t *testing.T) {
	t.Parallel()
	disk := founded(t, "/a", "/b")
	n, err := node.Start(t.Context(), localConfig("/c"), node.Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want string, data ...string) {
		t.Helper()
		if _, err := node.PrepareRecovery(data, node.Options{FS: disk}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", data, err, want)
		}
	}
	expect("a broker runs on /c", "/c")
	stopBroker(t, n)
	expect("not of one broker", "/a", "/c")
	expect("/b holds no metadata", "/b", "/a")
	expect("/nowhere is no log directory", "/nowhere")
	if _, err := disk.Stat("/nowhere"); err == nil {
		t.Error("it made a directory")
	}
	r := survey(t, disk)
	if err := r.Check(); err == nil || !strings.Contains(err.Error(), "just start it") {
		t.Errorf("the only voter is recovered: %v", err)
	}
}

// A broker that starts over must at no time vote in the name of a log that is gone, nor take what is in the old
// log for what the recovered cluster says.
func TestAStartOverThatIsCutShortIsGoneOnWith(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(12, 2))
	base := founded(t, "/a", "/b")
	before := identityIn(t, base, "/a")
	editJSON(t, base, "/a/beginning.json", map[string]any{"cluster_id": before.ClusterID, "directory_id": before.DirectoryID, "recovery_epoch": 1})
	if err := base.SyncDir("/a"); err != nil {
		t.Fatal(err)
	}
	begin := func(disk *crashfs.FS) {
		cfg := localConfig("/a", "/b")
		cfg.ClusterTLS = node.TLSFiles{Cert: "/nowhere", Key: "/nowhere", CA: "/nowhere"} // it gets no further than that
		if _, err := node.Start(context.Background(), cfg, node.Options{FS: disk}); err == nil {
			t.Fatal("it started")
		}
	}
	logIsThere := func(disk *crashfs.FS) bool { return slices.Contains(namesIn(t, disk, "/a", ""), "__cluster_metadata") }
	done := func(disk *crashfs.FS) bool {
		a, b := identityIn(t, disk, "/a"), identityIn(t, disk, "/b")
		return a.RecoveryEpoch == 1 && b.RecoveryEpoch == 1 && !logIsThere(disk) && a.RaftID != before.RaftID && a.RaftID != 0
	}
	halfway := 0
	for step := int64(1); ; step++ {
		disk := base.Crash(rng)
		disk.AfterStep(step, nil)
		begin(disk)
		found := disk.Crash(rng)
		a := identityIn(t, found, "/a")
		if there := logIsThere(found); !there && a.RaftID == before.RaftID || there && a.RecoveryEpoch > 0 {
			t.Fatalf("step %d: the log is there: %v; the first directory says %+v", step, there, a)
		}
		finished := done(found)
		if !finished && a != before {
			halfway++
		}
		begin(found)
		if !done(found) {
			t.Fatalf("step %d: afterwards the directories say %+v and %+v", step, identityIn(t, found, "/a"), identityIn(t, found, "/b"))
		}
		if finished && step > 10 {
			break
		}
	}
	if halfway == 0 {
		t.Fatal("it was never cut short halfway, so the test proves nothing")
	}
}
