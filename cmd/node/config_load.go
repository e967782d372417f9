package node

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
)

// EnvironmentPrefix begins the environment variables that configure a broker: the key follows in
// upper case, with _ for every dot.
const EnvironmentPrefix = "TROUPE_"

// maxConfigFileBytes bounds a configuration file: a larger one is some other file by mistake.
const maxConfigFileBytes = 1 << 20

// Setting is a key with its value and where it was set, which messages name.
type Setting struct {
	Key, Value string
	Origin     string // as in "--listen", "TROUPE_LISTENERS" or "server.properties:12"
}

// Sources is all that configures a broker. Flags win over the environment, the environment over
// the file, the file over the defaults. Within one source the last setting of a key counts.
type Sources struct {
	Flags   []Setting
	Environ []string // as os.Environ returns it
	File    string   // a YAML file or a server.properties; "" for none
}

// LoadConfig makes a Config out of its sources. The error names every problem, one on a line,
// each with what to write instead.
func LoadConfig(sources Sources) (Config, error) {
	var layers [][]Setting
	if sources.File != "" {
		layer, err := readConfigFile(sources.File)
		if err != nil {
			return Config{}, err
		}
		layers = append(layers, layer)
	}
	layers = append(layers, environmentSettings(sources.Environ), sources.Flags)

	settings := make(map[string]Setting)
	for _, layer := range layers {
		for _, setting := range layer {
			setting.Key = strings.TrimSpace(setting.Key)
			setting.Value = strings.TrimSpace(setting.Value)
			if key, ok := aliases[setting.Key]; ok {
				setting.Key = key
			}
			settings[setting.Key] = setting
		}
	}
	return newConfig(settings)
}

// newConfig checks every setting, by key, and puts it where it belongs.
func newConfig(settings map[string]Setting) (Config, error) {
	config := DefaultConfig()
	names := listenerNames{
		controllers: settings["controller.listener.names"].Value,
		protocols:   settings["listener.security.protocol.map"].Value,
	}
	var problems []error
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		setting := settings[key]
		if err := config.apply(setting, names); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", cmp.Or(setting.Origin, key), err))
		}
	}
	if len(problems) > 0 {
		return Config{}, errors.Join(problems...)
	}
	if err := config.Validate(); err != nil {
		return Config{}, err
	}
	return config, nil
}

// apply takes over one setting.
func (c *Config) apply(setting Setting, names listenerNames) (err error) {
	switch setting.Key {
	case KeyData:
		c.Data = splitList(setting.Value)
	case KeyListen:
		c.Listen, err = parseListener(setting.Value, names)
	case KeyAdvertise:
		c.Advertise, err = parseAdvertised(setting.Value, names)
	case KeyCluster:
		c.Cluster, err = parseListener(setting.Value, names)
	case KeyClusterAdvertise:
		c.ClusterAdvertise, err = parseAdvertised(setting.Value, listenerNames{})
	case KeyJoin:
		c.Join, err = parseJoin(setting.Value)
	case KeyClusterKeyFile:
		c.ClusterKeyFile = setting.Value
	case KeyClusterTLSCert:
		c.ClusterTLS.Cert = setting.Value
	case KeyClusterTLSKey:
		c.ClusterTLS.Key = setting.Value
	case KeyClusterTLSCA:
		c.ClusterTLS.CA = setting.Value
	case KeyChaosTokenFile:
		c.ChaosTokenFile = setting.Value
	case KeyAdmin:
		if c.Admin = strings.ToLower(setting.Value); c.Admin != AdminOff {
			c.Admin, err = parseListener(setting.Value, names)
		}
	default:
		var use keyUse
		use, setting.Value, err = checkKey(setting.Key, setting.Value)
		if use != keyInForce {
			c.Ignored = append(c.Ignored, setting.Key)
		}
		if use == keyOfAFamily {
			return nil
		}
	}
	if err == nil {
		c.Static[setting.Key] = setting.Value
	}
	return err
}

// splitList parts a list as Kafka does: by commas, white space around an entry dropped.
func splitList(value string) []string {
	if value == "" {
		return nil
	}
	var entries []string
	for entry := range strings.SplitSeq(value, ",") {
		entries = append(entries, strings.TrimSpace(entry))
	}
	return entries
}

