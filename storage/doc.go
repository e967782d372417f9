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
//	    '--- RequestSync --->  syncer: fsync, Synced{UpTo} -->  one goroutine per directory
//	                           keeper: indexes, checkpoints, removals, free space     another one
//	readers  --- Read: a stretch of a file, lent --->           any goroutine
//
// Offsets, all exclusive:
//
//	DurablePoint <= FlushedOffset <= EndOffset          StartOffset <= EndOffset
//	checkpointed    fsynced          written
//
// Invariants:
//   - What was reported in Synced is on the disk, and is never cut off or deleted but by retention,
//     delete-records or the deletion of the partition. Below the durable point damage is an error
//     that keeps the bytes; above it a torn tail is cut (cluster/decisions/0002).
//   - The flushed offset enters a segment only after the one before it and the directory are synced.
//   - A failed write or sync takes the directory offline. It is never tried again. A full disk is no
//     failure: appends are refused until space is free, and everything else goes on.
//   - Batches may leave gaps, never overlap; their leader epochs never go down.
//   - Indexes, snapshots and checkpoints are caches: missing or wrong ones cost time, not data.
//   - An idle log has no goroutine, no timer and no open file.
//
// The bytes are Apache Kafka's, so that its tools read them; FORMAT.md draws them all.
//
// Begin with log.go and append.go; then read.go, syncer.go, recover.go and keeper.go. The WAL (wal.go) stands on
// its own. FS (fs.go) is what all of it asks of a disk; crashfs forgets what was not synced and
// faultfs fails the n-th call.
package storage
