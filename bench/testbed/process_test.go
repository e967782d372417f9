package testbed

import (
	"net"
	"os"
	"strings"
	"testing"
)

func TestABrokerStartsAndEndsByWhatAnyScriptMayKnow(t *testing.T) {
	floor, err := Build(t.Context(), t.TempDir(), "bench/floor")
	if err != nil {
		t.Fatal(err)
	}
	p, err := StartProcess(t.Context(), floor)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", p.Kafka())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	data := p.Ready("data")
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Fatalf("the temporary directory %s was left behind", data)
	}
}

func TestABrokerThatEndsBeforeItServesIsAnErrorWithItsReason(t *testing.T) {
	floor, err := Build(t.Context(), t.TempDir(), "bench/floor")
	if err != nil {
		t.Fatal(err)
	}
	_, err = StartProcess(t.Context(), floor, "-durability", "eternal")
	if err == nil || !strings.Contains(err.Error(), "eternal") {
		t.Fatalf("got %v", err)
	}
}

func TestOnlyAReadyLineWithAnAddressIsReady(t *testing.T) {
	for _, line := range []string{"", "hello\n", "ready\n", "ready kafka\n", "ready data=/tmp\n"} {
		if _, err := parseReady(line); err == nil {
			t.Errorf("%q was accepted", line)
		}
	}
	values, err := parseReady("ready kafka=127.0.0.1:9092 data=/tmp/a=b broker_id=1\n")
	if err != nil || values["kafka"] != "127.0.0.1:9092" || values["data"] != "/tmp/a=b" {
		t.Fatalf("got %v, %v", values, err)
	}
}

func TestTheTailKeepsTheLastWholeLines(t *testing.T) {
	var tl tail
	for range 5000 {
		if _, err := tl.Write([]byte("0123456789\n")); err != nil {
			t.Fatal(err)
		}
	}
	got := tl.String()
	if len(got) > tailBytes || len(got) < tailBytes-20 || !strings.HasPrefix(got, "0123456789\n") {
		t.Fatalf("%d bytes kept, beginning %q", len(got), got[:20])
	}
}
