package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/troupe-mq/troupe/bench/testbed"
)

// durability says what an acknowledgement means.
const (
	durabilityNone  = "none"  // the page cache has it
	durabilityGroup = "group" // a shared fdatasync has covered it
)

// targetFlags choose the broker under load.
type targetFlags struct {
	bootstrap  string
	pids       []int
	binary     string
	floor      bool
	durability string
}

func (f *targetFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.bootstrap, "bootstrap", "", "load this broker instead of starting one")
	flags.IntSliceVar(&f.pids, "pid", nil, "with --bootstrap: process ids of the broker, to measure its CPU")
	f.registerBinary(flags)
	flags.BoolVar(&f.floor, "floor", false, "start the floor broker instead of Troupe")
	flags.StringVar(&f.durability, "durability", durabilityGroup, "group: acknowledged after a shared fsync; none: from the page cache")
}

// registerBinary is all of it for a scenario that starts Troupe by itself.
func (f *targetFlags) registerBinary(flags *pflag.FlagSet) {
	flags.StringVar(&f.binary, "binary", "", "troupe binary to start (default: built from this module)")
}

// target is a broker under load.
type target struct {
	name    string
	addr    string
	pids    []int
	durable bool // acknowledged means fsynced
	process *testbed.Process
	remove  []string
}

// open starts the broker, or names the one that runs already.
func (f *targetFlags) open(ctx context.Context) (*target, error) {
	if f.durability != durabilityNone && f.durability != durabilityGroup {
		return nil, fmt.Errorf("--durability %q: want %s or %s", f.durability, durabilityGroup, durabilityNone)
	}
	durable := f.durability == durabilityGroup
	if f.bootstrap != "" {
		return &target{name: "broker", addr: f.bootstrap, pids: f.pids, durable: durable}, nil
	}
	work, err := os.MkdirTemp("", "load-")
	if err != nil {
		return nil, err
	}
	t, err := f.start(ctx, work, durable)
	if err != nil {
		os.RemoveAll(work) //nolint:errcheck // the first error is the one to report
		return nil, err
	}
	t.remove = append(t.remove, work)
	return t, nil
}

func (f *targetFlags) start(ctx context.Context, work string, durable bool) (*target, error) {
	if f.floor {
		binary, err := testbed.Build(ctx, work, "bench/floor")
		if err != nil {
			return nil, err
		}
		return startFloor(ctx, binary, work, durable)
	}
	binary, err := f.troupe(ctx, work)
	if err != nil {
		return nil, err
	}
	return startTroupe(ctx, binary, work, durable)
}

// troupe returns the binary to start, which it builds into work unless one was named.
func (f *targetFlags) troupe(ctx context.Context, work string) (string, error) {
	if f.binary != "" {
		return filepath.Abs(f.binary)
	}
	return testbed.Build(ctx, work, "cmd/troupe")
}

// startTroupe runs Troupe on a new directory below work.
func startTroupe(ctx context.Context, binary, work string, durable bool) (*target, error) {
	data, err := os.MkdirTemp(work, "troupe-")
	if err != nil {
		return nil, err
	}
	process, err := testbed.StartProcess(ctx, binary, testbed.BrokerArgs(data)...)
	if err != nil {
		return nil, err
	}
	return &target{
		name: "troupe", addr: process.Kafka(), pids: []int{process.PID()},
		durable: durable, process: process, remove: []string{data},
	}, nil
}

// startFloor runs the floor broker on a new directory below work.
func startFloor(ctx context.Context, binary, work string, durable bool) (*target, error) {
	data, err := os.MkdirTemp(work, "floor-")
	if err != nil {
		return nil, err
	}
	durability := durabilityNone
	if durable {
		durability = durabilityGroup
	}
	process, err := testbed.StartProcess(ctx, binary, "-data", data, "-durability", durability)
	if err != nil {
		return nil, err
	}
	return &target{
		name: "floor", addr: process.Kafka(), pids: []int{process.PID()},
		durable: durable, process: process, remove: []string{data},
	}, nil
}

// topicConfigs is what a topic needs so that an acknowledgement means what was asked for. Troupe
// fixes the durability of a topic when it is created; other brokers have no such key.
func (t *target) topicConfigs() map[string]*string {
	if t.name == "floor" || t.durable {
		return nil
	}
	replicated := "replicated"
	return map[string]*string{"durability": &replicated}
}

// close ends the broker, if it is ours, and removes what it wrote.
func (t *target) close() {
	if t.process != nil {
		t.process.Kill()
	}
	for _, path := range t.remove {
		os.RemoveAll(path) //nolint:errcheck // a temporary directory; the next run has another
	}
}

// explain adds what the broker said last to an error of a run.
func (t *target) explain(err error) error {
	if err == nil || t.process == nil || t.process.Log() == "" {
		return err
	}
	return fmt.Errorf("%w\n%s: %s", err, t.name, t.process.Log())
}
