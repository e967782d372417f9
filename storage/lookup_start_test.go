package storage

import (
	"math/rand/v2"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

func TestTimestampsBelowTheLogStartAreNotFoundAndThoseAboveAre(t *testing.T) {
	for seed := range uint64(6) {
		l := openLog(t, openDir(t, t.TempDir()), testLogConfig())
		all := appendAtRandomTimes(t, l, 12, rand.New(rand.NewPCG(seed, 6)))
		for start := wire.Offset(0); start < l.EndOffset(); start++ { // most lie inside a batch
			if err := l.AdvanceStart(start); err != nil {
				t.Fatal(err)
			}
			expectLookups(t, l, all)
		}
	}
}
