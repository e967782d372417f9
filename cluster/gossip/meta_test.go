package gossip

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestWhatAMemberTellsOfItselfIsSmallAndReadBack(t *testing.T) {
	cfg := Config{
		ClusterID: strings.Repeat("c", 22), Advertise: netip.MustParseAddrPort("10.1.2.3:7946"),
		Self: Member{Broker: 1<<31 - 1, Directory: strings.Repeat("d", 22), Incarnation: 1<<64 - 1, RecoveryEpoch: 7, Address: "broker-17.troupe.svc.cluster.local:7946"},
	}
	meta := encodeMeta(cfg)
	if len(meta) > maxMetaBytes {
		t.Errorf("%d bytes, want at most %d", len(meta), maxMetaBytes)
	}
	cluster, m, err := decodeMeta(append(meta, "what a later version appends"...))
	if err != nil || cluster != cfg.ClusterID || m != cfg.Self {
		t.Errorf("read back %q %+v, %v", cluster, m, err)
	}
	for n := range meta {
		if _, _, err := decodeMeta(meta[:n]); err == nil {
			t.Errorf("cut after %d bytes it is still believed", n)
		}
	}
}

func FuzzDecodeMeta(f *testing.F) {
	f.Add(encodeMeta(Config{ClusterID: "c", Self: Member{Broker: 3, Directory: "d", Incarnation: 9, Address: "h:1"}}))
	f.Add([]byte{})
	f.Add([]byte{1, 255, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		cluster, m, err := decodeMeta(b)
		if err == nil && (cluster == "" || m.Directory == "" || m.Broker < 0) {
			t.Errorf("believed %q %+v", cluster, m)
		}
	})
}

func TestKeysAreReadFromAFile(t *testing.T) {
	long, short := base64.StdEncoding.EncodeToString(make([]byte, 32)), base64.StdEncoding.EncodeToString(make([]byte, 16))
	keys, err := ParseKeys("# rotated in May\n" + long + "\n\n  " + short + "\r\n")
	if err != nil || len(keys) != 2 || len(keys[0]) != 32 || len(keys[1]) != 16 {
		t.Errorf("%v, %v", keys, err)
	}
	if again, err := ParseKeys(FormatKeys(keys)); err != nil || !slices.EqualFunc(again, keys, bytes.Equal) {
		t.Errorf("written and read again: %v, %v", again, err)
	}
	for name, text := range map[string]string{
		"nothing": "# nothing\n", "no base64": "secret!\n", "another length": "AAAA\n", "too many": strings.Repeat(long+"\n", maxKeys+1),
	} {
		if _, err := ParseKeys(text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
