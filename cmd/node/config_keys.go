package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// refused are the keys of Kafka that must not be passed over: whoever sets them relies on
// something that this version does not do.
var refused = map[string]string{
	"authorizer.class.name": "this version checks no permissions; remove authorizer.class.name, and let only those reach the listener who may read and write everything",
}

// foreignFamilies are the beginnings of keys that concern parts of Kafka which Troupe has not:
// the table of package metadata has the single ones.
var foreignFamilies = []string{
	"allow.everyone.", "alter.log.dirs.", "auto.include.", "broker.id.", "config.providers", "connection.failed.",
	"connections.max.reauth.", "controller.", "cordoned.", "delegation.token.", "delete.records.purgatory.",
	"eligible.leader.", "follower.", "group.", "leader.", "listener.name.", "log.cleaner.", "log.dir.failure.",
	"log.local.", "metadata.log.", "offsets.", "password.encoder.", "producer.purgatory.", "remote.",
	"replica.alter.", "replication.quota.", "sasl.", "security.", "share.coordinator.", "socket.connection.",
	"ssl.", "telemetry.", "transaction.", "zookeeper.",
}

// keyUse is what a key is to a broker.
type keyUse int

const (
	keyInForce   keyUse = iota
	keyNoEffect         // Kafka has it, and so do we for its tools to see
	keyOfAFamily        // Kafka has it, for something that is not here
)

// checkKey says what a key is and returns its value as it is to be kept. An unknown key and a
// bad value are errors.
func checkKey(key, value string) (keyUse, string, error) {
	if why, ok := refused[key]; ok && value != "" {
		return 0, "", errors.New(why)
	}
	known, ok := metadata.LookupBrokerKey(key)
	if !ok && slices.ContainsFunc(foreignFamilies, func(family string) bool { return strings.HasPrefix(key, family) }) {
		return keyOfAFamily, "", nil
	}
	if !ok && metadata.Nearest(key) == "" {
		return 0, "", fmt.Errorf("unknown broker configuration %s: see \"troupe broker --help\"", key)
	}
	if err := metadata.ValidateBrokerConfig(key, value); err != nil {
		return 0, "", errors.New(wire.Sentence(err)) // without Kafka's error code: nothing speaks Kafka yet
	}
	if known.Type == wire.TypeBoolean {
		value = strings.ToLower(value)
	}
	if known.Effect == metadata.NoEffect {
		return keyNoEffect, value, nil
	}
	return keyInForce, value, nil
}
