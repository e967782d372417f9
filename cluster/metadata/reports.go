package metadata

import (
	"cmp"
	"iter"

	"github.com/troupe-mq/troupe/wire"
)

// After a recovery nobody knows which replicas are complete; and where a topic allows unclean elections,
// and all that are complete are gone, it is better to know which of the others has most. Each broker
// reports how far its replicas are; when all of a partition have, the one that is farthest leads: by the
// leader epoch of its last batch, then by its end. What it lacks is lost, and its epoch is marked
// unclean. For an unclean election only those are waited for who are there: it is meant not to wait.

// report is a ReplicaReport with the broker whose replica it is about.
type report struct {
	ReplicaReport
	broker wire.BrokerID
}

func (rep report) place() place[report] {
	return func(other report) int {
		return cmp.Or(other.compare(rep.PartitionRef), cmp.Compare(other.broker, rep.broker))
	}
}

func decodeBrokerReport(r *reader) report {
	_, outer := r.open()
	rep := report{broker: signed[wire.BrokerID](r), ReplicaReport: decodeReport(r)}
	r.close(outer)
	return rep
}

// Awaits says that a partition waits for its replicas to report how far they are.
func (img *Image) Awaits(ref PartitionRef) bool {
	t := img.topic(ref.Topic)
	if t == nil {
		return false
	}
	p, _ := t.partition(ref.Partition)
	return p.awaiting
}

// AwaitsReport says that a partition waits for that broker to report how far its replica is.
func (img *Image) AwaitsReport(id wire.TopicID, number int32, of wire.BrokerID) bool {
	t := img.topicByID(id)
	if t == nil {
		return false
	}
	p, _ := t.partition(number)
	if !p.awaiting || p.member(of) == 0 {
		return false
	}
	_, known := img.reports.find(report{ReplicaReport{PartitionRef: p.ref()}, of}.place())
	return !known
}

// Awaited yields the partitions that wait for a broker to report how far its replica is.
func (img *Image) Awaited(of wire.BrokerID) iter.Seq[wire.TopicPartition] {
	return func(yield func(wire.TopicPartition) bool) {
		if img.leaderless.len() == 0 {
			return
		}
		for t, p := range img.hosted(of) {
			if img.AwaitsReport(t.id, p.number, of) && !yield(wire.TopicPartition{Topic: t.id, Partition: p.number}) {
				return
			}
		}
	}
}

func (img *Image) reportOf(p *partition, replica int) (ReplicaReport, bool) {
	rep, known := img.reports.find(report{ReplicaReport{PartitionRef: p.ref()}, p.replicas[replica]}.place())
	return rep.ReplicaReport, known
}

// mostComplete returns the replica that is farthest, if all have reported who are waited for, and it
// can lead.
func (r *rules) mostComplete(p *partition) int8 {
	best, farthest, haste := noLeader, ReplicaReport{}, r.haste
	if r.unclean && p.isr|p.elr|p.lastKnownELR != 0 { // not after a recovery
		haste = max(haste, usableReplicas)
	}
	for i := range p.replicas {
		canLead := r.standing(p, i) == usable
		if !canLead && haste != allReplicas {
			continue
		}
		rep, known := r.reports(p, i)
		switch {
		case !known && haste != noReplicas:
			return noLeader
		case !known:
		case best == noLeader || cmp.Or(cmp.Compare(rep.LastEpoch, farthest.LastEpoch), cmp.Compare(rep.End, farthest.End)) > 0:
			best, farthest = int8(i), rep
		}
	}
	switch {
	case best != noLeader && r.standing(p, int(best)) == usable:
		return best
	case best == noLeader && haste == noReplicas:
		return r.firstUsable(p, p.all())
	}
	return noLeader
}

// ReportReplicas tells how far a broker's replicas are, of partitions that wait for it. The reply is an
// error or nil.
type ReportReplicas struct {
	Broker      wire.BrokerID
	Incarnation wire.Incarnation
	Replicas    []ReportedReplica
}

// ReportedReplica is how far one replica is.
type ReportedReplica struct {
	Topic     wire.TopicID
	Partition int32
	LastEpoch wire.LeaderEpoch // NoEpoch when the log is empty
	End       wire.Offset
}

// Decide implements Command.
func (c ReportReplicas) Decide(img *Image, _ Env) Decision {
	b, err := img.process(c.Broker, c.Incarnation)
	if err != nil {
		return refused(err)
	}
	rec := &ReplicasReported{Broker: b.ID, Epoch: b.Epoch}
	var changes []PartitionChange
	seen := make(map[PartitionRef]bool, len(c.Replicas))
	for _, m := range c.Replicas {
		t := img.topicByID(m.Topic)
		if t == nil {
			continue // deleted meanwhile
		}
		p, _ := t.partition(m.Partition)
		if !p.awaiting || p.member(b.ID) == 0 || seen[p.ref()] {
			continue
		}
		seen[p.ref()] = true
		now := ReplicaReport{PartitionRef: p.ref(), LastEpoch: m.LastEpoch, End: m.End}
		rec.Reports = append(rec.Reports, now)
		r := img.rulesOf(t, img.standing)
		r.reports = func(p *partition, replica int) (ReplicaReport, bool) {
			if p.replicas[replica] == b.ID {
				return now, true
			}
			return img.reportOf(p, replica)
		}
		if r.mostComplete(&p) != noLeader {
			changes = append(changes, r.next(&p))
		}
	}
	if len(rec.Reports) == 0 {
		return Decision{}
	}
	return Decision{Records: append([]Record{rec}, changed(changes)...)}
}

// ElectReported elects where nobody leads and somebody could: where all who are there have reported,
// once those who are not have had their time; and where unclean elections were allowed after the last
// leader had gone. The controller asks for it now and then while there are such partitions, but not
// soon after it began. The reply is nil.
type ElectReported struct{}

// Decide implements Command.
func (ElectReported) Decide(img *Image, _ Env) Decision {
	var changes []PartitionChange
	for number := range img.leaderless.all() {
		t := img.topic(number)
		r := img.rulesOf(t, img.standing)
		r.haste = usableReplicas
		for p := range t.all {
			if p.leader != noLeader || len(changes) == MaxPartitionsPerRequest {
				continue
			}
			awaited := p.awaiting
			if change := r.next(&p); p.leader != noLeader || p.awaiting != awaited {
				changes = append(changes, change)
			}
		}
	}
	return Decision{Records: changed(changes)}
}

func (r *ReplicasReported) apply(d *draft) error {
	b := d.broker(r.Broker)
	if b == nil || b.Epoch != r.Epoch {
		return mismatch("no broker %d of epoch %d", r.Broker, r.Epoch)
	}
	for _, rep := range r.Reports {
		if !d.Awaits(rep.PartitionRef) {
			return mismatch("partition %d of topic %d waits for no report", rep.Partition, rep.Topic)
		}
		one := report{rep, r.Broker}
		d.reports = d.reports.with(one, one.place())
	}
	return nil
}

// forgetReports drops the reports that mean nothing any more.
func (d *draft) forgetReports(drop func(report) bool) {
	if d.reports.len() == 0 {
		return
	}
	var kept []report
	for rep := range d.reports.all() {
		if !drop(rep) {
			kept = append(kept, rep)
		}
	}
	if len(kept) < d.reports.len() {
		d.reports = sortedFrom(kept)
	}
}
