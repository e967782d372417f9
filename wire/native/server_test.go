package native_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/native"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
	"github.com/troupe-mq/troupe/wire/record"
)

func TestWhatIsProducedIsFetched(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *nativetest.Broker, _ *native.Server, connect func() *peer) {
		id := b.CreateTopic("t", 1)
		p := connect().greet()
		for i, value := range []string{"one", "two"} {
			var reply wire.ProduceReply
			p.ask(wire.KindProduce, produceTo(id), &reply, batch(value)...)
			if reply.Err != nil || reply.BaseOffset != wire.Offset(i) {
				t.Errorf("produced: %+v", reply)
			}
		}
		var fetched wire.FetchReply
		f := p.ask(wire.KindFetch, fetchOf(id, 1, 0), &fetched)
		if got := fetched.Partitions[0]; got.Err != nil || got.HighWatermark != 2 || got.Records.Length != len(f.Payload) {
			t.Errorf("fetched: %+v", got)
		}
		if !bytes.HasSuffix(f.Payload, []byte("two\x00")) || bytes.Contains(f.Payload, []byte("one")) {
			t.Errorf("fetched %q", f.Payload)
		}
	})
}

func TestAStreamThatIsNotUnderstoodIsClosed(t *testing.T) {
	for name, open := range map[string][]byte{
		"a Kafka request": {0, 0, 0, 20, 0, 18},
		"another magic":   {0xff, 'T', 'R', 'Q', 0, 0, 0, 1},
		"no greeting":     append(wire.Magic[:4:4], 0, 0, 0, 5, 0x94, 0, 3, 0, 0x90),
		"garbage":         append(wire.Magic[:4:4], 0, 0, 0, 2, 0xc1, 0xc1),
		"an empty frame":  append(wire.Magic[:4:4], 0, 0, 0, 0),
		"64 KiB and one":  append(wire.Magic[:4:4], 0, 1, 0, 1),
		"minus one":       append(wire.Magic[:4:4], 0xff, 0xff, 0xff, 0xff),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(_ *testing.T, _ *nativetest.Broker, _ *native.Server, connect func() *peer) {
				p := connect()
				p.write(open...)
				p.gone()
			})
		})
	}
}

func TestAClientOfAnotherVersionIsToldWhichOnesThereAre(t *testing.T) {
	bubble(t, nil, func(_ *testing.T, _ *nativetest.Broker, _ *native.Server, connect func() *peer) {
		p := connect()
		p.write(wire.AppendFrame(wire.Magic[:], 9, wire.KindGreeting, &wire.Greeting{MinProtocol: 7, MaxProtocol: 9}, 0)...)
		p.magic()
		p.refused(9, wire.UnsupportedVersion)
		p.gone()
	})
}

func TestAClientThatDoesNotGreetIsLeft(t *testing.T) {
	bubble(t, nil, func(t *testing.T, _ *nativetest.Broker, _ *native.Server, connect func() *peer) {
		p := connect()
		began := time.Now()
		p.write(wire.Magic[:]...)
		p.gone()
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("it was left after %s", took)
		}
	})
}

func TestABadRequestIsAnsweredAndTheConnectionGoesOn(t *testing.T) {
	bubble(t, nil, func(_ *testing.T, b *nativetest.Broker, _ *native.Server, connect func() *peer) {
		b.CreateTopic("t", 1)
		p := connect().greet()
		for _, kind := range []wire.Kind{0, 1, wire.MaxClientKind + 1, 64, 255} { // unknown, or not a request
			p.refused(p.send(kind, &wire.Empty{}), wire.InvalidRequest)
		}
		bare := []wire.Kind{wire.KindDescribeLogDirs, wire.KindDescribeCluster, wire.KindClusterHealth, wire.KindGossipKeys}
		for kind := wire.KindProduce; kind <= wire.MaxClientKind; kind++ {
			if slices.Contains(bare, kind) {
				continue // which has nothing in its body
			}
			p.refused(p.send(kind, &wire.Empty{}), wire.InvalidRequest)
		}
		p.alive()
	})
}

