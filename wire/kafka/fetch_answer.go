package kafka

import (
	"errors"
	"io"
	"net"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"

	"github.com/troupe-mq/troupe/wire"
)

const (
	sendfileBytes = 64 << 10 // from there on sendfile is cheaper than a copy
	inlineBytes   = 1 << 20  // copied into one answer at most
	copyBytes     = 256 << 10
)

// fetchAnswer is an answer in the making: bytes, with stretches of files between them.
type fetchAnswer struct {
	encoder
	stretches []stretch
	inlined   int // bytes of records in b
	files     int // bytes of records in stretches
}

// stretch is what comes after b[:after].
type stretch struct {
	after   int
	records wire.Records
}

// answerFetchError answers for the request as a whole.
func (c *conn) answerFetchError(code wire.ErrorCode) error {
	_ = c.code(code) // counts it
	out := wire.NewBuffer(1)
	defer out.Release()
	a := fetchAnswer{encoder: encoder{b: c.begin(out.Bytes[:0]), flexible: c.request.version >= fetchFlexible}}
	a.head(c.request.version, code, noSession)
	a.arrayLength(0)
	a.noTags()
	endAnswer(a.b, 0, 0)
	return c.write(a.b)
}

func (e *encoder) head(version int16, code wire.ErrorCode, session int32) {
	e.int32(0) // throttle time
	if version >= fetchHasSessions {
		e.int16(int16(code))
		e.int32(session)
	}
}

// answerFetch encodes and sends what was gathered.
func (c *conn) answerFetch(q *kmsg.FetchRequest, session int32) error {
	f := &c.fetch
	out := wire.NewBuffer(256 + 128*len(f.looks) + min(f.records, inlineBytes))
	defer out.Release()
	a := fetchAnswer{encoder: encoder{b: c.begin(out.Bytes[:0]), flexible: q.Version >= fetchFlexible}}
	a.head(q.Version, wire.None, session)
	a.arrayLength(countTopics(f.looks))
	var hinted []wire.BrokerID
	for rest := f.looks; len(rest) > 0; {
		n := sameTopic(rest)
		a.topic(&rest[0].part.key, q.Version)
		a.arrayLength(n)
		for i := range rest[:n] {
			fetched := &rest[i].fetched
			code := c.server.code(c.request.api, q.Version, fetched.Err)
			a.partition(q, rest[i].part.key.partition, code, fetched)
			if err := a.records(c, &fetched.Records); err != nil {
				c.unreadable(err)
				return err
			}
			if fetched.FromFollower {
				c.server.metrics.fetch.fromFollower.Add(float64(fetched.Records.Length))
			}
			if hint := a.partitionTags(code, fetched); hint != wire.NoBroker {
				hinted = append(hinted, hint)
			}
		}
		a.noTags()
		rest = rest[n:]
	}
	var leaders []wire.Broker
	if len(hinted) > 0 && q.Version >= fetchEndpoints {
		leaders = endpointsOf(c.server.backend.View().Brokers(), hinted)
	}
	if a.flexible {
		a.endpoints(leaders)
	}
	endAnswer(a.b, 0, a.files)
	return c.sendFetch(&a)
}

// sameTopic is how many of the first looks are at one topic: those are answered together, and a topic
// that comes again later is named again, as in Kafka.
func sameTopic(looks []look) int {
	first := &looks[0].part.key
	n := 1
	for n < len(looks) && looks[n].part.key.id == first.id && looks[n].part.key.name == first.name {
		n++
	}
	return n
}

func countTopics(looks []look) (n int) {
	for len(looks) > 0 {
		looks = looks[sameTopic(looks):]
		n++
	}
	return n
}

func (a *fetchAnswer) topic(key *partKey, version int16) {
	if version >= fetchTopicIDs {
		a.b = append(a.b, key.id[:]...)
		return
	}
	a.string(key.name)
}

// partition appends what comes before the records.
func (a *fetchAnswer) partition(q *kmsg.FetchRequest, number int32, code wire.ErrorCode, fetched *wire.Fetched) {
	a.int32(number)
	a.int16(int16(code))
	a.int64(int64(fetched.HighWatermark))
	a.int64(int64(fetched.LastStableOffset))
	if q.Version >= 5 {
		a.int64(int64(fetched.LogStartOffset))
	}
	if wire.IsolationLevel(q.IsolationLevel) != wire.ReadCommitted {
		a.arrayLength(null)
	} else {
		a.arrayLength(len(fetched.Aborted))
		for _, t := range fetched.Aborted {
			a.int64(int64(t.Producer))
			a.int64(int64(t.FirstOffset))
			a.noTags()
		}
	}
	if q.Version >= fetchRack {
		preferred := wire.NoBroker
		if fetched.Preferred != nil {
			preferred = *fetched.Preferred
		}
		a.int32(int32(preferred))
	}
	a.arrayLength(fetched.Records.Length)
}

