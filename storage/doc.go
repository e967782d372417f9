// Package storage remembers: append-only logs that survive a crash, one for each partition copy, and
// the write-ahead log of the metadata. It knows batches, offsets and epochs; what they mean is
// decided in package cluster.
//
//	data directory (Dir: one lock, one disk, one fate)
//	  meta.json  .lock  recovery-point-offset-checkpoint ...
//	  orders-3/ (Log)
//	    00000000000000000000.log  .index  .timeindex        sealed segment
//	    00000000000000004711.log                            active segment: the only one that grows
//	    00000000000000004711.snapshot                       producers at that offset
//	    leader-epoch-checkpoint  partition.metadata
//
//	appender --- Append: one pwrite --->  page cache            the replica actor's goroutine
//	    |--- RequestSync --->  syncer: fsync, Synced{UpTo} -->  one goroutine per directory
//	    '--- RequestCut  --->          truncate, Cut{End} --->
//	                           keeper: indexes, checkpoints, removals, free space     another one
//	                           cleaner: compaction, at a limited rate                 another one
//	readers  --- Read: a stretch of a file, lent --->           any goroutine
//
// Offsets, all exclusive:
//
//	DurablePoint <= FlushedOffset <= EndOffset          StartOffset <= EndOffset
//	checkpointed    fsynced          written
//
// Invariants:
//   - What was reported in Synced is on the disk, and is never cut off or deleted but by retention,
//     delete-records, the deletion of the partition, or a cut that its leader asks for. Below the
//     durable point damage is an error that keeps the bytes; above it a torn tail is cut
//     (cluster/decisions/0002).
//   - A cut lowers all that speaks of the log's end before it takes anything away, begins a new
//     generation, and never lets new bytes be written over old ones (cut.go).
//   - The flushed offset enters a segment only after the one before it and the directory are synced.
//   - A failed write or sync takes the directory offline. It is never tried again. A full disk is no
//     failure: appends are refused until space is free, and everything else goes on.
//   - Batches may leave gaps, never overlap; their leader epochs never go down.
//   - Compaction drops a record only if a later one of its key stays, or its tombstone has had its
//     time; nobody sees it half done (compact.go).
//   - Indexes, snapshots and checkpoints are caches: missing or wrong ones cost time, not data.
//   - An idle log has no goroutine, no timer and no open file.
//
// The bytes are Apache Kafka's, so that its tools read them; FORMAT.md draws them all.
//
// Begin with log.go and append.go; then read.go, syncer.go, recover.go and keeper.go; replicate.go,
// cut.go and salvage.go are for copies of a log that is led elsewhere, compact.go is for topics that
// keep the last record of each key. The WAL (wal.go) stands on
// its own. FS (fs.go) is what all of it asks of a disk; crashfs forgets what was not synced and
// faultfs fails the n-th call.
package storage