func TestAHeadThatCannotBeReadClosesTheConnection(t *testing.T) {
	for name, frame := range map[string][]byte{
		"no head":                        {0, 0, 0, 0},
		"a lying payload":                {0, 0, 0, 5, 0x94, 1, 2, 9, 0x90},
		"a count beyond the frame":       {0, 0, 0, 6, 0xdd, 0x7f, 0xff, 0xff, 0xff, 1},
		"a body of a million in a frame": {0, 0, 0, 3, 0xdc, 0xff, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(_ *testing.T, _ *nativetest.Broker, _ *native.Server, connect func() *peer) {
				p, other := connect().greet(), connect().greet()
				p.write(frame...)
				p.gone()
				other.alive()
			})
		})
	}
}

func TestAFrameBeyondTheLimitIsToldAndEndsTheConnection(t *testing.T) {
	bubble(t, func(c *native.Config) { c.MaxFrameBytes = 1000 }, func(_ *testing.T, _ *nativetest.Broker, _ *native.Server, connect func() *peer) {
		p := connect().greet()
		p.write(0, 0, 0x03, 0xe9)
		p.refused(0, wire.MessageTooLarge)
		p.gone()
	})
}

func TestAShortQuestionWithAVeryLongAnswerIsRefused(t *testing.T) {
	bubble(t, func(c *native.Config) { c.MaxRequestBytes = 200_000 }, func(_ *testing.T, _ *nativetest.Broker, _ *native.Server, connect func() *peer) {
		p := connect().greet()
		names := make([]string, 100_000)
		p.refused(p.send(wire.KindMetadata, &wire.MetadataRequest{Names: names}), wire.InvalidRequest)
		names[0] = string(make([]byte, 150_000))
		p.refused(p.send(wire.KindMetadata, &wire.MetadataRequest{Names: names}), wire.MessageTooLarge)
		resources := make([]wire.ConfigResource, 1001)
		p.refused(p.send(wire.KindDescribeConfigs, &wire.DescribeConfigsRequest{Resources: resources}), wire.InvalidRequest)
		p.alive()
	})
}

func TestAClientThatAsksMuchAndReadsNothingIsNotRead(t *testing.T) {
	bubble(t, func(c *native.Config) { c.MaxInFlightBytes = 5000 }, func(t *testing.T, b *nativetest.Broker, _ *native.Server, connect func() *peer) {
		b.CreateTopic("t", 100) // some two kilobytes of metadata
		p := connect().greet()
		asked := make(chan int, 1)
		go func() {
			n := 0
			for ; n < 100; n++ {
				if _, err := p.net.Write(wire.AppendFrame(nil, 1, wire.KindMetadata, &wire.MetadataRequest{All: true}, 0)); err != nil {
					break
				}
			}
			asked <- n
		}()
		if n := <-asked; n > 10 { // it is left after the write timeout
			t.Errorf("%d questions were read", n)
		}
	})
}

// transactional is a batch of a transaction, for which there is nobody to decide about it.
func transactional() []byte {
	var builder record.Builder
	builder.Reset(record.None, 0, false)
	builder.Append(record.NoTimestamp, nil, []byte("value"), nil)
	b := builder.Finish(wire.NoProducer, -1, -1)
	b[record.AttributesAt+1] |= record.AttributeTransactional
	record.SetProducer(b, 7, 0, 0) // renews the checksum
	return b
}

func TestBatchesThatMayNotBeAppendedAreRefusedAtTheDoor(t *testing.T) {
	damage := func(at int, to byte, fix bool) []byte {
		b := batch("value")
		b[at] = to
		if fix {
			record.SetProducer(b, wire.NoProducer, -1, -1) // renews the checksum
		}
		return b
	}
	for name, test := range map[string]struct {
		batch []byte
		want  wire.ErrorCode
	}{
		"nothing":              {nil, wire.InvalidRecord},
		"a wrong checksum":     {damage(len(batch("value"))-2, 'X', false), wire.CorruptMessage},
		"a wrong magic":        {damage(record.MagicAt, 1, false), wire.UnsupportedForMessageFormat},
		"a control batch":      {damage(record.AttributesAt+1, record.AttributeControl, true), wire.InvalidRecord},
		"of a transaction":     {transactional(), wire.TransactionalIDAuthorizationFailed},
		"a lying record count": {damage(record.CountAt+3, 9, true), wire.InvalidRecord},
		"a lying length":       {damage(record.LengthAt+3, 255, false), wire.CorruptMessage},
		"too much":             {batch(string(make([]byte, 2<<20))), wire.MessageTooLarge},
		"two batches":          {append(batch("a"), batch("b")...), wire.InvalidRecord},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, b *nativetest.Broker, _ *native.Server, connect func() *peer) {
				id := b.CreateTopic("t", 1)
				p := connect().greet()
				var reply wire.ProduceReply
				p.ask(wire.KindProduce, produceTo(id), &reply, test.batch...)
				if !errors.Is(reply.Err, test.want) {
					t.Errorf("it was answered %v", reply.Err)
				}
				if n := b.Batches("t", 0); n != 0 {
					t.Errorf("%d batches were appended", n)
				}
				p.alive()
			})
		})
	}
}

