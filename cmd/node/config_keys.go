package node

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
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

// checkKey says whether a key of Kafka's has an effect here, and what is wrong with it or with
// its value. An unknown key is wrong.
func checkKey(key, value string) (effective bool, err error) {
	if why, ok := refused[key]; ok && value != "" {
		return false, errors.New(why)
	}
	known, ok := metadata.LookupBrokerKey(key)
	if !ok && slices.ContainsFunc(foreignFamilies, func(family string) bool { return strings.HasPrefix(key, family) }) {
		return false, nil
	}
	if err := metadata.ValidateBrokerConfig(key, value); err != nil {
		return false, fmt.Errorf("%s", wire.Sentence(err)) // without Kafka's error code: nothing speaks Kafka yet
	}
	return known.Effect == metadata.HasEffect, nil
}

// staticInt returns the whole number that a key was set to, and false when it was not set.
// Static values have been checked.
func (c Config) staticInt(key string) (int64, bool) {
	n, err := strconv.ParseInt(c.Static[key], 10, 64)
	return n, err == nil
}

// staticBool returns what a key was set to, or otherwise when it was not set.
func (c Config) staticBool(key string, otherwise bool) bool {
	value, set := c.Static[key]
	if !set {
		return otherwise
	}
	return strings.EqualFold(value, "true")
}
