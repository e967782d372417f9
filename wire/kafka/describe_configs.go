package kafka

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var describeConfigsShape = shape{
	flexible: 4,
	fields: []field{
		list(bytesOf(1), str(), listOf(str())), // type, name, names of configs
		bytesOf(1),                             // synonyms
		bytesOf(1).from(3),                     // documentation
	},
}

func (c *conn) describeConfigs(q *kmsg.DescribeConfigsRequest) kmsg.Response {
	a := kmsg.NewPtrDescribeConfigsResponse()
	for i := range q.Resources {
		asked := &q.Resources[i]
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceType, r.ResourceName = asked.ResourceType, asked.ResourceName
		entries, err := c.describeResource(asked)
		r.ErrorCode, r.ErrorMessage = c.codeAndMessage(err)
		for i := range entries {
			if asked.ConfigNames != nil && !slices.Contains(asked.ConfigNames, entries[i].Name) {
				continue
			}
			r.Configs = append(r.Configs, describedConfig(&entries[i], q))
		}
		a.Resources = append(a.Resources, r)
	}
	return a
}

func (c *conn) describeResource(asked *kmsg.DescribeConfigsRequestResource) ([]wire.ConfigEntry, error) {
	resource := wire.ConfigResource{Type: wire.ConfigResourceType(asked.ResourceType), Name: asked.ResourceName}
	if err := c.checkResource(resource); err != nil {
		return nil, err
	}
	return c.server.backend.DescribeConfigs(resource)
}

// checkResource refuses what cannot exist.
func (c *conn) checkResource(r wire.ConfigResource) error {
	switch r.Type {
	case wire.ConfigTopic:
		if !validTopicName(r.Name) {
			return wire.Errorf(wire.InvalidTopic, "topic name %q is not valid", r.Name)
		}
	case wire.ConfigBroker, wire.ConfigBrokerLogger:
		if r.Name == "" && r.Type == wire.ConfigBroker {
			return nil // the defaults of all brokers
		}
		if id, err := strconv.ParseInt(r.Name, 10, 32); err != nil || wire.BrokerID(id) != c.server.backend.Self() {
			return wire.Errorf(wire.InvalidRequest, "broker %q is not this one, which is %d", r.Name, c.server.backend.Self())
		}
	case wire.ConfigClientMetrics, wire.ConfigGroup:
	default:
		return wire.Errorf(wire.InvalidRequest, "configs of resource type %d are not known", r.Type)
	}
	return nil
}

func describedConfig(entry *wire.ConfigEntry, q *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	config := kmsg.NewDescribeConfigsResponseResourceConfig()
	config.Name, config.Value = entry.Name, entry.Value
	if entry.Sensitive {
		config.Value = nil
	}
	config.ReadOnly, config.IsSensitive = entry.ReadOnly, entry.Sensitive
	config.Source, config.ConfigType = kmsg.ConfigSource(entry.Source), kmsg.ConfigType(entry.Type)
	if q.IncludeDocumentation {
		config.Documentation = optional(entry.Doc)
	}
	if !q.IncludeSynonyms {
		return config
	}
	for _, s := range entry.Synonyms {
		synonym := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
		synonym.Name, synonym.Value, synonym.Source = s.Name, s.Value, kmsg.ConfigSource(s.Source)
		if entry.Sensitive {
			synonym.Value = nil
		}
		config.ConfigSynonyms = append(config.ConfigSynonyms, synonym)
	}
	return config
}
