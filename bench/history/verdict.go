package history

import (
	"fmt"
	"time"
)

// Verdict is what a run says of the system under it.
type Verdict string

// The verdicts.
const (
	Valid       Verdict = "valid"   // enough happened, and nothing was found
	Invalid     Verdict = "invalid" // something was found
	Undecidable Verdict = "unknown" // nothing was found, but too little happened to say more
)

// What must happen for a run to say anything: one effective fault in FaultEvery, and so many
// acknowledgements a second.
const (
	FaultEvery   = 10 * time.Second
	MinPerSecond = 100
)

// Evidence is how much happened.
type Evidence struct {
	Duration     time.Duration // under load
	Acknowledged int64
	Faults       int // effective ones
	Final        int // final readings, one for each place at least
	Places       int
}

// Judge returns the verdict, and for one that is unknown the reason.
func Judge(found *Findings, e Evidence) (Verdict, string) {
	wanted := max(1, int(e.Duration/FaultEvery))
	rate := float64(e.Acknowledged) / max(e.Duration.Seconds(), 1e-9)
	switch {
	case found.Total() > 0:
		return Invalid, ""
	case e.Final < e.Places || e.Places == 0:
		return Undecidable, fmt.Sprintf("%d of %d partitions were read back", e.Final, e.Places)
	case e.Faults < wanted:
		return Undecidable, fmt.Sprintf("%d faults had an effect, %d are needed in %s", e.Faults, wanted, e.Duration.Round(time.Second))
	case rate < MinPerSecond:
		return Undecidable, fmt.Sprintf("%.0f records were acknowledged per second, %d are needed", rate, MinPerSecond)
	}
	return Valid, ""
}
