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
// Invariants, checked where the state changes (a violation is a bug and panics, so that the
// actor stops rather than serving a lie):
//
//	LogStartOffset <= HighWatermark <= LogEndOffset
//	FlushedOffset  <= LogEndOffset
//	the HighWatermark never goes back within a LeaderEpoch
//	it moves only while the committed ISR has min.insync.replicas members
//
// Begin with leader.go. effects.go lists all that can result; producers.go holds the rules of
// idempotent producers; parked.go the order in which waiting producers are answered. Not here:
// the log itself (package storage), the mailbox (package actors), and who leads at all
// (package metadata).
package replica
