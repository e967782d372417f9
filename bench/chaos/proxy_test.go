package chaos

import (
	"testing"
	"time"

	"github.com/troupe-mq/troupe/bench/testbed"
)

func TestLinesThatAreSlowStandStillAndBreakHarmNoRecord(t *testing.T) {
	dir := t.TempDir()
	binary, err := testbed.Build(t.Context(), dir, "cmd/troupe")
	if err != nil {
		t.Fatal(err)
	}
	stage, err := Open(t.Context(), StageConfig{
		Cluster: testbed.ClusterConfig{Binary: binary, Dir: dir, Brokers: 3, Proxied: true},
		Load:    LoadConfig{Topic: topic, Partitions: 3, Libraries: []Library{Kafka{}, Native{}}, Rate: 150, Size: 100, Tail: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stage.Close)
	goesOn := func(what string) {
		t.Helper()
		if err := stage.AwaitClients(t.Context(), nil, stage.Now(), patience); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	goesOn("calm")
	for _, m := range stage.Cluster.Members {
		m.Proxy().Delay(testbed.ToBroker, 5*time.Millisecond)
	}
	goesOn("slow lines")
	for _, m := range stage.Cluster.Members {
		m.Proxy().Break()
		goesOn("a line that broke")
	}
	for _, m := range stage.Cluster.Members {
		m.Proxy().Heal()
	}
	one := stage.Cluster.Members[1].Proxy()
	one.Stop(testbed.ToBroker)
	goesOn("a line that stands still")
	one.Heal()
	if err := stage.Finish(t.Context(), t.Logf); err != nil {
		t.Fatal(err)
	}
	for _, witness := range stage.Found.Witnesses {
		t.Error(witness)
	}
}
