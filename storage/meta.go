package storage

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/troupe-mq/troupe/wire"
)

const (
	metaFile    = "meta.json"
	metaVersion = 1
)

// Identity is what a log directory says of itself in meta.json. A directory without a cluster id
// is blank: it may be given to any cluster.
type Identity struct {
	Version       int           `json:"version"`
	DirectoryID   string        `json:"directory_id"` // 22 characters; chosen when the directory is made
	ClusterID     string        `json:"cluster_id"`
	BrokerID      wire.BrokerID `json:"broker_id"`
	RaftID        uint64        `json:"raft_id"`
	RecoveryEpoch uint64        `json:"recovery_epoch"` // raised by a recovery after a lost quorum
}

// Blank says that the directory belongs to no cluster.
func (id Identity) Blank() bool { return id.ClusterID == "" }

func newIdentity() Identity {
	var uuid [16]byte
	_, _ = rand.Read(uuid[:]) // never fails
	return Identity{
		Version:     metaVersion,
		DirectoryID: base64.RawURLEncoding.EncodeToString(uuid[:]),
		BrokerID:    wire.NoBroker,
	}
}

func loadIdentity(fsys FS, dir string) (Identity, error) {
	name := filepath.Join(dir, metaFile)
	content, err := readFile(fsys, name, 1<<20)
	if err != nil {
		return Identity{}, err
	}
	id, err := parseIdentity(content)
	if err != nil {
		return Identity{}, fmt.Errorf("read %s: %w", name, err)
	}
	return id, nil
}

func parseIdentity(content []byte) (Identity, error) {
	var id Identity
	if err := json.Unmarshal(content, &id); err != nil {
		return Identity{}, err
	}
	if id.Version < 1 || id.Version > metaVersion {
		return Identity{}, fmt.Errorf("version %d is not known to this program, which knows up to %d", id.Version, metaVersion)
	}
	if id.DirectoryID == "" {
		return Identity{}, errors.New("directory_id is missing")
	}
	return id, nil
}

func saveIdentity(fsys FS, dir string, id Identity) error {
	content, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	return writeFileAtomically(fsys, filepath.Join(dir, metaFile), append(content, '\n'), durably)
}

// How writeFileAtomically leaves a file: a reader finds the old content or the new one after a
// crash of the process in either case, after a power cut only if it was written durably.
const (
	durably    = true
	notDurably = false
)

const tmpSuffix = ".tmp"

// writeFileAtomically writes content under a temporary name and renames it.
func writeFileAtomically(fsys FS, name string, content []byte, durable bool) (err error) {
	tmp := name + tmpSuffix
	f, err := fsys.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, filePerm)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return err
	}
	if durable {
		return fsys.SyncDir(filepath.Dir(name))
	}
	return nil
}

// readFull fills p from position at on.
func readFull(r io.ReaderAt, p []byte, at int64) error {
	n, err := r.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
