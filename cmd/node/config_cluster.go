package node

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/troupe-mq/troupe/cluster/gossip"
)

// What a broker is told about the other ones.

// maxJoin bounds the list of addresses to join: each is called when a broker starts.
const maxJoin = 100

// parseJoin reads a list of host:port. An address that is there twice is there once.
func parseJoin(value string) ([]string, error) {
	var join []string
	for _, address := range splitList(value) {
		host, port, err := splitAddress(address)
		switch {
		case err != nil:
			return nil, err
		case port == 0 || isWildcard(host):
			return nil, fmt.Errorf("nobody can be reached at %q; write a broker's --cluster address, as in 10.0.0.1:7946", address)
		case !slices.Contains(join, address):
			join = append(join, address)
		}
	}
	if len(join) > maxJoin {
		return nil, fmt.Errorf("%d addresses; write at most %d, of which one that answers is enough", len(join), maxJoin)
	}
	return join, nil
}

func (c Config) validateCluster() error {
	set := 0
	for _, file := range []string{c.ClusterTLS.Cert, c.ClusterTLS.Key, c.ClusterTLS.CA} {
		if file != "" {
			set++
		}
	}
	if set != 0 && set != 3 {
		return fmt.Errorf("of %s, %s and %s some are set; brokers prove themselves to each other, so set all or none",
			KeyClusterTLSCert, KeyClusterTLSKey, KeyClusterTLSCA)
	}
	return c.validateReach()
}

// validateReach refuses a broker that would call others and could not be called by them.
func (c Config) validateReach() error {
	host, port, err := splitAddress(c.Cluster)
	if err != nil || !isLoopback(host) || c.ClusterAdvertise != "" {
		return nil //nolint:nilerr // a bad address has been told
	}
	for _, address := range c.Join {
		if other, _, err := splitAddress(address); err == nil && !isLoopback(other) {
			return fmt.Errorf("%s is %s, which only this machine reaches, but %s names %s: add --cluster 0.0.0.0:%d, and --cluster-advertise HOST:PORT if others reach this machine by another address",
				KeyCluster, c.Cluster, KeyJoin, address, port)
		}
	}
	return nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// AdvertisedCluster returns what other brokers are told to connect to, once the port is bound.
func (c Config) AdvertisedCluster(bound net.Addr, interfaces func() ([]net.Addr, error)) (string, error) {
	as := Config{Listen: c.Cluster, Advertise: c.ClusterAdvertise}
	host, port, err := as.AdvertisedAddress(bound, interfaces)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port))), nil
}

// gossipKeys reads the keys that encrypt gossip.
func (c Config) gossipKeys() ([][]byte, error) {
	if c.ClusterKeyFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(c.ClusterKeyFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", KeyClusterKeyFile, err)
	}
	keys, err := gossip.ParseKeys(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", KeyClusterKeyFile, c.ClusterKeyFile, err)
	}
	return keys, nil
}

// clusterTLS returns what brokers prove themselves to each other with, nil without TLS. Whoever has a
// certificate of this authority is one of the cluster.
func (c Config) clusterTLS() (*tls.Config, error) {
	files := c.ClusterTLS
	if files == (TLSFiles{}) {
		return nil, nil //nolint:nilnil // nil is how package tls's users say "in clear"
	}
	certificate, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", KeyClusterTLSCert, KeyClusterTLSKey, err)
	}
	pem, err := os.ReadFile(files.CA)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", KeyClusterTLSCA, err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: %w", KeyClusterTLSCA, errors.New(files.CA+" holds no certificate in PEM"))
	}
	return &tls.Config{
		Certificates: []tls.Certificate{certificate}, RootCAs: authorities, ClientCAs: authorities,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}, nil
}

// chaosToken reads what whoever ends actors of this broker has to show, "" when nobody may.
func (c Config) chaosToken() (string, error) {
	if c.ChaosTokenFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(c.ChaosTokenFile)
	if err != nil {
		return "", fmt.Errorf("%s: %w", KeyChaosTokenFile, err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("%s: %s holds no token; write one word that nobody guesses, as \"openssl rand -hex 16\" prints it",
			KeyChaosTokenFile, c.ChaosTokenFile)
	}
	return token, nil
}
