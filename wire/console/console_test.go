package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/troupe-mq/troupe/wire"
)

// fakeBroker is a Source whose cluster the test makes up.
type fakeBroker struct {
	notReady error
	view     wire.View
	offsets  map[wire.TopicPartition]Offsets
	configs  []wire.ConfigEntry
	cluster  wire.ClusterDescription
}

func (b *fakeBroker) Ready() error            { return b.notReady }
func (b *fakeBroker) BrokerID() wire.BrokerID { return 1 }
func (b *fakeBroker) View() wire.View         { return b.view }
func (b *fakeBroker) Offsets(id wire.TopicID, partition int32) (Offsets, bool) {
	offsets, ok := b.offsets[wire.TopicPartition{Topic: id, Partition: partition}]
	return offsets, ok
}

func (b *fakeBroker) TopicConfigs(string) []wire.ConfigEntry { return b.configs }

func (b *fakeBroker) Cluster() wire.ClusterDescription { return b.cluster }

// fakeView is metadata in which every partition has the same state.
type fakeView struct {
	topics    []wire.Topic
	partition wire.Partition
}

func (v *fakeView) ClusterID() string         { return "MkU3OEVBNTcwNTJENDM2Qg" }
func (v *fakeView) Controller() wire.BrokerID { return 1 }
func (v *fakeView) Brokers() []wire.Broker {
	return []wire.Broker{{ID: 1, Host: "127.0.0.1", Port: 9092}}
}

func (v *fakeView) TopicByID(wire.TopicID) (wire.Topic, bool) { return wire.Topic{}, false }

func (v *fakeView) Partition(wire.TopicID, int32) (wire.Partition, bool) { return v.partition, true }

func (v *fakeView) Topic(name string) (wire.Topic, bool) {
	for _, topic := range v.topics {
		if topic.Name == name {
			return topic, true
		}
	}
	return wire.Topic{}, false
}

func (v *fakeView) TopicNames() []string {
	var names []string
	for _, topic := range v.topics {
		names = append(names, topic.Name)
	}
	return names
}

func newFakeBroker() *fakeBroker {
	orders, access := wire.TopicID{1}, wire.TopicID{2}
	return &fakeBroker{
		view: &fakeView{
			topics: []wire.Topic{
				{Name: "access-log", ID: access, Partitions: 6},
				{Name: "orders", ID: orders, Partitions: 1},
			},
			partition: wire.Partition{Leader: 1, LeaderEpoch: 4, Replicas: []wire.BrokerID{1}, ISR: []wire.BrokerID{1}},
		},
		cluster: wire.ClusterDescription{
			Brokers: []wire.ClusterBroker{{Broker: wire.Broker{ID: 1, Host: "127.0.0.1", Port: 9092}, ClusterAddress: "127.0.0.1:7946", Standing: wire.BrokerOnline}},
			Quorum:  wire.Quorum{Leader: 1, Voters: []wire.QuorumMember{{Broker: 1}}},
		},
		offsets: map[wire.TopicPartition]Offsets{
			{Topic: orders, Partition: 0}: {LogStart: 1000, HighWatermark: 1235567, Bytes: 5 << 19},
		},
	}
}

// serve starts a console on a free port of loopback and returns its address.
func serve(t *testing.T, source Source) string {
	t.Helper()
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "troupe_test_total", Help: "Counts."})
	registry.MustRegister(counter)
	config := DefaultConfig()
	config.Version = "v1.2.3"
	console, err := New(source, registry, slog.New(slog.DiscardHandler), config)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- console.Serve(listener) }()
	t.Cleanup(func() {
		if err := console.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Serve ended with %v after Shutdown", err)
		}
	})
	return listener.Addr().String()
}

// get returns status, headers and body of an answer.
func get(t *testing.T, request *http.Request) (int, http.Header, string) {
	t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(body)
}

