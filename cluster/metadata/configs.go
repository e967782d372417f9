package metadata

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/troupe-mq/troupe/wire"
)

// ConfigKey is a configuration key: of topics (topic_keys.go) or of brokers (broker_keys.go). The
// names are Kafka's wherever Kafka has the thing.
type ConfigKey struct {
	Name      string
	Type      wire.ConfigType
	Default   string
	Unset     bool // there is no default: another key speaks, or nothing does
	Doc       string
	Effect    Effect
	Update    Update
	Sensitive bool
	// ClusterOnly keys are never a single broker's: all brokers must agree on them, so only what
	// the log says counts.
	ClusterOnly bool
	// Synonyms are the broker keys that give a topic key its default, or a broker key its value,
	// the most particular first. A broker key is the first of its own synonyms.
	Synonyms []Synonym

	check func(value string) error // nil: anything goes
}

// Synonym is a broker key that stands for another key in other units.
type Synonym struct {
	Name   string
	Factor int64 // what a number is multiplied by; 0 for 1
}

// Effect tells what setting a key does.
type Effect int8

// A key of Kafka's that has nothing to act on here is accepted, so that a server.properties and
// the tools of Kafka work unchanged; whoever reads a file warns once.
const (
	HasEffect Effect = iota
	NoEffect
)

// Update tells when a broker key may change. Topic keys may always change, but for durability.
type Update int8

// In Kafka's words: read-only, per-broker (which includes cluster-wide), cluster-wide.
const (
	ReadOnly Update = iota
	PerBroker
	ClusterWide
)

// LookupTopicKey returns the configuration key of topics of that name.
func LookupTopicKey(name string) (*ConfigKey, bool) { return lookup(topicKeys, name) }

// LookupBrokerKey returns the configuration key of brokers of that name.
func LookupBrokerKey(name string) (*ConfigKey, bool) { return lookup(brokerKeys, name) }

// TopicKeys returns all keys of topics by name. They are not to be changed.
func TopicKeys() []ConfigKey { return topicKeys }

// BrokerKeys returns all keys of brokers by name. They are not to be changed.
func BrokerKeys() []ConfigKey { return brokerKeys }

func lookup(keys []ConfigKey, name string) (*ConfigKey, bool) {
	i, found := slices.BinarySearchFunc(keys, name, func(k ConfigKey, name string) int {
		return strings.Compare(k.Name, name)
	})
	if !found {
		return nil, false
	}
	return &keys[i], true
}

// inOrder sorts a table, in which binary search then finds.
func inOrder(keys []ConfigKey) []ConfigKey {
	slices.SortFunc(keys, func(a, b ConfigKey) int { return strings.Compare(a.Name, b.Name) })
	return keys
}

// Validate says what is wrong with a value, as an INVALID_CONFIG.
func (k *ConfigKey) Validate(value string) error {
	if len(value) > maxConfigValue {
		return wire.Errorf(wire.InvalidConfig, "invalid value for configuration %s: it has %d bytes, of at most %d",
			k.Name, len(value), maxConfigValue)
	}
	err := checkType(k.Type, value)
	if err == nil && k.check != nil {
		err = k.check(value)
	}
	if err != nil {
		if k.Sensitive {
			value = "[hidden]"
		}
		return wire.Errorf(wire.InvalidConfig, "invalid value %s for configuration %s: %v", value, k.Name, err)
	}
	return nil
}

// maxConfigValue bounds what a value may take in every broker's memory.
const maxConfigValue = 32 << 10

func checkType(t wire.ConfigType, value string) error {
	switch t {
	case wire.TypeBoolean:
		if _, ok := parseBool(value); !ok {
			return errors.New("expected true or false")
		}
	case wire.TypeShort:
		return checkWhole(value, 16)
	case wire.TypeInt:
		return checkWhole(value, 32)
	case wire.TypeLong:
		return checkWhole(value, 64)
	case wire.TypeDouble:
		if _, err := strconv.ParseFloat(value, 64); err != nil {
			return errors.New("expected a number")
		}
	default: // text
	}
	return nil
}

func checkWhole(value string, bits int) error {
	if _, err := strconv.ParseInt(value, 10, bits); err != nil {
		low := int64(-1) << (bits - 1)
		return fmt.Errorf("expected a whole number from %d to %d", low, -(low + 1))
	}
	return nil
}

