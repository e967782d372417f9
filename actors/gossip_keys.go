package actors

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// The key that encrypts gossip is replaced while the cluster runs. The controller's broker conducts; it takes
// each step on every broker before it begins the next one:
//
//	forget what no broker uses (left by a rotation that was broken off)
//	learn  the new key: all understand it
//	use    it: all send with it
//	forget the old one
//
// At every moment each broker understands whatever another one uses. So a rotation may break off
// anywhere, and the next one, with another key, starts from what it finds.

// GossipKeys are the keys that encrypt gossip on this broker. What is done to them must be
// durable when the method returns.
type GossipKeys interface {
	// Fingerprints names the keys that are understood, the used one first; none: nothing is encrypted.
	Fingerprints() []string
	Learn(key wire.GossipKey) error
	Use(fingerprint string) error
	// Forget drops all keys but these. The used one is among them.
	Forget(but []string) error
}

const (
	// gossipKeyBytes is the length of a new key: AES-256.
	gossipKeyBytes = 32
	// keyStepTime is how long a broker may take for one step.
	keyStepTime = 2 * time.Second
	// keySettleTime passes before an old key is forgotten, for what was sent with it to arrive.
	keySettleTime = 500 * time.Millisecond
)

// DescribeGossipKeys tells what each registered broker encrypts gossip with.
func (b *Broker) DescribeGossipKeys(ctx context.Context) []wire.GossipKeys {
	var everybody []wire.BrokerID
	for _, one := range b.image.Load().Brokers() {
		everybody = append(everybody, one.ID)
	}
	return b.takeKeyStep(ctx, everybody, &wire.GossipKeyStep{Action: wire.LookAtGossipKeys})
}

// RotateGossipKey has a new key take the place of all others, by way of the controller's broker: one
// rotation at a time.
func (b *Broker) RotateGossipKey(ctx context.Context, req wire.RotateGossipKey) ([]wire.GossipKeys, error) {
	image := b.image.Load()
	controller, ok := image.Registration(image.Controller())
	switch {
	case !ok:
		return nil, wire.Errorf(wire.NotController, "there is no controller at the moment")
	case controller.ID == b.cfg.ID:
		return b.conductRotation(ctx, req)
	}
	var list wire.GossipKeyList
	to := owner{controller.ID, controller.Incarnation}
	err := b.Forwarding().askAndWait(ctx, to, wire.KindRotateGossipKey, &req, &list)
	return list.Brokers, err
}

