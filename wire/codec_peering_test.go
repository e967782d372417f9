package wire

import (
	"bytes"
	"errors"
	"math"
	"os"
	"reflect"
	"regexp"
	"testing"
)

const someSender = BrokerID(7)

// peerSamples has one message of every kind, with every field that is encoded set to something of
// its own, as it is when it has come from someSender.
func peerSamples() map[string]PeerMessage {
	refused := &CodedError{Code: NotController, Message: "broker 2 is"}
	const most = math.MaxUint64
	return map[string]PeerMessage{
		"probe":            &Probe{Sender: someSender, Topic: someTopic, Partition: 3, LeaderEpoch: 4},
		"position":         &Position{Sender: someSender, Topic: someTopic, Partition: 3, LeaderEpoch: 4, Incarnation: most, Run: 5, LastEpoch: NoEpoch, LogStartOffset: 6, LogEndOffset: 1 << 40, FlushedOffset: 8},
		"truncate":         &Truncate{Sender: someSender, Topic: someTopic, Partition: 3, LeaderEpoch: 4, Incarnation: 1 << 63, Run: 5, To: 6, Reset: true, Unclean: true},
		"append":           &Append{Sender: someSender, Topic: someTopic, Partition: 3, LeaderEpoch: 4, Incarnation: 5, Run: most, PrevOffset: 6, PrevEpoch: 3, HighWatermark: 7, LogStartOffset: 1, Batches: []byte("batches")},
		"append nothing":   &Append{Sender: someSender, Topic: someTopic, PrevEpoch: NoEpoch},
		"appended":         &Appended{Sender: someSender, Topic: someTopic, Partition: 3, LeaderEpoch: 4, Incarnation: 5, Run: 6, LogEndOffset: 8, FlushedOffset: 7},
		"raft step":        &RaftStep{Sender: someSender, Data: []byte("raft")},
		"propose":          &Propose{Sender: someSender, ID: most, Command: []byte("command")},
		"proposed":         &Proposed{Sender: someSender, ID: 1, Index: 2, Reply: []byte("reply")},
		"not proposed":     &Proposed{Sender: someSender, ID: 1, Err: refused, Reply: []byte("why")},
		"fetch metadata":   &FetchMetadata{Sender: someSender, ID: 1, Index: 2, MaxWaitMillis: 500},
		"metadata fetched": &MetadataFetched{Sender: someSender, ID: 1, Err: refused, Controller: NoBroker, First: 2, Snapshot: true, Data: []byte("entries")},
		"heartbeat":        &Heartbeat{Sender: someSender, ID: 1, Incarnation: 2, Applied: 3, DiskHealthy: true, ShuttingDown: true},
		"heartbeat reply":  &HeartbeatReply{Sender: someSender, ID: 1, Err: StaleBrokerEpoch, Controller: 2, Fenced: true, MayStop: true},
		"hint":             &Hint{Sender: someSender, Broker: 2, Incarnation: 3, Refused: true, Failed: true},
		"watch":            &Watch{},
		"unwatch":          &Unwatch{},
		"terminated":       &Terminated{NotFound: true},
		"forward":          &Forward{Sender: someSender, ID: 1, Request: KindProduce, Body: []byte("body"), Payload: []byte("batch")},
		"forwarded":        &Forwarded{Sender: someSender, ID: 1, Answer: KindProduce, Body: []byte("body"), Payload: []byte("records")},
	}
}

// peerFrame is a whole frame but for its length, in a buffer as the links read it.
func peerFrame(m PeerMessage) *Buffer {
	payload, _ := PeerPayload(m)
	b := append(AppendPeerFrame(nil, "controller", "membership", m, len(payload)), payload...)
	return frameOf(b[frameLengthBytes:])
}

func frameOf(b []byte) *Buffer {
	frame := NewBuffer(len(b))
	copy(frame.Bytes, b)
	return frame
}

// held takes the buffer out of a message and says how many hold it.
func held(m PeerMessage) (holders int32) {
	_, buffer := PeerPayload(m)
	if buffer == nil {
		return 0
	}
	switch m := m.(type) {
	case *Append:
		m.Buffer = nil
	case *Forward:
		m.Buffer = nil
	case *Forwarded:
		m.Buffer = nil
	}
	return buffer.refs.Load()
}

