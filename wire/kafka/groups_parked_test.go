package kafka

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

// parking is a coordinator whose JoinGroup waits until its context ends or it is let go.
type parking struct {
	parked chan struct{}
	letGo  chan struct{}
	ended  chan error
}

func newParking() *parking {
	return &parking{parked: make(chan struct{}, 1), letGo: make(chan struct{}, 1), ended: make(chan error, 1)}
}

func (p *parking) answer(ctx context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
	if _, join := q.(*wire.JoinGroup); !join {
		return sensibleReply(q), nil
	}
	p.parked <- struct{}{}
	select {
	case <-p.letGo:
		p.ended <- nil
		return sensibleReply(q), nil
	case <-ctx.Done():
		p.ended <- ctx.Err()
		return nil, ctx.Err()
	}
}

// expectAnswered waits until the coordinator has let one go, which nothing may have cancelled.
func (p *parking) expectAnswered(t *testing.T) {
	t.Helper()
	if err := <-p.ended; err != nil {
		t.Errorf("it was cancelled: %v", err)
	}
}

func TestAParkedJoinGroupIsCancelledWhenItsClientGoesAway(t *testing.T) {
	p := newParking()
	_, client, _ := coordinated(t, p.answer)
	q := requestFor(11, wire.Topic{})
	q.SetVersion(9)
	client.send(q)
	<-p.parked
	_ = client.net.Close()
	if err := <-p.ended; err == nil {
		t.Error("it was answered")
	}
}

func TestRequestsBehindAParkedJoinGroupAreAnsweredAfterIt(t *testing.T) {
	p := newParking()
	h, client, topic := coordinated(t, p.answer)
	join, beat := requestFor(11, topic), requestFor(12, topic)
	join.SetVersion(9)
	beat.SetVersion(4)
	client.send(join)
	<-p.parked
	frame := frameOf(beat, 2)
	client.write(frame[:3]) // read ahead, and not whole
	other := h.dial(t)
	other.ask(beat) // another connection is not held up
	client.write(frame[3:])
	p.letGo <- struct{}{}
	if a := client.receive(join, 1).(*kmsg.JoinGroupResponse); a.ErrorCode != 0 || a.MemberID != "m-1" {
		t.Errorf("join: %+v", a)
	}
	if a := client.receive(beat, 2).(*kmsg.HeartbeatResponse); a.ErrorCode != 0 {
		t.Errorf("heartbeat: %+v", a)
	}
	p.expectAnswered(t)
	client.correlation = 2
	client.ask(beat) // the connection goes on
}

// What is read ahead must not overwrite the request that waits.
func TestAParkedRequestKeepsItsBytes(t *testing.T) {
	const size = 40_000 // two do not fit into one chunk
	var mu sync.Mutex
	var lengths []int
	p := newParking()
	_, client, topic := coordinated(t, func(ctx context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
		join := q.(*wire.JoinGroup)
		reply, err := p.answer(ctx, q)
		mu.Lock()
		defer mu.Unlock()
		lengths = append(lengths, strings.Count(string(join.Protocols[0].Metadata), string(join.Protocols[0].Metadata[0])))
		return reply, err
	})
	var frames [][]byte
	var asked []kmsg.Request
	for i := range 4 {
		q := requestFor(11, topic).(*kmsg.JoinGroupRequest)
		q.SetVersion(9)
		q.Protocols[0].Metadata = []byte(strings.Repeat(string(rune('a'+i)), size))
		asked, frames = append(asked, q), append(frames, frameOf(q, int32(i+1)))
	}
	for i := range frames {
		client.write(frames[i])
	}
	for i := range frames {
		<-p.parked
		p.letGo <- struct{}{}
		p.expectAnswered(t)
		client.receive(asked[i], int32(i+1))
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(lengths, []int{size, size, size, size}) {
		t.Errorf("of %d bytes were kept %v", size, lengths)
	}
}

func TestShutdownAnswersAParkedJoinGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParking()
		backend, _ := fakeBroker()
		backend.groups.answer = p.answer
		s := New(DefaultConfig(), backend, quiet, NewMetrics(nil), time.Now)
		near, far := net.Pipe()
		go s.ServeConn(addressed{far}, nil)
		client := &rawClient{t: t, net: near}
		q := requestFor(11, wire.Topic{})
		q.SetVersion(9)
		client.send(q)
		<-p.parked
		stopped := make(chan error, 1)
		go func() { stopped <- s.Shutdown(t.Context()) }()
		a := client.receive(q, 1).(*kmsg.JoinGroupResponse)
		wantCode(t, "join", a.ErrorCode, wire.NotCoordinator)
		client.expectClosed()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		if err := <-p.ended; err == nil {
			t.Error("it was answered in time")
		}
	})
}

// The beginning of the next request may lie there for as long as the rebalance takes.
func TestAParkedJoinGroupIsNotARequestThatTakesTooLongToArrive(t *testing.T) {
	inBubble(t, func(s *Server, client net.Conn) {
		p := newParking()
		backend := s.backend.(*fakeBackend)
		backend.groups.answer = p.answer
		c := &rawClient{t: t, net: client}
		join, beat := requestFor(11, wire.Topic{}), requestFor(12, wire.Topic{})
		join.SetVersion(9)
		beat.SetVersion(4)
		c.send(join)
		<-p.parked
		frame := frameOf(beat, 2)
		c.write(frame[:2])
		time.Sleep(5 * time.Minute)
		p.letGo <- struct{}{}
		c.receive(join, 1)
		p.expectAnswered(t)
		c.write(frame[2:])
		c.receive(beat, 2)
	})
}
