//go:build !mutants

package actors

// ackBeforeISR is a planted bug, which only builds with the tag mutants can have.
const ackBeforeISR = false
