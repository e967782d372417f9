package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/troupe-mq/troupe/actors"
	"github.com/troupe-mq/troupe/storage"
)

// Recovery is what is done to the directories of one broker, while it does not run, when most of the
// voters of its cluster are lost for good: its copy of the metadata becomes the cluster's, and it the
// only voter. What that means for the rest is metadata.Recover's to say.
//
//	recovery.json      written first, removed last: in between no broker starts here
//	the old log        is copied, and kept
//	the metadata log   becomes another one, in one step
//	meta.json          of every directory gets the recovery epoch
//
// So at any time there is the old log or the new one, and whoever is interrupted runs it again. A log that is
// damaged is read as far as that goes; it is moved away instead of copied.
type Recovery struct {
	// Found is what the metadata log holds.
	Found actors.MetadataSurvey
	// Interrupted says that an earlier run was not finished. What is found may be what it has made.
	Interrupted bool
	// Damage is why the log cannot be read as a whole, or nil. What is found is what is left of it.
	Damage error

	opts Options
	dirs []*storage.Dir
	mark savedRecovery
	// salvaged is the damaged log that is read, or "".
	salvaged string
}

// savedRecovery is a recovery that has begun.
type savedRecovery struct {
	DirectoryID   string `json:"directory_id"` // whose it is: the file alone, in another directory, says nothing
	RecoveryEpoch uint32 `json:"recovery_epoch"`
	KeptAs        string `json:"kept_as"` // the name of the old log
}

