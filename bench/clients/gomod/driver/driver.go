// Package driver is the side of a foreign Go client that speaks with the tests: JSON lines on
// standard input and output, as package bench/clients describes them.
package driver

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"time"
)

// Timeout is for one request of a client to the broker.
const Timeout = 30 * time.Second

// What members of groups tell the coordinator.
const (
	SessionTimeout    = 6 * time.Second
	HeartbeatInterval = 500 * time.Millisecond
)

// Record is a record as the tests give it and expect it.
type Record struct {
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Timestamp int64    `json:"timestamp"`
	Key       *[]byte  `json:"key"`
	Value     *[]byte  `json:"value"`
	Headers   []Header `json:"headers"`
}

// Header is a header of a record.
type Header struct {
	Key   string  `json:"key"`
	Value *[]byte `json:"value"`
}

// Request is one line from the tests.
type Request struct {
	Op         string            `json:"op"`
	Topic      string            `json:"topic"`
	Codec      string            `json:"codec"`
	Acks       string            `json:"acks"`
	Idempotent bool              `json:"idempotent"`
	Records    []Record          `json:"records"`
	Partition  int32             `json:"partition"`
	Partitions int32             `json:"partitions"`
	From       string            `json:"from"`
	At         int64             `json:"at"`
	Count      int               `json:"count"`
	Configs    map[string]string `json:"configs"`
	Group      string            `json:"group"`
	Assignor   string            `json:"assignor"`
	Instance   string            `json:"instance"`
	Millis     int               `json:"millis"`
}

// Answer is one line to the tests.
type Answer struct {
	Error      string            `json:"error,omitempty"`
	Records    []Record          `json:"records,omitempty"`
	Partitions int32             `json:"partitions,omitempty"`
	Configs    map[string]string `json:"configs,omitempty"`
}

// Client is a client library under test.
type Client interface {
	Produce(r Request) error
	Consume(r Request) ([]Record, error)
	Create(r Request) error
	Describe(r Request) (partitions int32, configs map[string]string, err error)
	Alter(r Request) error
	Grow(r Request) error
	Delete(r Request) error

	// Join makes the client a member of a group; Poll returns what it reads within some milliseconds, once that is
	// committed; Leave ends its membership.
	Join(r Request) error
	Poll(r Request) ([]Record, error)
	Leave() error
}

// Run says hello and answers until standard input ends. The bootstrap address is os.Args[1].
func Run(name, modulePath string, c Client) {
	fmt.Printf("{\"client\": %q, \"version\": %q}\n", name, version(modulePath))
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var r Request
		var a Answer
		err := json.Unmarshal(in.Bytes(), &r)
		if err == nil {
			a, err = answer(c, r)
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			os.Exit(1)
		}
	}
}

func answer(c Client, r Request) (a Answer, err error) {
	switch r.Op {
	case "produce":
		err = c.Produce(r)
	case "consume":
		a.Records, err = c.Consume(r)
	case "create":
		err = c.Create(r)
	case "describe":
		a.Partitions, a.Configs, err = c.Describe(r)
	case "alter":
		err = c.Alter(r)
	case "grow":
		err = c.Grow(r)
	case "delete":
		err = c.Delete(r)
	case "join":
		err = c.Join(r)
	case "poll":
		a.Records, err = c.Poll(r)
	case "leave":
		err = c.Leave()
	default:
		err = fmt.Errorf("unknown op %q", r.Op)
	}
	return a, err
}

func version(modulePath string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == modulePath {
			return m.Version
		}
	}
	return "unknown"
}

// Bytes returns what b points to, and nil for null.
func Bytes(b *[]byte) []byte {
	if b == nil {
		return nil
	}
	if *b == nil {
		return []byte{}
	}
	return *b
}

// Null returns null for nil.
func Null(b []byte) *[]byte {
	if b == nil {
		return nil
	}
	return &b
}
