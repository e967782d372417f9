package node_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"testing"

	"github.com/troupe-mq/troupe/cmd/node"
	"github.com/troupe-mq/troupe/storage/crashfs"
)

// editJSON changes fields of a small file, which may not be there yet.
func editJSON(t *testing.T, disk *crashfs.FS, name string, fields map[string]any) map[string]any {
	t.Helper()
	f, err := disk.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	content, all := make([]byte, size), map[string]any{}
	if size > 0 {
		if _, err := f.ReadAt(content, 0); err != nil {
			t.Fatal(err)
		}
		numbers := json.NewDecoder(bytes.NewReader(content))
		numbers.UseNumber() // some have 64 bits
		if err := numbers.Decode(&all); err != nil {
			t.Fatal(err)
		}
	}
	maps.Copy(all, fields)
	if content, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(int64(len(content))); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAFoundingThatWasInterruptedGoesOnWithTheSameCluster(t *testing.T) {
	for name, metadataLog := range map[string]bool{"before its metadata log was made": false, "after that": true} {
		t.Run(name, func(t *testing.T) {
			disk := founded(t, "/a")
			meta := editJSON(t, disk, "/a/meta.json", nil)
			cluster := meta["cluster_id"].(string)
			// As it was when it was interrupted.
			editJSON(t, disk, "/a/meta.json", map[string]any{"cluster_id": ""})
			editJSON(t, disk, "/a/beginning.json", map[string]any{"cluster_id": cluster, "directory_id": meta["directory_id"], "founding": true})
			if !metadataLog {
				if err := disk.RemoveAll("/a/__cluster_metadata"); err != nil {
					t.Fatal(err)
				}
			}
			n, err := node.Start(t.Context(), joining("127.0.0.1:1"), options(t, disk)) // nobody is asked any more
			if err != nil {
				t.Fatal(err)
			}
			stopBroker(t, n)
			if n.Ready().ClusterID != cluster {
				t.Errorf("cluster %s became %s", cluster, n.Ready().ClusterID)
			}
			if _, err := disk.Stat("/a/beginning.json"); err == nil {
				t.Error("the founding has not ended")
			}
		})
	}
}

func TestTheBeginningOfAnotherDirectorySaysNothing(t *testing.T) {
	disk := crashfs.New()
	if err := disk.MkdirAll("/a", 0o755); err != nil {
		t.Fatal(err)
	}
	editJSON(t, disk, "/a/beginning.json", map[string]any{"cluster_id": "another", "directory_id": "another", "founding": true})
	n := startBroker(t, disk)
	if n.Ready().ClusterID == "another" {
		t.Error("it founded a cluster that was another's")
	}
}
