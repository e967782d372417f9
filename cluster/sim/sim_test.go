package sim

import (
	"testing"

	"github.com/troupe-mq/troupe/cluster/sim/playtest"
)

var simulator = playtest.Simulator[Profile, Stats]{Run: Run, Mutants: Mutants}

func TestTheProtocolKeepsEveryInvariant(t *testing.T) { simulator.KeepsEveryInvariant(t) }

func TestEveryMutantFails(t *testing.T) { simulator.KillsEveryMutant(t) }

func TestASeedIsTheSameRunEachTime(t *testing.T) { simulator.PlaysASeedTheSameEachTime(t) }
