package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/troupe-mq/troupe/wire"
)

// makeFiles makes the directory of a log that is new, and what tells its topic: durable before
// anything else is in it. A log directory that has vanished under the broker, because it was moved
// or its disk was unmounted, is not made again: what is acknowledged there would be nowhere.
func (d *Dir) makeFiles(ref LogRef, path string) error {
	if _, err := d.fsys.Stat(filepath.Join(d.path, metaFile)); isMissing(err) {
		d.fail(fmt.Errorf("log directory %s is not there any more: %w", d.path, err))
		return d.offline()
	}
	if err := d.fsys.MkdirAll(path, dirPerm); err != nil {
		return err
	}
	if err := saveTopicID(d.fsys, path, ref.ID); err != nil {
		return err
	}
	return d.fsys.SyncDir(d.path)
}

const topicFile = "partition.metadata"

func saveTopicID(fsys FS, path string, id wire.TopicID) error {
	content := "version: 0\ntopic_id: " + id.String()
	return writeFileAtomically(fsys, filepath.Join(path, topicFile), []byte(content), durably)
}

// loadTopicID reads which topic a partition's directory belongs to.
func loadTopicID(fsys FS, path string) (wire.TopicID, error) {
	content, err := readFile(fsys, filepath.Join(path, topicFile), 4096)
	if err != nil {
		return wire.TopicID{}, err
	}
	return parseTopicFile(content)
}

func parseTopicFile(content []byte) (id wire.TopicID, err error) {
	err = errors.New("malformed " + topicFile)
	version := false
	for line := range strings.Lines(string(content)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch value = strings.TrimSpace(value); key {
		case "version":
			version = value == "0"
		case "topic_id":
			id, err = wire.ParseTopicID(value)
		}
	}
	if err == nil && !version {
		err = errors.New(topicFile + " is of an unknown version")
	}
	return id, err
}

// isUnfinished says that a partition's directory was begun and not finished.
func isUnfinished(entries []os.DirEntry) bool {
	return !slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return strings.HasSuffix(e.Name(), logSuffix) || e.Name() == topicFile
	})
}
