package node

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// The keys that say where a broker lives. Those that Kafka has keep Kafka's name; each has a
// short name that is its flag, and that works in a file and the environment as well.
const (
	KeyData      = "log.dirs"             // --data
	KeyListen    = "listeners"            // --listen
	KeyAdvertise = "advertised.listeners" // --advertise
	KeyCluster   = "cluster.listener"     // --cluster
	KeyAdmin     = "admin.listener"       // --admin
)

// The keys about the cluster that a broker is part of.
const (
	KeyJoin             = "cluster.join"      // --join
	KeyClusterAdvertise = "cluster.advertise" // --cluster-advertise
	KeyClusterKeyFile   = "cluster.key.file"  // --cluster-key-file
	KeyClusterTLSCert   = "cluster.tls.cert"  // --cluster-tls-cert
	KeyClusterTLSKey    = "cluster.tls.key"   // --cluster-tls-key
	KeyClusterTLSCA     = "cluster.tls.ca"    // --cluster-tls-ca
)

// KeyChaosTokenFile names the file with the token that whoever ends actors of this broker has to show.
const KeyChaosTokenFile = "chaos.token.file" // --chaos-token-file

// The broker's id, and where it stands.
const (
	keyNodeID = "node.id"     // --node-id
	keyRack   = "broker.rack" // --rack
)

// aliases are other names of keys: the short names, and Kafka's own older ones.
var aliases = map[string]string{
	"data":      KeyData,
	"listen":    KeyListen,
	"advertise": KeyAdvertise,
	"cluster":   KeyCluster,
	"admin":     KeyAdmin,
	"log.dir":   KeyData,
	"broker.id": keyNodeID,
	"node-id":   keyNodeID,
	"rack":      keyRack,
	"join":      KeyJoin,

	"cluster-advertise": KeyClusterAdvertise,
	"cluster-key-file":  KeyClusterKeyFile,
	"cluster-tls-cert":  KeyClusterTLSCert,
	"cluster-tls-key":   KeyClusterTLSKey,
	"cluster-tls-ca":    KeyClusterTLSCA,
	"chaos-token-file":  KeyChaosTokenFile,
}

// AdminOff as the admin address switches the admin server off.
const AdminOff = "off"

// DefaultConfig is a broker on this machine alone, for whoever tries Troupe.
func DefaultConfig() Config {
	return Config{
		Data:    []string{"troupe-data"},
		Listen:  "127.0.0.1:9092",
		Cluster: "127.0.0.1:7946",
		Admin:   "127.0.0.1:9644",
		Static:  map[string]string{},
	}
}

// Config is what a broker is told when it starts. It does not change afterwards: what may change
// lives in the metadata log, over Static.
type Config struct {
	Data      []string // directories of partitions; metadata lies in the first
	Listen    string   // host:port for clients; port 0 takes a free one
	Advertise string   // host:port that clients are told, port 0: the listener's; "" derives it from Listen
	Cluster   string   // host:port for other brokers
	Admin     string   // host:port of the admin server, or AdminOff

	Join             []string // host:port of brokers whose cluster to join, as typed
	ClusterAdvertise string   // host:port that other brokers are told, port 0: the listener's; "" derives it from Cluster
	ClusterKeyFile   string   // with the keys that encrypt gossip, "" for none
	ClusterTLS       TLSFiles // for links between brokers

	ChaosTokenFile string // "": actors cannot be ended on request

	// Static holds every key that was set and that DescribeConfigs knows, under Kafka's name, its
	// value checked: the STATIC_BROKER_CONFIG.
	Static map[string]string

	// Ignored are the keys of Kafka that were set and have no effect here, sorted.
	Ignored []string
}

// TLSFiles name what two brokers prove themselves to each other with, in PEM. All are "" for no TLS.
type TLSFiles struct{ Cert, Key, CA string }

// Validate checks what the parts of a broker rely on.
func (c Config) Validate() error {
	if len(c.Data) == 0 {
		return fmt.Errorf("%s is empty; name at least one directory, as in --data ./troupe-data", KeyData)
	}
	seen := make(map[string]bool, len(c.Data))
	for _, dir := range c.Data {
		if dir == "" {
			return fmt.Errorf("%s has an empty entry; name a directory, as in --data ./troupe-data", KeyData)
		}
		if seen[filepath.Clean(dir)] {
			return fmt.Errorf("%s names %s twice; name each directory once", KeyData, dir)
		}
		seen[filepath.Clean(dir)] = true
	}
	for _, listener := range []struct{ key, address string }{
		{KeyListen, c.Listen}, {KeyCluster, c.Cluster}, {KeyAdmin, c.Admin},
	} {
		if listener.key == KeyAdmin && listener.address == AdminOff {
			continue
		}
		if _, _, err := splitAddress(listener.address); err != nil {
			return fmt.Errorf("%s: %w", listener.key, err)
		}
	}
	return errors.Join(c.validatePorts(), c.validateCluster())
}

// validatePorts refuses two listeners on one port before the second fails to bind with less to say.
func (c Config) validatePorts() error {
	taken := make(map[string]string, 3)
	for _, listener := range []struct{ key, address string }{
		{KeyListen, c.Listen}, {KeyCluster, c.Cluster}, {KeyAdmin, c.Admin},
	} {
		if listener.address == AdminOff || strings.HasSuffix(listener.address, ":0") {
			continue
		}
		if other, clash := taken[listener.address]; clash {
			return fmt.Errorf("%s and %s are both %s; give each its own port (0 takes a free one)", other, listener.key, listener.address)
		}
		taken[listener.address] = listener.key
	}
	return nil
}
