package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// Some small files lie beside the metadata log, in the first directory.
const (
	// peersFile is where the other brokers were: a cache. A broker that starts needs one of them to
	// find the others again.
	peersFile = "peers.json"
	// beginningFile is there from when a blank broker is to found or join a cluster until it has
	// done so. Whoever is interrupted goes on with the same cluster. While it is not there, a
	// metadata log that is missing is one that was lost.
	beginningFile = "beginning.json"
	// recoveryFile is there while a recovery of the cluster has begun and is not finished.
	recoveryFile = "recovery.json"

	maxSmallFile = 1 << 20
)

type savedPeers struct {
	ClusterID string        `json:"cluster_id"`
	Brokers   []savedBroker `json:"brokers"`
}

type savedBroker struct {
	ID      wire.BrokerID `json:"broker_id"`
	Address string        `json:"cluster_address"`
}

// savedBeginning is how a broker begins in a cluster.
type savedBeginning struct {
	ClusterID   string `json:"cluster_id"`
	DirectoryID string `json:"directory_id"` // whose beginning it is: the file alone, in another directory, says nothing
	Founding    bool   `json:"founding"`
	Yielding    bool   `json:"yielding"` // it leaves the cluster, which it has founded, for another
	Join        string `json:"join"`     // an address of which
	// RecoveryEpoch is that of the cluster if this broker was left behind when it was recovered, and starts over.
	RecoveryEpoch uint64 `json:"recovery_epoch"`
}

// readJSON reads a small file. It is left as it is when there is none.
func readJSON(fsys storage.FS, name string, into any) error {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // nothing was written
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size > maxSmallFile {
		return fmt.Errorf("%s has %d bytes; it never has more than %d", name, size, maxSmallFile)
	}
	content := make([]byte, size)
	if _, err := f.ReadAt(content, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// writeJSON writes a small file: after a crash there is the old one or the new one.
func writeJSON(fsys storage.FS, name string, value any) error {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	tmp := name + ".tmp"
	f, err := fsys.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(append(content, '\n'), 0)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// removeFile removes a small file, durably.
func removeFile(fsys storage.FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}
