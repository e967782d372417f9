// Package play is what the simulators of the rules have in common: a stage on which a world is played in virtual time, moved
// by one schedule and one source of randomness, so that a seed is a run that can be had again.
//
//	Stage    the time, the dice, what is to happen, and the first invariant that broke
//	Process  runs on it: what it wants to happen is dropped when it dies, and waits while it is paused
//	Mutants  rules that a simulator can drop, each of which has to be noticed
//
// A world is a Stage and all that stands on it. Nothing here knows what is played: package sim plays replication, and package
// groups consumer groups. Their tests are in package playtest.
package play