func TestEveryMessageBetweenBrokersComesBackAsItWas(t *testing.T) {
	for name, m := range peerSamples() {
		frame := peerFrame(m)
		e, err := ParsePeer(frame, someSender)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		keepsFrame := map[Kind]bool{KindAppend: name == "append", KindForward: true, KindForwarded: true}[m.Kind()]
		if holders := held(e.Message); keepsFrame != (holders == 2) || !keepsFrame && holders != 0 {
			t.Errorf("%s: %d hold its frame", name, holders)
		}
		if e.To != "controller" || e.From != "membership" || !reflect.DeepEqual(e.Message, m) {
			t.Errorf("%s: came back as %+v in %+v", name, e.Message, e)
		}
		if m.Kind().String() == "unknown" {
			t.Errorf("%s: its kind has no name", name)
		}
	}
}

func TestSmallPayloadsDoNotKeepTheFrame(t *testing.T) {
	for _, name := range []string{"raft step", "propose", "proposed", "metadata fetched"} {
		frame := peerFrame(peerSamples()[name])
		e, err := ParsePeer(frame, someSender)
		if err != nil {
			t.Fatal(err)
		}
		clear(frame.Bytes)
		if want := peerSamples()[name]; !reflect.DeepEqual(e.Message, want) {
			t.Errorf("%s: without its frame it is %+v", name, e.Message)
		}
	}
}

func TestEveryFrameBetweenBrokersCutShortIsRefused(t *testing.T) {
	for name, m := range peerSamples() {
		frame := peerFrame(m)
		payload, _ := PeerPayload(m)
		for n := range len(frame.Bytes) - len(payload) {
			short := frameOf(frame.Bytes[:n])
			if _, err := ParsePeer(short, someSender); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: its first %d of %d bytes: %v", name, n, len(frame.Bytes), err)
			}
			if short.refs.Load() != 1 {
				t.Errorf("%s: its first %d bytes are held by %d", name, n, short.refs.Load())
			}
		}
	}
}

func TestFieldsThatANewerBrokerAppendsAreSkipped(t *testing.T) {
	for name, m := range peerSamples() {
		whole := AppendMessage(nil, m)
		longer := append(append([]byte{whole[0] + 1}, whole[1:]...), 0xa3, 'n', 'e', 'w')
		got, want := blank(m), blank(m)
		if err := Parse(whole, want); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := Parse(longer, got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: with one more field it is %+v, %v", name, got, err)
		}
	}
}

