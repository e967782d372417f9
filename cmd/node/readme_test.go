package node_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/wire/kafka"
)

// The README tells what is answered. It must not lag behind the code.
func TestTheREADMEListsWhatIsAdvertised(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| Key | API | Versions |\n|---|---|---|\n")
	for _, a := range kafka.APIs() {
		note := ""
		if a.Name == "Produce" {
			note = " (0 to 2 are refused: they are advertised because old clients look for them)"
		}
		fmt.Fprintf(&table, "| %d | %s | %d to %d%s |\n", a.Key, a.Name, a.Min, a.Max, note)
	}
	if !strings.Contains(string(readme), table.String()) {
		t.Fatalf("the README's table of APIs should be:\n%s", table.String())
	}
}
