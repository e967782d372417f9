package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var describeClusterShape = shape{
	flexible: 0,
	fields: []field{
		bytesOf(1),         // authorized operations
		bytesOf(1).from(1), // endpoint type
		bytesOf(1).from(2), // fenced brokers
	},
}

// The endpoints that a client may ask for (KIP-919).
const (
	brokerEndpoints     = 1
	controllerEndpoints = 2
)

func (c *conn) describeCluster(q *kmsg.DescribeClusterRequest) kmsg.Response {
	a := kmsg.NewPtrDescribeClusterResponse()
	a.ClusterAuthorizedOperations = notAsked
	a.EndpointType = brokerEndpoints
	if q.Version >= 1 && q.EndpointType != brokerEndpoints {
		err := wire.Errorf(wire.UnsupportedEndpointType, "endpoint type %d is not known", q.EndpointType)
		if q.EndpointType == controllerEndpoints {
			err = wire.Errorf(wire.MismatchedEndpointType, "this is a broker's endpoint")
		}
		a.EndpointType = q.EndpointType
		a.ErrorCode, a.ErrorMessage = c.codeAndMessage(err)
		return a
	}
	view := c.server.backend.View()
	a.ClusterID, a.ControllerID = view.ClusterID(), int32(c.controller(view))
	for _, b := range view.Brokers() {
		if b.Fenced && !q.IncludeFencedBrokers {
			continue
		}
		broker := kmsg.NewDescribeClusterResponseBroker()
		broker.NodeID, broker.Host, broker.Port = int32(b.ID), b.Host, b.Port
		broker.Rack, broker.IsFenced = optional(b.Rack), b.Fenced
		a.Brokers = append(a.Brokers, broker)
	}
	return a
}
