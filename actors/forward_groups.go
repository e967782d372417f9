package actors

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// This file is what native clients ask about groups: whichever broker they are linked with, the coordinator answers.

// AskGroup has a group's coordinator answer a request, wherever it is. While a coordinator moves, or loads, the request is
// made again, until ctx ends or callTime is over.
func (f Forwarding) AskGroup(ctx context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	for pause := firstAskPause; ; pause = min(2*pause, maxAskPause) {
		reply, err := f.askCoordinator(ctx, q)
		if !coordinatorMoves(err) {
			return reply, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			continue
		case <-ctx.Done():
		case <-f.ending:
		}
		timer.Stop()
		return nil, err
	}
}

// coordinatorMoves says that a request had no effect, and that there may be a coordinator for it soon.
func coordinatorMoves(err error) bool {
	for _, code := range []wire.ErrorCode{
		wire.NotCoordinator, wire.CoordinatorNotAvailable, wire.CoordinatorLoadInProgress, wire.LeaderNotAvailable,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// askCoordinator asks whoever is thought to coordinate the group, once.
func (f Forwarding) askCoordinator(ctx context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
	id, err := f.FindCoordinator(ctx, q.Of())
	if err != nil {
		return nil, err
	}
	kind, request, travels := wire.GroupKind(q)
	if id == f.cfg.ID || !travels {
		return f.Broker.AskGroup(ctx, q)
	}
	registration, ok := f.image.Load().Registration(id)
	if !ok {
		return nil, wire.CoordinatorNotAvailable
	}
	reply := wire.NewGroupReply(kind)
	if err := f.askAndWait(ctx, owner{id, registration.Incarnation}, kind, request, reply); err != nil {
		return nil, err
	}
	return reply, nil
}

// ListGroups lists the groups of all brokers. With an error some are missing.
func (f Forwarding) ListGroups(ctx context.Context, q *wire.ListGroups) wire.GroupList {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		list wire.GroupList
	)
	add := func(part wire.GroupList) {
		mu.Lock()
		defer mu.Unlock()
		list.Groups = append(list.Groups, part.Groups...)
		if list.Err == nil {
			list.Err = part.Err
		}
	}
	image := f.image.Load()
	for _, one := range image.Brokers() {
		registration, _ := image.Registration(one.ID)
		if one.ID != f.cfg.ID && !one.Fenced { // a fenced one coordinates nothing
			all.Go(func() {
				var part wire.GroupList
				if err := f.askAndWait(ctx, owner{one.ID, registration.Incarnation}, wire.KindListGroups, q, &part); err != nil {
					part.Err = wire.Errorf(wire.CoordinatorNotAvailable, "broker %d has not listed its groups: %v", one.ID, err)
				}
				add(part)
			})
		}
	}
	add(f.Broker.ListGroups(ctx, q))
	all.Wait()
	slices.SortFunc(list.Groups, func(a, b wire.ListedGroup) int { return cmp.Compare(a.Group, b.Group) })
	return list
}

// serveGroup answers a request to a coordinator that another broker has passed on.
func (b *Broker) serveGroup(ctx context.Context, kind wire.Kind, body []byte) (wire.Message, error) {
	if kind == wire.KindListGroups {
		var q wire.ListGroups
		if err := wire.Parse(body, &q); err != nil {
			return nil, err
		}
		list := b.ListGroups(ctx, &q)
		return &list, nil
	}
	q, err := wire.ParseGroupRequest(kind, body)
	if err != nil {
		return nil, err
	}
	reply, err := b.AskGroup(ctx, q)
	if err != nil {
		return nil, err
	}
	message, travels := reply.(wire.GroupMessage)
	if !travels {
		return nil, wire.Errorf(wire.UnknownServerError, "a %T cannot be sent", reply)
	}
	return message, nil
}