func TestProducingWhereThereIsNothingIsRefused(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *nativetest.Broker, _ *native.Server, connect func() *peer) {
		id := b.CreateTopic("t", 1)
		p := connect().greet()
		for _, test := range []struct {
			req  wire.ProduceRequest
			want wire.ErrorCode
		}{
			{wire.ProduceRequest{Topic: wire.TopicID{9}, Acks: wire.AcksAll}, wire.UnknownTopicID},
			{wire.ProduceRequest{Topic: id, Partition: 1, Acks: wire.AcksAll}, wire.UnknownTopicOrPartition},
			{wire.ProduceRequest{Topic: id, Partition: -1, Acks: wire.AcksAll}, wire.UnknownTopicOrPartition},
			{wire.ProduceRequest{Topic: id, Acks: 2}, wire.InvalidRequiredAcks},
		} {
			var reply wire.ProduceReply
			p.ask(wire.KindProduce, &test.req, &reply, batch("v")...)
			if !errors.Is(reply.Err, test.want) {
				t.Errorf("%+v was answered %v", test.req, reply.Err)
			}
		}
	})
}

func TestAFetchThatWaitsHoldsNothingUpAndIsWokenByAnAppend(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *nativetest.Broker, _ *native.Server, connect func() *peer) {
		id := b.CreateTopic("t", 1)
		p := connect().greet()
		began := time.Now()
		waiting := p.send(wire.KindFetch, fetchOf(id, 0, time.Minute))
		time.Sleep(time.Second)
		p.alive()
		produced := p.send(wire.KindProduce, produceTo(id), batch("woken")...)
		seen := make(map[uint32]wire.Frame)
		for range 2 {
			f := p.read()
			seen[f.Correlation] = f
		}
		if f := seen[waiting]; f.Kind != wire.KindFetch || !bytes.Contains(f.Payload, []byte("woken")) {
			t.Errorf("the fetch was answered by a %s with %q", f.Kind, f.Payload)
		}
		if seen[produced].Kind != wire.KindProduce {
			t.Error("the produce was not answered")
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %s", took)
		}
		if n := b.Parked(); n != 0 {
			t.Errorf("%d fetches are still parked", n)
		}
	})
}

func TestAFetchIsAnsweredWhenItsTimeIsOver(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *nativetest.Broker, _ *native.Server, connect func() *peer) {
		id := b.CreateTopic("t", 1)
		p := connect().greet()
		began := time.Now()
		var reply wire.FetchReply
		p.ask(wire.KindFetch, fetchOf(id, 0, 1500*time.Millisecond), &reply)
		if took := time.Since(began); took != 1500*time.Millisecond || reply.Partitions[0].Records.Length != 0 {
			t.Errorf("after %s: %+v", took, reply)
		}
	})
}

func TestMoreWaitingFetchesThanAllowedAreRefused(t *testing.T) {
	bubble(t, func(c *native.Config) { c.MaxFetches = 2 }, func(t *testing.T, b *nativetest.Broker, _ *native.Server, connect func() *peer) {
		id := b.CreateTopic("t", 1)
		p := connect().greet()
		for range 2 {
			p.send(wire.KindFetch, fetchOf(id, 0, time.Minute))
		}
		p.refused(p.send(wire.KindFetch, fetchOf(id, 0, time.Minute)), wire.ThrottlingQuotaExceeded)
		var reply wire.FetchReply
		p.ask(wire.KindFetch, fetchOf(id, 0, 0), &reply)
		_ = p.net.Close()
		synctest.Wait()
		if n := b.Parked(); n != 0 {
			t.Errorf("%d fetches of a client that has gone are parked", n)
		}
	})
}

