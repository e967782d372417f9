package node_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/cmd/node"
	"github.com/troupe-mq/troupe/storage/crashfs"
)

// authority makes certificates for brokers on this machine, in files.
type authority struct {
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.key, a.cert = a.issue(t, template, "authority")
	a.file = filepath.Join(a.dir, "authority.pem")
	return a
}

// issue makes a certificate, signed by the authority or, for its own, by itself.
func (a *authority) issue(t *testing.T, template *x509.Certificate, name string) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for suffix, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(a.dir, name+suffix), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

// broker returns what a broker proves itself with.
func (a *authority) broker(t *testing.T, name string) node.TLSFiles {
	t.Helper()
	a.issue(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, name)
	return node.TLSFiles{Cert: filepath.Join(a.dir, name+".pem"), Key: filepath.Join(a.dir, name+".key"), CA: a.file}
}

func TestBrokersProveThemselvesToEachOther(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var nodes []*node.Node
	for _, name := range []string{"one", "two", "three"} {
		cfg := joining()
		if len(nodes) > 0 {
			cfg.Join = []string{nodes[0].Ready().Cluster}
		}
		cfg.ClusterTLS, cfg.ClusterKeyFile = ours.broker(t, name), keys
		n, err := node.Start(t.Context(), cfg, options(t, crashfs.New()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stopBroker(t, n) })
		nodes = append(nodes, n)
	}
	expectOneCluster(t, nodes...)

	for name, files := range map[string]node.TLSFiles{"without a certificate": {}, "with another's": theirs.broker(t, "stranger")} {
		cfg := joining(nodes[0].Ready().Cluster)
		cfg.ClusterTLS = files
		// It is to wait for ever: what ends it is that the test has seen it refused.
		ctx, cancel := context.WithCancel(t.Context())
		opts := options(t, crashfs.New())
		opts.Logger = untilWaiting(cancel)
		if n, err := node.Start(ctx, cfg, opts); err == nil {
			stopBroker(t, n)
			t.Errorf("a broker %s was let in", name)
		}
		cancel()
	}
	expectOneCluster(t, nodes...)
}
