package actors

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/troupe-mq/troupe/storage"
)

// diskProbes find out whether the log directories still write. A disk that hangs gives no error: the
// process is alive and keeps its connections, and only its heartbeats can tell that it is of no use.
type diskProbes struct {
	dirs  []*storage.Dir
	fsys  storage.FS
	wrote []atomic.Pointer[time.Time] // when the last probe of each directory was on disk
}

const (
	probeFile     = ".probe"
	probeInterval = 5 * time.Second
	probePatience = 10 * time.Second
)

func newDiskProbes(fsys storage.FS, dirs []*storage.Dir, now time.Time) *diskProbes {
	p := &diskProbes{dirs: dirs, fsys: fsys, wrote: make([]atomic.Pointer[time.Time], len(dirs))}
	for i := range p.wrote {
		p.wrote[i].Store(&now)
	}
	return p
}

// healthy says that every directory that has not failed has written something not long ago.
func (p *diskProbes) healthy(now time.Time) bool {
	for i, d := range p.dirs {
		if d.Err() == nil && now.Sub(*p.wrote[i].Load()) > probePatience {
			return false
		}
	}
	return true
}

// run probes one directory until it fails or the broker ends.
func (p *diskProbes) run(i int, now func() time.Time, ending <-chan struct{}) {
	ticker := time.NewTicker(probeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-p.dirs[i].Failed():
			return
		case <-ending:
			return
		}
		began := now()
		// A full disk writes what it has room for; only one that says nothing is of no use.
		if err := p.probe(p.dirs[i].Path()); err == nil || storage.IsFull(err) {
			p.wrote[i].Store(&began)
		}
	}
}

func (p *diskProbes) probe(dir string) error {
	f, err := p.fsys.OpenFile(filepath.Join(dir, probeFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("disk probe\n"), 0)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