// records appends them when they are few, so that all goes out in one write, and else notes where
// they come.
func (a *fetchAnswer) records(c *conn, r *wire.Records) error {
	n := r.Length
	if n == 0 {
		return nil
	}
	if n >= sendfileBytes && c.sendsFiles(r) || a.inlined+n > inlineBytes {
		a.stretches = append(a.stretches, stretch{after: len(a.b), records: *r})
		a.files += n
		return nil
	}
	at := len(a.b)
	a.b = slices.Grow(a.b, n)[:at+n]
	a.inlined += n
	return r.ReadInto(a.b[at:])
}

func (a *fetchAnswer) partitionTags(code wire.ErrorCode, fetched *wire.Fetched) wire.BrokerID {
	if !a.flexible {
		return wire.NoBroker
	}
	diverging := fetched.Diverging != nil
	leader := hints(code) && fetched.Leader != wire.NoHint
	switch {
	case diverging && leader:
		a.uvarint(2)
	case diverging || leader:
		a.uvarint(1)
	default:
		a.noTags()
	}
	if diverging {
		a.uvarint(0) // its tag
		a.uvarint(4 + 8 + 1)
		a.int32(int32(fetched.Diverging.LeaderEpoch))
		a.int64(int64(fetched.Diverging.EndOffset))
		a.noTags()
	}
	if leader {
		a.leaderTag(1, fetched.Leader)
		return fetched.Leader.Broker
	}
	return wire.NoBroker
}

func (c *conn) sendsFiles(r *wire.Records) bool {
	_, ok := r.File.Descriptor()
	return ok && c.in.raw != nil
}

// sendFetch writes the answer. When it stops half way the client cannot tell what it misses, so
// any error closes the connection.
func (c *conn) sendFetch(a *fetchAnswer) error {
	sent := 0
	for i := range a.stretches {
		s := &a.stretches[i]
		header := a.b[sent:s.after]
		sent = s.after
		var err error
		if fd, ok := s.records.File.Descriptor(); ok && c.in.raw != nil {
			err = c.sendFile(header, fd, &s.records)
		} else {
			err = c.sendCopy(header, &s.records)
		}
		if err != nil {
			c.unreadable(err)
			_ = c.net.Close()
			return err
		}
	}
	if sent == len(a.b) {
		return nil
	}
	return c.write(a.b[sent:])
}

// unreadable logs records that the disk did not give; that the client is gone is not worth a line.
func (c *conn) unreadable(err error) {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.EIO) {
		c.server.log.Error("records cannot be read, connection closed", "peer", c.peer(), "err", err)
	}
}

// sendFile sends header and the stretch of the file behind it, without reading the file. The offset
// is explicit: connections share the descriptor.
func (c *conn) sendFile(header []byte, fd uintptr, r *wire.Records) error {
	position, left := r.Position, r.Length
	var failed error
	err := c.in.raw.Write(func(socket uintptr) bool {
		for len(header) > 0 || left > 0 {
			var n int
			var err error
			if len(header) > 0 {
				n, err = unix.SendmsgN(int(socket), header, nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
			} else {
				n, err = unix.Sendfile(int(socket), int(fd), &position, left)
			}
			switch {
			case errors.Is(err, unix.EAGAIN):
				return false
			case errors.Is(err, unix.EINTR):
				continue
			case err != nil:
				failed = err
				return true
			case n == 0:
				failed = io.ErrUnexpectedEOF // the file is shorter than it was
				return true
			}
			if len(header) > 0 {
				header = header[n:]
			} else {
				left -= n
			}
			c.idle.wrote.Add(int64(n))
			c.server.metrics.sent.Add(float64(n))
		}
		return true
	})
	if err == nil {
		err = failed
	}
	return err
}

// sendCopy does the same through memory: for TLS, and files without a descriptor.
func (c *conn) sendCopy(header []byte, r *wire.Records) error {
	buffer := wire.NewBuffer(min(copyBytes, r.Length))
	defer buffer.Release()
	part := *r
	for part.Length = 0; r.Position+int64(r.Length) > part.Position; part.Position += int64(part.Length) {
		part.Length = min(len(buffer.Bytes), int(r.Position+int64(r.Length)-part.Position))
		if err := part.ReadInto(buffer.Bytes[:part.Length]); err != nil {
			return err
		}
		both := net.Buffers{buffer.Bytes[:part.Length]}
		if len(header) > 0 {
			both = net.Buffers{header, buffer.Bytes[:part.Length]}
			header = nil
		}
		n, err := both.WriteTo(c.net)
		c.idle.wrote.Add(n)
		c.server.metrics.sent.Add(float64(n))
		if err != nil {
			return err
		}
	}
	return nil
}
