package metadata

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/troupe-mq/troupe/wire"
)

// model is the metadata as one would keep it without a thought for memory or sharing: maps of
// maps, changed in place. It follows the records; the image has to show the same.
type model struct {
	topics   map[string]*modelTopic
	brokers  map[wire.BrokerID]*Registration
	cluster  map[string]string
	dynamic  map[wire.BrokerID]map[string]string
	producer wire.ProducerID
	failed   map[wire.BrokerID]map[PartitionRef]bool // replicas that the broker cannot use
	epoch    uint32                                  // of recovery
	wrong    string                                  // what no record may say
}

type modelTopic struct {
	number     TopicNumber
	id         wire.TopicID
	configs    map[string]string
	partitions []wire.Partition
	dirs       [][]byte // of the replicas, by number
}

func newModel() *model {
	return &model{
		topics: map[string]*modelTopic{}, brokers: map[wire.BrokerID]*Registration{},
		cluster: map[string]string{}, dynamic: map[wire.BrokerID]map[string]string{},
		failed: map[wire.BrokerID]map[PartitionRef]bool{},
	}
}

func (m *model) byNumber(number TopicNumber) (name string, t *modelTopic) {
	for name, t := range m.topics {
		if t.number == number {
			return name, t
		}
	}
	panic(fmt.Sprintf("the model has no topic %d", number))
}

