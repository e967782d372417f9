package actors

import (
	"slices"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// This file is how consumers read: from the leader, or from a follower in their rack (KIP-392).
//
//	consumer in rack b --Fetch, rack b--> leader in rack a     "broker 2 is in your rack, and in sync"
//	                   --Fetch, rack b--> follower, broker 2   up to the high watermark that it knows
//
// A follower that cannot say for certain that an offset is out of range does not say so, since many
// consumers then begin anew at an end of the log: it sends them back to the leader, which knows.

// followedView is what a following replica shows to readers. It is immutable.
type followedView struct {
	log           *storage.Log
	leader        wire.LeaderHint
	start         wire.Offset
	highWatermark wire.Offset
	gone          wire.Offset // below this, the leader has nothing either
}

// leading finds the view of a partition that is led here, and checks the epoch that a client
// believes in.
func (b *Broker) leading(topic wire.TopicID, partition int32, believed wire.LeaderEpoch) (*replicaView, wire.LeaderHint, error) {
	part := b.routes.find(topic, partition)
	if part == nil {
		hint, err := b.elsewhere(topic, partition)
		return nil, hint, err
	}
	view := part.view.Load()
	if view == nil {
		hint, err := part.door.reason()
		return nil, hint, err
	}
	if err := checkEpoch(believed, view.leaderEpoch); err != nil {
		return nil, b.fencing(err, view.leaderEpoch), err
	}
	return view, wire.NoHint, nil
}

// checkEpoch compares the leader epoch that a client believes in with the one that is known here (KIP-320).
func checkEpoch(believed, known wire.LeaderEpoch) error {
	switch {
	case believed != wire.NoEpoch && believed < known:
		return wire.FencedLeaderEpoch
	case believed > known:
		return wire.UnknownLeaderEpoch
	}
	return nil
}

// fencing is the hint that goes with a wrong epoch: a client that is behind may go on here.
func (b *Broker) fencing(err error, epoch wire.LeaderEpoch) wire.LeaderHint {
	if err == wire.FencedLeaderEpoch { //nolint:errorlint // from checkEpoch, as it is
		return wire.LeaderHint{Broker: b.cfg.ID, LeaderEpoch: epoch}
	}
	return wire.NoHint
}

// Fetch returns what a partition has for f at this moment. It never waits but for the disk.
//
// Transactions are not there yet: the last stable offset is the high watermark.
func (b *Broker) Fetch(f *wire.Fetch) wire.Fetched {
	if followed := b.following(f); followed != nil {
		return b.fetchFollowed(f, followed)
	}
	view, hint, err := b.leading(f.Topic, f.Partition, f.CurrentEpoch)
	if err != nil {
		return unread(err, hint)
	}
	fetched := wire.Fetched{
		HighWatermark: view.highWatermark, LastStableOffset: view.highWatermark, LogStartOffset: view.start, Leader: wire.NoHint,
	}
	if f.LastFetchedEpoch != wire.NoEpoch {
		end := view.log.EpochEnd(f.LastFetchedEpoch)
		if end.LeaderEpoch == wire.NoEpoch { // older than all that is kept
			fetched.Err = wire.OffsetOutOfRange
			return fetched
		}
		if end.LeaderEpoch < f.LastFetchedEpoch || end.EndOffset < f.FetchOffset {
			fetched.Diverging = &end
			return fetched
		}
	}
	switch {
	case f.FetchOffset < view.start || f.FetchOffset > view.highWatermark && f.FetchOffset > view.log.EndOffset():
		fetched.Err = wire.OffsetOutOfRange
	case f.FetchOffset <= view.highWatermark:
		if b.cfg.ReadFromRack && f.Rack != "" {
			if fetched.Preferred = preferred(b.image.Load(), f, view.lacking); fetched.Preferred != nil {
				return fetched
			}
		}
		fetched.Records, fetched.Err = view.log.Read(f.FetchOffset, view.highWatermark, f.MaxBytes, f.AtLeastOne)
	}
	return fetched
}

// unread answers a fetch with what is in its way.
func unread(err error, leader wire.LeaderHint) wire.Fetched {
	return wire.Fetched{
		Err: err, HighWatermark: wire.NoOffset, LastStableOffset: wire.NoOffset, LogStartOffset: wire.NoOffset, Leader: leader,
	}
}

// preferred returns the in-sync follower in the client's rack that it is to fetch from; nil when the leader
// stands there too, or nobody. All in-sync replicas have what lies below the high watermark.
//
// Kafka: of several it takes the one that is most caught up, which nearly all of them are; here they
// share the partitions.
func preferred(image *metadata.Local, f *wire.Fetch, lacking []wire.BrokerID) *wire.BrokerID {
	state, ok := image.Partition(f.Topic, f.Partition)
	if !ok {
		return nil
	}
	var near []wire.BrokerID
	for _, id := range state.ISR {
		switch broker, known := image.Registration(id); {
		case !known || broker.Rack != f.Rack || broker.Fenced || slices.Contains(lacking, id):
		case id == image.Self || id == state.Leader:
			return nil
		default:
			near = append(near, id)
		}
	}
	if len(near) == 0 {
		return nil
	}
	return &near[int(f.Partition)%len(near)]
}

// following finds what a replica here that follows shows to a client that says where it stands.
//
// Kafka: serves all consumers of version 11 and above. One that names no rack was sent by nobody: it has
// missed that there is another leader, and had better hear of it.
func (b *Broker) following(f *wire.Fetch) *followedView {
	if f.Rack == "" {
		return nil
	}
	if part := b.routes.find(f.Topic, f.Partition); part != nil {
		return part.followed.Load()
	}
	return nil
}

// fetchFollowed answers from a following replica: from its log start to the high watermark that it knows.
func (b *Broker) fetchFollowed(f *wire.Fetch, view *followedView) wire.Fetched {
	if err := checkEpoch(f.CurrentEpoch, view.leader.LeaderEpoch); err != nil {
		return unread(err, view.leader)
	}
	if !b.inSync(f.Topic, f.Partition) {
		return unread(wire.NotLeaderOrFollower, view.leader)
	}
	fetched := wire.Fetched{
		HighWatermark: view.highWatermark, LastStableOffset: view.highWatermark, LogStartOffset: view.start,
		Leader: wire.NoHint, FromFollower: true,
	}
	switch {
	case f.FetchOffset < view.gone:
		fetched.Err = wire.OffsetOutOfRange
	case f.FetchOffset < view.start: // the leader may have it
		return unread(wire.NotLeaderOrFollower, view.leader)
	case f.FetchOffset > view.highWatermark && f.FetchOffset > view.log.EndOffset():
		fetched.Err = wire.OffsetNotAvailable
	case f.LastFetchedEpoch != wire.NoEpoch && !agrees(view.log, f):
		// Whether the client's log or this one went another way, the leader knows.
		return unread(wire.NotLeaderOrFollower, view.leader)
	default:
		fetched.Records, fetched.Err = view.log.Read(f.FetchOffset, view.highWatermark, f.MaxBytes, f.AtLeastOne)
	}
	if wire.Code(fetched.Err) == wire.OffsetOutOfRange && f.FetchOffset >= view.gone {
		fetched.Err = wire.OffsetNotAvailable // the log was cut or begun anew under the reader
	}
	return fetched
}

// agrees says that the client's last record may be of this log.
func agrees(log *storage.Log, f *wire.Fetch) bool {
	end := log.EpochEnd(f.LastFetchedEpoch)
	return end.LeaderEpoch == f.LastFetchedEpoch && end.EndOffset >= f.FetchOffset
}

// inSync says whether this broker's replica is in sync, as far as it knows: one that is not, or that has lost
// touch, would let its readers fall behind.
//
// Kafka: such a follower goes on serving those who came to it.
func (b *Broker) inSync(topic wire.TopicID, partition int32) bool {
	state, ok := b.image.Load().Partition(topic, partition)
	return ok && slices.Contains(state.ISR, b.cfg.ID) && b.leased()
}

// ParkAt has s woken once the partition has more for f than lies below beyond, or is not what it was. False
// says that this is so already.
func (b *Broker) ParkAt(s *wire.Spot, f *wire.Fetch, beyond wire.Offset) bool {
	part := b.routes.find(f.Topic, f.Partition)
	if part == nil {
		return false
	}
	part.parking.Enter(s, beyond)
	known := wire.NoOffset
	if view := part.view.Load(); view != nil {
		known = view.highWatermark
	} else if view := part.followed.Load(); view != nil && f.Rack != "" {
		known = view.highWatermark
	}
	if known == wire.NoOffset || known > beyond {
		s.Leave()
		return false
	}
	return true
}

// Park wakes w once the partition has something readable at or beyond an offset, or is not led
// here any more.
func (b *Broker) Park(w *wire.Waiter, topic wire.TopicID, partition int32, beyond wire.Offset) {
	part := b.routes.find(topic, partition)
	if part == nil || !b.ParkAt(w.Spot(part), &wire.Fetch{Topic: topic, Partition: partition}, beyond) {
		w.Wake()
	}
}

// Unpark forgets w wherever it is parked.
func (b *Broker) Unpark(w *wire.Waiter) { w.Leave() }
