package group

import (
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// Ticks would follow one another for as long as members come.
func TestWithoutADelayTheFirstTickEndsTheJoiningHoweverManyCame(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.InitialRebalanceDelay = 0 })
	first, second := d.call(joining("")), d.call(joining(""))
	d.effect(d.g.Tick(d.view, d.now))
	answered[*wire.JoinedGroup](d, first)
	answered[*wire.JoinedGroup](d, second)
}
