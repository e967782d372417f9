// Package sim plays whole clusters out of the pure rules: many brokers, one controller, a network that
// loses links and messages, disks that forget what was not synced, clients, and faults. One schedule and
// one source of randomness move everything, so that a seed is a run that can be had again.
//
//	machine ── disks, a clock, links          controller ── metadata.Image, Commands, Liveness
//	   └── process ── an image, its links          |
//	          └── replicaShell ── replica.Leader or replica.Follower
//
//	truth    all that any leader ever committed: nobody in the cluster can see it
//
// After every event the invariants are checked (truth.go):
//
//   - what a replica has below its high watermark is what was committed there
//   - whoever may be elected, of the ISR and the ELR, has all that was ever committed; under
//     durability=fsync on the disk
//   - nobody leads twice in an epoch, nor two
//   - what a producer was told is true, and nothing it sent is committed twice
//   - no replica stops because one of its own invariants broke
//
// and when the faults have ended: somebody leads, everybody is in sync, all logs are equal, the high
// watermark is at the end, and no clock runs.
//
// A run without a failure says nothing as long as the rules that are thought to matter can be dropped
// unnoticed: mutants.go drops one after the other, and each has to fail.
//
//	go test ./cluster/sim                                            a few hundred seeds, and every mutant
//	go test ./cluster/sim -sim.seed 4711 -v                          one seed, with all that happens in it
//	go test ./cluster/sim -run Protocol -sim.seeds 50000 -timeout 2h a night's worth
//
// Begin with world.go, then shell.go, which does for the rules what the actors do in a broker, and
// truth.go. The schedule and the dice are those of package play.
package sim
