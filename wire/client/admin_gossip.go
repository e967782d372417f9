package client

import (
	"context"
	"fmt"

	"github.com/troupe-mq/troupe/wire"
)

// GossipKeys names the keys by which one broker encrypts gossip: fingerprints, the used one first.
type GossipKeys = wire.GossipKeys

// GossipKeys returns what every broker encrypts gossip with.
func (cl *Client) GossipKeys(ctx context.Context) ([]GossipKeys, error) {
	var reply wire.GossipKeyList
	if err := cl.askPatiently(ctx, wire.KindGossipKeys, &wire.Empty{}, &reply); err != nil {
		return nil, fmt.Errorf("ask for the gossip keys: %w", err)
	}
	return reply.Brokers, nil
}

// RotateGossipKey has the brokers make a new key that takes the place of all others, and returns what
// they have then. Without those that are not online it is refused, unless without is true. After an error
// it can be called again: it begins anew from whatever there is.
func (cl *Client) RotateGossipKey(ctx context.Context, without bool) ([]GossipKeys, error) {
	var reply wire.GossipKeyList
	if err := cl.askOnce(ctx, wire.KindRotateGossipKey, &wire.RotateGossipKey{Without: without}, &reply); err != nil {
		return nil, fmt.Errorf("rotate the gossip key: %w", err)
	}
	return reply.Brokers, nil
}
