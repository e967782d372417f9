package clients

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// asker sends requests as no sensible client would.
type asker struct {
	t        *testing.T
	client   *kgo.Client
	topic    string
	id       [16]byte
	assignor string // what it tells classic groups that it has
}

func newAsker(t *testing.T) *asker {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.RequestRetries(0), kgo.ClientID("asker"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	a := &asker{t: t, client: c, topic: aName(), assignor: "range"}
	if _, err := (franz{bootstrap}).do(t.Context(), request{Op: "create", Topic: a.topic, Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	q := kmsg.NewPtrMetadataRequest()
	q.Topics = []kmsg.MetadataRequestTopic{{Topic: &a.topic}}
	coordinator := kmsg.NewPtrFindCoordinatorRequest()
	coordinator.CoordinatorKeys = []string{"any"}
	for deadline := time.Now().Add(settleLimit); ; time.Sleep(20 * time.Millisecond) {
		topic := ask[*kmsg.MetadataResponse](a, q).Topics[0]
		found := ask[*kmsg.FindCoordinatorResponse](a, coordinator).Coordinators[0]
		listed := ask[*kmsg.ListGroupsResponse](a, kmsg.NewPtrListGroupsRequest())
		if topic.ErrorCode == 0 && found.ErrorCode == 0 && listed.ErrorCode == 0 { // all coordinators have loaded
			a.id = topic.TopicID
			return a
		}
		if time.Now().After(deadline) {
			t.Fatalf("the topic is answered %s, its coordinator %s, the list of groups %s", named(topic.ErrorCode), named(found.ErrorCode), named(listed.ErrorCode))
		}
	}
}

// speaks has the asker know no higher version of an API.
func (a *asker) speaks(key kmsg.Key, version int16) {
	a.t.Helper()
	versions := kversion.V4_3_0()
	versions.SetMaxKeyVersion(key.Int16(), version)
	c, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.RequestRetries(0), kgo.ClientID("asker"), kgo.MaxVersions(versions))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(c.Close)
	a.client = c
}

// inVersion asks in an older version.
func inVersion(key kmsg.Key, version int16, ask func(*asker) string) func(*asker) string {
	return func(a *asker) string {
		a.speaks(key, version)
		return ask(a)
	}
}

func ask[A kmsg.Response](a *asker, q kmsg.Request) A {
	a.t.Helper()
	answer, err := a.client.SeedBrokers()[0].Request(a.t.Context(), q)
	if err != nil {
		a.t.Fatalf("%T: %v", q, err)
	}
	return answer.(A)
}

func named(code int16) string {
	if code == 0 {
		return "NONE"
	}
	return kerr.TypedErrorForCode(code).Message
}

func (a *asker) group() string { return aName() }

func aName() string { return fmt.Sprintf("asked-%08x", rand.Uint32()) }

func (a *asker) joinRequest(group string) *kmsg.JoinGroupRequest {
	q := kmsg.NewPtrJoinGroupRequest()
	q.Group, q.SessionTimeoutMillis, q.RebalanceTimeoutMillis, q.ProtocolType = group, 30_000, 30_000, "consumer"
	q.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: a.assignor, Metadata: a.subscription()}}
	return q
}

func (a *asker) subscription() []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics = []string{a.topic}
	return m.AppendTo(nil)
}

// joined forms a group of one member and returns its id and generation.
func (a *asker) joined(group string, instance *string) (member string, generation int32) {
	a.t.Helper()
	q := a.joinRequest(group)
	q.InstanceID = instance
	j := ask[*kmsg.JoinGroupResponse](a, q)
	if j.ErrorCode == kerr.MemberIDRequired.Code {
		q.MemberID = j.MemberID
		j = ask[*kmsg.JoinGroupResponse](a, q)
	}
	if j.ErrorCode != 0 {
		a.t.Fatalf("join: %s", named(j.ErrorCode))
	}
	s := a.syncRequest(group, j.MemberID, j.Generation)
	s.InstanceID = instance
	if code := ask[*kmsg.SyncGroupResponse](a, s).ErrorCode; code != 0 {
		a.t.Fatalf("sync: %s", named(code))
	}
	return j.MemberID, j.Generation
}

func (a *asker) syncRequest(group, member string, generation int32) *kmsg.SyncGroupRequest {
	q := kmsg.NewPtrSyncGroupRequest()
	q.Group, q.MemberID, q.Generation = group, member, generation
	q.ProtocolType, q.Protocol = kmsg.StringPtr("consumer"), &a.assignor
	assignment := kmsg.NewConsumerMemberAssignment()
	assignment.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: a.topic, Partitions: []int32{0, 1}}}
	q.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: member, MemberAssignment: assignment.AppendTo(nil)}}
	return q
}

func (a *asker) commitRequest(group, member string, generation int32) *kmsg.OffsetCommitRequest {
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Group, q.MemberID, q.Generation = group, member, generation
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.Metadata = 5, kmsg.StringPtr("noted")
	q.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: a.topic, TopicID: a.id, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	return q
}

func (a *asker) commit(q *kmsg.OffsetCommitRequest) string {
	a.t.Helper()
	var codes []string
	for _, t := range ask[*kmsg.OffsetCommitResponse](a, q).Topics {
		for _, p := range t.Partitions {
			codes = append(codes, named(p.ErrorCode))
		}
	}
	return strings.Join(codes, " ")
}

