package node

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/kafka"
)

// kafkaConfig is the Kafka listener's part of the configuration.
func (n *Node) kafkaConfig() (kafka.Config, error) {
	cfg := kafka.DefaultConfig()
	for key, set := range map[string]func(int64){
		"socket.request.max.bytes":                  func(v int64) { cfg.MaxRequestBytes = int(v) },
		"max.connections":                           func(v int64) { cfg.MaxConnections = int(v) },
		"queued.max.request.bytes":                  func(v int64) { cfg.MaxInFlightBytes = v },
		"fetch.max.bytes":                           func(v int64) { cfg.MaxFetchBytes = int(v) },
		"max.incremental.fetch.session.cache.slots": func(v int64) { cfg.MaxFetchSessions = int(v) },
		"connections.max.idle.ms": func(v int64) {
			if cfg.IdleTimeout = time.Duration(v) * time.Millisecond; v < 0 {
				cfg.IdleTimeout = math.MaxInt64
			}
		},
	} {
		set(n.cfg.number(key))
	}
	return cfg, cfg.Validate()
}

// number is the value of a key that was set, or its default. Values have been checked.
func (c Config) number(key string) int64 {
	text, set := c.Static[key]
	if !set {
		if k, known := metadata.LookupBrokerKey(key); known {
			text = k.Default
		}
	}
	v, _ := strconv.ParseInt(text, 10, 64)
	return v
}

// readsFromRack says that consumers are sent to a replica in their rack, if there is one.
func (c Config) readsFromRack() bool {
	return strings.TrimPrefix(c.Static["replica.selector.class"], metadata.SelectorPackage) == metadata.RackAwareSelector
}

// rate is the value of a key in bytes a second that need not be whole, as in Kafka; 0 when it is more
// than there can be.
func (c Config) rate(key string) int64 {
	text, set := c.Static[key]
	if k, known := metadata.LookupBrokerKey(key); !set && known {
		text = k.Default
	}
	v, _ := strconv.ParseFloat(text, 64)
	if v >= math.MaxInt64 {
		return 0
	}
	return int64(v)
}

// nodeID is the broker id that was asked for. Below zero is any.
func (c Config) nodeID() (wire.BrokerID, bool) {
	v, err := strconv.ParseInt(c.Static[keyNodeID], 10, 32)
	return wire.BrokerID(v), err == nil && v >= 0
}

// staticBool is a switch among the keys that were set.
func (c Config) staticBool(key string, byDefault bool) bool {
	v, err := strconv.ParseBool(c.Static[key])
	if err != nil {
		return byDefault
	}
	return v
}
