package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// survey is what there is to check at a path.
type survey struct {
	partitions, segments, bytes int64

	file      bool     // the path is a single file
	unchecked []string // directories that hold no partition but are the broker's
}

// metadataDir has the log of the cluster's metadata, in a format of its own.
const metadataDir = "__cluster_metadata"

var (
	segmentName      = regexp.MustCompile(`^[0-9]{20}\.log$`)
	partitionDirName = regexp.MustCompile(`.-[0-9]+`)
)

// surveyOf looks what there is, in the directory of a partition or in a log directory. A path where
// nothing can be checked is an error: it is the wrong one.
func surveyOf(path string) (survey, error) {
	var found survey
	info, err := os.Stat(path)
	if err != nil {
		return found, err
	}
	if found.file = !info.IsDir(); found.file {
		found.add(info)
		return found, nil
	}
	if absolute, err := filepath.Abs(path); err == nil && filepath.Base(absolute) == metadataDir {
		return found, errors.New("this is the log of the cluster's metadata, not a partition; its format is another, and the broker checks it when it starts")
	}
	if err := found.partition(path); err != nil {
		return found, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return found, err
	}
	for _, entry := range entries {
		switch {
		case !entry.IsDir():
		case entry.Name() == metadataDir:
			found.unchecked = append(found.unchecked, filepath.Join(path, metadataDir))
		case partitionDirName.MatchString(entry.Name()):
			if err := found.partition(filepath.Join(path, entry.Name())); err != nil {
				return found, err
			}
		}
	}
	if found.partitions == 0 {
		return found, errors.New("there is no partition here; give a log directory, as --data of the broker, or the directory of a partition in it")
	}
	return found, nil
}

// partition adds the segments of a directory, if it has any.
func (s *survey) partition(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil // a broker may remove one while we look
	}
	before := s.segments
	for _, entry := range entries {
		if info, infoErr := entry.Info(); infoErr == nil {
			s.add(info)
		}
	}
	if s.segments > before {
		s.partitions++
	}
	return err
}

func (s *survey) add(info os.FileInfo) {
	if segmentName.MatchString(info.Name()) {
		s.segments++
		s.bytes += info.Size()
	}
}

// String is "66 partitions, 71 segments, 420.3 MB".
func (s *survey) String() string {
	var parts []string
	if !s.file {
		parts = append(parts, plural(s.partitions, "partition"))
	}
	if s.segments > 0 {
		parts = append(parts, plural(s.segments, "segment"), megabytes(s.bytes))
	}
	if len(parts) == 0 {
		return "1 file"
	}
	return strings.Join(parts, ", ")
}

// notChecked says what a check of a log directory leaves out.
func (s *survey) notChecked() string {
	var lines strings.Builder
	for _, dir := range s.unchecked {
		fmt.Fprintf(&lines, "not checked: %s\n", dir)
	}
	return lines.String()
}