func (b *Broker) conductRotation(ctx context.Context, req wire.RotateGossipKey) ([]wire.GossipKeys, error) {
	if !b.rotating.TryLock() {
		return nil, wire.Errorf(wire.InvalidRequest, "another rotation of the gossip key is under way")
	}
	defer b.rotating.Unlock()
	used, err := b.usedGossipKeys(ctx, req)
	if err != nil {
		return nil, err
	}
	key := make(wire.GossipKey, gossipKeyBytes)
	_, _ = rand.Read(key) // never fails
	name := []string{key.Fingerprint()}
	var rings []wire.GossipKeys
	for _, step := range []*wire.GossipKeyStep{
		{Action: wire.ForgetGossipKeys, Fingerprints: used},
		{Action: wire.LearnGossipKey, Key: key},
		{Action: wire.UseGossipKey, Fingerprints: name},
		{Action: wire.ForgetGossipKeys, Fingerprints: name},
	} {
		if rings, err = b.stepOfRotation(ctx, req, step); err != nil {
			b.logger.Warn("rotation of the gossip key broken off", "step", step.Action.String(), "err", err)
			return nil, err
		}
		if step.Action == wire.UseGossipKey {
			err = settle(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
	b.logger.Info("gossip key rotated", "fingerprint", name[0], "brokers", len(rings))
	return rings, nil
}

func settle(ctx context.Context) error {
	timer := time.NewTimer(keySettleTime)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return wire.RequestTimedOut
	}
}

// usedGossipKeys returns the fingerprints of the keys that brokers send with, of which there are
// several after a rotation that was broken off.
func (b *Broker) usedGossipKeys(ctx context.Context, req wire.RotateGossipKey) ([]string, error) {
	rings, err := b.stepOfRotation(ctx, req, &wire.GossipKeyStep{Action: wire.LookAtGossipKeys})
	if err != nil {
		return nil, err
	}
	var used []string
	for _, ring := range rings {
		if len(ring.Fingerprints) == 0 {
			return nil, wire.Errorf(wire.SecurityDisabled,
				"broker %d does not encrypt gossip: give it a key file with --cluster-key-file and start it again", ring.Broker)
		}
		used = append(used, ring.Fingerprints[0])
	}
	return used, nil
}

// stepOfRotation has every broker take a step. Who is registered is looked up anew each time: one that
// has come since the step before lacks that, and says so.
func (b *Broker) stepOfRotation(ctx context.Context, req wire.RotateGossipKey, step *wire.GossipKeyStep) ([]wire.GossipKeys, error) {
	var brokers []wire.BrokerID
	for _, one := range b.image.Load().Brokers() {
		switch {
		case !one.Fenced:
			brokers = append(brokers, one.ID)
		case !req.Without:
			return nil, wire.Errorf(wire.BrokerNotAvailable, "broker %d is not online and would not learn the new key", one.ID)
		}
	}
	rings := b.takeKeyStep(ctx, brokers, step)
	for _, ring := range rings {
		if ring.Err != nil {
			return nil, wire.Errorf(wire.Code(ring.Err), "broker %d did not take the step %q: %s", ring.Broker, step.Action, cmp.Or(wire.Sentence(ring.Err), ring.Err.Error()))
		}
	}
	return rings, nil
}

// takeKeyStep has brokers take a step, all at the same time, and returns what keys they have then.
func (b *Broker) takeKeyStep(ctx context.Context, brokers []wire.BrokerID, step *wire.GossipKeyStep) []wire.GossipKeys {
	ctx, cancel := context.WithTimeout(ctx, keyStepTime)
	defer cancel()
	rings := make([]wire.GossipKeys, len(brokers))
	var all sync.WaitGroup
	for i, id := range brokers {
		all.Go(func() {
			rings[i] = b.keyStepOf(ctx, id, step)
			rings[i].Broker = id
		})
	}
	all.Wait()
	return rings
}

func (b *Broker) keyStepOf(ctx context.Context, id wire.BrokerID, step *wire.GossipKeyStep) (ring wire.GossipKeys) {
	if id == b.cfg.ID {
		return b.changeGossipKeys(step)
	}
	registration, ok := b.image.Load().Registration(id)
	if !ok {
		return wire.GossipKeys{Err: wire.BrokerIDNotRegistered}
	}
	err := b.Forwarding().askAndWait(ctx, owner{id, registration.Incarnation}, wire.KindGossipKeyStep, step, &ring)
	switch {
	case errors.Is(err, wire.RequestTimedOut), errors.Is(err, wire.LeaderNotAvailable):
		ring.Err = wire.Errorf(wire.BrokerNotAvailable, "it cannot be reached")
	case err != nil:
		ring.Err = err
	}
	return ring
}

// changeGossipKeys takes a step on this broker.
func (b *Broker) changeGossipKeys(step *wire.GossipKeyStep) wire.GossipKeys {
	ring := wire.GossipKeys{Broker: b.cfg.ID}
	if b.gossipKeys == nil {
		if step.Action != wire.LookAtGossipKeys {
			ring.Err = wire.SecurityDisabled
		}
		return ring
	}
	var err error
	switch step.Action {
	case wire.LookAtGossipKeys:
	case wire.LearnGossipKey:
		err = b.gossipKeys.Learn(step.Key)
	case wire.UseGossipKey:
		err = wire.InvalidRequest
		if len(step.Fingerprints) == 1 {
			err = b.gossipKeys.Use(step.Fingerprints[0])
		}
	case wire.ForgetGossipKeys:
		err = b.gossipKeys.Forget(step.Fingerprints)
	default:
		err = wire.Errorf(wire.UnsupportedVersion, "it does not know the step %d", step.Action)
	}
	if err != nil {
		b.logger.Warn("gossip keys could not be changed", "step", step.Action.String(), "err", err)
		code := wire.Code(err)
		if code == wire.UnknownServerError {
			code = wire.KafkaStorageError // of the key file
		}
		ring.Err = wire.Errorf(code, "%v", err)
	}
	ring.Fingerprints = b.gossipKeys.Fingerprints()
	return ring
}
