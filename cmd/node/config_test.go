package node

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writeConfig puts text into a file of this name and returns its path.
func writeConfig(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load returns the Config of sources that must be good.
func load(t *testing.T, sources Sources) Config {
	t.Helper()
	config, err := LoadConfig(sources)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestFlagsWinOverEnvironmentOverFileOverDefaults(t *testing.T) {
	file := writeConfig(t, "server.properties", "num.partitions=2\nlisteners=127.0.0.1:2\nadmin.listener=127.0.0.1:3\ncluster.listener=127.0.0.1:4\n")
	environ := []string{"TROUPE_NUM_PARTITIONS=3", "TROUPE_LISTENERS=127.0.0.1:5", "TROUPE_ADMIN=off", "HOME=/root"}
	flags := []Setting{
		{Key: "num.partitions", Value: "3", Origin: "--set"},
		{Key: "num.partitions", Value: "4", Origin: "--set"}, // the last flag counts
	}
	for _, c := range []struct {
		name    string
		sources Sources
		want    [4]string // listen, cluster, admin, num.partitions
	}{
		{"nothing set", Sources{}, [4]string{"127.0.0.1:9092", "127.0.0.1:7946", "127.0.0.1:9644", ""}},
		{"file", Sources{File: file}, [4]string{"127.0.0.1:2", "127.0.0.1:4", "127.0.0.1:3", "2"}},
		{"environment", Sources{Environ: environ}, [4]string{"127.0.0.1:5", "127.0.0.1:7946", "off", "3"}},
		{"environment over file", Sources{File: file, Environ: environ}, [4]string{"127.0.0.1:5", "127.0.0.1:4", "off", "3"}},
		{"flags over all", Sources{File: file, Environ: environ, Flags: flags}, [4]string{"127.0.0.1:5", "127.0.0.1:4", "off", "4"}},
		{"flags over file", Sources{File: file, Flags: flags}, [4]string{"127.0.0.1:2", "127.0.0.1:4", "127.0.0.1:3", "4"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := load(t, c.sources)
			got := [4]string{config.Listen, config.Cluster, config.Admin, config.Static["num.partitions"]}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestYAMLMayBeFlatOrNestedAndKeepsTheCaseOfValues(t *testing.T) {
	want := map[string]string{
		"log.dirs":                  "/Data/A,/Data/B",
		"num.partitions":            "6",
		"auto.create.topics.enable": "false",
		"log.durability":            "replicated",
		"log.retention.bytes":       "-1",
	}
	for name, text := range map[string]string{
		"flat": `
log.dirs: [/Data/A, /Data/B]
num.partitions: 6
auto.create.topics.enable: FALSE
log.durability: replicated
log.retention.bytes: -1
`,
		"nested": `
log:
  dirs: /Data/A, /Data/B
  durability: replicated
  retention: {bytes: -1}
num: {partitions: 6}
auto.create:
  topics.enable: false
`,
	} {
		t.Run(name, func(t *testing.T) {
			config := load(t, Sources{File: writeConfig(t, "troupe.yaml", text)})
			if !slices.Equal(config.Data, []string{"/Data/A", "/Data/B"}) {
				t.Errorf("data directories %q", config.Data)
			}
			config.Static["log.dirs"] = strings.Join(config.Data, ",") // with or without white space
			if !maps.Equal(config.Static, want) {
				t.Errorf("got %v, want %v", config.Static, want)
			}
		})
	}
}

// kafkaDefault is what the server.properties says that comes with Kafka 4, comments left out.
const kafkaDefault = `
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
#log.flush.interval.messages=10000
log.retention.hours=168
#log.retention.bytes=1073741824
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
`

func TestTheServerPropertiesOfKafkaIsGoodAsItIs(t *testing.T) {
	config := load(t, Sources{File: writeConfig(t, "server.properties", kafkaDefault)})
	if config.Listen != ":9092" || config.Advertise != "localhost:9092" {
		t.Errorf("listens on %q and advertises %q", config.Listen, config.Advertise)
	}
	if !slices.Equal(config.Data, []string{"/tmp/kraft-combined-logs"}) {
		t.Errorf("data directories %q", config.Data)
	}
	for key, want := range map[string]string{"log.retention.hours": "168", "log.segment.bytes": "1073741824", "num.partitions": "1"} {
		if config.Static[key] != want {
			t.Errorf("%s is %q, want %q", key, config.Static[key], want)
		}
	}
	if _, kept := config.Static["process.roles"]; !kept {
		t.Error("process.roles cannot be seen by Kafka's tools")
	}
	if !slices.IsSorted(config.Ignored) || !slices.Contains(config.Ignored, "process.roles") || slices.Contains(config.Ignored, "log.dirs") {
		t.Errorf("ignored %q", config.Ignored)
	}
}

func TestAVariableOfKubernetesOrOfTheCommandLineConfiguresNothing(t *testing.T) {
	config := load(t, Sources{Environ: []string{
		"TROUPE_PORT=tcp://10.0.0.1:9092", "TROUPE_PORT_9092_TCP_ADDR=10.0.0.1", "TROUPE_SERVICE_HOST=10.0.0.1",
		"TROUPE_BOOTSTRAP=other:9092",
	}})
	if len(config.Static) != 0 || len(config.Ignored) != 0 {
		t.Errorf("static %v, ignored %v", config.Static, config.Ignored)
	}
}

func TestEachMistakeIsToldWithWhereItIsAndWhatToWrite(t *testing.T) {
	flag := func(key, value string) Sources {
		return Sources{Flags: []Setting{{Key: key, Value: value, Origin: "--" + key}}}
	}
	for name, c := range map[string]struct {
		sources Sources
		want    []string
	}{
		"unknown key names the nearest":   {flag("log.retention.hour", "1"), []string{"log.retention.hour", "unknown broker configuration log.retention.hour: did you mean log.retention.hours?"}},
		"unknown key near an ignored one": {flag("num.netwrk.threads", "3"), []string{"did you mean num.network.threads?"}},
		"unknown key near nothing":        {flag("xyzzy.plugh.frobnicate", "1"), []string{`unknown broker configuration xyzzy.plugh.frobnicate: see "troupe broker --help"`}},
		"environment is named":            {Sources{Environ: []string{"TROUPE_NUM_PARTITION=1"}}, []string{"TROUPE_NUM_PARTITION", "did you mean num.partitions?"}},
		"line of the file is named":       {Sources{File: writeConfig(t, "a.properties", "# hi\n\nnum.partitons=1")}, []string{"a.properties:3:", "num.partitions"}},
		"bad value":                       {flag("num.partitions", "many"), []string{"--num.partitions", "many"}},
		"several mistakes":                {Sources{Environ: []string{"TROUPE_A=1", "TROUPE_B=2"}}, []string{"TROUPE_A", "TROUPE_B"}},
		"address without port":            {flag("listen", "localhost"), []string{"localhost", "write host:port"}},
		"port out of range":               {flag("listen", "localhost:70000"), []string{"70000", "0 to 65535"}},
		"encrypted listener":              {flag("listen", "SSL://:9093"), []string{"not SSL", "write PLAINTEXT://:9093"}},
		"two listeners":                   {flag("listen", ":9092,:9093"), []string{"2 listeners"}},
		"advertised wildcard":             {flag("advertise", "0.0.0.0:9092"), []string{"no address that a client can connect to"}},
		"an authorizer is relied on":      {flag("authorizer.class.name", "org.example.A"), []string{"checks no permissions"}},
		"data named twice":                {flag("data", "a,./a"), []string{"twice"}},
		"data empty":                      {flag("data", ""), []string{"--data ./troupe-data"}},
		"data with a hole":                {flag("data", "a,,b"), []string{"empty entry"}},
		"one port for two":                {flag("admin", "127.0.0.1:9092"), []string{"its own port"}},
		"file missing":                    {Sources{File: "/nonexistent/x.yaml"}, []string{"/nonexistent/x.yaml"}},
		"yaml set twice":                  {Sources{File: writeConfig(t, "a.yaml", "log.dirs: a\nlog: {dirs: b}")}, []string{"log.dirs is set twice"}},
		"yaml broken":                     {Sources{File: writeConfig(t, "b.yaml", "a: [")}, []string{"b.yaml"}},
		"yaml date":                       {Sources{File: writeConfig(t, "c.yaml", "num.partitions: 2001-01-01")}, []string{"put it in quotes"}},
		"properties not UTF-8":            {Sources{File: writeConfig(t, "d.properties", "a=\xff")}, []string{"not UTF-8"}},
		"file too large":                  {Sources{File: writeConfig(t, "e.properties", strings.Repeat("#", maxConfigFileBytes+1))}, []string{"bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadConfig(c.sources)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestBrokerIdIsTheOlderNameOfNodeId(t *testing.T) {
	config := load(t, Sources{File: writeConfig(t, "server.properties", "broker.id=7\n")})
	if id, ok := config.nodeID(); !ok || id != 7 || len(config.Ignored) != 0 {
		t.Errorf("id %d, %v; ignored %q", id, ok, config.Ignored)
	}
	config = load(t, Sources{File: writeConfig(t, "server.properties", "broker.id=-1\n")})
	if id, ok := config.nodeID(); ok {
		t.Errorf("id %d, want any", id)
	}
}

func TestClientsAreToldAnAddressTheyCanConnectTo(t *testing.T) {
	interfaces := func(prefixes ...string) func() ([]net.Addr, error) {
		var addresses []net.Addr
		for _, text := range prefixes {
			prefix := netip.MustParsePrefix(text)
			addresses = append(addresses, &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())})
		}
		return func() ([]net.Addr, error) { return addresses, nil }
	}
	usual := interfaces("127.0.0.1/8", "::1/128", "169.254.7.7/16", "fd00::1/64", "10.1.2.3/24", "172.17.0.1/16")
	bound := &net.TCPAddr{IP: net.IPv4zero, Port: 4711}
	for _, c := range []struct {
		listen, advertise string
		interfaces        func() ([]net.Addr, error)
		want              string
	}{
		{"127.0.0.1:0", "", usual, "127.0.0.1:4711"},
		{"localhost:9092", "", usual, "localhost:4711"},
		{":9092", "", usual, "10.1.2.3:4711"},
		{"0.0.0.0:0", "", usual, "10.1.2.3:4711"},
		{"[::]:0", "", usual, "10.1.2.3:4711"},
		{":0", "", interfaces("127.0.0.1/8"), "127.0.0.1:4711"},
		{":0", "broker.example.com", usual, "broker.example.com:4711"},
		{":0", "broker.example.com:0", usual, "broker.example.com:4711"},
		{":0", "PLAINTEXT://broker.example.com:19092", usual, "broker.example.com:19092"},
		{"[::1]:0", "", usual, "[::1]:4711"},
	} {
		flags := []Setting{{Key: "listen", Value: c.listen}}
		if c.advertise != "" {
			flags = append(flags, Setting{Key: "advertise", Value: c.advertise})
		}
		host, port, err := load(t, Sources{Flags: flags}).AdvertisedAddress(bound, c.interfaces)
		if got := net.JoinHostPort(host, fmt.Sprint(port)); err != nil || got != c.want {
			t.Errorf("listen %q, advertise %q: %s, %v; want %s", c.listen, c.advertise, got, err, c.want)
		}
	}

	broken := func() ([]net.Addr, error) { return nil, errors.New("no netlink") }
	if _, _, err := load(t, Sources{Flags: []Setting{{Key: "listen", Value: ":0"}}}).AdvertisedAddress(bound, broken); err == nil || !strings.Contains(err.Error(), "--advertise") {
		t.Errorf("without addresses: %v, want what to do", err)
	}
}
