package console

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/troupe-mq/troupe/wire"
)

// serveChaos starts a console that ends actors, and tells which.
func serveChaos(t *testing.T, token string, killed *[]string) string {
	t.Helper()
	config := DefaultConfig()
	config.ChaosToken = token
	config.Kill = func(actor, how string) error {
		switch {
		case how != "panic" && how != "stop":
			return wire.Errorf(wire.InvalidRequest, "how?")
		case actor == "replica/gone/0":
			return wire.Errorf(wire.UnknownTopicOrPartition, "there is none")
		}
		*killed = append(*killed, actor+" "+how)
		return nil
	}
	console, err := New(newFakeBroker(), prometheus.NewRegistry(), slog.New(slog.DiscardHandler), config)
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
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// kill posts a request and returns the status.
func kill(t *testing.T, address, authorization, body string) int {
	t.Helper()
	r := request(t, http.MethodPost, "http://"+address+"/chaos/kill")
	r.Body = io.NopCloser(strings.NewReader(body))
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	status, _, _ := get(t, r)
	return status
}

func TestActorsAreEndedByWhoHasTheToken(t *testing.T) {
	var killed []string
	address := serveChaos(t, "secret", &killed)
	const whole = `{"actor": "controller", "how": "panic"}`
	for _, c := range []struct {
		authorization, body string
		want                int
	}{
		{"Bearer secret", whole, 200},
		{"Bearer secret", `{"how":"stop","actor":"replica/orders/3"}`, 200},
		{"", whole, 401},
		{"Bearer", whole, 401},
		{"Bearer ", whole, 401},
		{"Bearer secrets", whole, 401},
		{"Basic secret", whole, 401},
		{"secret", whole, 401},
		{"bearer secret", whole, 401},
		{"Bearer secret", ``, 400},
		{"Bearer secret", `controller`, 400},
		{"Bearer secret", `{"actor": "controller", "how": "softly"}`, 400},
		{"Bearer secret", `{"actor": "controller", "how": "stop", "when": "now"}`, 400},
		{"Bearer secret", whole + whole, 400},
		{"Bearer secret", `{"actor": "` + strings.Repeat("x", maxKillBytes) + `", "how": "stop"}`, 400},
		{"Bearer secret", `{"actor": "replica/gone/0", "how": "stop"}`, 409},
	} {
		if got := kill(t, address, c.authorization, c.body); got != c.want {
			t.Errorf("%q, %.60s: %d, want %d", c.authorization, c.body, got, c.want)
		}
	}
	if got := strings.Join(killed, ", "); got != "controller panic, replica/orders/3 stop" {
		t.Errorf("killed: %s", got)
	}
	if status, _, _ := get(t, request(t, http.MethodGet, "http://"+address+"/chaos/kill")); status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", status)
	}
}

func TestNobodyEndsActorsWithoutATokenBeingSet(t *testing.T) {
	var killed []string
	address := serveChaos(t, "", &killed)
	for _, authorization := range []string{"", "Bearer ", "Bearer x"} {
		if got := kill(t, address, authorization, `{"actor": "controller", "how": "panic"}`); got != http.StatusNotFound || killed != nil {
			t.Errorf("%q: %d, killed %v", authorization, got, killed)
		}
	}
}

func TestTheOverviewSumsUpBrokersAndPartitions(t *testing.T) {
	broker := newFakeBroker()
	broker.view.(*fakeView).partition = wire.Partition{Leader: 2, Replicas: []wire.BrokerID{2, 1, 3}, ISR: []wire.BrokerID{2}, Adding: []wire.BrokerID{3}}
	broker.cluster.Brokers = append(broker.cluster.Brokers,
		wire.ClusterBroker{Broker: wire.Broker{ID: 2, Host: "b2", Port: 9, Rack: "r2"}, ClusterAddress: "b2:7946", Standing: wire.BrokerShuttingDown},
		wire.ClusterBroker{Broker: wire.Broker{ID: 3, Host: "b3", Port: 9}, Standing: wire.BrokerFenced})
	_, _, body := get(t, request(t, http.MethodGet, "http://"+serve(t, broker)+"/"))
	for _, want := range []string{
		`<dt>Partitions</dt><dd>7</dd>`,
		`<dt>Under-replicated</dt><dd><span class="warn">7</span></dd>`,
		`<dt>Offline</dt><dd>0</dd>`,
		`<td>127.0.0.1:7946</td><td></td><td class="n">0</td><td class="n">7</td><td><span class="good">online</span> <small>voter</small></td>`,
		`<td>b2:7946</td><td>r2</td><td class="n">7</td><td class="n">7</td><td><span class="warn">shutting down</span></td>`,
		`<span class="bad">fenced</span>`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page is without %s:\n%s", want, body)
		}
	}
}
