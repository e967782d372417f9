package native_test

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/native"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// forwarding is a broker that has another one do what it does not lead.
type forwarding struct {
	*nativetest.Broker

	leader *nativetest.Broker
}

func (f forwarding) Elsewhere(topic wire.TopicID, partition int32) bool {
	p, ok := f.View().Partition(topic, partition)
	return ok && p.Leader == f.leader.Self()
}

func (f forwarding) Produce(p *wire.Produce) { f.leader.Produce(p) }

func (f forwarding) FetchElsewhere(ctx context.Context, req *wire.FetchRequest) []wire.Fetched {
	if req.Partitions[0].FetchOffset > 0 {
		<-ctx.Done() // there is nothing, and never will be
	}
	fetched := make([]wire.Fetched, len(req.Partitions))
	for i := range req.Partitions {
		fetched[i] = f.leader.Fetch(&req.Partitions[i])
	}
	return fetched
}

func (f forwarding) ListOffsetsElsewhere(_ context.Context, queries []wire.ListOffsets) []wire.ListedOffset {
	listed := make([]wire.ListedOffset, len(queries))
	for i := range queries {
		listed[i] = f.leader.ListOffsets(&queries[i])
	}
	return listed
}

func (f forwarding) OffsetsForEpochsElsewhere(_ context.Context, queries []wire.OffsetForEpoch) []wire.OffsetForEpochReply {
	ends := make([]wire.OffsetForEpochReply, len(queries))
	for i := range queries {
		ends[i] = f.leader.OffsetForEpoch(&queries[i])
	}
	return ends
}

func TestAClientOfOneBrokerReachesWhatAnotherLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leader := nativetest.New()
		leader.Advertise("leader", 9092)
		b := forwarding{leader.Join(2), leader}
		b.Advertise("localhost", 9092)
		id := leader.CreateTopic("t", 1)
		s := native.New(native.DefaultConfig(), b, slog.New(slog.DiscardHandler), native.Metrics{}, time.Now)
		near, far := net.Pipe()
		var serving sync.WaitGroup
		serving.Go(func() { s.ServeConn(far) })
		p := newPeer(t, near).greetBroker(2)

		var produced wire.ProduceReply
		p.ask(wire.KindProduce, produceTo(id), &produced, batch("one")...)
		if produced.Err != nil || produced.BaseOffset != 0 {
			t.Errorf("produced %+v", produced)
		}
		var fetched wire.FetchReply
		f := p.ask(wire.KindFetch, fetchOf(id, 0, time.Second), &fetched)
		if got := fetched.Partitions[0]; got.Err != nil || got.HighWatermark != 1 || got.Records.Length == 0 || got.Records.Length != len(f.Payload) {
			t.Errorf("fetched %+v with %d bytes", got, len(f.Payload))
		}
		var listed wire.ListOffsetsReply
		p.ask(wire.KindListOffsets, &wire.ListOffsetsRequest{Partitions: []wire.ListOffsets{{Topic: id, Timestamp: wire.LatestTimestamp, CurrentEpoch: wire.NoEpoch}}}, &listed)
		if got := listed.Partitions[0]; got.Err != nil || got.Offset != 1 {
			t.Errorf("listed %+v", got)
		}
		var ends wire.OffsetForEpochsReply
		p.ask(wire.KindOffsetForEpoch, &wire.OffsetForEpochRequest{Partitions: []wire.OffsetForEpoch{{Topic: id, CurrentEpoch: wire.NoEpoch}}}, &ends)
		if got := ends.Partitions[0]; got.Err != nil || got.End.EndOffset != 1 {
			t.Errorf("the epoch ends %+v", got)
		}
		// One that waits holds up neither what comes behind it nor the end.
		waiting := p.send(wire.KindFetch, fetchOf(id, 1, time.Hour))
		p.alive()
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(t.Context()) }()
		if f := p.read(); f.Correlation != waiting || f.Kind != wire.KindFetch {
			t.Errorf("the answer to %d is a %s to %d", waiting, f.Kind, f.Correlation)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
}
