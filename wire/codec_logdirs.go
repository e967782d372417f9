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
	n, list := d.list(minLogDirBytes)
	m.Dirs = make([]LogDir, n)
	for i := range m.Dirs {
		l := &m.Dirs[i]
		_, one := d.open()
		l.Err = d.failure()
		l.Path = d.string()
		l.TotalBytes, l.UsableBytes = d.int64(), d.int64()
		k, partitions := d.list(minLogDirPartitionBytes)
		l.Partitions = make([]LogDirPartition, k)
		for j := range l.Partitions {
			_, p := d.open()
			l.Partitions[j] = LogDirPartition{Topic: d.string(), Partition: integer[int32](d), Bytes: d.int64()}
			d.close(p)
		}
		d.close(partitions)
		d.close(one)
	}
	d.close(list)
	d.close(outer)
}
