// Package bootstrap decides how a broker that starts comes to its cluster: whether it founds one,
// joins one, goes back to its own, waits, or gives up. Nobody gives it an id, and nobody formats
// a disk; what must never happen is that two clusters come about where one was meant, or that two
// become one.
//
//	has it a cluster?  -- yes -->  it goes back, and never founds                        B1, B10
//	                               (its cluster was recovered without it: it starts over)  B12
//	       | no (blank)
//	has it a list?     -- no  -->  it founds                                              B2
//	       | --join
//	has anybody on the list a cluster?  -- yes -->  it joins that one                     B5
//	       | no
//	is it on the list itself?  -- no  -->  it waits: whoever is not on the list only joins  B3
//	       | yes
//	is its address the smallest?  -- no -->  it waits for the one whose is                B4
//	       | yes
//	did every other say "blank, with the same list"?  -- yes -->  it founds               B4
//
// One address of one list founds, and only with the word of all others. So two founders need two
// lists that differ, and brokers whose lists differ wait and say so. The founder begins as the only
// voter of the metadata log and admits the others through it: there is no first configuration of
// several that could differ.
//
// Two hazards remain. A blank broker without --join founds even when its disk was lost and its cluster
// is elsewhere: that is put right by DecideClaim, as long as nobody has used the new cluster. And when
// all that are on the list have lost their disks at once, they found anew, which no rule can see. A
// list of three or more, given to every broker, is what helps.
//
// The functions are pure: package node asks the addresses, calls Decide, and acts.
package bootstrap

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/troupe-mq/troupe/wire"
)

// Self is what a broker knows of itself when it starts.
type Self struct {
	ClusterID     string // "": its directories are blank
	RecoveryEpoch uint64 // of its cluster, as far as it knows
	Founding      bool   // it is blank, but had begun to found when it stopped
	Directory     string
	Incarnation   wire.Incarnation
	Join          []string // addresses as they were typed
}

// Answer is what came back from one address of the list.
type Answer struct {
	Address string // as typed
	// Own says that the address looks like this process's: it is the advertised one, or its host is
	// one of this machine's and its port ours.
	Own   bool
	Err   error // nobody answered
	Hello wire.Hello
}

// Action is what a broker does next.
type Action int

// The actions.
const (
	Wait      Action = iota // and ask again
	Found                   // a cluster
	Join                    // the cluster ClusterID, by one of At
	Return                  // to the cluster that it has
	StartOver               // in the cluster that it has, of which it knows only what was before a recovery
	Refuse                  // to start
)

// Decision is what to do next, and why.
type Decision struct {
	Action    Action
	ClusterID string   // of Join
	At        []string // of Join: addresses that answered for the cluster
	Foreign   []string // of Return and StartOver: addresses that belong to another cluster and are not to be used
	Why       string   // of Wait and Refuse: for people
	Mistake   bool     // of Wait: it will not pass unless somebody changes something

	RecoveryEpoch uint64 // of Join and StartOver: that of the cluster
}

// Decide says what a broker does next, given what came back from every address of its list.
func Decide(self Self, answers []Answer) Decision {
	switch {
	case self.ClusterID != "":
		return decideReturn(self, answers)
	case self.Founding, len(self.Join) == 0:
		return Decision{Action: Found}
	}
	if d, some := decideJoin(self, answers); some {
		return d
	}
	if !slices.ContainsFunc(answers, self.is) {
		return Decision{Why: "nobody on the list has a cluster yet, and this broker, which is not on it, founds none" + unreachable(answers)}
	}
	return decideFound(self, answers)
}

// is says that an address is this process: it looks like it, and it answered as this process. An
// address that only leads here, such as a load balancer's, leads somewhere else tomorrow.
func (s Self) is(a Answer) bool { return a.Own && s.answered(a) }

func (s Self) answered(a Answer) bool {
	return a.Err == nil && a.Hello.Incarnation == s.Incarnation && a.Hello.Directory == s.Directory
}

// LeftBehind is B12: the broker at the other end belongs to the same cluster, which was recovered without
// this one. What this one knows of the metadata is not what the cluster goes on from.
func (s Self) LeftBehind(by wire.Hello) bool {
	return s.ClusterID != "" && s.ClusterID == by.ClusterID && s.RecoveryEpoch < by.RecoveryEpoch
}

