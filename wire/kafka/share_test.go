package kafka

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

// narrow leaves little room for wide requests.
func narrow(cfg *Config) { cfg.MaxWideBytes = 1 << 20 }

// withWideFetchers runs a test in virtual time with a broker that has a topic of very many partitions and little room, and with clients
// that have said hello.
func withWideFetchers(t *testing.T, version int16, clients int, f func(t *testing.T, s *Server, clients []*fetcher)) {
	synctest.Test(t, func(t *testing.T) {
		backend := newFakeBackend()
		topic := backend.create("wide", 3000)
		cfg := DefaultConfig()
		narrow(&cfg)
		s := New(cfg, backend, quiet, NewMetrics(nil), time.Now)
		var list []*fetcher
		for range clients {
			near, far := net.Pipe()
			go s.ServeConn(addressed{far}, nil)
			f := &fetcher{rawClient: &rawClient{t: t, net: near}, version: version, topic: topic, epoch: sessionFinal}
			f.ask(kmsg.NewPtrApiVersionsRequest())
			list = append(list, f)
		}
		f(t, s, list)
		for _, c := range list {
			_ = c.net.Close()
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if used := s.wide.used.Load(); used != 0 {
			t.Errorf("%d bytes are still taken", used)
		}
	})
}

// park has a client wait for records of every partition.
func (f *fetcher) park(wait time.Duration) {
	f.wait = int32(wait.Milliseconds())
	f.write(frameOf(f.request(f.all()), 99))
	synctest.Wait()
}

func TestAWideFetchWithoutRoomIsToldToComeAgainAndOthersGoOn(t *testing.T) {
	for _, version := range []int16{4, 13} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			withWideFetchers(t, version, 3, func(t *testing.T, _ *Server, clients []*fetcher) {
				patient, wide, small := clients[0], clients[1], clients[2]
				patient.park(time.Minute)
				asked := time.Now()
				a := wide.fetch(wide.all())
				if len(a.Topics) != 0 || version >= fetchHasSessions && a.ErrorCode != int16(wire.ThrottlingQuotaExceeded) {
					t.Errorf("the second wide fetch: error %d, %d topics", a.ErrorCode, len(a.Topics))
				}
				if took := time.Since(asked); took != throttleTime {
					t.Errorf("it was answered after %s", took)
				}
				asked = time.Now()
				if a := small.fetch(small.all()[:100]); a.ErrorCode != 0 || len(a.Topics) != 1 || len(a.Topics[0].Partitions) != 100 || time.Since(asked) > 0 {
					t.Errorf("a small fetch, after %s: %+v", time.Since(asked), a)
				}
				if _, _, err := patient.read(); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if a := wide.fetch(wide.all()); a.ErrorCode != 0 || len(a.Topics) != 1 || len(a.Topics[0].Partitions) != 3000 {
					t.Errorf("after that: error %d", a.ErrorCode)
				}
			})
		})
	}
}

func TestAConnectionTakesRoomForWhatItKeeps(t *testing.T) {
	withWideFetchers(t, 13, 1, func(t *testing.T, s *Server, clients []*fetcher) {
		f := clients[0]
		for _, step := range []struct {
			partitions int
			kept       bool
		}{{100, false}, {400, true}, {100, true}, {3000, false}, {100, false}} {
			f.fetch(f.all()[:step.partitions])
			synctest.Wait()
			if used := s.wide.used.Load(); used > 0 != step.kept {
				t.Errorf("after %d partitions %d bytes are taken", step.partitions, used)
			}
		}
	})
}

func TestASessionThatGrowsAllAtOnceIsCounted(t *testing.T) {
	withWideFetchers(t, 13, 2, func(t *testing.T, _ *Server, clients []*fetcher) {
		patient, f := clients[0], clients[1]
		f.epoch = sessionInitial
		f.fetch(f.all()[:10])
		patient.park(time.Minute)
		if a := f.fetch(f.all()); a.ErrorCode != int16(wire.ThrottlingQuotaExceeded) {
			t.Errorf("error %d", a.ErrorCode)
		}
		if a := f.fetch(f.all()[:20]); a.ErrorCode != 0 { // the session has not moved on
			t.Errorf("error %d", a.ErrorCode)
		}
		if _, _, err := patient.read(); err != nil {
			t.Error(err)
		}
	})
}

// manyOffsets answers each question for all offsets of a group with ten that have long metadata, until as many are told as the group has.
func manyOffsets(group int) func(context.Context, wire.GroupRequest) (wire.GroupReply, error) {
	return func(_ context.Context, q wire.GroupRequest) (wire.GroupReply, error) {
		reply, after := &wire.FetchedOffsets{}, q.(*wire.FetchOffsets).After
		next := int32(0)
		if after.Topic != "" {
			next = after.Partition + 1
		}
		for ; int(next) < group && len(reply.Offsets) < 10; next++ {
			reply.Offsets = append(reply.Offsets, wire.FetchedOffset{
				Topic: "orders", Partition: next, Offset: wire.Offset(next), Metadata: string(make([]byte, 4096)),
			})
		}
		reply.More = int(next) < group
		return reply, nil
	}
}

func allOffsetsOf(groups int) *kmsg.OffsetFetchRequest {
	q := kmsg.NewPtrOffsetFetchRequest()
	for range groups {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = "billing"
		q.Groups = append(q.Groups, g)
	}
	return q
}

func TestAllOffsetsOfALargeGroupComeInOneAnswer(t *testing.T) {
	_, client, _ := coordinated(t, manyOffsets(95))
	a := askAt[*kmsg.OffsetFetchResponse](client, allOffsetsOf(1), 8)
	if len(a.Groups[0].Topics) != 1 || len(a.Groups[0].Topics[0].Partitions) != 95 {
		t.Fatalf("error %d, %d topics", a.Groups[0].ErrorCode, len(a.Groups[0].Topics))
	}
	for i, p := range a.Groups[0].Topics[0].Partitions {
		if p.Partition != int32(i) || p.Offset != int64(i) || len(*p.Metadata) != 4096 {
			t.Errorf("in the place of partition %d is %d with offset %d", i, p.Partition, p.Offset)
		}
	}
}

func TestAnAnswerThatThereIsNoRoomForIsAnErrorOfTheGroup(t *testing.T) {
	backend := newFakeBackend()
	backend.groups.answer = manyOffsets(95)
	h := start(t, backend, narrow)
	client := h.dial(t)
	client.ask(kmsg.NewPtrApiVersionsRequest())
	a := askAt[*kmsg.OffsetFetchResponse](client, allOffsetsOf(20), 8)
	first, last := a.Groups[0], a.Groups[19]
	if first.ErrorCode != 0 || len(first.Topics) != 1 {
		t.Errorf("the first group: error %d", first.ErrorCode)
	}
	if last.ErrorCode != int16(wire.CoordinatorNotAvailable) || len(last.Topics) != 0 {
		t.Errorf("the last group: error %d, %d topics", last.ErrorCode, len(last.Topics))
	}
	client.ask(kmsg.NewPtrApiVersionsRequest())
	if taken := h.wide.used.Load(); taken != 0 {
		t.Errorf("%d bytes are still taken", taken)
	}
}
