package sim

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/cluster/sim/play"
	"github.com/troupe-mq/troupe/wire"
)

var update = flag.Bool("update", false, "rewrite the golden texts")

// A script is a cluster of three brokers without any accidents: what happens to it is written down.
// Below each command stands what came of it. The commands:
//
//	produce B N      broker B takes N batches of one record, with acks=1, if it leads
//	kill B, start B  as kill -9
//	cut A-B, mend A-B
//	deaf B, hears B  broker B and the controller hear nothing of each other
//	wait D           time passes
//	show             what everybody has
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			played := playScript(t, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(played), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if played != string(text) {
				t.Errorf("something else comes of it now (-update rewrites the text):\n%s", played)
			}
		})
	}
}

// told is what a script's text shows of the trace.
var told = regexp.MustCompile(`p0: (leads|follows|proposes|cuts|was refused)|controller: p0|VIOLATION`)

func playScript(t *testing.T, text string) string {
	var trace, played bytes.Buffer
	w := &World{Stage: play.New(1, 1, &trace, traceColumn)}
	w.profile = quiet(&Profile{MaxLag: 10 * time.Second, Window: 1000, Faults: time.Hour, FaultEvery: time.Hour})
	w.profile.Producers = 0
	w.found()
	w.Until(time.Second)
	trace.Reset()
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "\t") {
			continue
		}
		played.WriteString(line)
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		w.obey(t, words, &played)
		for line := range strings.Lines(trace.String()) {
			if told.MatchString(line) {
				fmt.Fprintf(&played, "\t%s", strings.Join(strings.Fields(line)[1:], " ")+"\n")
			}
		}
		trace.Reset()
	}
	if violation := w.Outcome().Violation; violation != "" {
		t.Error(violation)
	}
	return played.String()
}

func (w *World) obey(t *testing.T, words []string, out *bytes.Buffer) {
	number := func(word string) int {
		n, err := strconv.Atoi(word)
		if err != nil {
			t.Fatalf("%q: %v", words, err)
		}
		return n
	}
	machine := func() *machine { return w.machines[number(words[1])-1] }
	between := func() *link {
		a, b, _ := strings.Cut(words[1], "-")
		return w.machines[number(a)-1].links[wire.BrokerID(number(b))]
	}
	switch words[0] {
	case "produce":
		p := &producer{w: w, id: -1, acks: wire.AcksLeader, leader: wire.NoBroker}
		for range number(words[2]) {
			machine().process.produce(&request{of: p, b: batch{producer: -1, count: 1}})
		}
	case "kill":
		machine().stop("is killed")
	case "start":
		machine().start(false)
	case "cut":
		between().cut = true
		between().down()
	case "mend":
		between().cut = false
	case "deaf", "hears":
		machine().cutOff = words[0] == "deaf"
	case "wait":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			t.Fatal(err)
		}
		w.Until(w.Now() + d)
	case "show":
		w.show(out)
	default:
		t.Fatalf("no command is called %q", words[0])
	}
}

func (w *World) show(out *bytes.Buffer) {
	state := w.controller.partition(0)
	fmt.Fprintf(out, "\t%s\n", describePartition(0, &state))
	for _, m := range w.machines {
		c := &m.disks[0].cache
		var epochs []string
		for i, b := range c.batches {
			if i == 0 || c.batches[i-1].epoch != b.epoch {
				epochs = append(epochs, fmt.Sprintf("epoch %d from %d", b.epoch, b.base))
			}
		}
		if len(epochs) == 0 {
			epochs = []string{"nothing"}
		}
		fmt.Fprintf(out, "\tbroker %d: [%d, %d), %s", m.id, c.start, c.end, strings.Join(epochs, ", "))
		if m.process != nil && m.process.replicas[0] != nil {
			fmt.Fprintf(out, "; high watermark %d", m.process.replicas[0].watermark)
		}
		fmt.Fprintln(out)
	}
}
