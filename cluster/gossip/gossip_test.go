package gossip

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/troupe-mq/troupe/wire"
)

// patience is how long a test waits for what must happen. It is long because the machine may be
// busy, and costs nothing when all is well.
const patience = 30 * time.Second

// process is a broker as far as gossip knows one.
type process struct {
	*Gossip
	address  string
	listener net.Listener
	events   chan Event
	log      *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func idOf(broker wire.BrokerID) string {
	return "directory-of-broker-00" + string(rune('0'+broker))
}

// start starts a process on a free port.
func start(t *testing.T, cluster string, broker wire.BrokerID, incarnation wire.Incarnation, tune ...func(*Config)) *process {
	t.Helper()
	listener, packets := bind(t)
	return startOn(t, listener, packets, cluster, broker, incarnation, tune...)
}

func startOn(t *testing.T, listener net.Listener, packets net.PacketConn, cluster string, broker wire.BrokerID, incarnation wire.Incarnation, tune ...func(*Config)) *process {
	t.Helper()
	p := &process{address: listener.Addr().String(), listener: listener, events: make(chan Event, 1000), log: new(lockedBuffer)}
	cfg := DefaultConfig()
	cfg.ClusterID, cfg.Packets, cfg.Now = cluster, packets, time.Now
	cfg.Advertise = netip.MustParseAddrPort(p.address)
	cfg.Self = Member{Broker: broker, Directory: idOf(broker), Incarnation: incarnation, Address: p.address}
	cfg.ContactInterval = 50 * time.Millisecond
	cfg.Notify = func(e Event) { p.events <- e }
	for _, f := range tune {
		f(&cfg)
	}
	var err error
	if p.Gossip, err = Start(cfg, slog.New(slog.NewTextHandler(p.log, nil))); err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(p.accept)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		_ = p.Stop(ctx)
		_ = listener.Close()
		serving.Wait()
	})
	return p
}

// accept does what the cluster port's owner does.
func (p *process) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		var first [4]byte
		if _, err := io.ReadFull(c, first[:]); err != nil || first != Preface {
			_ = c.Close()
			continue
		}
		p.Serve(c)
	}
}

// bind takes a number that is free for streams and packets.
func bind(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if packets, err := net.ListenPacket("udp", l.Addr().String()); err == nil {
			return l, packets
		}
		_ = l.Close()
	}
	t.Fatal("no number is free for both streams and packets")
	return nil, nil
}

// expect waits for an event that satisfies is, and returns all until then.
func (p *process) expect(t *testing.T, what string, is func(Event) bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case e := <-p.events:
			if is(e) {
				return
			}
		case <-deadline.C:
			t.Fatalf("%s: not seen within %v by broker %d; its log:\n%s", what, patience, p.cfg.Self.Broker, p.log)
		}
	}
}

func joined(broker wire.BrokerID, incarnation wire.Incarnation, address string) func(Event) bool {
	return func(e Event) bool {
		j, ok := e.(MemberJoined)
		return ok && j.Member == Member{Broker: broker, Directory: idOf(broker), Incarnation: incarnation, Address: address}
	}
}

func failed(broker wire.BrokerID, incarnation wire.Incarnation) func(Event) bool {
	return func(e Event) bool {
		f, ok := e.(MemberFailed)
		return ok && f.Broker == broker && f.Incarnation == incarnation
	}
}

func TestWhoKnowsOneMemberLearnsOfAll(t *testing.T) {
	var all []*process
	for id := wire.BrokerID(1); id <= 5; id++ {
		p := start(t, "cluster-a", id, 100)
		if id > 1 {
			p.SetContacts([]string{all[id-2].address, p.address}) // only the one before
		}
		all = append(all, p)
	}
	for _, p := range all {
		missing := map[wire.BrokerID]string{}
		for _, other := range all {
			if other != p {
				missing[other.cfg.Self.Broker] = other.address
			}
		}
		p.expect(t, "four others", func(e Event) bool {
			if j, ok := e.(MemberJoined); ok && missing[j.Broker] == j.Address {
				delete(missing, j.Broker)
			}
			return len(missing) == 0
		})
		if n := len(p.Members()); n != 4 {
			t.Errorf("broker %d has %d members, want 4", p.cfg.Self.Broker, n)
		}
	}
}

func TestAContactThatIsNotThereYetIsCalledAgain(t *testing.T) {
	listener, packets := bind(t)
	early := start(t, "cluster-a", 1, 100)
	early.SetContacts([]string{"no-such-host.invalid:1", "nonsense", listener.Addr().String()})
	for range 3 {
		c, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close() // somebody is there, but no member
	}
	late := startOn(t, listener, packets, "cluster-a", 2, 100)
	early.expect(t, "the late one", joined(2, 100, late.address))
}

func TestAMemberThatLeavesIsToldAtOnce(t *testing.T) {
	a, b := start(t, "cluster-a", 1, 100), start(t, "cluster-a", 2, 200)
	b.SetContacts([]string{a.address})
	a.expect(t, "b", joined(2, 200, b.address))
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.expect(t, "b's goodbye", failed(2, 200))
}