func TestAConnectionWithTooMuchInFlightIsNotRead(t *testing.T) {
	for name, change := range map[string]func(*native.Config){
		"requests": func(c *native.Config) { c.MaxInFlight = 2 },
		"bytes":    func(c *native.Config) { c.MaxInFlightBytes = 250 },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, change, func(t *testing.T, b *nativetest.Broker, _ *native.Server, connect func() *peer) {
				id := b.CreateTopic("t", 1)
				arrived := make(chan *wire.Produce, 10)
				b.Intercept(func(p *wire.Produce) bool { arrived <- p; return true })
				p := connect().greet()
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					for range 4 {
						p.send(wire.KindProduce, produceTo(id), batch("v")...)
					}
				}()
				synctest.Wait()
				if n := len(arrived); n != 2 {
					t.Fatalf("%d requests were taken", n)
				}
				for range 4 {
					held := <-arrived
					held.Done.ProduceDone(held.Slot, b.Append(held))
					p.read()
				}
				<-sent
			})
		})
	}
}

func TestAnswersGoOutInTheOrderInWhichTheyAreReady(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *nativetest.Broker, _ *native.Server, connect func() *peer) {
		id := b.CreateTopic("t", 1)
		var held []*wire.Produce
		b.Intercept(func(p *wire.Produce) bool { held = append(held, p); return true })
		p := connect().greet()
		for range 3 {
			p.send(wire.KindProduce, produceTo(id), batch("v")...)
		}
		p.alive() // behind them, and before their answers
		for i := len(held) - 1; i >= 0; i-- {
			held[i].Done.ProduceDone(held[i].Slot, b.Append(held[i]))
			if f := p.read(); f.Correlation != uint32(i+1) {
				t.Errorf("the answer is to request %d, want %d", f.Correlation, i+1)
			}
		}
	})
}

func TestAProduceWithoutAcksGetsNoAnswerEvenWhenItFails(t *testing.T) {
	bubble(t, func(c *native.Config) { c.MaxInFlight = 1 }, func(t *testing.T, b *nativetest.Broker, _ *native.Server, connect func() *peer) {
		id := b.CreateTopic("t", 1)
		p := connect().greet()
		for range 5 {
			p.send(wire.KindProduce, &wire.ProduceRequest{Topic: id, Acks: wire.AcksNone}, batch("v")...)
			p.send(wire.KindProduce, &wire.ProduceRequest{Topic: wire.TopicID{9}, Acks: wire.AcksNone}, batch("v")...)
		}
		p.alive()
		if n := b.Batches("t", 0); n != 5 {
			t.Errorf("%d batches were appended", n)
		}
	})
}

func TestAClientThatDoesNotReadIsLeft(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *nativetest.Broker, _ *native.Server, connect func() *peer) {
		b.CreateTopic("t", 1)
		p := connect().greet()
		began := time.Now()
		p.send(wire.KindPing, &wire.Empty{})
		for { // the pipe holds nothing, so the first answer is stuck
			if _, err := p.net.Write(wire.AppendFrame(nil, 2, wire.KindPing, &wire.Empty{}, 0)); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took < 30*time.Second || took > 32*time.Second {
			t.Errorf("it was left after %s", took)
		}
	})
}

func TestAnIdleClientIsLeft(t *testing.T) {
	bubble(t, nil, func(t *testing.T, _ *nativetest.Broker, _ *native.Server, connect func() *peer) {
		p := connect().greet()
		began := time.Now()
		if _, err := p.frames.Next(); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		if took := time.Since(began); took != 10*time.Minute {
			t.Errorf("it was left after %s", took)
		}
	})
}

func TestShutdownAnswersWhatIsInFlight(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *nativetest.Broker, s *native.Server, connect func() *peer) {
		id := b.CreateTopic("t", 1)
		arrived := make(chan *wire.Produce, 1)
		b.Intercept(func(p *wire.Produce) bool { arrived <- p; return true })
		p := connect().greet()
		fetch := p.send(wire.KindFetch, fetchOf(id, 0, time.Minute))
		produce := p.send(wire.KindProduce, produceTo(id), batch("last")...)
		held := <-arrived
		stopped := make(chan error, 1)
		go func() { stopped <- s.Shutdown(t.Context()) }()
		if f := p.read(); f.Correlation != fetch {
			t.Errorf("the first answer is to request %d", f.Correlation)
		}
		held.Done.ProduceDone(held.Slot, b.Append(held))
		if f := p.read(); f.Correlation != produce {
			t.Errorf("the second answer is to request %d", f.Correlation)
		}
		p.gone()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

func TestShutdownDoesNotWaitLongerThanItMay(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *nativetest.Broker, s *native.Server, connect func() *peer) {
		id := b.CreateTopic("t", 1)
		b.Intercept(func(*wire.Produce) bool { return true })
		p := connect().greet()
		p.send(wire.KindProduce, produceTo(id), batch("never answered")...)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if err := s.Shutdown(ctx); err == nil {
			t.Error("Shutdown says that everything was answered")
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %s", took)
		}
		p.gone()
	})
}