// PrepareRecovery takes the directories of a broker that does not run, the one with the metadata first,
// and looks at what they hold. They are held until Close.
func PrepareRecovery(data []string, opts Options) (*Recovery, error) {
	r := &Recovery{opts: opts.complete()}
	err := r.open(data)
	if err == nil {
		err = r.look()
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// open opens the directories, and makes none.
func (r *Recovery) open(data []string) error {
	cfg := storage.DefaultDirConfig()
	cfg.Now, cfg.BootID = r.opts.Now, r.opts.BootID
	for _, path := range data {
		absolute, err := filepath.Abs(path)
		if err != nil {
			return fmt.Errorf("log directory %s: %w", path, err)
		}
		if _, err := r.opts.FS.Stat(filepath.Join(absolute, "meta.json")); err != nil {
			return fmt.Errorf("%s is no log directory of a broker, which has a meta.json: %w", path, err)
		}
		dir, err := storage.OpenDir(r.opts.FS, absolute, cfg, r.opts.Logger)
		switch {
		case errors.Is(err, syscall.EWOULDBLOCK):
			return fmt.Errorf("a broker runs on %s: stop it first, and start it again when this is done", path)
		case err != nil:
			return fmt.Errorf("log directory %s: %w", path, err)
		}
		r.dirs = append(r.dirs, dir)
	}
	first := r.dirs[0].Identity()
	for _, d := range r.dirs[1:] {
		if other := d.Identity(); !other.Blank() && (other.ClusterID != first.ClusterID || other.BrokerID != first.BrokerID) {
			return fmt.Errorf("%s belongs to broker %d of cluster %s, and %s to broker %d of cluster %s: they are not of one broker",
				data[0], first.BrokerID, first.ClusterID, d.Path(), other.BrokerID, other.ClusterID)
		}
	}
	return nil
}

// look reads the metadata log, and whether a recovery has begun.
func (r *Recovery) look() error {
	var err error
	if r.mark, err = loadRecovery(r.opts.FS, r.dirs[0]); err != nil {
		return err
	}
	r.Interrupted = r.mark.RecoveryEpoch > 0
	inUse := r.logName(metadataLogDir)
	if _, err = r.opts.FS.Stat(inUse); err == nil {
		if r.Found, err = actors.SurveyMetadata(r.opts.FS, r.dirs[0]); err == nil {
			return nil
		}
	}
	switch _, noCopy := r.opts.FS.Stat(r.logName(r.mark.KeptAs)); {
	case r.Interrupted && noCopy == nil: // the log in use was not finished
		r.salvaged = r.logName(r.mark.KeptAs)
	case errors.As(err, new(*storage.WALDamage)):
		r.salvaged = inUse
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s holds no metadata ("+metadataLogDir+"): name first the directory that is the broker's first --data", r.dirs[0].Path())
	default:
		return fmt.Errorf("read the metadata in %s: %w", r.dirs[0].Path(), err)
	}
	r.Damage = err
	r.Found, err = actors.SurveySalvage(r.opts.FS, r.dirs[0], r.salvaged)
	if err == nil && r.Found.ClusterID == "" {
		err = r.Damage
	}
	if err != nil {
		return fmt.Errorf("nothing is left of the metadata in %s: %w", r.dirs[0].Path(), err)
	}
	return nil
}

// loadRecovery returns the recovery that has begun in a directory, or the zero value.
func loadRecovery(fsys storage.FS, dir *storage.Dir) (savedRecovery, error) {
	var mark savedRecovery
	if err := readJSON(fsys, filepath.Join(dir.Path(), recoveryFile), &mark); err != nil {
		return savedRecovery{}, err
	}
	if mark.DirectoryID != dir.Identity().DirectoryID {
		return savedRecovery{}, nil
	}
	return mark, nil
}

// logName is where a metadata log lies. The name comes from a file, and leads nowhere else.
func (r *Recovery) logName(name string) string {
	return filepath.Join(r.dirs[0].Path(), filepath.Base(name))
}

// Check says why there is nothing to recover, or nil.
func (r *Recovery) Check() error {
	if voters := r.Found.Voters; !r.Interrupted && r.Damage == nil && len(voters) == 1 && voters[0] == r.Found.Broker {
		return fmt.Errorf("broker %d is the only voter of its cluster: it needs no others, just start it", r.Found.Broker)
	}
	return nil
}

// Run recovers, or goes on with it. It returns where the old log is kept.
func (r *Recovery) Run() (kept string, err error) {
	mark := filepath.Join(r.dirs[0].Path(), recoveryFile)
	if !r.Interrupted {
		r.mark = savedRecovery{
			DirectoryID: r.dirs[0].Identity().DirectoryID, RecoveryEpoch: r.Found.RecoveryEpoch + 1,
			KeptAs: metadataLogDir + "-" + strconv.FormatInt(r.opts.Now().UnixMilli(), 10) + "-before-recovery",
		}
		if err := writeJSON(r.opts.FS, mark, r.mark); err != nil {
			return "", fmt.Errorf("begin the recovery: %w", err)
		}
	}
	kept = r.logName(r.mark.KeptAs)
	if r.Found.RecoveryEpoch < r.mark.RecoveryEpoch {
		if err := r.keep(kept); err != nil {
			return "", fmt.Errorf("keep the metadata log as %s: %w", kept, err)
		}
		if r.salvaged != "" {
			r.Found, err = actors.RecoverSalvage(r.opts.FS, r.dirs, kept)
		} else {
			r.Found, err = actors.RecoverMetadata(r.opts.FS, r.dirs)
		}
		if err != nil {
			return "", err
		}
	}
	if err := raiseRecoveryEpoch(r.dirs, uint64(r.mark.RecoveryEpoch)); err != nil {
		return "", err
	}
	return kept, removeFile(r.opts.FS, mark)
}

// keep sees to it that the old log is kept. One that is whole stays in use until it is replaced in one step.
func (r *Recovery) keep(as string) error {
	inUse := r.logName(metadataLogDir)
	switch r.salvaged {
	case "":
		return storage.CopyWAL(r.opts.FS, inUse, as)
	case inUse:
		if err := r.opts.FS.Rename(inUse, as); err != nil {
			return err
		}
	default: // it is kept already, and what is in use was not finished
		if err := r.opts.FS.RemoveAll(inUse); err != nil {
			return err
		}
	}
	return r.opts.FS.SyncDir(r.dirs[0].Path())
}

// raiseRecoveryEpoch has the directories of a broker know of a recovery of its cluster.
func raiseRecoveryEpoch(dirs []*storage.Dir, epoch uint64) error {
	for _, d := range dirs {
		identity := d.Identity()
		if identity.Blank() || identity.RecoveryEpoch >= epoch {
			continue
		}
		identity.RecoveryEpoch = epoch
		if err := d.SaveIdentity(identity); err != nil {
			return fmt.Errorf("log directory %s: %w", d.Path(), err)
		}
	}
	return nil
}

// Close lets go of the directories.
func (r *Recovery) Close() error {
	var errs []error
	for _, d := range r.dirs {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}