func request(t *testing.T, method, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEachPathAnswersWhatItPromises(t *testing.T) {
	address := serve(t, newFakeBroker())
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/healthz", 200, "ok\n"},
		{"/readyz", 200, "ready\n"},
		{"/metrics", 200, "troupe_test_total 0"},
		{"/debug/pprof/", 200, "goroutine"},
		{"/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
		{"/console.css", 200, "color-scheme"},
		{"/", 200, "MkU3OEVBNTcwNTJENDM2Qg"},
		{"/", 200, "v1.2.3"},
		{"/", 200, `<a href="/topics/access-log">access-log</a>`},
		{"/", 200, "1\u202f234\u202f567"},
		{"/?filter=ord", 200, "1 of 2"},
		{"/?filter=nothing", 200, "No topic has “nothing” in its name."},
		{"/topics/orders", 200, "1\u202f235\u202f567"},
		{"/", 200, "2.5\u00a0MiB"},
		{"/topics/orders", 200, "2.5\u00a0MiB"},
		{"/topics/orders", 200, "Every key has its default."},
		{"/topics/access-log", 200, "not led here"},
		{"/topics/missing", 404, "no topic <code>missing</code>"},
		{"/elsewhere", 404, "not found"},
	} {
		status, _, body := get(t, request(t, http.MethodGet, "http://"+address+c.path))
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("GET %s: %d, want %d with %q in\n%s", c.path, status, c.status, c.want, body)
		}
	}
}

func TestATopicWithoutLeaderIsMarkedOffline(t *testing.T) {
	broker := newFakeBroker()
	broker.view.(*fakeView).partition.Leader, broker.offsets = wire.NoBroker, nil
	address := serve(t, broker)
	for path, want := range map[string]string{
		"/":              `<span class="bad">1 offline: no leader</span>`,
		"/topics/orders": `<td class="n bad" colspan="3">offline</td>`,
	} {
		if _, _, body := get(t, request(t, http.MethodGet, "http://"+address+path)); !strings.Contains(body, want) {
			t.Errorf("%s is without %s:\n%s", path, want, body)
		}
	}
}

func TestTheTopicPageShowsWhatIsNoDefault(t *testing.T) {
	broker := newFakeBroker()
	own, given := "1000", "1"
	broker.configs = []wire.ConfigEntry{
		{Name: "retention.ms", Value: &own, Source: wire.SourceDynamicTopic},
		{Name: "min.insync.replicas", Value: &given, Source: wire.SourceDefault},
		{Name: "secret", Sensitive: true, Source: wire.SourceStaticBroker},
	}
	address := serve(t, broker)
	_, _, body := get(t, request(t, http.MethodGet, "http://"+address+"/topics/orders"))
	for _, want := range []string{
		"<code>retention.ms</code></td><td><code>1000</code></td><td>this topic</td>",
		"<code>secret</code></td><td>hidden</td><td>this broker, at its start</td>",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page is without %s:\n%s", want, body)
		}
	}
	if strings.Contains(body, "min.insync.replicas") {
		t.Error("the page shows a default")
	}
}

// Whatever a page links to is there.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	address := serve(t, newFakeBroker())
	links := regexp.MustCompile(`href="([^"]+)"`)
	for _, path := range []string{"/", "/topics/orders", "/topics/missing"} {
		_, _, body := get(t, request(t, http.MethodGet, "http://"+address+path))
		for _, link := range links.FindAllStringSubmatch(body, -1) {
			if status, _, _ := get(t, request(t, http.MethodGet, "http://"+address+link[1])); status != http.StatusOK {
				t.Errorf("%s links to %s: %d", path, link[1], status)
			}
		}
	}
}

