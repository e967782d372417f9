package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var alterConfigsShape = shape{
	flexible: 2,
	fields: []field{
		list(bytesOf(1), str(), list(str(), nullableStr())), // type, name, configs
		bytesOf(1), // validate only
	},
}

var incrementalAlterConfigsShape = shape{
	flexible: 1,
	fields: []field{
		list(bytesOf(1), str(), list(str(), bytesOf(1), nullableStr())), // config: name, operation, value
		bytesOf(1), // validate only
	},
}

// alterConfigsMillis is how long a client waits for a change; the requests do not say.
const alterConfigsMillis = 30_000

func (c *conn) alterConfigs(q *kmsg.AlterConfigsRequest) kmsg.Response {
	changes := make([]wire.AlterConfigs, len(q.Resources))
	for i := range q.Resources {
		r := &q.Resources[i]
		changes[i].Replace = true
		changes[i].Resource = wire.ConfigResource{Type: wire.ConfigResourceType(r.ResourceType), Name: r.ResourceName}
		for _, config := range r.Configs {
			changes[i].Changes = append(changes[i].Changes, wire.ConfigChange{Name: config.Name, Op: wire.OpSet, Value: config.Value})
		}
	}
	a := kmsg.NewPtrAlterConfigsResponse()
	for i, err := range c.applyConfigs(changes, q.ValidateOnly) {
		r := kmsg.NewAlterConfigsResponseResource()
		r.ResourceType, r.ResourceName = q.Resources[i].ResourceType, q.Resources[i].ResourceName
		r.ErrorCode, r.ErrorMessage = c.codeAndMessage(err)
		a.Resources = append(a.Resources, r)
	}
	return a
}

func (c *conn) incrementalAlterConfigs(q *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	changes := make([]wire.AlterConfigs, len(q.Resources))
	for i := range q.Resources {
		r := &q.Resources[i]
		changes[i].Resource = wire.ConfigResource{Type: wire.ConfigResourceType(r.ResourceType), Name: r.ResourceName}
		for _, config := range r.Configs {
			changes[i].Changes = append(changes[i].Changes, wire.ConfigChange{Name: config.Name, Op: wire.ConfigOp(config.Op), Value: config.Value})
		}
	}
	a := kmsg.NewPtrIncrementalAlterConfigsResponse()
	for i, err := range c.applyConfigs(changes, q.ValidateOnly) {
		r := kmsg.NewIncrementalAlterConfigsResponseResource()
		r.ResourceType, r.ResourceName = q.Resources[i].ResourceType, q.Resources[i].ResourceName
		r.ErrorCode, r.ErrorMessage = c.codeAndMessage(err)
		a.Resources = append(a.Resources, r)
	}
	return a
}

// applyConfigs asks for those changes that make sense and returns what became of each.
func (c *conn) applyConfigs(changes []wire.AlterConfigs, validateOnly bool) []error {
	seen := make(map[wire.ConfigResource]int, len(changes))
	for i := range changes {
		seen[changes[i].Resource]++
	}
	errs := make([]error, len(changes))
	var asked []wire.AlterConfigs
	var places []int // of asked in errs
	for i := range changes {
		errs[i] = c.checkChanges(&changes[i])
		if seen[changes[i].Resource] > 1 {
			errs[i] = wire.Errorf(wire.InvalidRequest, "the request names a resource twice")
		}
		if errs[i] == nil {
			asked, places = append(asked, changes[i]), append(places, i)
		}
	}
	if len(asked) > 0 {
		ctx, cancel := c.context(alterConfigsMillis)
		defer cancel()
		for i, err := range c.server.backend.AlterConfigs(ctx, asked, validateOnly) {
			errs[places[i]] = err
		}
	}
	return errs
}

func (c *conn) checkChanges(change *wire.AlterConfigs) error {
	if err := c.checkResource(change.Resource); err != nil {
		return err
	}
	seen := make(map[string]bool, len(change.Changes))
	for _, config := range change.Changes {
		switch {
		case seen[config.Name]:
			return wire.Errorf(wire.InvalidRequest, "the request names config %q twice", config.Name)
		case config.Op < wire.OpSet || config.Op > wire.OpSubtract:
			return wire.Errorf(wire.InvalidRequest, "operation %d on config %q is not known", config.Op, config.Name)
		case config.Value == nil && config.Op != wire.OpDelete:
			return wire.Errorf(wire.InvalidRequest, "config %q is given no value", config.Name)
		}
		seen[config.Name] = true
	}
	return nil
}