func TestAMemberThatFallsSilentFails(t *testing.T) {
	a, b := start(t, "cluster-a", 1, 100), start(t, "cluster-a", 2, 200)
	b.SetContacts([]string{a.address})
	a.expect(t, "b", joined(2, 200, b.address))
	_ = b.listener.Close()
	_ = b.cfg.Packets.Close() // as a process that was killed: no goodbye
	a.expect(t, "b's end", failed(2, 200))
}

func TestARestartAtAnotherAddressIsSeenBeforeTheOldProcessIsDead(t *testing.T) {
	a, b := start(t, "cluster-a", 1, 100), start(t, "cluster-a", 2, 200)
	b.SetContacts([]string{a.address})
	a.expect(t, "b", joined(2, 200, b.address))

	again := start(t, "cluster-a", 2, 201)
	again.SetContacts([]string{a.address})
	a.expect(t, "b's next process", func(e Event) bool {
		if failed(2, 200)(e) {
			t.Error("the next process waited for the end of the one before")
		}
		return joined(2, 201, again.address)(e)
	})
}

func TestClustersThatCallEachOtherNeverMerge(t *testing.T) {
	a1, a2 := start(t, "cluster-a", 1, 100), start(t, "cluster-a", 2, 100)
	b1, b2 := start(t, "cluster-b", 3, 100), start(t, "cluster-b", 4, 100)
	everybody := []string{a1.address, a2.address, b1.address, b2.address}
	for _, p := range []*process{a1, a2, b1, b2} {
		p.SetContacts(everybody)
	}
	a1.expect(t, "a2", joined(2, 100, a2.address))
	b1.expect(t, "b2", joined(4, 100, b2.address))
	// Every stream to the others has been refused by the time that a call by hand is.
	if n, err := a1.list.Join([]string{b1.address, b2.address}); err == nil {
		t.Errorf("cluster a joined %d members of cluster b", n)
	}
	for _, p := range []*process{a1, a2, b1, b2} {
		if members := p.Members(); len(members) > 1 {
			t.Errorf("broker %d of %s has members %v", p.cfg.Self.Broker, p.cfg.ClusterID, members)
		}
	}
}

func TestAMemberOfAnotherClusterIsRefusedUnderOurLabelToo(t *testing.T) {
	announced := func(cluster string, tune func(*memberlist.Node)) *memberlist.Node {
		self := Member{Broker: 2, Directory: idOf(2), Incarnation: 100}
		node := &memberlist.Node{Name: nameOf(self), Meta: encodeMeta(Config{ClusterID: cluster, Self: self})}
		tune(node)
		return node
	}
	d := &delegate{clusterID: "cluster-a"}
	ours := announced("cluster-a", func(*memberlist.Node) {})
	if err := errors.Join(d.NotifyAlive(ours), d.NotifyMerge([]*memberlist.Node{ours})); err != nil {
		t.Errorf("one of ours is refused: %v", err)
	}
	for name, foreign := range map[string]*memberlist.Node{
		"of another cluster":        announced("cluster-b", func(*memberlist.Node) {}),
		"under another's name":      announced("cluster-a", func(n *memberlist.Node) { n.Name = "x" }),
		"that tells nothing":        announced("cluster-a", func(n *memberlist.Node) { n.Meta = nil }),
		"that tells half of itself": announced("cluster-a", func(n *memberlist.Node) { n.Meta = n.Meta[:9] }),
	} {
		if d.NotifyAlive(foreign) == nil {
			t.Errorf("a process %s is taken in", name)
		}
		if d.NotifyMerge([]*memberlist.Node{ours, foreign}) == nil {
			t.Errorf("a process %s is taken in with others", name)
		}
	}
}

// sorted are keys in one order, each once.
func sorted(keys [][]byte) [][]byte {
	return slices.CompactFunc(slices.SortedFunc(slices.Values(keys), bytes.Compare), bytes.Equal)
}