// parseBool takes true and false in any case, as Kafka does, and nothing else.
func parseBool(value string) (v, ok bool) {
	switch {
	case strings.EqualFold(value, "true"):
		return true, true
	case strings.EqualFold(value, "false"):
		return false, true
	}
	return false, false
}

// maxMessageBytes is the largest batch that a topic may allow: links between brokers carry frames of at
// most 64 MiB, and what cannot be replicated must not be appended.
//
// Kafka: there is no upper bound.
const maxMessageBytes = 60 << 20

// The checks below come after the one of the type.

func atLeast(low int64) func(string) error {
	return func(value string) error {
		if n, _ := strconv.ParseInt(value, 10, 64); n < low {
			return fmt.Errorf("it must be at least %d", low)
		}
		return nil
	}
}

func between(low, high int64) func(string) error {
	return func(value string) error {
		if n, _ := strconv.ParseInt(value, 10, 64); n < low || n > high {
			return fmt.Errorf("it must be between %d and %d", low, high)
		}
		return nil
	}
}

func fraction(value string) error {
	if f, _ := strconv.ParseFloat(value, 64); !(f >= 0 && f <= 1) {
		return errors.New("it must be between 0 and 1")
	}
	return nil
}

func positive(value string) error {
	if f, _ := strconv.ParseFloat(value, 64); !(f >= 1) {
		return errors.New("it must be at least 1")
	}
	return nil
}

func oneOf(values ...string) func(string) error {
	return func(value string) error {
		if !slices.Contains(values, value) {
			return fmt.Errorf("it must be one of %s", strings.Join(values, ", "))
		}
		return nil
	}
}

func notEmpty(value string) error {
	if strings.TrimSpace(value) == "" {
		return errors.New("it must not be empty")
	}
	return nil
}

// cleanupPolicy is what both cleanup.policy and log.cleanup.policy accept.
//
// Kafka: since 4.1 also nothing at all, which keeps everything; here retention.ms=-1 says so.
func cleanupPolicy(value string) error {
	policies := splitList(value)
	for _, policy := range policies {
		if policy != policyDelete && policy != policyCompact {
			policies = nil
			break
		}
	}
	if len(policies) == 0 {
		return errors.New("it must be delete, compact, or both")
	}
	return nil
}

const (
	policyDelete  = "delete"
	policyCompact = "compact"
)

// splitList splits the value of a key of TypeList.
func splitList(value string) []string {
	if strings.TrimSpace(value) == "" {
		return nil
	}
	items := strings.Split(value, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// ValidateTopicConfig says what is wrong with the configuration of a topic; for an unknown key it
// names the nearest one.
func ValidateTopicConfig(key, value string) error {
	k, known := LookupTopicKey(key)
	if !known {
		return unknownKey("topic", key, NearestTopicKey(key))
	}
	return k.Validate(value)
}

// ValidateBrokerConfig says what is wrong with a configuration that a broker is started with.
func ValidateBrokerConfig(key, value string) error {
	k, known := LookupBrokerKey(key)
	if !known {
		return unknownKey("broker", key, Nearest(key))
	}
	return k.Validate(value)
}

func unknownKey(of, key, nearest string) error {
	if nearest == "" {
		return wire.Errorf(wire.InvalidConfig, "unknown %s configuration %s", of, key)
	}
	return wire.Errorf(wire.InvalidConfig, "unknown %s configuration %s: did you mean %s?", of, key, nearest)
}

// Nearest returns the broker key that was probably meant by a key that is none.
func Nearest(key string) string {
	if k, known := LookupTopicKey(key); known && len(k.Synonyms) > 0 {
		return k.Synonyms[0].Name
	}
	return nearest(brokerKeys, key)
}

// NearestTopicKey returns the topic key that was probably meant by a key that is none.
func NearestTopicKey(key string) string {
	for i := range topicKeys {
		if slices.ContainsFunc(topicKeys[i].Synonyms, func(s Synonym) bool { return s.Name == key }) {
			return topicKeys[i].Name
		}
	}
	return nearest(topicKeys, key)
}

// nearest returns the key at the smallest edit distance, or "" when none is like it.
func nearest(keys []ConfigKey, key string) string {
	if len(key) > 128 {
		return ""
	}
	best, least := "", len(key)/2+1
	for i := range keys {
		if d := editDistance(keys[i].Name, key); d < least {
			best, least = keys[i].Name, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions and replacements that lead from a to b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
