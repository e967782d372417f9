package client

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// Any broker hands a request on to the coordinator of its group. A client that knows who that is asks it first, which saves a step,
// and otherwise whoever can be reached. Requests of a group go to one broker after the other and never to two at once: of two
// commits under way the older one could come last.

// askGroup asks the coordinator of q's group and returns its answer, whatever that is. An error says that nobody could be asked now.
func (cl *Client) askGroup(ctx context.Context, q wire.GroupRequest) (wire.GroupMessage, error) {
	kind, body, ok := wire.GroupKind(q)
	if !ok {
		return nil, fmt.Errorf("%w: %T is not for native clients", wire.InvalidRequest, q)
	}
	reply := wire.NewGroupReply(kind)
	if err := cl.askInTurn(ctx, cl.coordinatorFirst(q.Of()), kind, body, reply); err != nil {
		return nil, err
	}
	return reply, nil
}

// coordinatorFirst returns the addresses of all brokers: the group's coordinator first, if it is known and nothing is known against it.
func (cl *Client) coordinatorFirst(group wire.GroupID) []string {
	connected, known, doubtful := cl.ranked()
	addrs := slices.Concat(connected, known)
	m := cl.meta.Load()
	if t := m.topics[wire.OffsetsTopic]; t != nil && t.err == nil && len(t.partitions) > 0 {
		addr, _ := m.leader(wire.OffsetsTopic, t.id, group.Partition(int32(len(t.partitions))))
		if i := slices.Index(addrs, addr); i > 0 {
			addrs = slices.Insert(slices.Delete(addrs, i, i+1), 0, addr)
		}
	}
	return append(addrs, doubtful...)
}

// askInTurn asks one broker after the other until one can be reached and answers.
func (cl *Client) askInTurn(ctx context.Context, addrs []string, kind wire.Kind, req, reply wire.Message) error {
	ctx, cancel := context.WithTimeout(ctx, cl.cfg.RequestTimeout)
	defer cancel()
	err := errConnection
	for _, addr := range addrs {
		var c *conn
		if c, err = cl.waitConn(ctx, addr); err == nil {
			err = c.ask(ctx, kind, req, reply)
		}
		if err == nil || !errors.Is(err, errConnection) && !errors.Is(err, ErrNotTroupe) {
			return err
		}
	}
	return err
}

// groupAnswer is askGroup for administration: again after errors that pass, until ctx ends or RequestTimeout is over. What the
// coordinator refuses is an error too.
func groupAnswer[R wire.GroupMessage](ctx context.Context, cl *Client, q wire.GroupRequest) (R, error) {
	var none R
	ctx, cancel := context.WithTimeout(ctx, cl.cfg.RequestTimeout)
	defer cancel()
	for failures := 1; ; failures++ {
		reply, err := cl.askGroup(ctx, q)
		if err == nil {
			err = reply.Failure()
		}
		if err == nil {
			return reply.(R), nil
		}
		if !retriable(err) {
			return none, err
		}
		if pauseErr := cl.pause(ctx, failures); pauseErr != nil {
			return none, fmt.Errorf("%w: %w", pauseErr, err)
		}
	}
}