// environmentSettings picks the configuration out of the environment.
func environmentSettings(environ []string) []Setting {
	var settings []Setting
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, EnvironmentPrefix) || isForeign(name) {
			continue
		}
		key := strings.ToLower(strings.TrimPrefix(name, EnvironmentPrefix))
		settings = append(settings, Setting{
			Key:    strings.ReplaceAll(key, "_", "."),
			Value:  value,
			Origin: name,
		})
	}
	return settings
}

// isForeign tells the variables with our prefix that configure no broker: those of the command
// line and of the tests, and the ones that Kubernetes puts into every pod next to a service that
// is named "troupe". No key begins like those.
func isForeign(name string) bool {
	switch name {
	case "TROUPE_BOOTSTRAP", "TROUPE_LOGHUB", "TROUPE_MUTANT", "TROUPE_PORT", "TROUPE_TEST_LOG":
		return true
	}
	return strings.HasPrefix(name, "TROUPE_PORT_") || strings.HasPrefix(name, "TROUPE_SERVICE_")
}

// readConfigFile reads YAML from a file that is named so, and properties from any other.
func readConfigFile(path string) ([]Setting, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	if info.Size() > maxConfigFileBytes {
		return nil, fmt.Errorf("configuration file %s has %d bytes; it may have %d", path, info.Size(), maxConfigFileBytes)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	var settings []Setting
	switch strings.ToLower(filepath.Ext(path)) {
	case ".yaml", ".yml":
		settings, err = yamlSettings(text, path)
	default:
		settings, err = propertiesSettings(string(text), path)
	}
	if err != nil {
		// The parsers of others write over several lines; a message is one.
		return nil, fmt.Errorf("configuration file %s: %s", path, strings.Join(strings.Fields(err.Error()), " "))
	}
	return settings, nil
}

func propertiesSettings(text, path string) ([]Setting, error) {
	properties, err := parseProperties(text)
	if err != nil {
		return nil, err
	}
	settings := make([]Setting, 0, len(properties))
	for _, p := range properties {
		settings = append(settings, Setting{Key: p.key, Value: p.value, Origin: fmt.Sprintf("%s:%d", path, p.line)})
	}
	return settings, nil
}

func yamlSettings(text []byte, path string) ([]Setting, error) {
	document, err := yaml.Parser().Unmarshal(text)
	if err != nil {
		return nil, err
	}
	flat := make(map[string]string)
	if err := flattenYAML(flat, "", document); err != nil {
		return nil, err
	}
	settings := make([]Setting, 0, len(flat))
	for _, key := range slices.Sorted(maps.Keys(flat)) {
		settings = append(settings, Setting{Key: key, Value: flat[key], Origin: path + ": " + key})
	}
	return settings, nil
}

// flattenYAML joins nested keys with dots, so that log: {dirs: x} and log.dirs: x are the same.
// Both at once are an error rather than one of them by chance.
func flattenYAML(flat map[string]string, prefix string, node map[string]any) error {
	for key, value := range node {
		key = prefix + key
		if nested, ok := value.(map[string]any); ok {
			if err := flattenYAML(flat, key+".", nested); err != nil {
				return err
			}
			continue
		}
		if _, twice := flat[key]; twice {
			return fmt.Errorf("%s is set twice, flat and nested; keep one of them", key)
		}
		text, err := yamlText(value)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		flat[key] = text
	}
	return nil
}

// yamlText returns a value as it would stand in a server.properties.
func yamlText(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int, int64, uint64:
		return fmt.Sprint(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case []any:
		entries := make([]string, 0, len(v))
		for _, entry := range v {
			if _, list := entry.([]any); list {
				return "", fmt.Errorf("a list in a list has no meaning; write one list")
			}
			text, err := yamlText(entry)
			if err != nil {
				return "", err
			}
			entries = append(entries, text)
		}
		return strings.Join(entries, ","), nil
	default:
		return "", fmt.Errorf("the value %v is no text, number or list of them; put it in quotes", v)
	}
}
