// Package measure says what a run cost and how far to believe it.
//
//	meter.go      time, CPU of our own process and of the broker's, and what disturbed both
//	quantiles.go  latencies, and the spread of ratios over rounds
//	sleep.go      waiting for an intended send time without overshooting it
//
// The figure that holds on a busy machine is the broker's CPU per record and per MB: client and
// broker share few cores, and the client takes most of them. What the hypervisor withheld (steal)
// and what other processes used is recorded with every run; a run is disturbed when either is
// too large. What the kernel does on its own threads, for syncs above all, is in no process's
// CPU; it is recorded besides, and disturbs nothing.
//
// Linux only: it reads /proc. MB are 10^6 bytes.
package measure
