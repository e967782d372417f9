package client

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// What org.apache.kafka.common.utils.Utils.murmur2 returns for these keys.
func TestKeysAreHashedAsTheJavaClientHashesThem(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestKeysGoWhereAnotherKafkaClientSendsThem(t *testing.T) {
	other := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	random := rand.New(rand.NewPCG(1, 2))
	for length := range 200 {
		key := make([]byte, length)
		for i := range key {
			key[i] = byte(random.Uint32())
		}
		for _, n := range []int32{1, 2, 3, 6, 100, 10_000} {
			want := other.Partition(&kgo.Record{Key: key}, int(n))
			if got := ByKey(Record{Key: key}, n); int(got) != want {
				t.Fatalf("key % x of %d partitions goes to %d, want %d", key, n, got, want)
			}
		}
	}
}

func TestOnlyRecordsWithoutAKeyGoAnywhere(t *testing.T) {
	if got := ByKey(Record{}, 7); got != Any {
		t.Errorf("no key: partition %d", got)
	}
	if got := ByKey(Record{Key: []byte{}}, 7); got == Any {
		t.Error("an empty key is no key")
	}
}

func TestRoundRobinTakesTurnsInEachTopic(t *testing.T) {
	p := RoundRobin()
	var got []byte
	for i := range 12 {
		topic := "a"
		if i%4 == 3 {
			topic = "b"
		}
		got = append(got, topic[0], '0'+byte(p(Record{Topic: topic, Key: []byte("same")}, 3)))
	}
	if want := []byte("a0a1a2b0a0a1a2b1a0a1a2b2"); !bytes.Equal(got, want) {
		t.Errorf("records went to %s, want %s", got, want)
	}
}
