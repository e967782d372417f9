// Package group decides what a consumer group does: who its members are, which partitions each of them has, and the
// offsets that it has committed. It performs nothing: every method takes values and returns Effects, which the
// coordinator's actor carries out.
//
//	         request, tick, new image                       Effects
//	               |                                           ^
//	+--------------v-------------------------------------------+----------------+
//	| Group        Handle, Tick, TopicsChanged, Cancel                          |
//	|  +--------------------------+   +--------------------------------------+  |
//	|  | classic                  |   | consumer (KIP-848)                   |  |
//	|  | generations, joins and   |   | epochs, heartbeats; the coordinator  |  |
//	|  | syncs; the leader assigns|   | assigns                              |  |
//	|  +--------------------------+   +--------------------------------------+  |
//	|  +--------------------------------------+  +---------------------------+  |
//	|  | offsets: committed, expired, deleted |  | history of its rebalances |  |
//	|  +--------------------------------------+  +---------------------------+  |
//	+---------------------------------------------------------------------------+
//	               ^ Replay: one record after the other        | Records
//	+--------------+-------------------------------------------v----------------+
//	|  __consumer_offsets: the group's records, in Kafka's binary formats       |
//	+---------------------------------------------------------------------------+
//
// A group is classic or of KIP-848 or, while it has nothing but offsets, neither. What has to outlive the coordinator is
// a fold of its records: a rule changes the state when it emits the record, and nothing is ever reverted. An answer goes
// out only once all that was emitted before it is committed; where that fails the coordinator has lost its epoch, the
// whole Group is dropped, and the next coordinator folds the log again.
//
// Invariants:
//
//	replaying the records that a group emitted gives its persisted state
//	a commit is accepted from a member of the present generation or epoch alone, or while there are no members
//	offsets expire only while a group has no members
//	each call gets one answer, at once or, where it is parked, later; unless it was cancelled
//	the same calls at the same times lead to the same effects: nothing depends on the order of a map
//
// Begin with group.go: what is asked of a group and what comes of it. classic.go has the states of the classic protocol,
// classic_join.go and classic_sync.go the two phases of its rebalances, classic_static.go members that come back;
// consumer.go is the protocol of KIP-848, assign.go how it shares partitions out, migrate.go how a group moves from one protocol to
// the other. offsets.go holds what is committed, offsets_expire.go for how long; history.go what rebalances are remembered;
// records_*.go the formats of the log and embedded.go what consumers tell each other through it. Not here: the log
// (package storage), the mailbox (package actors), and the clients' own wire formats (package wire/kafka).
package group
