package kafka

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var apiVersionsShape = shape{
	flexible: 3,
	fields:   []field{str().from(3), str().from(3)},
}

// serveAPIVersions tells what this listener speaks. A client that asks in a version unknown here is
// told, in version 0, which ones it may ask in.
func (c *conn) serveAPIVersions() error {
	r := &c.request
	a := kmsg.NewPtrApiVersionsResponse()
	if r.version < r.api.min || r.version > r.api.max {
		r.version = 0
		a.ErrorCode = c.code(wire.UnsupportedVersion)
		a.ApiKeys = []kmsg.ApiVersionsResponseApiKey{advertised(r.api)}
		return c.answer(a)
	}
	var q kmsg.ApiVersionsRequest
	if err := c.decode(&q); err != nil {
		return err
	}
	if q.Version >= 3 {
		if !validSoftware(q.ClientSoftwareName) || !validSoftware(q.ClientSoftwareVersion) {
			a.ErrorCode = c.code(wire.InvalidRequest)
			return c.answer(a)
		}
		c.server.metrics.clients.WithLabelValues(softwareLabel(q.ClientSoftwareName)).Inc()
	}
	for i := range apis {
		a.ApiKeys = append(a.ApiKeys, advertised(&apis[i]))
	}
	tellFeatures(a, q.Version)
	return c.answer(a)
}

// groupVersion is the feature that stands for the group protocol of KIP-848, whose level is 1 in every
// cluster of ours.
const groupVersion = "group.version"

// tellFeatures tells the features of the cluster (KIP-584). In version 3 a supported one whose lowest
// level is 0 is left out, as clients of that time take the 0 for an error (KAFKA-17011).
func tellFeatures(a *kmsg.ApiVersionsResponse, version int16) {
	if version >= 4 {
		supported := kmsg.NewApiVersionsResponseSupportedFeature()
		supported.Name, supported.MaxVersion = groupVersion, 1
		a.SupportedFeatures = append(a.SupportedFeatures, supported)
	}
	finalized := kmsg.NewApiVersionsResponseFinalizedFeature()
	finalized.Name, finalized.MinVersionLevel, finalized.MaxVersionLevel = groupVersion, 1, 1
	a.FinalizedFeatures = append(a.FinalizedFeatures, finalized)
	a.FinalizedFeaturesEpoch = 0 // it never changes
}

func advertised(a *api) kmsg.ApiVersionsResponseApiKey {
	k := kmsg.NewApiVersionsResponseApiKey()
	k.ApiKey, k.MinVersion, k.MaxVersion = a.key, a.min, a.max
	return k
}

// validSoftware follows KIP-511: letters, digits, dots and hyphens, the last two not at an end.
func validSoftware(name string) bool {
	for i, r := range name {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z':
		case (r == '.' || r == '-') && i > 0 && i < len(name)-1:
		default:
			return false
		}
	}
	return name != ""
}

// softwareLabel keeps what clients say of themselves from becoming any number of time series.
func softwareLabel(name string) string {
	switch name = strings.ToLower(name); name {
	case "apache-kafka-java", "librdkafka", "kgo", "sarama", "kafkajs", "kafka-python", "kafka-go", "troupe":
		return name
	}
	return "other"
}
