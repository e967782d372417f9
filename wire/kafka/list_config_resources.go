package kafka

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var listConfigResourcesShape = shape{
	flexible: 0,
	fields:   []field{listOf(bytesOf(1)).from(1)},
}

// listConfigResources names what has configurations. Version 0 asks only for the metrics that
// clients may be told to push, of which there are none; later ones for any type (KIP-1142).
func (c *conn) listConfigResources(q *kmsg.ListConfigResourcesRequest) kmsg.Response {
	a := kmsg.NewPtrListConfigResourcesResponse()
	if q.Version == 0 {
		return a
	}
	known := []wire.ConfigResourceType{
		wire.ConfigTopic, wire.ConfigBroker, wire.ConfigBrokerLogger, wire.ConfigClientMetrics, wire.ConfigGroup,
	}
	asked := known
	if len(q.ResourceTypes) > 0 {
		asked = nil
	}
	for _, number := range q.ResourceTypes {
		kind := wire.ConfigResourceType(number)
		if !slices.Contains(known, kind) {
			a.ErrorCode = c.code(wire.UnsupportedVersion)
			return a
		}
		if !slices.Contains(asked, kind) {
			asked = append(asked, kind)
		}
	}
	view := c.server.backend.View()
	for _, kind := range asked {
		for _, name := range resourceNames(view, kind) {
			r := kmsg.NewListConfigResourcesResponseConfigResource()
			r.Name, r.Type = name, int8(kind)
			a.ConfigResources = append(a.ConfigResources, r)
		}
	}
	return a
}

func resourceNames(view wire.View, kind wire.ConfigResourceType) []string {
	switch kind {
	case wire.ConfigTopic:
		return view.TopicNames()
	case wire.ConfigBroker, wire.ConfigBrokerLogger:
		var ids []string
		for _, b := range view.Brokers() {
			ids = append(ids, strconv.Itoa(int(b.ID)))
		}
		return ids
	default:
		return nil
	}
}
