package storage

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
)

// place names a partition by what its directory is called.
type place struct {
	topic     string
	partition int32
}

func (p place) String() string { return p.topic + "-" + strconv.Itoa(int(p.partition)) }

// errNotALog is said of a directory entry that is no partition.
var errNotALog = errors.New("not the name of a partition's directory")

// parsePlace reads "topic-partition".
func parsePlace(name string) (place, error) {
	i := strings.LastIndexByte(name, '-')
	if i <= 0 || i == len(name)-1 || strings.ContainsFunc(name[i+1:], func(c rune) bool { return c < '0' || c > '9' }) {
		return place{}, errNotALog
	}
	n := 0
	for _, c := range name[i+1:] {
		if n = n*10 + int(c-'0'); n > 1<<31-1 {
			return place{}, errNotALog
		}
	}
	p := place{name[:i], int32(n)}
	if p.String() != name || strings.ContainsAny(p.topic, "/ \n") {
		return place{}, errNotALog
	}
	return p, nil
}

func comparePlaces(a, b place) int {
	return cmp.Or(strings.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
}
