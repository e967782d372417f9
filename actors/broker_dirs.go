package actors

import (
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// adoptLogs finds out which logs lie where. A directory that the image knows nothing of is set
// aside, not deleted: its topic may have been deleted, or it belongs to somebody else's disk.
func (b *brokerActor) adoptLogs(image *metadata.Image) {
	for _, d := range b.dirs {
		refs, err := d.Logs()
		if err != nil {
			b.logger.Error("log directory cannot be listed", "dir", d.Path(), "err", err)
			continue
		}
		for _, ref := range refs {
			unreadable := ref.ID.IsZero()
			if unreadable {
				// Its name tells whose it is. Opening it will fail, and say why: to set it aside would
				// put an empty log in its place.
				topic, _ := image.Local(b.cfg.ID, b.cfg.Static).Topic(ref.Topic)
				ref.ID = topic.ID
			}
			tp := wire.TopicPartition{Topic: ref.ID, Partition: ref.Partition}
			state, ok := image.Partition(ref.ID, ref.Partition)
			if ok && slices.Contains(state.Replicas, b.cfg.ID) && b.found[tp] == nil {
				b.found[tp] = d
				b.logsIn[d]++
				continue
			}
			if unreadable {
				continue // storage has warned of it
			}
			b.logger.Warn("log is set aside: the metadata does not place it here", "topic", ref.Topic, "partition", ref.Partition, "dir", d.Path())
			if err := d.MarkStray(ref); err != nil {
				b.logger.Error("log cannot be set aside", "topic", ref.Topic, "partition", ref.Partition, "err", err)
			}
		}
	}
}

// warnOfMissingDirs tells of directories that this broker had and was not started with. What lies
// there has no leader.
func (b *brokerActor) warnOfMissingDirs(image *metadata.Image) {
	missing := make(map[metadata.DirectoryID]int)
	for tp := range image.Hosted(b.cfg.ID) {
		id, known := image.Directory(tp.Topic, tp.Partition, b.cfg.ID)
		if known && b.dirByID(id) == nil && b.found[tp] == nil {
			missing[id]++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(missing)) {
		b.logger.Warn("partitions are in a log directory that is not here: add its --data", "directory_id", id, "partitions", missing[id])
	}
}

// dirOf is the directory of a partition that is new here: where its log was found, else where
// the image wants it, else the one with the fewest logs. A log that lies in another directory
// than the image says has been moved by hand, and the image is told. It is nil when the log lies in
// a directory that is not here: an empty log must not take its place.
func (b *brokerActor) dirOf(image *metadata.Local, tp wire.TopicPartition) *storage.Dir {
	var wanted *storage.Dir
	id, placed := image.Directory(tp.Topic, tp.Partition, b.cfg.ID)
	if placed {
		wanted = b.dirByID(id)
	}
	dir := b.found[tp]
	delete(b.found, tp)
	switch {
	case dir != nil && dir != wanted:
		b.tellAbout(metadata.MoveReplica{
			Topic: tp.Topic, Partition: tp.Partition, Broker: b.cfg.ID, Incarnation: b.cfg.Incarnation, Directory: idOf(dir),
		})
	case dir != nil:
	case wanted != nil:
		dir = wanted
		b.logsIn[dir]++
	case placed:
	default:
		dir = b.emptiest()
		b.logsIn[dir]++
	}
	return dir
}

// beginAnew asks for another directory for a log whose own is not here, if nothing that lies there counts
// any more.
func (b *brokerActor) beginAnew(image *metadata.Local, tp wire.TopicPartition) {
	if image.Superseded(tp.Topic, tp.Partition, b.cfg.ID) {
		b.tellAbout(metadata.MoveReplica{
			Topic: tp.Topic, Partition: tp.Partition, Broker: b.cfg.ID, Incarnation: b.cfg.Incarnation, Directory: idOf(b.emptiest()), Empty: true,
		})
	}
}

func idOf(d *storage.Dir) metadata.DirectoryID { return metadata.DirectoryID(d.Identity().DirectoryID) }

func (b *brokerActor) dirByID(id metadata.DirectoryID) *storage.Dir {
	for _, d := range b.dirs {
		if idOf(d) == id {
			return d
		}
	}
	return nil
}

// emptiest is the directory with the fewest logs among those that work.
func (b *brokerActor) emptiest() *storage.Dir {
	var best *storage.Dir
	for _, d := range b.dirs {
		if d.Err() == nil && (best == nil || b.logsIn[d] < b.logsIn[best]) {
			best = d
		}
	}
	if best == nil {
		return b.dirs[0] // the broker is about to end: its last directory failed
	}
	return best
}

// onReplicaLost has the cluster know that a replica is of no use. Only then is the partition done
// with: whoever hears that this broker is ready also sees which partitions have no leader.
func (b *brokerActor) onReplicaLost(ctx actor.Context, msg *replicaLost) {
	self := ctx.Self()
	b.tell(metadata.FailReplicas{
		Broker: b.cfg.ID, Incarnation: b.cfg.Incarnation, Replicas: []wire.TopicPartition{msg.tp},
	}, func() { b.send(self, &partitionReady{tp: msg.tp}) })
}

// onDirOffline loses a directory's partitions. Without the first, which holds the metadata log,
// or without any, the broker cannot go on.
func (b *brokerActor) onDirOffline(ctx actor.Context, msg *dirOffline) {
	b.logger.Error("log directory is offline", "dir", msg.dir.Path(), "err", msg.dir.Err())
	for _, local := range b.topics {
		ctx.Send(local.pid, msg)
	}
	left := 0
	for _, d := range b.dirs {
		if d.Err() == nil {
			left++
		}
	}
	if left == 0 || msg.dir == b.dirs[0] {
		b.fail(&lostDirectoryError{path: msg.dir.Path(), cause: msg.dir.Err()})
		return
	}
	b.tellAbout(metadata.FailDirectories{
		Broker: b.cfg.ID, Incarnation: b.cfg.Incarnation, Directories: []metadata.DirectoryID{idOf(msg.dir)},
	})
}

type lostDirectoryError struct {
	path  string
	cause error
}

func (e *lostDirectoryError) Error() string {
	return "log directory " + e.path + " failed, and the broker cannot go on without it: " + e.cause.Error()
}

func (e *lostDirectoryError) Unwrap() error { return e.cause }
