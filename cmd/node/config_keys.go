package node

import (
	"fmt"
)

// keyUse says what Troupe makes of a key.
type keyUse int

const (
	keyUnknown keyUse = iota
	keyKnown
	keyIgnored // Kafka has it, and it means nothing here
)

// refused are the keys of Kafka that must not be passed over: whoever sets them relies on
// something that this version does not do.
var refused = map[string]string{
	"authorizer.class.name": "this version checks no permissions; remove the key, and let only those reach the listener who may read and write everything",
}

// useOf says what a key is to Troupe and checks its value. An unknown key is an error.
func useOf(key, value string) (keyUse, error) {
	if why, ok := refused[key]; ok && value != "" {
		return keyKnown, fmt.Errorf("%s: %s", key, why)
	}
	if _, ok := kafkaOnlyKeys[key]; ok {
		return keyIgnored, nil
	}
	return keyUnknown, fmt.Errorf("unknown key %q", key)
}
