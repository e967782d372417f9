// Package crashfs is a file system in memory that forgets what was not synced, so that a test can
// pull the plug from under a log, a WAL or a whole broker and look at what is left.
//
//	what a program sees          what a power cut leaves
//	content and size             as of the last File.Sync, plus any part of what came after
//	names in a directory         as of the last SyncDir, plus any legal part of what came after
//
// Crash builds one of the many states in which the disk may be found, chosen by a seeded source:
//
//   - Content is kept in sectors of 512 bytes. A sector shows what it held at the last Sync or at
//     any moment after it, each sector for itself: so pages of 4 KiB are lost, kept, or torn, and
//     writes reach the disk in any order.
//   - The size is the synced one or any that the file had since, whether or not the content that
//     it promises has arrived: zeros fill the gap. A sector that a truncation cut off
//     goes with the truncation: what was cut away never comes back once the file has grown again.
//   - Changes of names arrive in the order made (as journalling file systems do it) or in any
//     order in which none precedes one that it builds on (which is all that POSIX says). A rename
//     is whole or absent. A file whose name was never synced is gone, however well its content was.
//
// Kill is the gentler death: the process ends, the page cache stays, and a later Crash may
// still lose it. After either the old file system and every file opened on it answer with
// ErrPowerOff, so that a process that "died" cannot write on.
//
// Steps counts the calls that changed something; AfterStep cuts the power behind exactly the n-th,
// which is how a test crashes at every step. RemoveAll and MkdirAll are one step for each name.
//
// FailSync is the error that lies: the page cache shows what the disk never got.
//
// What it does not model: bytes torn inside a sector, sectors that cannot be read any more, bits that
// flip, disks that lie about a sync, and links. Package faultfs, which can be laid over this one,
// makes calls fail.
//
// The vfs package of github.com/cockroachdb/pebble/v2 has the same idea (MemFS.CrashClone) and
// was considered first. Its File has no Truncate and its names cannot be opened by flags, both
// of which logs need to cut a torn tail; and it knows of each block only the synced and the last state,
// and of a size nothing at all. Hence this one.
//
// Begin with fs.go, what a program calls; node.go is what is remembered, crash.go what is
// forgotten.
package crashfs
