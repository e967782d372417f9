package node_test

import (
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/cluster/gossip"
	"github.com/troupe-mq/troupe/cmd/node"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
)

// knock says something to a cluster port and waits until the connection has ended.
func knock(t *testing.T, address string, said ...[]byte) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	for _, b := range said {
		if _, err := c.Write(b); err != nil {
			return // it has ended already
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("%q: the connection was kept", said)
	}
}

// greetingOf is what a broker says that makes a link.
func greetingOf(g wire.LinkGreeting) []byte {
	body := wire.AppendMessage(nil, &g)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func TestWhateverOutsidersSayToTheClusterPortBrokersGoOn(t *testing.T) {
	t.Parallel()
	var brokers []*keyed
	for range 3 {
		k := &keyed{disk: crashfs.New(), log: new(journal)}
		opts := options(t, k.disk)
		opts.Logger = slog.New(slog.NewTextHandler(k.log, nil))
		var join []string
		if len(brokers) > 0 {
			join = []string{brokers[0].Ready().Cluster}
		}
		var err error
		if k.Node, err = node.Start(t.Context(), joining(join...), opts); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stopBroker(t, k.Node) })
		brokers = append(brokers, k)
	}
	expectOneCluster(t, brokers[0].Node, brokers[1].Node, brokers[2].Node)
	victim, member := brokers[0], brokers[1].Broker().Cluster().Brokers[1]
	address := victim.Ready().Cluster

	honest := wire.LinkEnd{ClusterID: victim.Ready().ClusterID, Broker: member.ID, Directory: "elsewhere", Incarnation: member.Incarnation}
	foreign, former, stranger := honest, honest, honest
	foreign.ClusterID, former.Incarnation, stranger.Broker = "another-cluster-id-000", honest.Incarnation+1, 77
	var said [][][]byte
	for _, from := range []wire.LinkEnd{honest, foreign, former, stranger} {
		g := wire.LinkGreeting{MinProtocol: 1, MaxProtocol: 1, From: from, To: victim.Ready().BrokerID, Nonce: 7}
		said = append(said, [][]byte{peer.Preface[:], greetingOf(g)})
		g.Lost = 12345 // would prove to have been linked before
		said = append(said, [][]byte{peer.Preface[:], greetingOf(g)})
	}
	garbage := []byte(strings.Repeat("\xc1\xff\x00 garbage", 500))
	huge := []byte{0x7f, 0xff, 0xff, 0xff}
	for _, preface := range [][4]byte{peer.Preface, gossip.Preface, wire.HelloPreface, {'G', 'E', 'T', ' '}, {}} {
		said = append(said, [][]byte{preface[:]}, [][]byte{preface[:], garbage}, [][]byte{preface[:], huge, garbage})
	}
	packets, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = packets.Close() }()
	before := victim.log.String()
	for range 2 { // the second time is a replay
		var knocking sync.WaitGroup
		for _, one := range said {
			knocking.Go(func() { knock(t, address, one...) })
			_, _ = packets.Write(one[len(one)-1]) // who is not there hears nothing of it
		}
		knocking.Wait()
	}
	created := victim.Broker().CreateTopics(t.Context(), []wire.NewTopic{{Name: "after", Partitions: 3, ReplicationFactor: 3}}, false)
	if created[0].Err != nil {
		t.Errorf("after all that: %v", created[0].Err)
	}
	expectOneCluster(t, brokers[0].Node, brokers[1].Node, brokers[2].Node)
	told := strings.TrimPrefix(victim.log.String(), before)
	lines := make(map[string]int)
	for line := range strings.Lines(told) {
		if _, rest, found := strings.Cut(line, "level=WARN msg="); found {
			lines[rest[:min(len(rest), 60)]]++
		}
	}
	for line, n := range lines {
		if n > 2 {
			t.Errorf("told %d times: %s", n, line)
		}
	}
	if len(lines) < 3 || strings.Contains(told, "link is down") || strings.Contains(told, "level=ERROR") {
		t.Errorf("the broker told\n%s", told)
	}
}
