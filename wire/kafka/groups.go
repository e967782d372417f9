package kafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// groupMillis is how long a group's coordinator may take for anything but a rebalance; the requests
// do not say. It is Kafka's offsets.commit.timeout.ms.
const groupMillis = 5_000

// ask has the coordinator of the group answer q. What it says is never nil; an error is that of the
// request as a whole, and some answers tell more beside it.
func ask[T any, P interface {
	*T
	wire.GroupReply
}](ctx context.Context, c *conn, q wire.GroupRequest,
) (P, error) {
	reply, err := c.server.backend.AskGroup(ctx, q)
	if err == nil {
		if answer, ok := reply.(P); ok && answer != nil {
			return answer, coordinatorError(answer.Failure())
		}
		err = fmt.Errorf("the coordinator of group %q answered %T with %T", q.Of(), q, reply)
	}
	return P(new(T)), coordinatorError(err)
}

// coordinatorError turns what went wrong beneath a coordinator into what a member can act on, as
// Kafka does: it asks again, or looks for another coordinator.
func coordinatorError(err error) error {
	if err == nil {
		return nil
	}
	code := wire.Code(err)
	switch {
	case errors.Is(err, context.Canceled): // this broker stops
		code = wire.NotCoordinator
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		code = wire.CoordinatorNotAvailable
	case code == wire.NotLeaderOrFollower, code == wire.KafkaStorageError:
		code = wire.NotCoordinator
	case code == wire.RequestTimedOut, code == wire.NotEnoughReplicas, code == wire.NotEnoughReplicasAfterAppend,
		code == wire.UnknownTopicOrPartition:
		code = wire.CoordinatorNotAvailable
	default:
		return err
	}
	return wire.Errorf(code, "%v", err)
}

// whileConnected calls f, which may wait for other members, with a context that ends when the client
// goes away or the server stops. Until f returns, what the client sends is read by another goroutine,
// and only up to the next request: one answer follows the other.
func (c *conn) whileConnected(f func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(c.server.context)
	defer cancel()
	c.in.keep(c.request.frame.buffer) // what is read ahead must not go where this request lies
	watched := make(chan struct{})
	go func() { // ended below
		defer close(watched)
		if err := c.in.peek(); err != nil {
			cancel()
		}
	}()
	f(ctx)
	_ = c.net.SetReadDeadline(time.Unix(1, 0)) // wakes the goroutine
	<-watched
	_ = c.net.SetReadDeadline(time.Time{})
	if c.server.isStopping() { // Shutdown may have set its deadline before we took it away
		_ = c.net.SetReadDeadline(time.Unix(1, 0))
	}
}

// millis is a time that a client names; one below zero is none.
func millis(n int32) time.Duration { return time.Duration(max(n, 0)) * time.Millisecond }

// textOf returns what an optional string holds.
func textOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// checkInstance refuses what cannot be a group.instance.id; the rules are those of a topic's name.
func checkInstance(instance *string) error {
	if instance == nil || validTopicName(*instance) {
		return nil
	}
	return wire.Errorf(wire.InvalidRequest, "group instance id %.300q is not valid", *instance)
}
