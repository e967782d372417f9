package kafka

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

func TestAGroupWithoutRoomTakesNoneFromTheGroupsAfterIt(t *testing.T) {
	for name, others := range map[string]int64{"there is room for some of it": 0, "others have all room": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			huge, small := manyOffsets(1000), manyOffsets(5)
			backend := newFakeBackend()
			backend.groups.answer = func(ctx context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
				if q.Of() == "small" {
					return small(ctx, q)
				}
				return huge(ctx, q)
			}
			h := start(t, backend, narrow)
			client := h.dial(t)
			client.ask(kmsg.NewPtrApiVersionsRequest())
			h.wide.used.Store(others)
			q := allOffsetsOf(2)
			q.Groups[1].Group = "small"
			a := askAt[*kmsg.OffsetFetchResponse](client, q, 8)
			wantCode(t, "the huge group", a.Groups[0].ErrorCode, wire.CoordinatorNotAvailable)
			wantCode(t, "the small group", a.Groups[1].ErrorCode, wire.None)
			if topics := a.Groups[1].Topics; len(topics) != 1 || len(topics[0].Partitions) != 5 {
				t.Errorf("the small group has %d topics", len(topics))
			}
			client.ask(kmsg.NewPtrApiVersionsRequest())
			if taken := h.wide.used.Load(); taken != others {
				t.Errorf("%d bytes are taken, and %d by others", taken, others)
			}
		})
	}
}