// decideReturn is B1 and B10: whoever has a cluster keeps it. It does not start where it was
// clearly not meant to: when all that it is told to join belong to another one.
func decideReturn(self Self, answers []Answer) Decision {
	d := Decision{Action: Return}
	others, foreignID := 0, ""
	for _, a := range answers {
		if self.answered(a) {
			continue
		}
		others++
		if a.Err == nil && a.Hello.ClusterID != "" && a.Hello.ClusterID != self.ClusterID {
			d.Foreign = append(d.Foreign, a.Address)
			foreignID = a.Hello.ClusterID
		}
		if a.Err == nil && self.LeftBehind(a.Hello) {
			d.Action, d.RecoveryEpoch = StartOver, max(d.RecoveryEpoch, a.Hello.RecoveryEpoch)
		}
	}
	if others > 0 && len(d.Foreign) == others {
		return Decision{Action: Refuse, Why: fmt.Sprintf(
			"this broker belongs to cluster %s, but who is to be joined (%s) to cluster %s: correct --join, or use another data directory",
			self.ClusterID, strings.Join(d.Foreign, ", "), foreignID)}
	}
	return d
}

// decideJoin is B5: if anybody has a cluster, that is the one to join. Of its brokers, those count that
// were not left behind by a recovery.
func decideJoin(self Self, answers []Answer) (d Decision, some bool) {
	d = Decision{Action: Join}
	for _, a := range answers {
		switch {
		case a.Err != nil || a.Hello.ClusterID == "" || self.answered(a):
			continue
		case d.ClusterID != "" && d.ClusterID != a.Hello.ClusterID:
			return Decision{Action: Refuse, Why: fmt.Sprintf(
				"%s belongs to cluster %s, but %s to cluster %s: a broker joins one cluster; correct --join",
				d.At[0], d.ClusterID, a.Address, a.Hello.ClusterID)}, true
		}
		if a.Hello.RecoveryEpoch > d.RecoveryEpoch {
			d.RecoveryEpoch, d.At = a.Hello.RecoveryEpoch, nil
		}
		d.ClusterID = a.Hello.ClusterID
		if a.Hello.RecoveryEpoch == d.RecoveryEpoch {
			d.At = append(d.At, a.Address)
		}
	}
	return d, d.ClusterID != ""
}

// decideFound is B4, for a broker that is on the list while nobody has a cluster.
func decideFound(self Self, answers []Answer) Decision {
	hash := SeedHash(self.Join)
	first := slices.MinFunc(answers, func(a, b Answer) int { return strings.Compare(a.Address, b.Address) })
	for _, a := range answers {
		switch {
		case self.is(a):
		case a.Err != nil:
			return Decision{Why: "not everybody on the list is there yet" + unreachable(answers)}
		case self.answered(a):
			return Decision{Mistake: true, Why: fmt.Sprintf("%s leads to this broker but is not its address; list each broker's own", a.Address)}
		case a.Hello.Seeds != hash:
			return Decision{Mistake: true, Why: fmt.Sprintf("the broker at %s was given another --join list; give all the same", a.Address)}
		}
	}
	if !self.is(first) {
		return Decision{Why: fmt.Sprintf("%s, the first of the list, is to found the cluster", first.Address)}
	}
	return Decision{Action: Found}
}

func unreachable(answers []Answer) string {
	var missing []string
	for _, a := range answers {
		if a.Err != nil {
			missing = append(missing, a.Address)
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return "; no answer from " + strings.Join(missing, ", ")
}

// SeedHash tells one list of addresses from another, whatever their order. Names are compared as they
// were typed: what they stand for may change from one moment to the next. It is 0 for no list only.
func SeedHash(join []string) uint64 {
	if len(join) == 0 {
		return 0
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(join)))
	sum := sha256.Sum256([]byte(strings.Join(sorted, "\n")))
	return binary.BigEndian.Uint64(sum[:]) | 1
}

// Passes says that a registration was refused for a reason that goes by, such as the broker whose
// place is to be taken not having been found dead yet. Any other refusal is final.
func Passes(refusal error) bool {
	return wire.Code(refusal).Retriable() || errors.Is(refusal, wire.DuplicateBrokerRegistration) || errors.Is(refusal, wire.NotController)
}

// Claim is what becomes of a broker when a member of another cluster knows it as one of its own.
type Claim int

// The outcomes.
const (
	Unclaimed Claim = iota // nothing: it belongs to that cluster, or to none yet
	Yield                  // it drops the cluster that it has founded, which nobody has used, and joins
	Contest                // both clusters have a right to it; people must decide
)

// DecideClaim is B2: a broker that lost its disk and was started without --join has founded a
// cluster of its own, at the address of a broker of another cluster. While it is alone and has no
// topic, nothing is lost by undoing that.
func DecideClaim(own, claimant string, brokers, topics int) Claim {
	switch {
	case own == "" || claimant == "" || own == claimant:
		return Unclaimed
	case brokers == 1 && topics == 0:
		return Yield
	}
	return Contest
}
