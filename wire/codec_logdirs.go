package wire

// DescribeLogDirsReply lists the log directories of the broker that was asked.
type DescribeLogDirsReply struct{ Dirs []LogDir }

const (
	minLogDirBytes          = 1 + 5
	minLogDirPartitionBytes = 1 + 3
)

func (m *DescribeLogDirsReply) encode(e *Encoder) {
	e.array(1)
	e.array(len(m.Dirs))
	for i := range m.Dirs {
		l := &m.Dirs[i]
		e.array(5)
		e.failure(l.Err)
		e.string(l.Path)
		e.int(l.TotalBytes)
		e.int(l.UsableBytes)
		e.array(len(l.Partitions))
		for _, p := range l.Partitions {
			e.array(3)
			e.string(p.Topic)
			e.int(int64(p.Partition))
			e.int(p.Bytes)
		}
	}
}

func (m *DescribeLogDirsReply) decode(d *Decoder) {
	_, outer := d.open()
	m.Dirs = structs(d, minLogDirBytes, func(l *LogDir) {
		l.Err, l.Path = d.failure(), d.string()
		l.TotalBytes, l.UsableBytes = d.int64(), d.int64()
		l.Partitions = structs(d, minLogDirPartitionBytes, func(p *LogDirPartition) {
			p.Topic, p.Partition, p.Bytes = d.string(), integer[int32](d), d.int64()
		})
	})
	d.close(outer)
}
