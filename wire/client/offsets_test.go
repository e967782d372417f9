package client_test

import (
	"errors"
	"testing"

	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

func TestAnEmptyPartitionBeginsAndEndsAtZero(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 2)
	c := connect(t, serve(t, b))
	for _, at := range []int64{client.Latest, client.Earliest} {
		offset, _, err := c.ListOffset(t.Context(), "t", 1, at)
		if err != nil || offset != 0 {
			t.Errorf("ListOffset(%d) = %d, %v", at, offset, err)
		}
	}
	if _, _, err := c.ListOffset(t.Context(), "t", 2, client.Latest); !errors.Is(err, client.ErrUnknownTopic) {
		t.Errorf("a partition that is not there: %v", err)
	}
	if _, _, err := c.ListOffset(t.Context(), "nothing", 0, client.Latest); !errors.Is(err, client.ErrUnknownTopic) {
		t.Errorf("a topic that is not there: %v", err)
	}
	got, err := c.Fetch(t.Context(), "t", 0, 0, client.FetchOptions{})
	if err != nil || len(got.Records) != 0 || got.HighWatermark != 0 {
		t.Errorf("Fetch = %+v, %v", got, err)
	}
}