func TestOnlyWhoHasTheKeyComesIn(t *testing.T) {
	key, next, other := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32), bytes.Repeat([]byte{3}, 16)
	with := func(keys ...[]byte) func(*Config) { return func(c *Config) { c.Keys = keys } }
	a, b := start(t, "cluster-a", 1, 100, with(key)), start(t, "cluster-a", 2, 100, with(key))
	b.SetContacts([]string{a.address})
	a.expect(t, "b, which has the key", joined(2, 100, b.address))
	for name, stranger := range map[string]*process{
		"without a key": start(t, "cluster-a", 3, 100), "with another key": start(t, "cluster-a", 4, 100, with(next)),
	} {
		if _, err := stranger.list.Join([]string{a.address}); err == nil {
			t.Errorf("a process %s was let in", name)
		}
	}

	// All understand the next key, then all speak it, then none remembers the old ones.
	for _, keys := range [][][]byte{{key, other}, {key, other, next, key}, {other, key, next}, {next, key, other}, {next, other}, {next}} {
		for _, p := range []*process{a, b} {
			if err := p.SetKeys(keys); err != nil {
				t.Fatal(err)
			}
			if got := p.keyring.GetKeys(); !bytes.Equal(got[0], keys[0]) || !slices.EqualFunc(sorted(got), sorted(keys), bytes.Equal) {
				t.Errorf("%x are understood, want %x", got, keys)
			}
			if _, err := b.list.Join([]string{a.address}); err != nil {
				t.Errorf("between two steps: %v", err)
			}
		}
	}
	for name, keys := range map[string][][]byte{"none": {}, "a short one": {next, key[:9]}, "too many": make([][]byte, maxKeys+1)} {
		if err := a.SetKeys(keys); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := b.list.Join([]string{a.address}); err != nil {
		t.Errorf("after the change of keys: %v", err)
	}
	if err := start(t, "cluster-a", 5, 100).SetKeys([][]byte{next}); err == nil {
		t.Error("a key was added where nothing is encrypted")
	}
}

func TestGarbageOnThePortDoesNoHarm(t *testing.T) {
	a, b := start(t, "cluster-a", 1, 100), start(t, "cluster-a", 2, 100)
	label := "\xf4\x09cluster-a"
	packets, err := net.Dial("udp", a.address)
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	for _, garbage := range []string{
		"", "\x00", "GET / HTTP/1.1\r\n\r\n", "\xf4\xffshort", label, label + "\x00", label + "\x07\xff\x00\x00",
		label + "\x09" + strings.Repeat("\xdf", 600), label + "\x0a" + strings.Repeat("\x00", 40), label + "\x06\xdf\xff\xff\xff\xff",
		label + "\x04\xc1", label + label, strings.Repeat("\xff", 1400),
	} {
		if _, err := packets.Write([]byte(garbage)); err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", a.address)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = c.Write(append(Preface[:], garbage...))
		_ = c.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, c); isTimeout(err) {
			t.Errorf("%q: the stream stays open", garbage)
		}
		_ = c.Close()
	}
	b.SetContacts([]string{a.address})
	a.expect(t, "b, after the garbage", joined(2, 100, b.address))
	if n := strings.Count(a.log.String(), "packets of another cluster, or of none"); n != 1 {
		t.Errorf("foreign packets were told %d times, want once:\n%s", n, a.log)
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func TestStreamsThatSayNothingAreBoundedAndKeepNobodyOut(t *testing.T) {
	a := start(t, "cluster-a", 1, 100)
	for range 2 * maxStreams {
		c, err := net.Dial("tcp", a.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(Preface[:]); err != nil {
			t.Fatal(err)
		}
	}
	b := start(t, "cluster-a", 2, 100)
	b.SetContacts([]string{a.address}) // until the silent ones have run into memberlist's deadline
	a.expect(t, "b", joined(2, 100, b.address))
	if n := a.transport.open.Load(); n > maxStreams {
		t.Errorf("%d streams are open, want at most %d", n, maxStreams)
	}
}

func TestAnAddressThatDoesNotFitIsGivenByNumber(t *testing.T) {
	long := strings.Repeat("a", 240) + ":7946"
	a := start(t, "cluster-a", 1, 100, func(c *Config) { c.Self.Address = long })
	b := start(t, "cluster-a", 2, 100, func(c *Config) { c.Self.Address = "broker2.example.com:7946" })
	b.SetContacts([]string{a.address})
	a.expect(t, "b by its name", joined(2, 100, "broker2.example.com:7946"))
	b.expect(t, "a by its number", joined(1, 100, a.address))
}

func TestAConfigurationThatNobodyCouldReachIsRefused(t *testing.T) {
	good := Config{
		ClusterID: "c", Self: Member{Directory: "d"}, Advertise: netip.MustParseAddrPort("127.0.0.1:1"),
		Notify: func(Event) {}, Packets: new(net.UDPConn), Now: time.Now, ContactInterval: time.Second,
	}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Config){
		"no cluster":           func(c *Config) { c.ClusterID = "" },
		"a cluster too long":   func(c *Config) { c.ClusterID = strings.Repeat("c", maxIDBytes+1) },
		"no directory":         func(c *Config) { c.Self.Directory = "" },
		"a wildcard":           func(c *Config) { c.Advertise = netip.MustParseAddrPort("0.0.0.0:1") },
		"no port":              func(c *Config) { c.Advertise = netip.MustParseAddrPort("127.0.0.1:0") },
		"nobody to be told":    func(c *Config) { c.Notify = nil },
		"no contact interval":  func(c *Config) { c.ContactInterval = 0 },
		"a key of three bytes": func(c *Config) { c.Keys = [][]byte{{1, 2, 3}} },
	} {
		bad := good
		spoil(&bad)
		if _, err := Start(bad, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
