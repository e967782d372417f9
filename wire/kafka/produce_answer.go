package kafka

import "github.com/troupe-mq/troupe/wire"

// encodeProduced appends the answer to p, on the goroutine that writes it.
func (c *conn) encodeProduced(b []byte, p *production) []byte {
	s := c.server
	s.metrics.perAPI[byKey[keyProduce].index].duration.Observe(s.now().Sub(p.received).Seconds())
	if p.acks == wire.AcksNone {
		c.checkSilent(p)
		return b
	}
	start := len(b)
	e := encoder{flexible: p.version >= produceFlexible}
	e.b = beginAnswer(b, p.correlation, e.flexible)
	var hinted []wire.BrokerID
	e.arrayLength(len(p.topics))
	slot := 0
	for i := range p.topics {
		t := &p.topics[i]
		if p.version >= produceTopicIDs {
			e.b = append(e.b, t.id[:]...)
		} else {
			e.string(t.name)
		}
		e.arrayLength(t.parts)
		for range t.parts {
			part := &p.parts[slot]
			code := s.code(byKey[keyProduce], p.version, part.reply.Err)
			if hint := part.encode(&e, p.version, code); hint != wire.NoBroker {
				hinted = append(hinted, hint)
			}
			slot++
		}
		e.noTags()
	}
	if p.version >= 1 {
		e.int32(0) // throttle time
	}
	if e.flexible {
		var leaders []wire.Broker
		if len(hinted) > 0 {
			leaders = endpointsOf(s.backend.View().Brokers(), hinted)
		}
		e.endpoints(leaders)
	}
	endAnswer(e.b, start, 0)
	return e.b
}

// encode appends one partition and returns the leader it hinted at.
func (part *producedPartition) encode(e *encoder, version int16, code wire.ErrorCode) wire.BrokerID {
	reply := &part.reply
	base, logStart, appendTime := reply.BaseOffset, reply.LogStartOffset, part.appendTime
	if code != wire.None {
		base, logStart, appendTime = wire.NoOffset, wire.NoOffset, -1
	}
	e.int32(part.number)
	e.int16(int16(code))
	e.int64(int64(base))
	if version >= 2 {
		e.int64(appendTime)
	}
	if version >= 5 {
		e.int64(int64(logStart))
	}
	if version >= 8 {
		e.arrayLength(len(part.refused))
		for _, r := range part.refused {
			e.int32(r.index)
			e.nullable(r.message)
			e.noTags()
		}
		sentence := ""
		if reply.Err != nil {
			sentence = wire.Sentence(reply.Err)
		}
		e.nullable(sentence)
	}
	if !e.flexible {
		return wire.NoBroker
	}
	if version < 10 || !hints(code) || reply.Leader == wire.NoHint {
		e.noTags()
		return wire.NoBroker
	}
	e.uvarint(1) // one tagged field
	e.leaderTag(0, reply.Leader)
	return reply.Leader.Broker
}

// hints says whether an answer with that code tells who leads.
func hints(code wire.ErrorCode) bool {
	return code == wire.NotLeaderOrFollower || code == wire.FencedLeaderEpoch
}

// checkSilent closes the connection if something of a Produce without acknowledgements failed: it is
// the only way to tell the client to look for the leader again.
func (c *conn) checkSilent(p *production) {
	for i := range p.parts {
		if err := p.parts[i].reply.Err; err != nil {
			_ = c.server.code(byKey[keyProduce], p.version, err) // counts it
			c.server.metrics.refused.WithLabelValues(string(badAcksNone)).Inc()
			_ = c.net.Close()
			return
		}
	}
}
