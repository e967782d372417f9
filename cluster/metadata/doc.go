// Package metadata holds the truth about a cluster and the rules by which it changes. It performs
// nothing: no clock, no disk, no network, no locks, no randomness.
//
//	          Command ── Decide(img, env) ──> Decision{Records, Reply}
//	                          ^                   |
//	                          |                   | EncodeRecords: one entry of the metadata log
//	                          |                   v
//	Image ────────────────────┴──────── Apply(index, records) ──> next Image, Delta
//	(immutable, shared by all readers)
//
// The controller keeps two images: the one that the committed log gives, and a speculative one with
// its own uncommitted entries on top. It decides on the speculative one, so that each entry meets
// exactly the state that it was computed for. Every broker applies the committed entries and so
// holds the same image; the Delta tells it what to look at.
//
// Invariants:
//   - An Image never changes. Whoever holds one may read it from any goroutine.
//   - Apply is a function of the image, the index and the records: the same log gives the same image.
//   - An entry that Apply refuses leaves the image as it was. A record says which epochs it was made
//     for; a mismatch means that the log is not the one decided on, and the controller has to stop.
//   - What Decide returns, Apply accepts on the same image. A refused command has no records.
//   - A broker's epoch is the index of the log entry that registered it, with the recovery epoch above
//     it. Leader epochs and partition epochs never go back.
//   - Topic numbers, broker ids and raft ids are never used twice.
//
// Where to read: image.go (what there is), topic.go (how a million partitions fit into memory),
// records.go (what can change), apply.go, then command.go and a file per command; elect.go has the
// rules of leadership, assignment.go those of reassignment, configs.go the configuration keys.
// cluster/DESIGN.md tells the story.
//
// Beside the log stands what a controller knows only while it leads, also without a clock of its own:
//
//	heartbeats, hints, now ──> Liveness ──> ChangeBrokers      who is fenced (liveness.go)
//	raft's progress, now   ──> Quorum   ──> VoterChange        who votes (quorum.go)
//
// and Lease (lease.go), by which a broker knows that it may be fenced before it learns it.
//
// Commands and replies travel between brokers as bytes (command_codec.go, reply_codec.go), and so do
// entries to brokers that do not vote (entries_codec.go).
//
// Not here: raft and its write-ahead log (package actors drives them, package storage keeps them), gossip
// (package gossip), and what one replica does (package replica).
package metadata