// slow is a backend whose controller does not answer, and whose disk has an error without a code.
type slow struct{ *nativetest.Broker }

func (slow) InitProducerID(ctx context.Context, _ wire.InitProducerID) (wire.ProducerIdentity, error) {
	<-ctx.Done()
	return wire.ProducerIdentity{}, fmt.Errorf("ask the controller: %w", ctx.Err())
}

func (slow) Fetch(*wire.Fetch) wire.Fetched {
	return wire.Fetched{Err: errors.New("some cause"), Leader: wire.NoHint}
}

func TestErrorsWithoutACodeAreMappedAndLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := native.New(native.DefaultConfig(), slow{nativetest.New()}, slog.New(slog.NewTextHandler(&log, nil)), native.Metrics{}, time.Now)
		near, far := net.Pipe()
		var serving sync.WaitGroup
		serving.Go(func() { s.ServeConn(far) })
		p := newPeer(t, near).greet()
		began := time.Now()
		waiting := p.send(wire.KindInitProducerID, &wire.InitProducerID{Producer: -1, Epoch: -1})
		p.alive() // a call that takes long holds nothing up
		p.refused(waiting, wire.RequestTimedOut)
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("the call was given up after %s", took)
		}
		var reply wire.FetchReply
		p.ask(wire.KindFetch, fetchOf(wire.TopicID{}, 0, time.Minute), &reply)
		if err := reply.Partitions[0].Err; !errors.Is(err, wire.UnknownServerError) {
			t.Errorf("the fetch failed with %v", err)
		}
		_ = near.Close()
		serving.Wait()
		if n := strings.Count(log.String(), "some cause"); n != 1 {
			t.Errorf("the cause is logged %d times:\n%s", n, &log)
		}
	})
}

func TestMetadataCreatesWhatIsAskedForAndMayBeCreated(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *nativetest.Broker, _ *native.Server, connect func() *peer) {
		id := b.CreateTopic("t", 2)
		p := connect().greet()
		var reply wire.MetadataReply
		p.ask(wire.KindMetadata, &wire.MetadataRequest{Names: []string{"new", "not this"}, IDs: []wire.TopicID{id, {9}}}, &reply)
		for i, want := range []wire.ErrorCode{wire.UnknownTopicOrPartition, wire.UnknownTopicOrPartition, wire.None, wire.UnknownTopicID} {
			if got := wire.Code(reply.Topics[i].Err); got != want {
				t.Errorf("topic %d: %v, want %v", i, got, want)
			}
		}
		p.ask(wire.KindMetadata, &wire.MetadataRequest{Names: []string{"new", "not this"}, AutoCreate: true}, &reply)
		if reply.Topics[0].Err != nil || len(reply.Topics[0].Partitions) != 1 || reply.Topics[1].Err == nil {
			t.Errorf("topics are %+v", reply.Topics)
		}
		p.ask(wire.KindMetadata, &wire.MetadataRequest{All: true}, &reply)
		if len(reply.Topics) != 2 || reply.Brokers[0].Host != "localhost" || reply.ClusterID == "" {
			t.Errorf("metadata is %+v", reply)
		}
	})
}

func TestABrokerThatDoesNotReadSaysEachSecondThatItLives(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *nativetest.Broker, _ *native.Server, connect func() *peer) {
		id := b.CreateTopic("t", 1)
		room := make(chan struct{})
		b.Intercept(func(*wire.Produce) bool {
			<-room
			return false
		})
		p := connect().greet()
		asked := p.send(wire.KindProduce, produceTo(id), batch("one")...)
		began := time.Now()
		for range 3 {
			if f := p.read(); f.Correlation != 0 || f.Kind != wire.KindPing {
				t.Errorf("unasked came a %s for request %d", f.Kind, f.Correlation)
			}
		}
		if took := time.Since(began); took < 3*time.Second || took > 5*time.Second {
			t.Errorf("three signs of life took %s", took)
		}
		close(room)
		for {
			f := p.read()
			if f.Correlation == asked {
				break
			}
		}
		p.alive() // and an idle connection is silent
		time.Sleep(10 * time.Second)
		p.alive()
	})
}
