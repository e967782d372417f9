// Package groups plays consumer groups out of the rules of cluster/group: coordinators on three brokers, one partition of the
// offsets topic, a network that loses, delays and repeats what is sent, clients of both protocols that crash, pause and come
// back, topics that come and go, and faults. One schedule and one source of randomness move everything, so that a seed is a
// run that can be had again.
//
//	client ── classicMember or consumerMember: joins, consumes, commits
//	   |  network
//	broker ── a clock, an image, and where it leads:
//	   └── shard ── one append at a time; loads, and gives up
//	          └── coordinator ── group.Group, and the answers that wait until all before them is committed
//	offsetsLog ── what is committed, what may still be lost, and who leads
//
//	truth    all that coordinators ever promised: none of them can see it
//
// What must hold is checked as it happens (truth.go, truth_members.go, truth_given.go, register.go):
//
//   - what was acknowledged is committed; who asks afterwards is told that or something later
//   - an offset goes because its topic did, because somebody deleted it, or because for as long as it is kept nobody committed it
//     and the group had no members
//   - a commit counts if it is of the present generation or epoch, and of nothing that another member was given since; a group that was
//     forgotten, or deleted, counts its epochs from 1 when it comes again, and no commit is later than that here
//   - a generation has one leader, and everybody is told exactly what the leader wanted for him, each time the same
//   - a member that is heard in time and gives up in time is never taken out, not by a coordinator that moves either
//   - Tick, when it is due, does something
//   - a request is answered once, unless whoever made it is gone
//   - the group is what a fold of the log makes of it
//
// and when the faults have ended (settled.go): each group comes to rest, with every partition at exactly one member, and knows
// all that was acknowledged. Then one thing at a time happens: a member crashes, comes, or is busy, a topic grows, another broker
// leads. No partition is without a consumer for longer than the session's timeout, or the rebalance's where a member that is busy
// does not rejoin, and two seconds; the group is at rest again by then or, where members share out among themselves in several
// steps, four seconds later; and in a cooperative group or one of KIP-848 what stays where it is never stops.
//
// mutants.go drops one rule after the other, and each time this has to be noticed.
//
//	go test ./cluster/sim/groups                                     a few hundred seeds, and every mutant
//	go test ./cluster/sim/groups -sim.seed 4711 -v                   one seed, with all that happens in it
//	go test ./cluster/sim/groups -run Keep -sim.seeds 50000 -timeout 2h
//
// Begin with world.go, then shard.go and coordinator.go, which do for the rules what the actors do in a broker, and truth.go.
// Not here: the schedule and the dice, which are those of package play, and how the log is replicated, which package sim plays.
package groups