func TestAnUnknownKindIsToldFromAMalformedFrame(t *testing.T) {
	newer := frameOf([]byte{0x95, 0xa1, 'a', 0xa0, 0x7f, 0x02, 0x90, 'x', 'y'})
	if _, err := ParsePeer(newer, someSender); !errors.Is(err, ErrUnknownKind) || errors.Is(err, ErrMalformed) {
		t.Errorf("a kind of a newer version: %v", err)
	}
	for name, b := range map[string][]byte{
		"nothing":                         {},
		"no array":                        {0x01},
		"no body":                         {0x94, 0xa0, 0xa0, 0x50, 0x00},
		"a payload longer than the frame": {0x95, 0xa0, 0xa0, 0x50, 0x09, 0x90},
		"a kind that fits no byte":        {0x95, 0xa0, 0xa0, 0xcd, 0x01, 0x50, 0x00, 0x90},
		"a name longer than the frame":    {0x95, 0xdb, 0x7f, 0xff, 0xff, 0xff, 0xa0, 0x50, 0x00, 0x90},
		"a body of another kind":          {0x95, 0xa0, 0xa0, byte(KindTerminated), 0x00, 0x91, 0x05},
		"a negative incarnation":          {0x95, 0xa0, 0xa0, byte(KindHint), 0x00, 0x94, 0x01, 0xff, 0xc2, 0xc2},
	} {
		if e, err := ParsePeer(frameOf(b), someSender); !errors.Is(err, ErrMalformed) || errors.Is(err, ErrUnknownKind) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

func TestARequestOfAClientIsNoMessageBetweenBrokers(t *testing.T) {
	for kind := range Kind(math.MaxUint8) {
		if m := newPeerMessage(kind, someSender); m != nil && (m.Kind() != kind || kind <= MaxClientKind) {
			t.Errorf("kind %d makes a %T, whose kind is %d", kind, m, m.Kind())
		}
	}
}

// Hostile frames between brokers: none panics or keeps a buffer that it does not tell of, and what
// is accepted is written and read again.
func FuzzParsePeer(f *testing.F) {
	for _, m := range peerSamples() {
		f.Add(peerFrame(m).Bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame := frameOf(b)
		e, err := ParsePeer(frame, someSender)
		if err != nil {
			if frame.refs.Load() != 1 {
				t.Errorf("a frame that is refused with %v is held by %d", err, frame.refs.Load())
			}
			return
		}
		payload, _ := PeerPayload(e.Message)
		again := append(AppendPeerFrame(nil, e.To, e.From, e.Message, len(payload)), payload...)[frameLengthBytes:]
		second, err := ParsePeer(frameOf(again), someSender)
		if err != nil {
			t.Fatalf("%T: what was read cannot be read again: %v", e.Message, err)
		}
		secondPayload, _ := PeerPayload(second.Message)
		if e.To != second.To || e.From != second.From || !bytes.Equal(payload, secondPayload) ||
			!bytes.Equal(AppendMessage(nil, e.Message), AppendMessage(nil, second.Message)) {
			t.Errorf("%+v became %+v", e.Message, second.Message)
		}
	})
}

func linkSamples() map[string]Message {
	end := LinkEnd{ClusterID: "IaXBTR2jSYq6kGh0X4v9Dg", Broker: 2, Directory: "d", Incarnation: math.MaxUint64, RecoveryEpoch: 3}
	return map[string]Message{
		"greeting": &LinkGreeting{MinProtocol: 1, MaxProtocol: 2, From: end, To: 7, Bulk: true, Nonce: math.MaxUint64, Lost: 9},
		"welcome":  &LinkWelcome{Protocol: 1, From: end},
		"refused":  &LinkWelcome{Refusal: LinkRefusal{Reason: "cluster", Sentence: "another one"}, From: end},
		"confirm":  &LinkConfirm{Refusal: LinkRefusal{Reason: "linked", Sentence: "already"}},
	}
}

func TestAHandshakeBetweenBrokersComesBackAsItWas(t *testing.T) {
	for name, m := range linkSamples() {
		whole, got := AppendMessage(nil, m), blank(m)
		if err := Parse(whole, got); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: came back as %+v, %v", name, got, err)
		}
		for n := range whole {
			if err := Parse(whole[:n], blank(m)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: its first %d of %d bytes: %v", name, n, len(whole), err)
			}
		}
		longer := append(append([]byte{whole[0] + 1}, whole[1:]...), 0x81, 0x01, 0x02)
		if err := Parse(longer, got); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: with one more field it is %+v, %v", name, got, err)
		}
	}
}

func FuzzParseHandshake(f *testing.F) {
	for _, m := range linkSamples() {
		f.Add(AppendMessage(nil, m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range []Message{new(LinkGreeting), new(LinkWelcome), new(LinkConfirm)} {
			if Parse(b, m) != nil {
				continue
			}
			again := blank(m)
			if err := Parse(AppendMessage(nil, m), again); err != nil || !reflect.DeepEqual(again, m) {
				t.Errorf("%+v became %+v, %v", m, again, err)
			}
		}
	})
}

var linkExampleBlock = regexp.MustCompile("(?s)<!-- link example: append -->\n+```\n(.*?)```")

func TestTheLinkExampleInTheProtocolPageIsWhatTheCodeWrites(t *testing.T) {
	page, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	m := &Append{
		Topic: someTopic, Partition: 3, LeaderEpoch: 9, Incarnation: 0xfeed, Run: 1, PrevOffset: 42, PrevEpoch: 8,
		HighWatermark: 40, Batches: []byte("<record batch>"),
	}
	b := append(AppendPeerFrame(nil, "replica/AQIDBAUGBwgJCgsMDQ4PEA/3", "", m, len(m.Batches)), m.Batches...)
	if shown := linkExampleBlock.FindStringSubmatch(string(page)); len(shown) != 2 || shown[1] != dump(b) {
		t.Errorf("the page shows\n%v\nthe code writes\n%s", shown, dump(b))
	}
}