func members(replicas []wire.BrokerID, set ReplicaSet) (ids []wire.BrokerID) {
	for i, id := range replicas {
		if set&(1<<i) != 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

func (m *model) add(t *modelTopic, added []NewPartition) {
	for _, n := range added {
		t.partitions = append(t.partitions, wire.Partition{
			Leader: n.Leader, Replicas: n.Replicas, ISR: members(n.Replicas, n.ISR),
		})
		t.dirs = append(t.dirs, slices.Clone(n.Directories))
	}
}

func (m *model) apply(index uint64, records []Record) {
	for _, rec := range records {
		switch r := rec.(type) {
		case *BrokerRegistered:
			b := &Registration{
				ID: r.Broker, Epoch: index | uint64(m.epoch)<<48, Incarnation: r.Incarnation, Host: r.Host,
				Port: r.Port, ClusterAddress: r.ClusterAddress, Rack: r.Rack, BootID: r.BootID, Fenced: r.Fenced,
			}
			if old := m.brokers[r.Broker]; old != nil {
				b.Directories, b.Draining = old.Directories, old.Draining
			}
			b.RaftID = r.RaftID
			if r.RaftID == 0 && len(m.brokers) == 0 {
				b.RaftID = 1
			} else if old := m.brokers[r.Broker]; r.RaftID == 0 && old != nil && slices.ContainsFunc(r.Directories, old.has) {
				b.RaftID = old.RaftID
			}
			for _, dir := range r.Directories {
				if !b.has(dir) {
					b.Directories = append(b.Directories, Directory{ID: dir})
				}
			}
			for i := range b.Directories {
				b.Directories[i].Offline = !slices.Contains(r.Directories, b.Directories[i].ID)
			}
			m.brokers[r.Broker] = b
			m.failed[r.Broker] = map[PartitionRef]bool{}
		case *DirectoriesFailed:
			dirs := m.brokers[r.Broker].Directories
			for i := range dirs {
				dirs[i].Offline = dirs[i].Offline || slices.Contains(r.Directories, dirs[i].ID)
			}
		case *ReplicasFailed:
			for _, ref := range r.Replicas {
				m.failed[r.Broker][ref] = true
			}
		case *ReplicaMoved:
			_, t := m.byNumber(r.Topic)
			t.partitions[r.Partition].PartitionEpoch++
			t.dirs[r.Partition][slices.Index(t.partitions[r.Partition].Replicas, r.Broker)] = r.Directory
		case *BrokerChanged:
			b := m.brokers[r.Broker]
			b.Fenced, b.ShuttingDown, b.Draining = r.Fenced, r.ShuttingDown, r.Draining
		case *TopicCreated:
			t := &modelTopic{number: r.Topic, id: r.ID, configs: map[string]string{}}
			for _, s := range r.Configs {
				t.configs[s.Key] = s.Value
			}
			m.add(t, r.Partitions)
			m.topics[r.Name] = t
		case *PartitionsAdded:
			_, t := m.byNumber(r.Topic)
			m.add(t, r.Partitions)
		case *PartitionsChanged:
			for _, c := range r.Changes {
				_, t := m.byNumber(c.Topic)
				p := &t.partitions[c.Partition]
				if c.Replicas != nil {
					m.reassign(p, t, c)
				}
				p.Leader, p.LeaderEpoch, p.PartitionEpoch = c.Leader, c.LeaderEpoch, c.PartitionEpoch
				p.ISR, p.ELR = members(p.Replicas, c.ISR), members(p.Replicas, c.ELR)
				p.LastKnownELR = members(p.Replicas, c.LastKnownELR)
			}
		case *ClusterRecovered:
			m.recover(r)
		case *ReplicasReported: // shows only when somebody is elected
		case *BrokerRemoved:
			delete(m.brokers, r.Broker)
		case *TopicDeleted:
			name, _ := m.byNumber(r.Topic)
			delete(m.topics, name)
		case *ConfigChanged:
			m.configure(r)
		case *ProducerIDsAllocated:
			m.producer += wire.ProducerID(r.Count)
		}
	}
}

func (m *model) recover(r *ClusterRecovered) {
	m.producer += recoveredProducerIDs
	for _, b := range m.brokers {
		b.Fenced, b.ShuttingDown = true, false
		if b.RaftID != r.RaftID {
			b.RaftID = 0
		}
	}
	m.epoch = r.RecoveryEpoch
	for _, t := range m.topics {
		for i := range t.partitions {
			p := &t.partitions[i]
			p.Leader, p.ISR, p.ELR, p.LastKnownELR = wire.NoBroker, nil, nil, nil
			p.LeaderEpoch += recoveredEpochs
			p.PartitionEpoch++
		}
	}
}

func (m *model) reassign(p *wire.Partition, t *modelTopic, c PartitionChange) {
	for _, id := range p.Replicas {
		if !slices.Contains(c.Replicas, id) && c.LeaderEpoch <= p.LeaderEpoch {
			m.wrong = fmt.Sprintf("replica %d of %+v is taken off without a new leader epoch: %+v", id, *p, c)
		}
	}
	p.Replicas, p.Adding, p.Removing = c.Replicas, members(c.Replicas, c.Adding), members(c.Replicas, c.Removing)
	t.dirs[c.Partition] = slices.Concat(c.Directories, make([]byte, len(c.Replicas)-len(c.Directories)))
	for id, failed := range m.failed {
		if !slices.Contains(c.Replicas, id) {
			delete(failed, PartitionRef{t.number, c.Partition})
		}
	}
}

func (m *model) configure(r *ConfigChanged) {
	configs := m.cluster
	if r.Resource.Type == wire.ConfigTopic {
		configs = m.topics[r.Resource.Name].configs
	} else if r.Resource.Name != "" {
		id, _ := strconv.Atoi(r.Resource.Name)
		if m.dynamic[wire.BrokerID(id)] == nil {
			m.dynamic[wire.BrokerID(id)] = map[string]string{}
		}
		configs = m.dynamic[wire.BrokerID(id)]
	}
	for _, s := range r.Set {
		configs[s.Key] = s.Value
	}
	for _, key := range r.Unset {
		delete(configs, key)
	}
}

// compare fails unless the image shows what the model has.
func (m *model) compare(t *rapid.T, img *Image) {
	if m.wrong != "" {
		t.Fatal(m.wrong)
	}
	names := slices.Sorted(maps.Keys(m.topics))
	if !slices.Equal(names, img.TopicNames()) {
		t.Fatalf("topics %q, want %q", img.TopicNames(), names)
	}
	hosted := map[wire.BrokerID]map[wire.TopicPartition]bool{}
	leaderless, reassigning, partitions := map[wire.TopicPartition]bool{}, map[wire.TopicPartition]bool{}, 0
	for name, want := range m.topics {
		got, ok := img.Topic(name)
		byID, _ := img.TopicByID(want.id)
		if !ok || !reflect.DeepEqual(got, byID) || got.ID != want.id || int(got.Partitions) != len(want.partitions) {
			t.Fatalf("topic %s is %+v and by id %+v", name, got, byID)
		}
		if own := img.topicByName(name).configs; !maps.Equal(want.configs, settingsMap(own)) || !orderedSettings(own) {
			t.Fatalf("configurations of %s are %v, want %v", name, own, want.configs)
		}
		for n, p := range want.partitions {
			tp := wire.TopicPartition{Topic: want.id, Partition: int32(n)}
			partitions++
			for i, id := range p.Replicas {
				dir := Directory{Offline: !slices.ContainsFunc(m.brokers[id].Directories, func(d Directory) bool { return !d.Offline })}
				if at := want.dirs[n][i]; at > 0 {
					dir = m.brokers[id].Directories[at-1]
				}
				if got, _ := img.Directory(want.id, int32(n), id); got != dir.ID {
					t.Fatalf("%s-%d lies in %s of broker %d, want %s", name, n, got, id, dir.ID)
				}
				if hosted[id] == nil {
					hosted[id] = map[wire.TopicPartition]bool{}
				}
				hosted[id][tp] = true
				if m.brokers[id].Fenced || dir.Offline || m.failed[id][PartitionRef{want.number, int32(n)}] {
					p.Offline = append(p.Offline, id)
				}
			}
			if p.Leader == wire.NoBroker {
				leaderless[tp] = true
			}
			if len(p.Adding)+len(p.Removing) > 0 {
				reassigning[tp] = true
			}
			if got, _ := img.Partition(want.id, int32(n)); !reflect.DeepEqual(got, p) {
				t.Fatalf("%s-%d is %+v, want %+v", name, n, got, p)
			}
		}
	}
	if img.PartitionCount() != partitions || img.TopicCount() != len(names) || img.NextProducerID() != m.producer {
		t.Fatalf("%d topics, %d partitions, producer id %d", img.TopicCount(), img.PartitionCount(), img.NextProducerID())
	}
	if got := maps.Collect(keyed(img.Reassigning())); !maps.Equal(got, reassigning) {
		t.Fatalf("being reassigned: %v, want %v", got, reassigning)
	}
	if got := maps.Collect(keyed(img.Leaderless())); !maps.Equal(got, leaderless) {
		t.Fatalf("without a leader: %v, want %v", got, leaderless)
	}
	indexed := 0
	for _, t := range m.topics {
		if slices.ContainsFunc(t.partitions, func(p wire.Partition) bool { return p.Leader == wire.NoBroker }) {
			indexed++
		}
	}
	if img.leaderless.len() != indexed {
		t.Fatalf("%d topics are listed as without a leader somewhere, want %d", img.leaderless.len(), indexed)
	}
	for id, want := range m.brokers {
		if got, _ := img.Registration(id); !reflect.DeepEqual(got, *want) {
			t.Fatalf("broker %+v, want %+v", got, want)
		}
		if got := maps.Collect(keyed(img.Hosted(id))); !maps.Equal(got, hosted[id]) {
			t.Fatalf("broker %d has %v, want %v", id, got, hosted[id])
		}
	}
	if !maps.Equal(settingsMap(img.clusterConfigs), m.cluster) {
		t.Fatalf("cluster configurations %v, want %v", img.clusterConfigs, m.cluster)
	}
	for id, want := range m.dynamic {
		if got := settingsMap(img.ownBrokerConfigs(id)); !maps.Equal(got, want) {
			t.Fatalf("configurations of broker %d are %v, want %v", id, got, want)
		}
	}
}

func settingsMap(settings []Setting) map[string]string {
	m := make(map[string]string, len(settings))
	for _, s := range settings {
		m[s.Key] = s.Value
	}
	return m
}

func keyed[K comparable](seq func(func(K) bool)) func(func(K, bool) bool) {
	return func(yield func(K, bool) bool) {
		seq(func(k K) bool { return yield(k, true) })
	}
}

// follower keeps what it knows of the cluster by looking only at what deltas name.
type follower struct {
	partitions map[wire.TopicID][]wire.Partition
	names      map[wire.TopicID]string
	configs    map[wire.TopicID]map[string]string
	brokers    map[wire.BrokerID]Registration
}

func newFollower() *follower {
	return &follower{
		partitions: map[wire.TopicID][]wire.Partition{}, names: map[wire.TopicID]string{},
		configs: map[wire.TopicID]map[string]string{}, brokers: map[wire.BrokerID]Registration{},
	}
}

func (f *follower) follow(d Delta, img *Image) {
	for _, td := range d.Topics {
		if td.Deleted {
			delete(f.partitions, td.ID)
			delete(f.names, td.ID)
			delete(f.configs, td.ID)
			continue
		}
		f.names[td.ID] = td.Name
		if td.Created || td.Configured {
			f.configs[td.ID] = settingsMap(img.topicByID(td.ID).configs)
		}
		for _, n := range td.Partitions {
			p, _ := img.Partition(td.ID, n)
			p.Offline = nil // follows from the brokers
			if int(n) == len(f.partitions[td.ID]) {
				f.partitions[td.ID] = append(f.partitions[td.ID], p)
			} else {
				f.partitions[td.ID][n] = p
			}
		}
	}
	for _, id := range d.Brokers {
		if b, ok := img.Registration(id); ok {
			f.brokers[id] = b
		} else {
			delete(f.brokers, id)
		}
	}
}

// anyCommand draws a command that makes sense often enough.
func anyCommand(t *rapid.T, img *Image) Command {
	name := rapid.SampledFrom([]string{"a", "b", "c", "a.b", "a_b", "orders", "payments", "no way"})
	broker := rapid.Custom(func(t *rapid.T) wire.BrokerID { return wire.BrokerID(rapid.IntRange(1, 5).Draw(t, "broker")) })
	configs := rapid.SampledFrom([][2]string{
		{"retention.ms", "1000"},
		{"retention.ms", "-2"},
		{"min.insync.replicas", "2"},
		{"min.insync.replicas", "1"},
		{"nonsense", "1"},
		{"durability", "replicated"},
		{"unclean.leader.election.enable", "true"},
		{"cleanup.policy", "delete"},
	})
	switch rapid.IntRange(0, 13).Draw(t, "command") {
	case 0, 1:
		var topics []wire.NewTopic
		for range rapid.IntRange(1, 3).Draw(t, "topics") {
			n := wire.NewTopic{
				Name:              name.Draw(t, "name"),
				Partitions:        rapid.SampledFrom([]int32{-1, 0, 1, 2, 3, 64, 65, 140}).Draw(t, "partitions"),
				ReplicationFactor: rapid.SampledFrom([]int16{-1, 1, 2, 3, 4}).Draw(t, "factor"),
			}
			if rapid.IntRange(0, 3).Draw(t, "configured") == 0 {
				kv := configs.Draw(t, "config")
				n.Configs = []wire.ConfigValue{{Name: kv[0], Value: &kv[1]}}
			}
			topics = append(topics, n)
		}
		return CreateTopics{Topics: topics}
	case 2:
		return DeleteTopics{Topics: []wire.TopicRef{{Name: name.Draw(t, "name")}}}
	case 3:
		return CreatePartitions{Topics: []wire.MorePartitions{{
			Topic: name.Draw(t, "name"), Count: int32(rapid.IntRange(0, 200).Draw(t, "count")),
		}}}
	case 4:
		kv := configs.Draw(t, "config")
		res := wire.ConfigResource{Type: wire.ConfigTopic, Name: name.Draw(t, "name")}
		if rapid.Bool().Draw(t, "of brokers") {
			res = wire.ConfigResource{Type: wire.ConfigBroker, Name: rapid.SampledFrom([]string{"", "1", "9"}).Draw(t, "broker")}
		}
		op := wire.ConfigOp(rapid.IntRange(0, 4).Draw(t, "op"))
		return AlterConfigs{Changes: []wire.AlterConfigs{{
			Resource: res, Replace: rapid.Bool().Draw(t, "replace"), Changes: []wire.ConfigChange{{Name: kv[0], Op: op, Value: &kv[1]}},
		}}}
	case 5:
		r := registration(broker.Draw(t, "broker"), wire.Incarnation(rapid.IntRange(1, 1000).Draw(t, "incarnation")))
		r.RaftID = rapid.SampledFrom([]uint64{0, 1, 2, 3}).Draw(t, "raft id")
		r.BootID = rapid.SampledFrom([]string{"boot-1", "boot-2", ""}).Draw(t, "boot")
		r.Fenced = rapid.Bool().Draw(t, "fenced")
		r.Directories = someDirectories(t, r.ID)
		return r
	case 6:
		var states []BrokerState
		for range rapid.IntRange(1, 3).Draw(t, "brokers") {
			id := broker.Draw(t, "broker")
			b, _ := img.Registration(id)
			states = append(states, BrokerState{
				ID: id, Epoch: b.Epoch, Fenced: rapid.Bool().Draw(t, "fenced"), ShuttingDown: rapid.IntRange(0, 3).Draw(t, "going") == 0,
			})
		}
		return ChangeBrokers{Brokers: states}
	case 7:
		return AllocateProducerIDs{Broker: broker.Draw(t, "broker")}
	case 8:
		id := broker.Draw(t, "broker")
		b, _ := img.Registration(id)
		return FailDirectories{Broker: id, Incarnation: b.Incarnation, Directories: someDirectories(t, id)}
	}
	return anyPartitionCommand(t, img)
}

// anyOperatorCommand draws a command of an operator, or of the controller itself, about a partition.
func anyOperatorCommand(t *rapid.T, topic wire.Topic, n int32) Command {
	broker := rapid.Custom(func(t *rapid.T) wire.BrokerID { return wire.BrokerID(rapid.IntRange(1, 5).Draw(t, "broker")) })
	switch rapid.IntRange(0, 8).Draw(t, "operator's") {
	case 0:
		c := ElectLeaders{Unclean: rapid.Bool().Draw(t, "unclean")}
		if rapid.Bool().Draw(t, "one") {
			c.Partitions = []wire.TopicNamePartition{{Topic: topic.Name, Partition: n}}
		}
		return c
	case 1:
		return BalanceLeaders{To: []wire.BrokerID{broker.Draw(t, "to"), broker.Draw(t, "to")}}
	case 2:
		return RemoveBroker{Broker: broker.Draw(t, "broker"), Cancel: rapid.IntRange(0, 3).Draw(t, "cancel") == 0}
	case 3:
		return CompleteReassignments{}
	case 4:
		if rapid.IntRange(0, 3).Draw(t, "recovered") == 0 {
			return Recover{RaftID: 1}
		}
		return ElectReported{}
	}
	return AlterReassignments{Partitions: []wire.Reassignment{
		{Topic: topic.Name, Partition: n, Replicas: rapid.SliceOfN(broker, 0, 4).Draw(t, "target")},
		{Topic: topic.Name, Replicas: rapid.SliceOfN(broker, 1, 3).Draw(t, "target")},
	}}
}

// someDirectories draws directories that a broker may have.
func someDirectories(t *rapid.T, id wire.BrokerID) (dirs []DirectoryID) {
	own := registration(id, 1).Directories[0]
	for _, dir := range []DirectoryID{own, own + "-2", own + "-3"} {
		if rapid.Bool().Draw(t, "directory") {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// anyPartitionCommand draws a command of a leader about a partition.
func anyPartitionCommand(t *rapid.T, img *Image) Command {
	names := img.TopicNames()
	if len(names) == 0 {
		return DeleteTopics{}
	}
	topic, _ := img.Topic(rapid.SampledFrom(names).Draw(t, "topic"))
	n := int32(rapid.IntRange(0, int(topic.Partitions)-1).Draw(t, "partition"))
	p, _ := img.Partition(topic.ID, n)
	leader, _ := img.Registration(p.Leader)
	if rapid.IntRange(0, 3).Draw(t, "moved") == 0 {
		b, _ := img.Registration(rapid.SampledFrom(p.Replicas).Draw(t, "replica"))
		dir := rapid.SampledFrom(b.Directories).Draw(t, "directory")
		return MoveReplica{
			Topic: topic.ID, Partition: n, Broker: b.ID, Incarnation: b.Incarnation, Directory: dir.ID, Empty: rapid.Bool().Draw(t, "empty"),
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "failed") == 0 {
		b, _ := img.Registration(rapid.SampledFrom(p.Replicas).Draw(t, "replica"))
		return FailReplicas{Broker: b.ID, Incarnation: b.Incarnation, Replicas: []wire.TopicPartition{
			{Topic: topic.ID, Partition: n}, {Topic: topic.ID, Partition: 0},
		}}
	}
	if img.AwaitsReport(topic.ID, n, p.Replicas[0]) && rapid.Bool().Draw(t, "reported") {
		b, _ := img.Registration(rapid.SampledFrom(p.Replicas).Draw(t, "replica"))
		reported := ReportedReplica{Topic: topic.ID, Partition: n, End: wire.Offset(rapid.IntRange(0, 9).Draw(t, "end"))}
		return ReportReplicas{Broker: b.ID, Incarnation: b.Incarnation, Replicas: []ReportedReplica{reported}}
	}
	if rapid.Bool().Draw(t, "by an operator") {
		return anyOperatorCommand(t, topic, n)
	}
	if rapid.Bool().Draw(t, "restarted") {
		return ReplicaRestarted{
			Topic: topic.ID, Partition: n, Broker: p.Leader, Incarnation: leader.Incarnation,
			LeaderEpoch: p.LeaderEpoch - wire.LeaderEpoch(rapid.IntRange(-1, 1).Draw(t, "off")),
		}
	}
	proposal := ISRProposal{Topic: topic.ID, Partition: n, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
	for _, id := range p.Replicas {
		if id == p.Leader || rapid.Bool().Draw(t, "member") {
			b, _ := img.Registration(id)
			proposal.ISR = append(proposal.ISR, ISRMember{id, b.Incarnation})
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "stale") == 0 {
		proposal.PartitionEpoch--
	}
	return AlterPartitions{Broker: p.Leader, Incarnation: leader.Incarnation, Proposals: []ISRProposal{proposal}}
}

// What is decided applies, and the image shows what the obvious model shows; a delta misses
// nothing; a snapshot is the image; the log applied again gives the same; and no image that
// somebody holds ever changes.
func TestTheImageIsWhatTheRecordsSay(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := newCluster(t, 0)
		m, f := newModel(), newFollower()
		held := map[*Image][]byte{} // what each image showed when it was new
		step := func(cmd Command) {
			entries := len(c.log)
			c.do(cmd)
			if len(c.log) == entries {
				return
			}
			records, err := DecodeRecords(c.log[entries])
			if err != nil {
				rt.Fatal(err)
			}
			m.apply(c.img.Index(), records)
			m.compare(rt, c.img)
			f.follow(c.delta, c.img)
			held[c.img] = c.img.EncodeSnapshot()
		}
		for id := range 3 {
			step(registration(wire.BrokerID(id+1), 1))
		}
		for range rapid.IntRange(1, 50).Draw(rt, "steps") {
			step(anyCommand(rt, c.img))
		}

		all := newFollower()
		all.follow(Diff(NewImage(), c.img), c.img)
		if !reflect.DeepEqual(f, all) {
			rt.Fatalf("by deltas %+v, at once %+v", f, all)
		}
		for img, was := range held {
			if !slices.Equal(img.EncodeSnapshot(), was) {
				rt.Fatal("an image has changed")
			}
		}
		restored, err := DecodeSnapshot(c.img.EncodeSnapshot())
		if err != nil {
			rt.Fatal(err)
		}
		m.compare(rt, restored)
		if !Diff(c.img, restored).Empty() {
			rt.Fatalf("a snapshot differs: %+v", Diff(c.img, restored))
		}
		again := NewImage()
		for i, entry := range c.log {
			records, _ := DecodeRecords(entry)
			if again, _, err = again.Apply(uint64(i+1), records); err != nil {
				rt.Fatal(err)
			}
		}
		if !reflect.DeepEqual(again, c.img) {
			rt.Fatal("the same log gives another image")
		}
	})
}
