package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// Frames between brokers. They differ from those of clients in their head: a message is for an
// actor, and an answer is a message of its own.

// ErrUnknownKind is wrapped by the error about a frame whose kind this version does not know. The
// frame can be passed over.
var ErrUnknownKind = errors.New("unknown kind of message")

const peerHeadFields = 5

// AppendPeerFrame appends a whole frame to b, all but its payload: payload bytes must follow, as
// PeerPayload tells them.
func AppendPeerFrame(b []byte, to, from string, m PeerMessage, payload int) []byte {
	start := len(b)
	e := newEncoder(append(b, 0, 0, 0, 0))
	e.array(peerHeadFields)
	e.string(to)
	e.string(from)
	e.int(int64(m.Kind()))
	e.int(int64(payload))
	m.encode(e)
	b = e.finish()
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-frameLengthBytes+payload))
	return b
}

// ParsePeer reads the frame that came in a buffer, without its length, from the broker that sent
// it. What the message keeps of the frame is held by the message's own Buffer, retained for the
// receiver; the caller releases frame in any case.
func ParsePeer(frame *Buffer, sender BrokerID) (Envelope, error) {
	b := frame.Bytes
	d := newDecoder(b)
	var e Envelope
	d.open()
	e.To, e.From = d.string(), d.string()
	kind := integer[Kind](d)
	payload := d.length()
	if d.err == nil && d.left == 0 {
		d.fail(malformed("a frame without a body"))
	}
	body := d.in.at
	if err := d.finish(); err != nil {
		return Envelope{}, err
	}
	if payload > len(b)-body {
		return Envelope{}, malformed("a payload of %d bytes in a frame of %d", payload, len(b))
	}
	m := newPeerMessage(kind, sender)
	if m == nil {
		return Envelope{}, fmt.Errorf("%w: %d", ErrUnknownKind, kind)
	}
	end := len(b) - payload
	if err := Parse(b[body:end:end], m); err != nil {
		return Envelope{}, fmt.Errorf("%s: %w", kind, err)
	}
	takePayload(m, b[end:], frame)
	e.Message = m
	return e, nil
}

// PeerPayload returns what follows the head of m's frame, and the buffer that it lies in, which
// may be nil. Neither is copied.
func PeerPayload(m PeerMessage) ([]byte, *Buffer) {
	switch m := m.(type) {
	case *Append:
		return m.Batches, m.Buffer
	case *RaftStep:
		return m.Data, nil
	case *Propose:
		return m.Command, nil
	case *Proposed:
		return m.Reply, nil
	case *MetadataFetched:
		return m.Data, nil
	case *Forward:
		return m.Payload, m.Buffer
	case *Forwarded:
		return m.Payload, m.Buffer
	}
	return nil, nil
}

// takePayload gives m its payload. Record batches stay where they came, in the frame; the rest is
// small or rare, and is copied so that nobody has to give it back.
func takePayload(m PeerMessage, payload []byte, frame *Buffer) {
	switch m := m.(type) {
	case *Append:
		if len(payload) > 0 {
			m.Batches, m.Buffer = payload, frame.Retain()
		}
	case *RaftStep:
		m.Data = bytes.Clone(payload)
	case *Propose:
		m.Command = bytes.Clone(payload)
	case *Proposed:
		m.Reply = bytes.Clone(payload)
	case *MetadataFetched:
		m.Data = bytes.Clone(payload)
	case *Forward: // its body lies in the frame too
		m.Payload, m.Buffer = payload, frame.Retain()
	case *Forwarded:
		m.Payload, m.Buffer = payload, frame.Retain()
	}
}

// newPeerMessage returns an empty message of the kind with its sender filled in, or nil when the
// kind is not known.
func newPeerMessage(kind Kind, sender BrokerID) PeerMessage {
	switch kind {
	case KindProbe:
		return &Probe{Sender: sender}
	case KindPosition:
		return &Position{Sender: sender}
	case KindTruncate:
		return &Truncate{Sender: sender}
	case KindAppend:
		return &Append{Sender: sender}
	case KindAppended:
		return &Appended{Sender: sender}
	case KindRaftStep:
		return &RaftStep{Sender: sender}
	case KindPropose:
		return &Propose{Sender: sender}
	case KindProposed:
		return &Proposed{Sender: sender}
	case KindFetchMetadata:
		return &FetchMetadata{Sender: sender}
	case KindMetadataFetched:
		return &MetadataFetched{Sender: sender}
	case KindHeartbeat:
		return &Heartbeat{Sender: sender}
	case KindHeartbeatReply:
		return &HeartbeatReply{Sender: sender}
	case KindHint:
		return &Hint{Sender: sender}
	case KindWatch:
		return &Watch{}
	case KindUnwatch:
		return &Unwatch{}
	case KindTerminated:
		return &Terminated{}
	case KindForward:
		return &Forward{Sender: sender}
	case KindForwarded:
		return &Forwarded{Sender: sender}
	default:
		return nil
	}
}

var peerKindNames = map[Kind]string{
	KindProbe: "probe", KindPosition: "position", KindTruncate: "truncate", KindAppend: "append", KindAppended: "appended",
	KindRaftStep: "raft_step", KindPropose: "propose", KindProposed: "proposed",
	KindFetchMetadata: "fetch_metadata", KindMetadataFetched: "metadata_fetched",
	KindHeartbeat: "heartbeat", KindHeartbeatReply: "heartbeat_reply", KindHint: "hint",
	KindWatch: "watch", KindUnwatch: "unwatch", KindTerminated: "terminated",
	KindForward: "forward", KindForwarded: "forwarded", KindGossipKeyStep: "gossip_key_step",
}

// unsigned appends a number that may use all 64 bits.
func (e *Encoder) unsigned(n uint64) { _ = e.pack.EncodeUint(n) }

func (e *Encoder) bytes(b []byte) {
	_ = e.pack.EncodeBytesLen(len(b))
	e.out.b = append(e.out.b, b...)
}

// unsigned reads a number that may use all 64 bits.
func (d *Decoder) unsigned() uint64 {
	if d.err == nil && d.left > 0 && d.in.at < len(d.in.b) && d.in.b[d.in.at] == msgpcode.Uint64 {
		d.left--
		d.in.at++
		if b := d.advance(8); b != nil {
			return binary.BigEndian.Uint64(b)
		}
		return 0
	}
	n := d.int64()
	if n < 0 {
		d.fail(malformed("%d does not fit its field", n))
		return 0
	}
	return uint64(n)
}
