package native

import (
	"context"
	"errors"

	"github.com/troupe-mq/troupe/wire"
)

// edge is where an error of the broker becomes what the client is told. An error without a Kafka
// code is logged, since the client will not see the cause.
func (c *conn) edge(kind wire.Kind, err error) error {
	switch {
	case err == nil || wire.Code(err) != wire.UnknownServerError:
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return wire.RequestTimedOut
	}
	c.log.Error("native request failed for a cause without a code", "api", kind.String(), "err", err)
	return wire.UnknownServerError
}
