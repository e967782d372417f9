package wire

// DescribeConfigsRequest asks for the configurations of resources.
type DescribeConfigsRequest struct{ Resources []ConfigResource }

// DescribeConfigsReply answers them in their order.
type DescribeConfigsReply struct{ Resources []DescribedConfigs }

// DescribedConfigs are the configurations of one resource, or why they cannot be told.
type DescribedConfigs struct {
	Err     error
	Entries []ConfigEntry
}

// AlterConfigsRequest asks for changes; it is answered by an ErrorsReply.
type AlterConfigsRequest struct {
	ValidateOnly bool
	Changes      []AlterConfigs
}

const (
	minResourceBytes     = 1 + 2
	minDescribedBytes    = 1 + 2
	minConfigEntryBytes  = 1 + 8
	minSynonymBytes      = 1 + 3
	minAlterConfigsBytes = 1 + 1 + minResourceBytes + 1
	minConfigChangeBytes = 1 + 3
)

func (e *Encoder) resource(r ConfigResource) {
	e.array(2)
	e.int(int64(r.Type))
	e.string(r.Name)
}

func (d *Decoder) resource() ConfigResource {
	_, outer := d.open()
	r := ConfigResource{Type: integer[ConfigResourceType](d), Name: d.string()}
	d.close(outer)
	return r
}

func (m *DescribeConfigsRequest) encode(e *Encoder) {
	e.array(1)
	e.array(len(m.Resources))
	for _, r := range m.Resources {
		e.resource(r)
	}
}

func (m *DescribeConfigsRequest) decode(d *Decoder) {
	_, outer := d.open()
	m.Resources = listOf(d, minResourceBytes, (*Decoder).resource)
	d.close(outer)
}

func (m *DescribeConfigsReply) encode(e *Encoder) {
	e.array(1)
	e.array(len(m.Resources))
	for i := range m.Resources {
		e.array(2)
		e.failure(m.Resources[i].Err)
		e.configEntries(m.Resources[i].Entries)
	}
}

func (m *DescribeConfigsReply) decode(d *Decoder) {
	_, outer := d.open()
	m.Resources = structs(d, minDescribedBytes, func(r *DescribedConfigs) {
		r.Err, r.Entries = d.failure(), d.configEntries()
	})
	d.close(outer)
}

func (e *Encoder) configEntries(entries []ConfigEntry) {
	e.array(len(entries))
	for i := range entries {
		c := &entries[i]
		e.array(8)
		e.string(c.Name)
		e.optionalString(c.Value)
		e.int(int64(c.Source))
		e.int(int64(c.Type))
		e.bool(c.ReadOnly)
		e.bool(c.Sensitive)
		e.string(c.Doc)
		e.array(len(c.Synonyms))
		for _, s := range c.Synonyms {
			e.array(3)
			e.string(s.Name)
			e.optionalString(s.Value)
			e.int(int64(s.Source))
		}
	}
}

func (d *Decoder) configEntries() []ConfigEntry {
	return orNil(structs(d, minConfigEntryBytes, func(c *ConfigEntry) {
		c.Name = d.string()
		c.Value = d.optionalString()
		c.Source, c.Type = integer[ConfigSource](d), integer[ConfigType](d)
		c.ReadOnly, c.Sensitive = d.bool(), d.bool()
		c.Doc = d.string()
		c.Synonyms = orNil(structs(d, minSynonymBytes, func(s *ConfigSynonym) {
			s.Name, s.Value, s.Source = d.string(), d.optionalString(), integer[ConfigSource](d)
		}))
	}))
}

func (m *AlterConfigsRequest) encode(e *Encoder) {
	e.array(2)
	e.bool(m.ValidateOnly)
	e.array(len(m.Changes))
	for i := range m.Changes {
		a := &m.Changes[i]
		e.array(3)
		e.resource(a.Resource)
		e.bool(a.Replace)
		e.array(len(a.Changes))
		for _, c := range a.Changes {
			e.array(3)
			e.string(c.Name)
			e.int(int64(c.Op))
			e.optionalString(c.Value)
		}
	}
}

func (m *AlterConfigsRequest) decode(d *Decoder) {
	_, outer := d.open()
	m.ValidateOnly = d.bool()
	m.Changes = structs(d, minAlterConfigsBytes, func(a *AlterConfigs) {
		a.Resource, a.Replace = d.resource(), d.bool()
		a.Changes = structs(d, minConfigChangeBytes, func(c *ConfigChange) {
			c.Name, c.Op, c.Value = d.string(), integer[ConfigOp](d), d.optionalString()
		})
	})
	d.close(outer)
}
