package storage

import (
	"errors"

	"github.com/troupe-mq/troupe/wire"
)

// walVerifyTries is how often a WAL is read that changes meanwhile: each snapshot takes files away.
const walVerifyTries = 5

// VerifyWAL checks the directory of a metadata log: every frame of every segment, that entries follow
// each other, and the snapshots that count. It looks only, and may run beside a broker. The error is
// about a file that cannot be read at all, or a directory that is none of a metadata log.
func VerifyWAL(fsys FS, dir string) (found []Damage, err error) {
	for range walVerifyTries {
		w := &WAL{fsys: fsys, dir: dir}
		if found, err = w.verify(); len(found) == 0 && !isMissing(err) {
			break
		}
	}
	return found, err
}

func (w *WAL) verify() (damages []Damage, err error) {
	report := func(err error) error {
		var damage *WALDamage
		if !errors.As(err, &damage) {
			return err
		}
		damages = append(damages, Damage{File: damage.File, Position: damage.Position, Offset: wire.NoOffset, What: damage.Reason})
		return nil
	}
	found, err := w.read()
	if err != nil {
		return damages, report(err)
	}
	if len(found.sequences) == 0 {
		return nil, errors.New("there is no segment of a metadata log")
	}
	for _, m := range found.replay.marks {
		if _, err := w.readSnapshot(m); err != nil {
			if err := report(err); err != nil {
				return nil, err
			}
		}
	}
	last := w.segmentFile(found.sequences[len(found.sequences)-1])
	switch {
	case len(found.sequences) > len(found.replay.segments):
		damages = append(damages, Damage{File: last, Offset: wire.NoOffset, What: "the segment was never finished", Tail: true})
	case found.state.TornBytes > 0:
		damages = append(damages, Damage{File: last, Position: found.size, Offset: wire.NoOffset, What: "a frame does not check", Tail: true})
	}
	return damages, nil
}