func (a *asker) fetch(group string, change func(*kmsg.OffsetFetchRequestGroup)) string {
	a.t.Helper()
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: a.topic, TopicID: a.id, Partitions: []int32{0, 9}}}
	if change != nil {
		change(&g)
	}
	q := kmsg.NewPtrOffsetFetchRequest()
	q.Groups = []kmsg.OffsetFetchRequestGroup{g}
	got := ask[*kmsg.OffsetFetchResponse](a, q).Groups[0]
	text := named(got.ErrorCode)
	for _, t := range got.Topics {
		for _, p := range t.Partitions {
			text += fmt.Sprintf(" %d:%s:%d", p.Partition, named(p.ErrorCode), p.Offset)
		}
	}
	return text
}

func (a *asker) heartbeatRequest(group string, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Group, q.MemberID, q.MemberEpoch = group, aMember, epoch
	if epoch == 0 {
		q.RebalanceTimeoutMillis, q.SubscribedTopicNames = 30_000, []string{a.topic}
		q.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	return q
}

func (a *asker) beat(q *kmsg.ConsumerGroupHeartbeatRequest) string {
	a.t.Helper()
	return named(ask[*kmsg.ConsumerGroupHeartbeatResponse](a, q).ErrorCode)
}

// aMember is an id as members of KIP-848 choose one.
const aMember = "kmM7mKKWQ2iSXnq8mAR2qA"

// in forms a group of one member of KIP-848 and returns its epoch.
func (a *asker) in(group string, instance *string) int32 {
	a.t.Helper()
	q := a.heartbeatRequest(group, 0)
	q.InstanceID = instance
	got := ask[*kmsg.ConsumerGroupHeartbeatResponse](a, q)
	if got.ErrorCode != 0 {
		a.t.Fatalf("join: %s", named(got.ErrorCode))
	}
	return got.MemberEpoch
}

func changedJoin(change func(*kmsg.JoinGroupRequest)) func(*asker) string {
	return func(a *asker) string {
		q := a.joinRequest(a.group())
		change(q)
		return named(ask[*kmsg.JoinGroupResponse](a, q).ErrorCode)
	}
}

// joinInto asks to enter a group that has a member.
func joinInto(change func(*kmsg.JoinGroupRequest)) func(*asker) string {
	return func(a *asker) string {
		group := a.group()
		a.joined(group, nil)
		q := a.joinRequest(group)
		change(q)
		return named(ask[*kmsg.JoinGroupResponse](a, q).ErrorCode)
	}
}

func changedSync(change func(*kmsg.SyncGroupRequest)) func(*asker) string {
	return func(a *asker) string {
		group := a.group()
		member, generation := a.joined(group, nil)
		q := a.syncRequest(group, member, generation)
		change(q)
		return named(ask[*kmsg.SyncGroupResponse](a, q).ErrorCode)
	}
}

func changedHeartbeat(change func(*kmsg.HeartbeatRequest)) func(*asker) string {
	return func(a *asker) string {
		group := a.group()
		q := kmsg.NewPtrHeartbeatRequest()
		q.Group = group
		q.MemberID, q.Generation = a.joined(group, nil)
		change(q)
		return named(ask[*kmsg.HeartbeatResponse](a, q).ErrorCode)
	}
}

func changedLeave(change func(*kmsg.LeaveGroupRequest)) func(*asker) string {
	return func(a *asker) string {
		group := a.group()
		q := kmsg.NewPtrLeaveGroupRequest()
		q.Group = group
		member, _ := a.joined(group, kmsg.StringPtr("one"))
		q.Members = []kmsg.LeaveGroupRequestMember{{MemberID: member}}
		change(q)
		got := ask[*kmsg.LeaveGroupResponse](a, q)
		text := named(got.ErrorCode)
		for _, m := range got.Members {
			text += " " + named(m.ErrorCode)
		}
		return text
	}
}

func changedCommit(change func(*kmsg.OffsetCommitRequest)) func(*asker) string {
	return func(a *asker) string {
		group := a.group()
		member, generation := a.joined(group, kmsg.StringPtr("one"))
		q := a.commitRequest(group, member, generation)
		change(q)
		return a.commit(q)
	}
}

// changedBeat changes the first heartbeat of a member.
func changedBeat(change func(*kmsg.ConsumerGroupHeartbeatRequest)) func(*asker) string {
	return func(a *asker) string {
		q := a.heartbeatRequest(a.group(), 0)
		change(q)
		return a.beat(q)
	}
}

// laterBeat changes the second.
func laterBeat(change func(*kmsg.ConsumerGroupHeartbeatRequest)) func(*asker) string {
	return func(a *asker) string {
		group := a.group()
		q := a.heartbeatRequest(group, a.in(group, kmsg.StringPtr("one")))
		change(q)
		return a.beat(q)
	}
}

func modernCommit(change func(*kmsg.OffsetCommitRequest)) func(*asker) string {
	return func(a *asker) string {
		group := a.group()
		q := a.commitRequest(group, aMember, a.in(group, nil))
		change(q)
		return a.commit(q)
	}
}

func modernFetch(change func(*kmsg.OffsetFetchRequestGroup)) func(*asker) string {
	return func(a *asker) string {
		group := a.group()
		epoch := a.in(group, nil)
		return a.fetch(group, func(g *kmsg.OffsetFetchRequestGroup) {
			g.MemberID, g.MemberEpoch = kmsg.StringPtr(aMember), epoch
			change(g)
		})
	}
}

func oldFetch(a *asker) string {
	q := kmsg.NewPtrOffsetFetchRequest()
	q.Group, q.Topics = a.group(), []kmsg.OffsetFetchRequestTopic{{Topic: a.topic, Partitions: []int32{0, 9}}}
	got := ask[*kmsg.OffsetFetchResponse](a, q)
	text := named(got.ErrorCode)
	for _, p := range got.Topics[0].Partitions {
		text += fmt.Sprintf(" %d:%s:%d", p.Partition, named(p.ErrorCode), p.Offset)
	}
	return text
}
