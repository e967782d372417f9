// Package actors is the shells: each actor receives a message, asks the rules in cluster/ what
// to do, and does it. It is the only package that knows the actor runtime.
//
//	Broker (broker.go)            what cmd/node starts and the listeners ask; not an actor
//	  broker        brokerActor   follows the metadata image; has a topic actor per local topic
//	                              (broker_actor.go, broker_dirs.go, broker_replies.go, broker_controller.go)
//	  topic/<id>    topic         supervises the replicas of one topic on this broker
//	  replica/<topic id>/<n>      owns one partition's log for as long as it lives
//	  controller    controller    the metadata log: decides commands while it leads, applies entries
//	                              (controller.go has the map of its files)
//	  commands      commands      commands that another broker's controller decides (commands.go)
//	  membership    membership    heartbeats, the lease, hints of who is dead
//	  forward       forwardActor  native requests for what another broker leads (forward.go)
//	  producer-ids                hands out producer ids from blocks of the metadata log
//	  groups        groupsActor   has a shard for each partition of the offsets topic led here (groups.go)
//	  groups/<n>    groupsShard   loads that partition, appends what its groups emit (groups_shard.go)
//	  groups/<n>/group/<id>       one consumer group: its coordinator (group_coordinator.go)
//
// A produce goes in by backend.go (find the partition), through the partition's door (door.go:
// bytes in flight, and a table of who still waits for an answer), into the replica's mailbox
// (replica_leading.go), and comes out through the completion in the message.
//
// A request to a group's coordinator goes in by groups_backend.go (find the shard and the coordinator, in groups_table.go),
// and straight into the coordinator's mailbox. What its rules emit goes to the shard, which appends it like a produce, in
// batches (groups_append.go); the answer comes out once that is committed.
//
// Reading does not pass through mailboxes: a replica publishes an immutable view of itself
// (partition.go) and storage.Log has concurrent readers. That view, the routes, the table of groups and the
// metadata image are all the memory that goroutines share.
//
// Rules of the house: no locks, no go statements and no waiting inside an actor; a panic stops
// an actor and whoever watches it starts the next one; whoever sends a command keeps its
// completion, so that a stopped actor leaves nobody without an answer.
package actors
