package clients

import (
	"context"
	"slices"
	"testing"
)

// Codecs, in the order of their numbers in a record batch.
var codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// record is what a driver is given and gives back.
type record struct {
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Timestamp int64    `json:"timestamp"` // milliseconds since 1970
	Key       *[]byte  `json:"key"`
	Value     *[]byte  `json:"value"`
	Headers   []header `json:"headers"`
}

type header struct {
	Key   string  `json:"key"`
	Value *[]byte `json:"value"`
}

// request is one line to a driver.
type request struct {
	Op         string            `json:"op"`
	Topic      string            `json:"topic"`
	Codec      string            `json:"codec,omitempty"`
	Acks       string            `json:"acks,omitempty"`
	Idempotent bool              `json:"idempotent,omitempty"`
	Records    []record          `json:"records,omitempty"`
	Partition  int32             `json:"partition"`
	Partitions int32             `json:"partitions,omitempty"`
	From       string            `json:"from,omitempty"`
	At         int64             `json:"at,omitempty"`
	Count      int               `json:"count,omitempty"`
	Configs    map[string]string `json:"configs,omitempty"`
	Group      string            `json:"group,omitempty"`
	Assignor   string            `json:"assignor,omitempty"`
	Instance   string            `json:"instance,omitempty"`
	Instances  []string          `json:"instances,omitempty"`
	Protocol   string            `json:"protocol,omitempty"`
	Pattern    bool              `json:"pattern,omitempty"`
	Millis     int               `json:"millis,omitempty"`
}

// The protocols of groups, by the names that Kafka's clients have for them; modern is that of KIP-848.
const (
	classic = "classic"
	modern  = "consumer"
)

// answer is one line from a driver.
type answer struct {
	Error      string            `json:"error"`
	Records    []record          `json:"records"`
	Partitions int32             `json:"partitions"`
	Configs    map[string]string `json:"configs"`
}

// client is a foreign client: a driver, or something that acts as one.
type client interface {
	do(ctx context.Context, r request) (answer, error)
}

// ability is something that not every client has.
type ability string

const (
	consumes    ability = "consume without a group"
	seeksTime   ability = "consume from a timestamp"
	administers ability = "create, describe, alter and delete topics"
	grows       ability = "add partitions"
	idempotent  ability = "produce idempotently"
	stamps      ability = "choose a timestamp"
	nullHeaders ability = "write a header without a value"
	nulls       ability = "write an empty key or value that is not absent"
	tellsNulls  ability = "tell an absent key or value from an empty one"

	staticMembers ability = "be a static member of a group"
	tellsFencing  ability = "tell that another has its instance id"
	modernGroups  ability = "join a group of KIP-848"
)

// kind is a client that may be installed.
type kind struct {
	name   string
	open   func(t *testing.T, bootstrap string) client // skips, or fails, when it is not installed
	cannot map[ability]string                          // with the reason
	// openMember opens it for a group, where that differs.
	openMember func(t *testing.T, bootstrap string) client
	assignors  []string // for classic groups; range, which most have, comes first
}

func (k kind) has(assignor string) bool { return slices.Contains(k.assignors, assignor) }

func (k kind) can(a ability) bool {
	_, cannot := k.cannot[a]
	return !cannot
}

// kinds are all clients that the tests know.
var kinds = []kind{
	{
		name: "franz-go", open: openFranz, openMember: openFranzMember,
		assignors: []string{"range", "roundrobin", "sticky", "cooperative-sticky"},
	},
	{
		name: "sarama", open: openGo("sarama"),
		assignors: []string{"range", "roundrobin", "sticky"},
		cannot:    map[ability]string{modernGroups: "it speaks the classic protocol"},
	},
	{
		name: "kafka-go", open: openGo("kafka-go"),
		assignors: []string{"range", "roundrobin"},
		cannot: map[ability]string{
			modernGroups:  "it speaks the classic protocol",
			staticMembers: "it has no instance ids",
			idempotent:    "it has no idempotent producer",
			tellsNulls:    "it reads an empty key or value as an absent one",
		},
	},
	{name: "java", open: openJava, assignors: []string{"range", "roundrobin", "sticky", "cooperative-sticky"}},
	{
		name: "confluent-kafka", open: openPython("confluent"),
		assignors: []string{"range", "roundrobin", "cooperative-sticky"},
	},
	{
		name: "kafka-python", open: openPython("kafkapython"),
		assignors: []string{"range", "roundrobin", "sticky", "cooperative-sticky"},
		cannot: map[ability]string{
			modernGroups: "it speaks the classic protocol",
			nullHeaders:  "its headers are bytes",
		},
	},
	{
		name: "kafkajs", open: openKafkaJS,
		assignors: []string{"RoundRobinAssigner"}, // which is not the one of the others
		cannot: map[ability]string{
			modernGroups:  "it speaks the classic protocol",
			staticMembers: "it has no instance ids",
			consumes:      "it consumes only in a group",
			seeksTime:     "it consumes only in a group",
			nullHeaders:   "its headers are bytes",
		},
	},
	{
		name: "kcat", open: openKcat, openMember: openKcatMember,
		assignors: []string{"range", "roundrobin", "cooperative-sticky"},
		cannot: map[ability]string{
			modernGroups: "Debian's librdkafka is older than KIP-848",
			tellsFencing: "it ends without a word",
			administers:  "it has no commands for topics",
			grows:        "it has no commands for topics",
			stamps:       "it has no option for timestamps",
			nullHeaders:  "a header on its command line has a value",
			nulls:        "its input is text: -Z makes every empty one absent",
		},
	},
}

// needs is what a client has to be able to do for a test.
type needs []ability

// eachClient runs a test for each client that can do what it needs, side by side.
func eachClient(t *testing.T, what needs, run func(t *testing.T, k kind)) {
	t.Helper()
	for _, k := range kinds {
		if i := slices.IndexFunc(what, func(a ability) bool { return !k.can(a) }); i >= 0 {
			t.Logf("%s cannot %s: %s", k.name, what[i], k.cannot[what[i]])
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			run(t, k)
		})
	}
}

// eachProtocol runs a test for each client in each protocol of groups that it speaks, side by side.
func eachProtocol(t *testing.T, run func(t *testing.T, k kind, how request)) {
	t.Helper()
	for _, k := range kinds {
		hows := []request{{Protocol: classic, Assignor: k.assignors[0]}}
		if k.can(modernGroups) {
			hows = append(hows, request{Protocol: modern, Assignor: "range"})
		}
		for _, how := range hows {
			t.Run(k.name+"/"+how.Protocol, func(t *testing.T) {
				t.Parallel()
				run(t, k, how)
			})
		}
	}
}
