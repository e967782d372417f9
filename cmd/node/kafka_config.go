package node

import (
	"strconv"
	"time"

	"github.com/troupe-mq/troupe/wire/kafka"
)

// kafkaConfig is the Kafka listener's part of the configuration.
func (n *Node) kafkaConfig() (kafka.Config, error) {
	cfg := kafka.DefaultConfig()
	for key, set := range map[string]func(int64){
		"socket.request.max.bytes": func(v int64) { cfg.MaxRequestBytes = int(v) },
		"max.connections":          func(v int64) { cfg.MaxConnections = int(v) },
		"queued.max.request.bytes": func(v int64) {
			if v > 0 { // Kafka: -1, the default, is no limit
				cfg.MaxInFlightBytes = v
			}
		},
		"fetch.max.bytes":         func(v int64) { cfg.MaxFetchBytes = int(v) },
		"connections.max.idle.ms": func(v int64) { cfg.IdleTimeout = time.Duration(v) * time.Millisecond },
	} {
		if v, ok := n.cfg.staticInt(key); ok {
			set(v)
		}
	}
	return cfg, cfg.Validate()
}

// staticInt is a number among the keys that were set. Their values have been checked.
func (c Config) staticInt(key string) (int64, bool) {
	v, err := strconv.ParseInt(c.Static[key], 10, 64)
	return v, err == nil
}

// staticBool is a switch among the keys that were set.
func (c Config) staticBool(key string, byDefault bool) bool {
	v, err := strconv.ParseBool(c.Static[key])
	if err != nil {
		return byDefault
	}
	return v
}
