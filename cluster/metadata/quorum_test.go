package metadata

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/troupe-mq/troupe/wire"
)

// quorumCluster is a cluster with a raft group whose members are all caught up and heard, but for
// those that are said to be silent or behind. Broker n has raft id 100+n.
type quorumCluster struct {
	*watch
	quorum Quorum
	state  RaftState
	behind map[uint64]bool
	silent map[uint64]time.Time // since when
}

func newQuorumCluster(t testing.TB, racks ...string) *quorumCluster {
	q := &quorumCluster{watch: newWatch(t, 0), behind: map[uint64]bool{}, silent: map[uint64]time.Time{}}
	for i, rack := range racks {
		q.register(wire.BrokerID(i+1), rack)
	}
	q.state = RaftState{Self: 101, Commit: 1_000_000, Members: []RaftMember{{ID: 101}}}
	return q
}

func (q *quorumCluster) register(id wire.BrokerID, rack string) {
	r := registration(id, 1)
	r.RaftID, r.Rack = 100+uint64(id), rack
	if err := q.do(r).(RegisteredBroker).Err; err != nil {
		q.t.Fatal(err)
	}
}

func racks(n int) []string { return make([]string, n) }

func (q *quorumCluster) next() *VoterChange {
	q.live.follow(q.img, q.now)
	for i := range q.state.Members {
		m := &q.state.Members[i]
		m.Match, m.Silent = q.state.Commit, 0
		if q.behind[m.ID] {
			m.Match = 0
		}
		if since, ok := q.silent[m.ID]; ok && m.ID != q.state.Self {
			m.Silent = q.now.Sub(since)
		}
	}
	return q.quorum.Next(q.img, q.state, q.live, q.now)
}

// make does what a change says.
func (q *quorumCluster) make(change *VoterChange) {
	if change.TransferTo != 0 {
		q.state.Self = change.TransferTo
		return
	}
	gone := slices.Concat(change.RemoveVoters, change.RemoveLearners, change.AddVoters)
	q.state.Members = slices.DeleteFunc(q.state.Members, func(m RaftMember) bool { return slices.Contains(gone, m.ID) })
	for _, id := range change.AddVoters {
		q.state.Members = append(q.state.Members, RaftMember{ID: id})
	}
	for _, id := range change.AddLearners {
		q.state.Members = append(q.state.Members, RaftMember{ID: id, Learner: true})
	}
	if slices.Contains(change.RemoveVoters, q.state.Self) { // the only one
		q.state.Self = q.voters()[0]
	}
}

