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
	n, list := d.list(minResourceBytes)
	m.Resources = make([]ConfigResource, n)
	for i := range m.Resources {
		m.Resources[i] = d.resource()
	}
	d.close(list)
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
	n, list := d.list(minDescribedBytes)
	m.Resources = make([]DescribedConfigs, n)
	for i := range m.Resources {
		_, one := d.open()
		m.Resources[i] = DescribedConfigs{Err: d.failure(), Entries: d.configEntries()}
		d.close(one)
	}
	d.close(list)
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
	n, outer := d.list(minConfigEntryBytes)
	defer d.close(outer)
	if n == 0 {
		return nil
	}
	entries := make([]ConfigEntry, n)
	for i := range entries {
		c := &entries[i]
		_, one := d.open()
		c.Name = d.string()
		c.Value = d.optionalString()
		c.Source, c.Type = integer[ConfigSource](d), integer[ConfigType](d)
		c.ReadOnly, c.Sensitive = d.bool(), d.bool()
		c.Doc = d.string()
		c.Synonyms = d.synonyms()
		d.close(one)
	}
	return entries
}

func (d *Decoder) synonyms() []ConfigSynonym {
	n, outer := d.list(minSynonymBytes)
	defer d.close(outer)
	if n == 0 {
		return nil
	}
	list := make([]ConfigSynonym, n)
	for i := range list {
		_, one := d.open()
		list[i] = ConfigSynonym{Name: d.string(), Value: d.optionalString(), Source: integer[ConfigSource](d)}
		d.close(one)
	}
	return list
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
	n, list := d.list(minAlterConfigsBytes)
	m.Changes = make([]AlterConfigs, n)
	for i := range m.Changes {
		a := &m.Changes[i]
		_, one := d.open()
		a.Resource = d.resource()
		a.Replace = d.bool()
		k, changes := d.list(minConfigChangeBytes)
		a.Changes = make([]ConfigChange, k)
		for j := range a.Changes {
			_, change := d.open()
			a.Changes[j] = ConfigChange{Name: d.string(), Op: integer[ConfigOp](d), Value: d.optionalString()}
			d.close(change)
		}
		d.close(changes)
		d.close(one)
	}
	d.close(list)
	d.close(outer)
}
