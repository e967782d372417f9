package actors

import "github.com/asynkron/protoactor-go/actor"

// spawnedMailbox keeps messages away from an actor that is being spawned. The runtime makes its name
// known before its mailbox can be used: whoever finds actors by name, as messages from other brokers do, could
// post to one without a dispatcher, or be heard before Started is. They wait for the few
// instructions that it takes.
type spawnedMailbox struct {
	actor.Mailbox
	started chan struct{} // closed when Started is the first message in it
}

var unbounded = actor.Unbounded()

func newMailbox() actor.Mailbox {
	return &spawnedMailbox{Mailbox: unbounded(), started: make(chan struct{})}
}

// PostUserMessage implements actor.Mailbox.
func (m *spawnedMailbox) PostUserMessage(message any) {
	<-m.started
	m.Mailbox.PostUserMessage(message)
}

// PostSystemMessage implements actor.Mailbox.
func (m *spawnedMailbox) PostSystemMessage(message any) {
	if _, first := message.(*actor.Started); !first {
		<-m.started
	}
	m.Mailbox.PostSystemMessage(message)
}

// Start implements actor.Mailbox.
func (m *spawnedMailbox) Start() {
	m.Mailbox.Start()
	close(m.started)
}