func (q *quorumCluster) voters() (ids []uint64) {
	for _, m := range q.state.Members {
		if !m.Learner {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func (q *quorumCluster) learners() (ids []uint64) {
	for _, m := range q.state.Members {
		if m.Learner {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// settle makes every change there is to make, in a minute.
func (q *quorumCluster) settle() {
	q.t.Helper()
	for range 60 {
		for n := 0; ; n++ {
			change := q.next()
			if change == nil {
				break
			}
			if n == 20 {
				q.t.Fatalf("it does not come to rest: %+v of %+v", change, q.state.Members)
			}
			q.make(change)
		}
		q.now = q.now.Add(time.Second)
	}
}

func (q *quorumCluster) kill(id wire.BrokerID) {
	b, _ := q.img.Registration(id)
	q.silent[b.RaftID] = q.now
	q.fence(true, id)
}

func (q *quorumCluster) expectGroup(voters, learners []uint64) {
	q.t.Helper()
	if !slices.Equal(q.voters(), voters) || !slices.Equal(q.learners(), learners) {
		q.t.Errorf("voters %v, learners %v; want %v, %v", q.voters(), q.learners(), voters, learners)
	}
}

type raftIDs = []uint64

func TestVotersAreOneThreeOrFiveByTheRegisteredBrokers(t *testing.T) {
	for brokers, want := range map[int][2]int{
		1: {1, 0}, 2: {1, 1}, 3: {3, 0}, 4: {3, 1}, 5: {3, 2}, 6: {3, 2}, 7: {5, 2}, 12: {5, 2},
	} {
		t.Run(fmt.Sprint(brokers), func(t *testing.T) {
			q := newQuorumCluster(t, racks(brokers)...)
			q.settle()
			if len(q.voters()) != want[0] || len(q.learners()) != want[1] {
				t.Errorf("voters %v, learners %v", q.voters(), q.learners())
			}
		})
	}
	q := newQuorumCluster(t, racks(9)...)
	q.quorum.MaxVoters = 3
	q.settle()
	q.expectGroup(raftIDs{101, 102, 103}, raftIDs{104, 105})
}

// Until then the death of the founder stops the metadata.
func TestTheFirstGrowthWaitsForNothingButTheLogs(t *testing.T) {
	q := newQuorumCluster(t, racks(3)...)
	if change, want := q.next(), (&VoterChange{AddLearners: raftIDs{102, 103}}); !reflect.DeepEqual(change, want) {
		t.Fatalf("%+v, want %+v", change, want)
	}
	q.make(&VoterChange{AddLearners: raftIDs{102, 103}})
	q.behind[103] = true
	if change := q.next(); change != nil { // two voters would be worse than one
		t.Fatalf("%+v", change)
	}
	q.behind[103] = false
	q.state.Changing = true
	if change := q.next(); change != nil {
		t.Fatalf("%+v while another one is under way", change)
	}
	q.state.Changing = false
	if change, want := q.next(), (&VoterChange{AddVoters: raftIDs{102, 103}}); !reflect.DeepEqual(change, want) {
		t.Fatalf("%+v, want %+v", change, want)
	}
}

func TestTheSecondGrowthWaitsForLearnersThatAreStable(t *testing.T) {
	q := newQuorumCluster(t, racks(6)...)
	q.settle()
	q.quorum = Quorum{} // a new leader of the log
	q.register(7, "")
	q.make(q.next()) // two more learners
	q.expectGroup(raftIDs{101, 102, 103}, raftIDs{104, 105, 106, 107})
	q.behind[106], q.behind[107] = true, true
	q.now = q.now.Add(stableAfter - time.Second)
	q.behind[105] = true // it begins anew
	if change := q.next(); change != nil {
		t.Fatalf("%+v", change)
	}
	q.behind[105] = false
	q.now = q.now.Add(time.Second)
	if change := q.next(); change != nil {
		t.Fatalf("%+v with one stable learner", change)
	}
	q.now = q.now.Add(stableAfter)
	q.silent[104] = q.now.Add(-recently)
	if change := q.next(); change != nil {
		t.Fatalf("%+v with one that is silent", change)
	}
	delete(q.silent, 104)
	q.settle()
	q.expectGroup(raftIDs{101, 102, 103, 104, 105}, raftIDs{106, 107})
}

func TestVotersAreSpreadOverRacks(t *testing.T) {
	q := newQuorumCluster(t, "a", "a", "a", "b", "b", "c")
	q.settle()
	q.expectGroup(raftIDs{101, 104, 106}, raftIDs{102, 105})
}

func TestAFailureLowersNothing(t *testing.T) {
	q := newQuorumCluster(t, racks(3)...)
	q.settle()
	q.kill(3)
	for range 3 {
		q.settle()
		q.expectGroup(raftIDs{101, 102, 103}, nil)
	}
}

func TestADeadVoterIsReplacedAfterAWhile(t *testing.T) {
	q := newQuorumCluster(t, racks(5)...)
	q.settle()
	q.expectGroup(raftIDs{101, 102, 103}, raftIDs{104, 105})
	q.kill(2)
	for range deadAfter / time.Second {
		if change := q.next(); change != nil {
			t.Fatalf("%+v", change)
		}
		q.now = q.now.Add(time.Second)
	}
	if change, want := q.next(), (&VoterChange{AddVoters: raftIDs{104}, RemoveVoters: raftIDs{102}}); !reflect.DeepEqual(change, want) {
		t.Fatalf("%+v, want %+v", change, want)
	}
	q.settle()
	q.expectGroup(raftIDs{101, 103, 104}, raftIDs{105})
	q.fence(false, 2)
	delete(q.silent, 102)
	q.settle()
	q.expectGroup(raftIDs{101, 103, 104}, raftIDs{102, 105})
}

// Cut off from its peers is not dead: it may be the others that are cut off.
func TestAVoterIsDeadOnlyIfRaftAndTheLeaseSaySo(t *testing.T) {
	q := newQuorumCluster(t, racks(5)...)
	q.settle()
	q.silent[102] = q.now
	q.settle()
	q.expectGroup(raftIDs{101, 102, 103}, raftIDs{104, 105})
	delete(q.silent, 102)
	q.fence(true, 2)
	q.settle()
	q.expectGroup(raftIDs{101, 102, 103}, raftIDs{104, 105})
}

func TestNoVoterIsReplacedWithoutAMajorityOfBothGroups(t *testing.T) {
	q := newQuorumCluster(t, racks(5)...)
	q.settle()
	q.kill(2)
	q.silent[103] = q.now // not even a majority of the group as it is
	q.now = q.now.Add(deadAfter)
	q.live.follow(q.img, q.now)
	q.settle()
	q.expectGroup(raftIDs{101, 102, 103}, raftIDs{104, 105})
}

func TestTheOldRaftIDOfAWipedBrokerIsReplaced(t *testing.T) {
	q := newQuorumCluster(t, racks(3)...)
	q.settle()
	q.kill(3)
	wiped := registration(3, 2)
	wiped.Directories, wiped.RaftID = []DirectoryID{"new"}, 303
	q.do(wiped)
	q.settle()
	q.expectGroup(raftIDs{101, 102, 303}, nil)
}

func TestAStandbyThatIsDeadMakesRoomForAnother(t *testing.T) {
	q := newQuorumCluster(t, racks(6)...)
	q.settle()
	q.expectGroup(raftIDs{101, 102, 103}, raftIDs{104, 105})
	q.kill(5)
	q.settle()
	q.expectGroup(raftIDs{101, 102, 103}, raftIDs{104, 106})
}

// drain marks a broker as one that is to be removed.
func (q *quorumCluster) drain(id wire.BrokerID) {
	b, _ := q.img.Registration(id)
	q.write([]Record{&BrokerChanged{Broker: id, Epoch: b.Epoch, Draining: true}})
}

func (q *quorumCluster) remove(id wire.BrokerID) {
	b, _ := q.img.Registration(id)
	q.write([]Record{&BrokerRemoved{Broker: id, Epoch: b.Epoch}})
}

func TestABrokerThatIsRemovedGivesItsVoteToAnother(t *testing.T) {
	q := newQuorumCluster(t, racks(4)...)
	q.settle()
	q.drain(1) // which leads the metadata log
	if change := q.next(); change == nil || change.TransferTo == 0 || change.AddVoters != nil {
		t.Fatalf("%+v", change)
	}
	q.settle()
	q.expectGroup(raftIDs{102, 103, 104}, nil)
	q.remove(1)
	q.settle()
	q.expectGroup(raftIDs{102, 103, 104}, nil)
	q.remove(3) // at once
	q.settle()
	if len(q.voters()) != 1 || len(q.learners()) != 1 || slices.Contains(q.voters(), 103) {
		t.Errorf("voters %v, learners %v", q.voters(), q.learners())
	}
}

// There is no fourth broker that could have its vote.
func TestTheControllerOfThreeBrokersIsRemoved(t *testing.T) {
	q := newQuorumCluster(t, racks(3)...)
	q.settle()
	q.drain(1)
	q.behind[102] = true
	if change, want := q.next(), (&VoterChange{TransferTo: 103}); !reflect.DeepEqual(change, want) {
		t.Fatalf("%+v, want %+v", change, want)
	}
	q.silent[103] = q.now.Add(-recently)
	if change := q.next(); change != nil {
		t.Fatalf("%+v to one that does not keep up", change)
	}
	q.behind, q.silent = map[uint64]bool{}, map[uint64]time.Time{}
	q.settle()
	q.expectGroup(raftIDs{101, 102, 103}, nil) // until it is removed, two are not better than three
	if q.state.Self != 102 {
		t.Fatalf("%d leads", q.state.Self)
	}
	q.remove(1)
	if change, want := q.next(), (&VoterChange{RemoveVoters: raftIDs{101, 103}}); !reflect.DeepEqual(change, want) {
		t.Fatalf("%+v, want %+v", change, want)
	}
	q.settle()
	q.expectGroup(raftIDs{102}, raftIDs{103})
}

func TestAControllerHandsOverToNobodyWhoIsOnTheWayOutToo(t *testing.T) {
	q := newQuorumCluster(t, racks(3)...)
	q.settle()
	q.drain(1)
	q.drain(2)
	if change, want := q.next(), (&VoterChange{TransferTo: 103}); !reflect.DeepEqual(change, want) {
		t.Fatalf("%+v, want %+v", change, want)
	}
	q.drain(3)
	if change := q.next(); change != nil {
		t.Fatalf("%+v", change)
	}
}

func TestTheOnlyVoterCanBeRemovedToo(t *testing.T) {
	q := newQuorumCluster(t, racks(2)...)
	q.settle()
	q.drain(1)
	q.settle()
	q.expectGroup(raftIDs{102}, nil)
}

// Whatever happens to brokers, the group has 1, 3 or 5 voters, a change never takes the majority
// away, and it comes to rest.
func TestTheGroupComesToRest(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		q := newQuorumCluster(t, "")
		brokers := wire.BrokerID(1)
		raftID := uint64(1000)
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			known := q.img.Brokers()
			b := rapid.SampledFrom(known).Draw(rt, "broker")
			r, _ := q.img.Registration(b.ID)
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0, 1:
				brokers++
				q.register(brokers, rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "rack"))
			case 2:
				if r.RaftID != q.state.Self && !b.Fenced {
					q.kill(b.ID)
				}
			case 3:
				delete(q.silent, r.RaftID)
				q.fence(false, b.ID)
			case 4:
				if b.Fenced {
					raftID++
					again := registration(b.ID, wire.Incarnation(raftID))
					again.Directories, again.RaftID = []DirectoryID{DirectoryID(fmt.Sprint(raftID))}, raftID
					q.do(again)
				}
			case 5:
				if len(known) > 1 && r.RaftID != q.state.Self {
					q.remove(b.ID)
				}
			case 6:
				q.now = q.now.Add(time.Minute)
			}
			for n := 0; ; n++ {
				change := q.next()
				if change == nil {
					break
				}
				if n == 20 {
					rt.Fatalf("it does not come to rest: %+v", change)
				}
				alive := func() (n int) {
					for _, id := range q.voters() {
						if since, silent := q.silent[id]; !silent || q.now.Sub(since) < recently {
							n++
						}
					}
					return n
				}
				before, lived := len(q.voters()), alive()
				q.make(change)
				after, lives := len(q.voters()), alive()
				if after != 1 && after != 3 && after != 5 || len(q.learners()) > 4 {
					rt.Fatalf("voters %v, learners %v", q.voters(), q.learners())
				}
				if before != after && (lived <= before/2 || lives <= after/2) {
					rt.Fatalf("%+v leaves %d of %d voters alive", change, lives, after)
				}
			}
		}
	})
}
