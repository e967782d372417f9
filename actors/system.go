package actors

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/wire"
)

// newSystem makes the actor system of one broker.
//
// The runtime's own metrics cost several times a message and are left out; dead letters are
// counted by us and logged without their content.
func newSystem(id wire.BrokerID, incarnation wire.Incarnation, metrics *Metrics, logger *slog.Logger, panicked func(actor string, reason any)) *actor.ActorSystem {
	sys := actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }),
		actor.WithDeadLetterThrottleCount(1),
		actor.WithDeadLetterThrottleInterval(time.Second),
		actor.WithDeadLetterRequestLogging(false))
	sys.ProcessRegistry.SequenceID = rand.Uint64() >> 16
	sys.ProcessRegistry.Address = addressOf(id, incarnation)
	sys.EventStream.Subscribe(func(event any) {
		switch e := event.(type) {
		case *actor.DeadLetterEvent:
			metrics.deadLetter()
		case *actor.SupervisorEvent:
			metrics.panicked()
			logger.Error("actor panicked", "actor", e.Child.Id, "err", fmt.Sprint(e.Reason))
			panicked(e.Child.Id, e.Reason)
		}
	})
	return sys
}

// stopOnPanic stops an actor that panics, instead of giving it a fresh state and the rest of its
// mailbox: whoever watches it decides what comes next.
var stopOnPanic = actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })

// childProps are the props of an actor whose parent is not the root.
func childProps(producer actor.Producer) *actor.Props {
	return actor.PropsFromProducer(producer, actor.WithMailbox(newMailbox), actor.WithSupervisor(stopOnPanic))
}

func propsOf(producer actor.Producer) *actor.Props {
	return actor.PropsFromProducer(producer,
		actor.WithMailbox(newMailbox), actor.WithGuardian(stopOnPanic), actor.WithSupervisor(stopOnPanic))
}
