package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var initProducerIDShape = shape{
	flexible: 2,
	fields: []field{
		nullableStr(),
		bytesOf(4),             // transaction timeout
		bytesOf(8 + 2).from(3), // producer id and epoch
	},
}

// initProducerMillis is how long a producer waits for its id; the request does not say.
const initProducerMillis = 10_000

func (c *conn) initProducerID(q *kmsg.InitProducerIDRequest) kmsg.Response {
	a := kmsg.NewPtrInitProducerIDResponse()
	identity, err := c.producerIdentity(q)
	a.ErrorCode = c.code(err)
	a.ProducerID, a.ProducerEpoch = int64(wire.NoProducer), -1
	if err == nil {
		a.ProducerID, a.ProducerEpoch = int64(identity.Producer), int16(identity.Epoch)
	}
	return a
}

func (c *conn) producerIdentity(q *kmsg.InitProducerIDRequest) (wire.ProducerIdentity, error) {
	asked := wire.InitProducerID{
		TimeoutMillis: q.TransactionTimeoutMillis, Producer: wire.NoProducer, Epoch: -1,
	}
	if q.Version >= 3 {
		asked.Producer, asked.Epoch = wire.ProducerID(q.ProducerID), wire.ProducerEpoch(q.ProducerEpoch)
	}
	switch {
	case q.TransactionalID != nil && *q.TransactionalID == "":
		return wire.ProducerIdentity{}, wire.Errorf(wire.InvalidRequest, "the transactional id is empty")
	case q.TransactionalID != nil:
		c.refuse(badTransactional, errTransactional)
		return wire.ProducerIdentity{}, errTransactional
	case asked.Producer < wire.NoProducer, (asked.Producer == wire.NoProducer) != (asked.Epoch == -1):
		return wire.ProducerIdentity{}, wire.Errorf(wire.InvalidRequest, "producer %d with epoch %d", asked.Producer, asked.Epoch)
	}
	ctx, cancel := c.context(initProducerMillis)
	defer cancel()
	return c.server.backend.InitProducerID(ctx, asked)
}