func TestReadyzTellsWhyTheBrokerDoesNotServe(t *testing.T) {
	broker := newFakeBroker()
	broker.notReady, broker.view = errors.New("recovering 3 of 10 partitions"), nil
	address := serve(t, broker)
	status, _, body := get(t, request(t, http.MethodGet, "http://"+address+"/readyz"))
	if status != http.StatusServiceUnavailable || body != "not ready: recovering 3 of 10 partitions\n" {
		t.Errorf("readyz: %d %q", status, body)
	}
	if status, _, _ := get(t, request(t, http.MethodGet, "http://"+address+"/healthz")); status != http.StatusOK {
		t.Errorf("healthz: %d while the process answers", status)
	}
	for path, want := range map[string]int{"/": 200, "/topics/orders": 503} {
		status, _, body := get(t, request(t, http.MethodGet, "http://"+address+path))
		if status != want || !strings.Contains(body, "recovering 3 of 10 partitions") {
			t.Errorf("%s before there is metadata: %d\n%s", path, status, body)
		}
	}
}

func TestWhatStrangersNamedIsEscaped(t *testing.T) {
	const evil = `<script>alert("x")</script>`
	broker := newFakeBroker()
	broker.view.(*fakeView).topics[0].Name = evil
	broker.notReady = errors.New(evil)
	address := serve(t, broker)
	for _, path := range []string{"/", "/?filter=%3Cscript%3E", "/topics/%3Cscript%3E", "/topics/%3Cscript%3Ealert(%22x%22)%3C%2Fscript%3E"} {
		_, _, body := get(t, request(t, http.MethodGet, "http://"+address+path))
		if strings.Contains(body, "<script") {
			t.Errorf("%s contains a script:\n%s", path, body)
		}
	}
}

func TestBrowsersAreToldToRunAndFrameNothing(t *testing.T) {
	address := serve(t, newFakeBroker())
	_, header, _ := get(t, request(t, http.MethodGet, "http://"+address+"/"))
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'",
		"X-Content-Type-Options":  "nosniff",
		"X-Frame-Options":         "DENY",
		"Cache-Control":           "no-store",
	} {
		if !strings.Contains(header.Get(name), want) {
			t.Errorf("%s is %q, want %q in it", name, header.Get(name), want)
		}
	}
}

func TestNothingCanBeChanged(t *testing.T) {
	address := serve(t, newFakeBroker())
	for _, path := range []string{"/", "/healthz", "/metrics", "/topics/orders", "/debug/pprof/"} {
		if status, _, _ := get(t, request(t, http.MethodPost, "http://"+address+path)); status != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d, want %d", path, status, http.StatusMethodNotAllowed)
		}
	}
}

func TestOnLoopbackAForeignNameIsRefused(t *testing.T) {
	address := serve(t, newFakeBroker())
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{
		address:                    200,
		"localhost:" + port:        200,
		"localhost":                200,
		"[::1]:" + port:            200,
		"evil.example.com":         421,
		"evil.example.com:" + port: 421,
		"localhost.example.com":    421,
	} {
		r := request(t, http.MethodGet, "http://"+address+"/")
		r.Host = host
		if status, _, _ := get(t, r); status != want {
			t.Errorf("Host %s: %d, want %d", host, status, want)
		}
	}
}

func TestAPageIsBoundedHoweverManyTopicsThereAre(t *testing.T) {
	broker := newFakeBroker()
	view := broker.view.(*fakeView)
	for i := range maxRows + 5 {
		view.topics = append(view.topics, wire.Topic{Name: fmt.Sprintf("many-%04d", i), Partitions: 1})
	}
	view.topics[0].Partitions = maxRows + 5
	address := serve(t, broker)
	_, _, body := get(t, request(t, http.MethodGet, "http://"+address+"/?filter=many-"))
	if rows := strings.Count(body, `href="/topics/`); rows != maxRows {
		t.Errorf("%d rows, want %d", rows, maxRows)
	}
	if !strings.Contains(body, "These are the first 1\u202f000 of 1\u202f005.") {
		t.Error("the page does not say that there are more")
	}
	_, _, body = get(t, request(t, http.MethodGet, "http://"+address+"/topics/access-log"))
	if !strings.Contains(body, "troupe topic describe access-log") {
		t.Error("the topic's page does not say how to see all partitions")
	}
}
