package client_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

func TestTheGossipKeyIsRotatedOnceForEachCall(t *testing.T) {
	b := nativetest.New()
	c := connect(t, serve(t, b))
	for _, want := range []string{"1", "2"} {
		rotated, err := c.RotateGossipKey(t.Context(), false)
		if err != nil || len(rotated) != 1 || !slices.Equal(rotated[0].Fingerprints, []string{want}) {
			t.Fatalf("rotated: %+v, %v", rotated, err)
		}
		if keys, err := c.GossipKeys(t.Context()); err != nil || len(keys) != 1 || keys[0].Broker != rotated[0].Broker || !slices.Equal(keys[0].Fingerprints, []string{want}) {
			t.Errorf("keys: %+v, %v", keys, err)
		}
	}
	b.SetFenced(true)
	if _, err := c.RotateGossipKey(t.Context(), false); !errors.Is(err, wire.BrokerNotAvailable) {
		t.Errorf("with a broker that is away: %v", err)
	}
	if rotated, err := c.RotateGossipKey(t.Context(), true); err != nil || rotated[0].Fingerprints[0] != "3" {
		t.Errorf("without it: %+v, %v", rotated, err)
	}
}
