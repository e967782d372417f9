package native_test

import (
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/native"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// Whatever a client sends after its greeting, the server reads it to the end or closes the
// connection, and leaves nothing behind.
func FuzzServeConn(f *testing.F) {
	topic := wire.TopicID{15: 1}
	add := func(kind wire.Kind, m wire.Message, payload []byte) {
		f.Add(append(wire.AppendFrame(nil, 1, kind, m, len(payload)), payload...))
	}
	add(wire.KindPing, &wire.Empty{}, nil)
	add(wire.KindProduce, produceTo(topic), batch("value"))
	add(wire.KindProduce, &wire.ProduceRequest{Topic: topic}, batch("value"))
	add(wire.KindFetch, fetchOf(topic, 0, time.Millisecond), nil)
	add(wire.KindListOffsets, &wire.ListOffsetsRequest{Partitions: []wire.ListOffsets{{Topic: topic, Timestamp: -1}}}, nil)
	add(wire.KindOffsetForEpoch, &wire.OffsetForEpochRequest{Partitions: []wire.OffsetForEpoch{{Topic: topic}}}, nil)
	add(wire.KindMetadata, &wire.MetadataRequest{All: true, Names: []string{"t", "u"}, IDs: []wire.TopicID{topic}, AutoCreate: true}, nil)
	add(wire.KindCreateTopics, &wire.CreateTopicsRequest{Topics: []wire.NewTopic{{Name: "x", Partitions: 1}}}, nil)
	add(wire.KindDeleteTopics, &wire.DeleteTopicsRequest{Topics: []wire.TopicRef{{Name: "x"}}}, nil)
	add(wire.KindAlterConfigs, &wire.AlterConfigsRequest{Changes: []wire.AlterConfigs{{Resource: wire.ConfigResource{Type: wire.ConfigTopic, Name: "t"}}}}, nil)
	add(wire.KindDescribeConfigs, &wire.DescribeConfigsRequest{Resources: []wire.ConfigResource{{Type: wire.ConfigTopic, Name: "t"}}}, nil)
	add(wire.KindInitProducerID, &wire.InitProducerID{Producer: -1, Epoch: -1}, nil)
	add(wire.KindDeleteRecords, &wire.DeleteRecords{Topic: topic, Before: -1}, nil)
	add(wire.KindDescribeLogDirs, &wire.Empty{}, nil)
	add(wire.KindConsumerHeartbeat, &wire.ConsumerHeartbeat{Group: "g", Member: "m", Subscribed: true, Topics: []string{"t"}, OwnedTold: true}, nil)
	add(wire.KindCommitOffsets, &wire.CommitOffsets{Group: "g", Generation: wire.NoGeneration, Offsets: []wire.OffsetCommit{{Topic: "t", Offset: 5}}}, nil)
	add(wire.KindFetchOffsets, &wire.FetchOffsets{Group: "g", Topics: []wire.NamedPartitions{{Topic: "t", Partitions: []int32{0, -1}}}}, nil)
	add(wire.KindDeleteOffsets, &wire.DeleteOffsets{Group: "g", Topics: []wire.NamedPartitions{{Topic: "t", Partitions: []int32{0}}}}, nil)
	add(wire.KindListGroups, &wire.ListGroups{States: []string{"Stable"}}, nil)
	add(wire.KindDescribeGroup, &wire.DescribeGroup{Group: "g"}, nil)
	add(wire.KindDeleteGroup, &wire.DeleteGroup{Group: "g"}, nil)
	add(wire.KindGroupHistory, &wire.GroupHistory{Group: "g"}, nil)
	add(wire.KindLeaveGroup, &wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: "m"}, {Instance: "i"}}}, nil)
	add(wire.KindAppendTimes, &wire.AppendTimesRequest{Partitions: []wire.AppendTimeQuery{{Topic: topic}, {Partition: -1}}}, nil)
	add(99, &wire.Empty{}, nil)
	greeting := wire.AppendFrame(wire.Magic[:], 0, wire.KindGreeting, &wire.Greeting{MinProtocol: 1, MaxProtocol: 1}, 0)
	f.Fuzz(func(_ *testing.T, sent []byte) {
		b := nativetest.New()
		b.CreateTopic("t", 1)
		cfg := native.DefaultConfig()
		cfg.MaxFrameBytes, cfg.MaxFetchWait = 1<<20, 10*time.Millisecond
		s := native.New(cfg, b, slog.New(slog.DiscardHandler), native.Metrics{}, time.Now)
		near, far := net.Pipe()
		var running sync.WaitGroup
		running.Go(func() { s.ServeConn(far) })
		running.Go(func() { _, _ = io.Copy(io.Discard, near) })
		if _, err := near.Write(greeting); err == nil {
			_, _ = near.Write(sent) // fails when the server has had enough
		}
		_ = near.Close()
		running.Wait()
	})
}
