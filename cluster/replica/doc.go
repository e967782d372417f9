// Package replica decides what one copy of a partition does. It performs nothing: every method
// takes values and returns Effects, which the replica actor carries out.
//
//	offsets   0 ..... LogStartOffset ........ HighWatermark ........ LogEndOffset
//	                  | committed, readable   | appended, not yet    |
//	                                            safe on all of the ISR
//
// What makes a record safe is the topic's durability: under fsync it counts on a replica once it
// lies below that replica's flushed offset, under replicated once it lies below its log end.
//
// A replica leads or follows, in one leader epoch. The leader pushes:
//
//	leader                                            follower
//	   Probe         "where does your log end?"  ------->
//	   <-------  Position    its last epoch and its ends
//	   Truncate      "cut what I do not have"    ------->    until its log is a prefix of the leader's
//	   Append        batches, high watermark     ------->    applies only at exactly the log's end
//	   <-------  Appended    how much it has, as a stream of progress
//
// Messages may be lost, repeated and late: each names the leader epoch and the run of the follower
// that it is for, and what is acknowledged only grows.
//
// Invariants, checked where the state changes (a violation is a bug and panics, so that the
// actor stops rather than serving a lie):
//
//	LogStartOffset <= HighWatermark <= LogEndOffset
//	FlushedOffset  <= LogEndOffset
//	the HighWatermark never goes back within a LeaderEpoch
//	it moves only while the committed ISR has min.insync.replicas members
//	nothing below it is cut, unless it dates from before an unclean election
//
// Begin with leader.go: what is committed. leader_followers.go has the leader's side of the
// conversation, follower.go the other one, isr.go who is proposed for the in-sync replicas.
// effects.go lists all that can result; producers.go holds the rules of idempotent producers;
// parked.go the order in which waiting producers are answered. Package cluster/sim plays all of it
// against faults, and shows what breaks when a rule is dropped. Not here: the log itself (package
// storage), the mailbox (package actors), and who leads at all (package metadata).
package replica
