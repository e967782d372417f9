package node

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func loadFlags(flags ...string) (Config, error) {
	var settings []Setting
	for _, flag := range flags {
		key, value, _ := strings.Cut(flag, "=")
		settings = append(settings, Setting{Key: key, Value: value, Origin: "--" + key})
	}
	return LoadConfig(Sources{Flags: settings})
}

func TestTheListOfBrokersToJoinIsRead(t *testing.T) {
	cfg, err := loadFlags("join=127.0.0.1:1, localhost:2,[::1]:3,127.0.0.1:1", "rack=r1", "node-id=7")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"127.0.0.1:1", "localhost:2", "[::1]:3"}; !slices.Equal(cfg.Join, want) {
		t.Errorf("join is %v, want %v", cfg.Join, want)
	}
	if id, ok := cfg.nodeID(); !ok || id != 7 || cfg.Static[keyRack] != "r1" {
		t.Errorf("node id %d, %v, rack %q", id, ok, cfg.Static[keyRack])
	}
	cfg, err = LoadConfig(Sources{Environ: []string{"TROUPE_JOIN=localhost:1", "TROUPE_CLUSTER_ADVERTISE=here", "TROUPE_RACK=r2", "TROUPE_NODE_ID=3"}})
	if err != nil || len(cfg.Join) != 1 || cfg.ClusterAdvertise != "here:0" || cfg.Static[keyRack] != "r2" || cfg.Static[keyNodeID] != "3" {
		t.Errorf("of the environment: %+v, %v", cfg, err)
	}
}

func TestWhatCannotWorkInAClusterIsRefusedWithWhatToWrite(t *testing.T) {
	for flags, want := range map[string]string{
		"join=broker1":                   "write host:port",
		"join=0.0.0.0:7946":              "nobody can be reached",
		"join=10.0.0.1:0":                "nobody can be reached",
		"join=10.0.0.1:7946":             "add --cluster 0.0.0.0:7946, and --cluster-advertise HOST:PORT",
		"join=broker1.example.com:7946":  "add --cluster 0.0.0.0:7946",
		"cluster-tls-cert=c.pem":         "set all or none",
		"cluster-advertise=0.0.0.0:7946": "no address that a client can connect to",
		"cluster=127.0.0.1:9092":         "give each its own port",
		"join=" + manyAddresses():        "write at most 100",
	} {
		if _, err := loadFlags(flags); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", flags, err, want)
		}
	}
	for _, fine := range [][]string{
		{"join=localhost:1,127.9.9.9:2,[::1]:3"},
		{"join=10.0.0.1:7946", "cluster=0.0.0.0:7946"},
		{"join=10.0.0.1:7946", "cluster-advertise=tunnel.example.com:7946"},
	} {
		if _, err := loadFlags(fine...); err != nil {
			t.Errorf("%v: %v", fine, err)
		}
	}
}

func manyAddresses() string {
	var list []string
	for i := range maxJoin + 1 {
		list = append(list, fmt.Sprintf("127.0.0.1:%d", i+1))
	}
	return strings.Join(list, ",")
}

func TestOtherBrokersAreToldAnAddressTheyCanConnectTo(t *testing.T) {
	bound := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1234}
	interfaces := func() ([]net.Addr, error) {
		return []net.Addr{&net.IPNet{IP: net.IPv4(10, 1, 2, 3), Mask: net.CIDRMask(24, 32)}}, nil
	}
	for _, c := range []struct{ cluster, advertise, want string }{
		{"127.0.0.1:0", "", "127.0.0.1:1234"},
		{"0.0.0.0:1234", "", "10.1.2.3:1234"},
		{":0", "broker1.example.com:0", "broker1.example.com:1234"},
		{":0", "broker1.example.com:7000", "broker1.example.com:7000"},
	} {
		got, err := Config{Cluster: c.cluster, ClusterAdvertise: c.advertise, Listen: "x", Advertise: "y"}.AdvertisedCluster(bound, interfaces)
		if err != nil || got != c.want {
			t.Errorf("%+v: %s, %v", c, got, err)
		}
	}
}

func TestKeyAndCertificateFilesThatCannotBeUsedAreNamed(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("nothing of use\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{bad, bad + ".missing"} {
		if _, err := (Config{ClusterKeyFile: file}).gossipKeys(); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("keys in %s: %v", file, err)
		}
		if _, err := (Config{ClusterTLS: TLSFiles{file, file, file}}).clusterTLS(); err == nil || !strings.Contains(err.Error(), KeyClusterTLSCert) {
			t.Errorf("certificate in %s: %v", file, err)
		}
		if _, err := (Config{ChaosTokenFile: file}).chaosToken(); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("token in %s: %v", file, err)
		}
	}
}
