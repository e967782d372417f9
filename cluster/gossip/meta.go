package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/hashicorp/memberlist"

	"github.com/troupe-mq/troupe/wire"
)

// What a member tells of itself travels with every announcement of it, so it is small:
//
//	byte    metaVersion
//	byte n, n bytes    cluster id
//	byte n, n bytes    directory id
//	uint32  broker id
//	uint64  incarnation
//	uint64  recovery epoch
//	byte n, n bytes    address, "" when it is what memberlist knows anyway
//
// Numbers are big-endian. A newer version appends, and an older reader stops where it knows no more.
const (
	metaVersion  = 1
	maxMetaBytes = 150
	maxIDBytes   = 32 // ours have 22
)

// encodeMeta leaves out an address that is too long: then the number it stood for has to do.
func encodeMeta(cfg Config) []byte {
	b := []byte{metaVersion}
	b = appendShort(b, cfg.ClusterID)
	b = appendShort(b, cfg.Self.Directory)
	b = binary.BigEndian.AppendUint32(b, uint32(cfg.Self.Broker))
	b = binary.BigEndian.AppendUint64(b, uint64(cfg.Self.Incarnation))
	b = binary.BigEndian.AppendUint64(b, cfg.Self.RecoveryEpoch)
	address := cfg.Self.Address
	if address == cfg.Advertise.String() || len(b)+1+len(address) > maxMetaBytes {
		address = ""
	}
	return appendShort(b, address)
}

func appendShort(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

var errBadMeta = errors.New("what a member tells of itself is cut off or of another kind")

// decodeMeta reads what another process tells of itself: anything may come.
func decodeMeta(b []byte) (clusterID string, m Member, err error) {
	r := metaReader{rest: b}
	if r.bytes(1)[0] < 1 {
		return "", Member{}, errBadMeta
	}
	clusterID = r.short()
	m.Directory = r.short()
	broker := binary.BigEndian.Uint32(r.bytes(4))
	m.Broker = wire.BrokerID(broker)
	m.Incarnation = wire.Incarnation(binary.BigEndian.Uint64(r.bytes(8)))
	m.RecoveryEpoch = binary.BigEndian.Uint64(r.bytes(8))
	m.Address = r.short()
	if r.cut || broker > math.MaxInt32 || clusterID == "" || m.Directory == "" {
		return "", Member{}, errBadMeta
	}
	return clusterID, m, nil
}

// metaReader gives zeros when there is no more, and remembers that.
type metaReader struct {
	rest []byte
	cut  bool
}

func (r *metaReader) bytes(n int) []byte {
	if len(r.rest) < n {
		r.cut, r.rest = true, nil
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *metaReader) short() string { return string(r.bytes(int(r.bytes(1)[0]))) }

// memberOf reads a member of memberlist's.
func memberOf(node *memberlist.Node) (m Member, clusterID string, err error) {
	clusterID, m, err = decodeMeta(node.Meta)
	if err != nil {
		return Member{}, "", err
	}
	if nameOf(m) != node.Name {
		return Member{}, "", fmt.Errorf("%s says that it is %s", strconv.Quote(node.Name), strconv.Quote(nameOf(m)))
	}
	if m.Address == "" {
		m.Address = node.Address()
	}
	return m, clusterID, nil
}
