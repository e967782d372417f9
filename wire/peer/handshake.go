package peer

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"

	"github.com/troupe-mq/troupe/wire"
)

// Preface opens a connection that is to become a link. The broker that dials sends it, before TLS.
var Preface = [4]byte{'T', 'R', 'L', '1'}

// The versions of the links' protocol that this code speaks.
const (
	minProtocol = 1
	maxProtocol = 1
)

// encrypt does the handshake of TLS if there is to be one.
func (l *Links) encrypt(ctx context.Context, raw net.Conn, client bool, address string) (*conn, error) {
	if l.cfg.TLS == nil {
		return newConn(raw, raw, l.now), nil
	}
	var secure *tls.Conn
	if client {
		cfg := l.cfg.TLS
		if cfg.ServerName == "" {
			if host, _, err := net.SplitHostPort(address); err == nil {
				cfg = cfg.Clone()
				cfg.ServerName = host
			}
		}
		secure = tls.Client(raw, cfg)
	} else {
		secure = tls.Server(raw, l.cfg.TLS)
	}
	if err := secure.HandshakeContext(ctx); err != nil {
		if isAccident(err) {
			return nil, err
		}
		return nil, refuse(reasonTLS, "%v", err)
	}
	return newConn(secure, raw, l.now), nil
}

// isAccident says that a handshake of TLS ended with its connection: nobody refused a certificate.
func isAccident(err error) bool {
	var network *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.As(err, &network) && network.Op != "remote error" && network.Op != "local error"
}

// check says what keeps this broker and another from being linked, whichever of them has dialled.
func (l *Links) check(other wire.LinkEnd) *refusal {
	switch {
	case other.Broker < 0 || other.Incarnation == 0:
		return refuse(reasonMalformed, "broker %d in run %x is no broker", other.Broker, uint64(other.Incarnation))
	case other.ClusterID != l.self.ClusterID:
		return refuse(reasonCluster, "broker %d belongs to cluster %.64q, broker %d to %q",
			other.Broker, other.ClusterID, l.self.Broker, l.self.ClusterID)
	case other.Broker == l.self.Broker:
		return refuse(reasonSelf, "both ends are broker %d", other.Broker)
	case other.RecoveryEpoch != l.self.RecoveryEpoch:
		return refuse(reasonRecovery, "broker %d is in recovery epoch %d, broker %d in %d: the lower one was left behind when the cluster was recovered",
			other.Broker, other.RecoveryEpoch, l.self.Broker, l.self.RecoveryEpoch)
	}
	return nil
}

// checkGreeting is check for who answers.
func (l *Links) checkGreeting(m *wire.LinkGreeting) *refusal {
	switch {
	case m.MinProtocol > maxProtocol || m.MaxProtocol < minProtocol:
		return refuse(reasonProtocol, "versions %d to %d of the links' protocol are not spoken by broker %d, which speaks %d to %d",
			m.MinProtocol, m.MaxProtocol, l.self.Broker, minProtocol, maxProtocol)
	case m.To != l.self.Broker && m.From.Broker != l.self.Broker && m.From.ClusterID == l.self.ClusterID:
		return refuse(reasonBroker, "broker %d was expected, this is broker %d", m.To, l.self.Broker)
	}
	return l.check(m.From)
}

// checkWelcome is check for who has dialled. Both links must end at the same process.
func (l *Links) checkWelcome(expected wire.BrokerID, control, bulk *wire.LinkWelcome) *refusal {
	for _, m := range []*wire.LinkWelcome{control, bulk} {
		if r := refusedBy(m.Refusal); r != nil {
			return r
		}
		if m.Protocol < minProtocol || m.Protocol > maxProtocol {
			return refuse(reasonProtocol, "version %d of the links' protocol was chosen, which broker %d does not speak", m.Protocol, l.self.Broker)
		}
	}
	if r := l.check(control.From); r != nil {
		return r
	}
	if control.From.Broker != expected {
		return refuse(reasonBroker, "broker %d was expected, this is broker %d", expected, control.From.Broker)
	}
	if control.From != bulk.From {
		return refuse(reasonMalformed, "the two links to broker %d end at different processes", expected)
	}
	return nil
}

// newNonce returns a number that nobody else will guess or choose.
func newNonce() uint64 {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails
		if n := binary.BigEndian.Uint64(b[:]); n != 0 {
			return n
		}
	}
}
