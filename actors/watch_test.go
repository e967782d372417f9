package actors

import (
	"testing"
	"testing/synctest"

	"github.com/asynkron/protoactor-go/actor"
)

// watchman watches one actor of another broker, and hands on what it is told of its end.
type watchman struct {
	watched *actor.PID
	told    chan *actor.Terminated
}

// lookAway has a watchman watch no longer.
type lookAway struct{}

func (w *watchman) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		ctx.Watch(w.watched)
	case *lookAway:
		ctx.Unwatch(w.watched)
	case *actor.Terminated:
		w.told <- m
	}
}

// watch has broker 1 watch an actor of broker 2, in the run in which it is linked.
func (cl *cluster) watch(name string) (*watchman, *actor.PID) {
	cl.t.Helper()
	from := cl.members[1]
	incarnation, linked := from.peers.incarnation(2)
	if !linked {
		cl.t.Fatal("broker 2 is not linked")
	}
	w := &watchman{watched: actor.NewPID(addressOf(2, incarnation), name), told: make(chan *actor.Terminated, 10)}
	pid := from.root.Spawn(actor.PropsFromProducer(func() actor.Actor { return w }))
	synctest.Wait()
	return w, pid
}

// is fails unless a watchman was told exactly once, and why.
func (w *watchman) is(t *testing.T, why actor.TerminatedReason) {
	t.Helper()
	synctest.Wait()
	select {
	case m := <-w.told:
		if m.Why != why || !m.Who.Equal(w.watched) {
			t.Errorf("told of %v: %v, want %v", m.Who, m.Why, why)
		}
	default:
		t.Error("told nothing")
	}
	if len(w.told) > 0 {
		t.Errorf("told again: %v", <-w.told)
	}
}

func TestTheEndOfAnActorOfAnotherBrokerIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitReady()
		there := cl.members[2].root
		idle := actor.PropsFromFunc(func(actor.Context) {})
		spawn := func(name string) *actor.PID {
			pid, err := there.SpawnNamed(idle, name)
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
		mortal, spared := spawn("mortal"), spawn("spared")
		spawn("resident")

		ofMortal, _ := cl.watch("mortal")
		ofSpared, watching := cl.watch("spared")
		ofResident, _ := cl.watch("resident")
		ofNobody, _ := cl.watch("nobody")
		ofNobody.is(t, actor.TerminatedReason_NotFound)

		there.Stop(mortal)
		ofMortal.is(t, actor.TerminatedReason_Stopped)

		cl.members[1].root.Send(watching, &lookAway{})
		synctest.Wait()
		there.Stop(spared)
		synctest.Wait()
		if len(ofSpared.told) > 0 || len(ofResident.told) > 0 {
			t.Error("told of who is not watched any more, or of who lives")
		}

		cl.kill(2) // the link goes, and with it all that lived behind it
		ofResident.is(t, actor.TerminatedReason_AddressTerminated)
	})
}
