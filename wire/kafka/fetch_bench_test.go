package kafka

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// BenchmarkFetchOfAThousandPartitions asks what a fetch costs between the sockets, client included, when one of
// a thousand partitions has something new: all of them named and answered each time, or in a session (KIP-227).
func BenchmarkFetchOfAThousandPartitions(b *testing.B) {
	const partitions = 1000
	for _, session := range []bool{false, true} {
		b.Run(fmt.Sprintf("session=%v", session), func(b *testing.B) {
			backend := newFakeBackend()
			topic := backend.create("wide", partitions)
			h := start(b, backend)
			f := &fetcher{rawClient: h.dial(b), version: 13, topic: topic, epoch: sessionFinal}
			_ = f.net.SetDeadline(noDeadline)
			f.ask(kmsg.NewPtrApiVersionsRequest())
			var all []at
			for p := range int32(partitions) {
				all = append(all, at{p, 0})
			}
			if session {
				f.epoch = sessionInitial
				f.fetch(all)
			}
			produce := produceOf(9, topic, 1, batchOf(1, 100))
			producer := h.dial(b)
			_ = producer.net.SetDeadline(noDeadline)
			sent, received := 0, 0
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				at := &all[n%partitions]
				produce.Topics[0].Partitions[0].Partition = at.partition
				producer.ask(produce)
				var q *kmsg.FetchRequest
				if session {
					before := &all[(n+partitions-1)%partitions]
					q = f.request(all[before.partition : before.partition+1])
				} else {
					q = f.request(all)
				}
				frame := frameOf(q, 1)
				f.write(frame)
				_, body, err := f.read()
				if err != nil {
					b.Fatal(err)
				}
				if session {
					f.epoch++
				}
				at.offset++
				sent, received = sent+len(frame), received+len(body)
			}
			b.ReportMetric(float64(sent)/float64(b.N), "request-B/op")
			b.ReportMetric(float64(received)/float64(b.N), "answer-B/op")
		})
	}
}
