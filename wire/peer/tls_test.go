package peer

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// authority signs certificates for brokers.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{certificate: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}}
	a.key, a.certificate = sign(t, a.certificate, a.certificate, nil)
	return a
}

func sign(t *testing.T, template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, certificate
}

// config is that of a broker which trusts those whom the authority has signed.
func (a *authority) config(t *testing.T) *tls.Config {
	t.Helper()
	key, certificate := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "broker"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, a.certificate, a.key)
	trusted := x509.NewCertPool()
	trusted.AddCert(a.certificate)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate.Raw}, PrivateKey: key}},
		RootCAs:      trusted, ClientCAs: trusted,
	}
}

func TestThreeBrokersWithCertificatesAreLinked(t *testing.T) {
	a := newAuthority(t)
	var brokers []*station
	for id := wire.BrokerID(1); id <= 3; id++ {
		n := start(t, identity(id, wire.Incarnation(10*id)), setting{cfg: Config{TLS: a.config(t), RedialMax: 50 * time.Millisecond}})
		for _, other := range brokers {
			n.know(other)
			other.know(n)
		}
		brokers = append(brokers, n)
	}
	for _, n := range brokers {
		n.wait(t, "up")
		n.wait(t, "up")
	}
	batches := make([]byte, 3<<20) // more than one write
	for i := range batches {
		batches[i] = byte(i * 7)
	}
	for _, n := range brokers {
		for _, other := range brokers {
			if n == other {
				continue
			}
			for i := range 3 {
				e := wire.Envelope{To: "replica", Message: &wire.Append{PrevOffset: wire.Offset(i), Batches: batches}}
				if err := n.Send(other.self.Broker, 0, true, e); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, n := range brokers {
		next := make(map[wire.BrokerID]wire.Offset)
		for range 2 * 3 {
			e := n.wait(t, "deliver")
			m, ok := e.envelope.Message.(*wire.Append)
			if !ok || m.PrevOffset != next[e.broker] || !bytes.Equal(m.Batches, batches) {
				t.Fatalf("from %d came something else than append %d", e.broker, next[e.broker])
			}
			next[e.broker]++
			m.Buffer.Release()
		}
	}
}

func TestWithoutACertificateThatIsTrustedThereIsNoLink(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	trusting := ours.config(t)
	unsigned := ours.config(t)
	unsigned.Certificates = nil
	foreign := theirs.config(t)
	foreign.RootCAs = trusting.RootCAs // so that the refusal comes from who answers
	for name, other := range map[string]*tls.Config{
		"signed by another authority": foreign, "none": unsigned, "no TLS at all": nil, "not trusting the other": theirs.config(t),
	} {
		t.Run(name, func(t *testing.T) {
			log := new(logbook)
			n := start(t, identity(5, 50), setting{cfg: Config{TLS: trusting}, log: slog.New(slog.NewTextHandler(log, nil))})
			tried := make(chan struct{}, 100)
			stranger := start(t, identity(2, 20), setting{
				cfg: Config{TLS: other, RedialMax: time.Millisecond}, dialer: dialFunc(func() { tried <- struct{}{} }),
			})
			stranger.know(n)
			for range 4 {
				select {
				case <-tried:
				case <-time.After(patience):
					t.Fatal("it was not dialled again")
				}
			}
			stranger.stop(t)
			n.stop(t)
			if n.count("up")+stranger.count("up") != 0 {
				t.Error("there was a link")
			}
			if refused := counted(t, n.metrics.Refused.WithLabelValues(reasonTLS)); refused < 1 || log.lines("a link was refused") != 1 {
				t.Errorf("%v refusals were counted, %d logged", refused, log.lines("a link was refused"))
			}
		})
	}
}
