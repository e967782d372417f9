package kafka

import (
	"cmp"
	"slices"
)

// Advertised is one API that the listener answers, with the lowest and the highest version.
type Advertised struct {
	Name     string
	Key      int16
	Min, Max int16
}

// APIs lists what is advertised, by key: what the README's table says.
func APIs() []Advertised {
	list := make([]Advertised, 0, len(apis))
	for _, a := range apis {
		list = append(list, Advertised{Name: a.name, Key: a.key, Min: a.min, Max: a.max})
	}
	slices.SortFunc(list, func(a, b Advertised) int { return cmp.Compare(a.Key, b.Key) })
	return list
}
