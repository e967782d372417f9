// Package chaos breaks a cluster of real processes while clients use it, and says whether the log
// was harmed.
//
//	run.go          a whole run: a storm of faults on a stage, and its verdict
//	stage.go        a cluster under load, watched: opened, and finished by reading everything back
//	fault.go        what can be done to a cluster, and how a fault is seen to have bitten
//	observer.go     what the brokers say of leaders, in-sync replicas and the controller meanwhile
//	load.go         writers and readers, of several client libraries; client_*.go, one library each
//	readback.go     everything is read again, and the copies on the disks are compared
//	report.go       the result, for people and for programs
//
// The load is an open loop: records come at their times whether the cluster answers or not, or a
// fault would hide itself by stopping the load. What the clients saw is judged by bench/history.
//
// A seed fixes which faults come in which order, to which role, and how long each lasts. Processes
// under a real kernel do not replay exactly; the same seed makes the same plan.
//
// A fault counts only if it is known to have bitten: the victim was seen dead or stalled, and then
// a leader epoch moved, an ISR shrank, the controller changed or a client saw a gap. A run with too
// few of those, or with too little load, is unknown, not valid.
package chaos
