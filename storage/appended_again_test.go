package storage

import (
	"os"
	"testing"
	"time"
)

func TestTimesOfRecordsThatACrashTookAreNotThoseOfTheNextOnes(t *testing.T) {
	path := t.TempDir()
	l := openTimedLog(t, path, nil, testNow)
	for range 10 {
		l.append(t, time.Second)
	}
	kept := l.times[4].next
	position := l.active().size / 2
	file := l.file(0, logSuffix)
	if err := l.dir.Close(); err != nil {
		t.Fatal(err)
	}
	// The times were on the disk when the power went, half of the batches were not.
	for _, err := range []error{os.Truncate(file, position), os.Remove(path + "/" + recoveryPointFile)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l = openTimedLog(t, path, l.times[:5], l.now.Add(time.Hour))
	if l.EndOffset() != kept {
		t.Fatalf("the log ends at %d, not at %d", l.EndOffset(), kept)
	}
	l.check(t) // somebody asks before anything is appended
	for range 8 {
		l.append(t, time.Second)
		l.check(t)
	}
	if err := l.dir.Close(); err != nil {
		t.Fatal(err)
	}
	l = openTimedLog(t, path, l.times, l.now)
	l.check(t)
}
