package actors

import (
	"testing"

	"github.com/asynkron/protoactor-go/actor"
)

// firstMessage is an actor that remembers what it was told first.
type firstMessage struct{ first chan any }

func (f *firstMessage) Receive(ctx actor.Context) {
	select {
	case f.first <- ctx.Message():
	default:
	}
}

func TestAnActorHearsNothingBeforeItHasStarted(t *testing.T) {
	system := testSystem()
	const name = "hears-nothing-before"
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // as a link does, which knows nothing but a name
		defer close(stopped)
		for {
			if local, there := system.ProcessRegistry.GetLocal(name); there {
				local.SendUserMessage(system.NewLocalPID(name), "early")
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	for range 200 {
		first := make(chan any, 1)
		pid, err := system.Root.SpawnNamed(propsOf(func() actor.Actor { return &firstMessage{first} }), name)
		if err != nil {
			t.Fatal(err)
		}
		if message, ok := (<-first).(*actor.Started); !ok {
			t.Fatalf("it was told %v first", message)
		}
		if err := system.Root.StopFuture(pid).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-stopped
}
