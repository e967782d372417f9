package main

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// produce appends what the request holds and writes the answer by hand as it goes.
func (c *conn) produce(a *answer, version int16, body []byte) error {
	var request kmsg.ProduceRequest
	request.Version = version
	if err := request.ReadFrom(body); err != nil { // Records lie in the frame
		return err
	}
	out := be32(a.bytes, int32(len(request.Topics)))
	for i := range request.Topics {
		topic := &request.Topics[i]
		out = beString(out, topic.Topic)
		out = be32(out, int32(len(topic.Partitions)))
		partitions := c.broker.topic(topic.Topic)
		for j := range topic.Partitions {
			number := topic.Partitions[j].Partition
			base, code := int64(-1), kerr.UnknownTopicOrPartition.Code
			if p := within(partitions, number); p != nil {
				var refused *kerr.Error
				if base, refused = p.append(topic.Partitions[j].Records); refused != nil {
					code = refused.Code
				} else {
					code = 0
					if p.syncs != nil && request.Acks == -1 {
						a.after = append(a.after, p.synced())
					}
				}
			}
			out = be32(out, number)
			out = be16(out, code)
			out = be64(out, base)
			out = be64(out, -1) // append time: the client's counts
			if version >= 5 {
				out = be64(out, 0) // log start offset
			}
			if version >= 8 {
				out = be32(out, 0)  // no error of a single record
				out = be16(out, -1) // no message
			}
		}
	}
	a.bytes = be32(out, 0) // no throttling
	if request.Acks == 0 {
		return nil
	}
	return c.emit(a)
}

func be16(b []byte, v int16) []byte { return binary.BigEndian.AppendUint16(b, uint16(v)) }
func be32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }
func be64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }

func beString(b []byte, s string) []byte {
	return append(be16(b, int16(len(s))), s...)
}
