package replica

import "github.com/troupe-mq/troupe/wire"

// Effects is what the replica actor has to do after an event, in the order of the fields.
type Effects struct {
	// Sync asks the directory's syncer to make the log durable up to its present end.
	Sync bool
	// Advanced says that the high watermark has moved, to HighWatermark: parked producers below
	// it are answered, parked fetches are woken.
	Advanced      bool
	HighWatermark wire.Offset
}
