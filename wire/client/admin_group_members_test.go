package client_test

import (
	"errors"
	"testing"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

func TestAMemberThatWasKilledIsTakenOutByHand(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 2)
	addr := serve(t, b)
	c, doomed := connect(t, addr), connect(t, addr)
	killed := join(t, doomed, client.Instance("a"))
	other := join(t, c)
	pollUntil(t, func() bool { return owns(killed, 1)() && owns(other, 1)() }, killed, other)
	if err := doomed.Close(); err != nil { // which says no farewell
		t.Fatal(err)
	}
	pollUntil(t, owns(other, 1), other)
	if err := c.RemoveMember(t.Context(), "g", killed.MemberID(), "a"); err != nil {
		t.Fatal(err)
	}
	pollUntil(t, owns(other, 2), other)
	if err := c.RemoveMember(t.Context(), "g", killed.MemberID(), "a"); !errors.Is(err, wire.UnknownMemberID) {
		t.Errorf("RemoveMember of nobody = %v", err)
	}
}
