package storage

import (
	"fmt"
	"path/filepath"
)

// RemoveLog is DeleteLog for a log that is not open, perhaps because it cannot be. A directory in its
// place that belongs to another topic, or does not tell to which, is left alone.
func (d *Dir) RemoveLog(ref LogRef) error {
	if d.Err() != nil {
		return d.offline()
	}
	id, err := loadTopicID(d.fsys, filepath.Join(d.path, ref.place().String()))
	switch {
	case isMissing(err) || err == nil && id != ref.ID:
		return nil
	case err == nil:
		err = d.closeBefore(ref.place())
	}
	if err == nil {
		err = d.renameAway(ref.place(), deletedDirMark)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", ref, err)
	}
	return nil
}
