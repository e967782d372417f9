package main

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"

	"github.com/troupe-mq/troupe/bench/clients/gomod/driver"
)

// member is this client in a group. Sarama calls a handler with what a member reads; Poll takes it from there.
type member struct {
	group    sarama.ConsumerGroup
	messages chan claimed
	stop     context.CancelFunc
	done     chan struct{}
	failed   chan error
}

// claimed is a message, and the session in which it may be committed.
type claimed struct {
	session sarama.ConsumerGroupSession
	message *sarama.ConsumerMessage
}

func (c *client) Join(r driver.Request) error {
	cfg := config()
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	cfg.Consumer.Offsets.AutoCommit.Enable = false
	cfg.Consumer.Group.Session.Timeout = driver.SessionTimeout
	cfg.Consumer.Group.Heartbeat.Interval = driver.HeartbeatInterval
	cfg.Consumer.Group.InstanceId = r.Instance
	cfg.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{map[string]sarama.BalanceStrategy{
		"range":      sarama.NewBalanceStrategyRange(),
		"roundrobin": sarama.NewBalanceStrategyRoundRobin(),
		"sticky":     sarama.NewBalanceStrategySticky(),
	}[r.Assignor]}
	group, err := sarama.NewConsumerGroup(c.bootstrap, r.Group, cfg)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &member{group: group, messages: make(chan claimed), stop: stop, done: make(chan struct{}), failed: make(chan error, 1)}
	c.member = m
	go func() {
		defer close(m.done)
		for ctx.Err() == nil { // one session after the other
			err := group.Consume(ctx, []string{r.Topic}, m)
			if errors.Is(err, sarama.ErrFencedInstancedId) {
				m.failed <- err
				return
			}
			if err != nil { // a broker that is gone: the next session finds another
				select {
				case <-ctx.Done():
				case <-time.After(driver.HeartbeatInterval):
				}
			}
		}
	}()
	return nil
}

func (m *member) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			select {
			case m.messages <- claimed{session, message}:
			case <-session.Context().Done():
				return nil
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

func (c *client) Poll(r driver.Request) ([]driver.Record, error) {
	m := c.member
	over := time.After(time.Duration(r.Millis) * time.Millisecond)
	var records []driver.Record
	sessions := map[sarama.ConsumerGroupSession]bool{}
	defer func() {
		for s := range sessions {
			s.Commit()
		}
	}()
	for len(records) < r.Count {
		select {
		case got := <-m.messages:
			records = append(records, fromMessage(got.message))
			got.session.MarkMessage(got.message, "")
			sessions[got.session] = true
		case err := <-m.failed:
			return records, err
		case <-over:
			return records, nil
		}
	}
	return records, nil
}

func (c *client) Leave() error {
	c.member.stop()
	<-c.member.done
	return c.member.group.Close()
}
