//go:build mutants

package actors

import "os"

// ackBeforeISR is a bug that the checkers of chaos runs must find: acks=all is answered as soon as the
// leader has appended. The build tag makes it possible, the environment chooses it.
var ackBeforeISR = os.Getenv("TROUPE_MUTANT") == "ack_before_isr"
