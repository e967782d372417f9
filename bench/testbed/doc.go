// Package testbed starts whole brokers, alone or as a cluster, and does to them what happens to
// machines.
//
//	process.go   one broker in a process of its own: killed, paused, stopped
//	cluster.go   n such processes, joined; restarted with the same addresses or new ones, wiped
//	inprocess.go n whole brokers in this process, on disks in memory whose power can be cut
//	proxy.go     a line to a broker that can be cut, slowed down and made to lose
//	netns.go     a network namespace for each broker, so that links can be cut for real
//	ports.go     addresses that nobody else has
//	view.go      what a broker says of its cluster: who leads, who is in sync, who is the controller
//
// It knows of a broker in a process only what any script may know: the flags, the line
// "ready k=v ..." on standard output, and the signals. So the same code starts Troupe and the
// floor broker.
package testbed
