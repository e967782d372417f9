package node_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/troupe-mq/troupe"

// mayImport is the map of the code: each package of ours, and those of ours it may import. A new
// package fails the test until it is put here on purpose. What tests import is not looked at.
//
//	floor 3   cmd/troupe, bench/*    command line and measurements
//	          cmd/node               assembles a broker out of the parts
//	floor 2   actors                 the only package that knows the actor runtime
//	floor 1   cluster/*              pure rules: values in, effects out
//	          storage                disk
//	          wire/*                 sockets
//	floor 0   wire, wire/record      words and bytes
var mayImport = map[string][]string{
	"wire":        {},
	"wire/record": {"wire"},

	"wire/kafka":             {"wire", "wire/record"},
	"wire/native":            {"wire", "wire/record"},
	"wire/native/nativetest": {"wire", "wire/record", "wire/native"},
	"wire/console":           {"wire"},
	"wire/peer":              {"wire"},
	"wire/client":            {"wire", "wire/record"},

	"storage":              {"wire", "wire/record"},
	"storage/crashfs":      {"storage"},
	"storage/faultfs":      {"storage"},
	"cluster/replica":      {"wire"},
	"cluster/group":        {"wire"},
	"cluster/metadata":     {"wire"},
	"cluster/gossip":       {"wire"},
	"cluster/bootstrap":    {"wire"},
	"cluster/sim":          {"wire", "cluster/replica", "cluster/metadata", "cluster/sim/play"},
	"cluster/sim/groups":   {"wire", "cluster/group", "cluster/sim/play"},
	"cluster/sim/play":     {},
	"cluster/sim/playtest": {"cluster/sim/play"},

	"actors": {"wire", "wire/record", "wire/peer", "storage", "cluster/replica", "cluster/group", "cluster/metadata"},

	"cmd/node": {
		"wire", "wire/record", "wire/kafka", "wire/native", "wire/console", "wire/peer",
		"storage", "cluster/replica", "cluster/metadata", "cluster/gossip", "cluster/bootstrap", "actors",
	},
	"cmd/troupe": {"wire", "wire/record", "wire/client", "storage", "cmd/node", "bench/chaos", "bench/history"},

	"bench/measure": {},
	"bench/history": {},
	"bench/testbed": {"cmd/node", "storage/crashfs"},
	"bench/chaos":   {"wire", "wire/client", "storage", "bench/history", "bench/measure", "bench/testbed"},
	"bench/floor":   {},
	"bench/load":    {"wire/client", "bench/measure", "bench/testbed", "bench/history", "bench/chaos"},
	"bench/clients": {"bench/testbed"},

	"bench/examples":             {},
	"bench/examples/atleastonce": {"wire/client"},
	"bench/examples/atmostonce":  {"wire/client"},
	"bench/examples/exactlyonce": {"wire/client"},
}

func TestPackagesImportOnlyWhatTheMapAllows(t *testing.T) {
	imports := listImports(t)
	for name, imported := range imports {
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("package %s is not in the map: add it to mayImport with what it may import", name)
			continue
		}
		for _, other := range imported {
			if !slices.Contains(allowed, other) {
				t.Errorf("%s imports %s, which the map does not allow", name, other)
			}
		}
	}
	for name := range mayImport {
		if _, exists := imports[name]; !exists {
			t.Errorf("the map has package %s, which does not exist", name)
		}
	}
}

func TestOnlyActorsImportsTheActorRuntime(t *testing.T) {
	for name, imported := range listAllImports(t) {
		for _, path := range imported {
			if strings.HasPrefix(path, "github.com/asynkron/protoactor-go") && name != "actors" {
				t.Errorf("%s imports %s: only actors may know the runtime", name, path)
			}
		}
	}
}

// listImports returns our packages, by path within the module, with those of ours they import.
func listImports(t *testing.T) map[string][]string {
	t.Helper()
	ours := map[string][]string{}
	for name, imported := range listAllImports(t) {
		ours[name] = []string{}
		for _, path := range imported {
			if inside, ok := strings.CutPrefix(path, module+"/"); ok {
				ours[name] = append(ours[name], inside)
			}
		}
	}
	return ours
}

func listAllImports(t *testing.T) map[string][]string {
	t.Helper()
	// With -e an import that cannot be found is listed as well: it is the compiler's to report.
	list := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports", module+"/...")
	var complaint bytes.Buffer
	list.Stderr = &complaint
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, complaint.String())
	}
	all := map[string][]string{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(p.ImportPath, module+"/")] = p.Imports
	}
	if len(all) == 0 {
		t.Fatal("go list found no packages")
	}
	return all
}
