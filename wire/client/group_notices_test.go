package client_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

func TestAnAnswerThatNobodyWaitsForAnyMoreIsNoFailure(t *testing.T) {
	inNetwork(t, func(t *testing.T, n *network, b *nativetest.Broker) {
		b.CreateTopic("t", 1)
		var mu sync.Mutex
		var told []error
		c, err := client.NewWith(client.Config{Addrs: []string{"b1:9092"}, Dial: n.dial, OnRetry: func(_ string, _ int32, err error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, err)
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		g := join(t, c)
		pollUntil(t, owns(g, 1), g)
		under, answer := make(chan struct{}), make(chan struct{})
		var once sync.Once
		b.FailGroups(func(q wire.GroupRequest) error {
			if h, heartbeat := q.(*wire.ConsumerHeartbeat); heartbeat && h.MemberEpoch > 0 {
				once.Do(func() { close(under) })
				<-answer
			}
			return nil
		})
		<-under
		leave(t, g)
		close(answer)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		for _, err := range told {
			if errors.Is(err, context.Canceled) {
				t.Errorf("OnRetry was told %v", err)
			}
		}
	})
}
