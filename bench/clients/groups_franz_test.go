package clients

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// franzMember is franz-go as a member of a group.
type franzMember struct {
	franz
	client *kgo.Client
	lines  lines
}

// lines are the connections of a client, which a test can cut: so a client in our own process dies.
type lines struct {
	mu    sync.Mutex
	open  map[net.Conn]struct{}
	isCut bool
}

var errCut = errors.New("the test has cut the line")

func (l *lines) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut {
		_ = c.Close()
		return nil, errCut
	}
	if l.open == nil {
		l.open = map[net.Conn]struct{}{}
	}
	l.open[c] = struct{}{}
	return c, nil
}

func (l *lines) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = true
	for c := range l.open {
		_ = c.Close()
	}
}

func openFranzMember(t *testing.T, bootstrap string) client {
	m := &franzMember{franz: franz{bootstrap}}
	t.Cleanup(m.die)
	return m
}

// die ends the member without a word to the coordinator.
func (m *franzMember) die() {
	m.lines.cut()
	if m.client != nil {
		m.client.Close()
	}
}

func (m *franzMember) do(ctx context.Context, r request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	return doAsMember(ctx, m, m.franz, r)
}

func (m *franzMember) join(r request) (err error) {
	balancer := map[string]kgo.GroupBalancer{
		"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(), "sticky": kgo.StickyBalancer(),
		"cooperative-sticky": kgo.CooperativeStickyBalancer(), "uniform": kgo.StickyBalancer(),
	}[r.Assignor]
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(m.bootstrap, ",")...), kgo.Dialer(m.lines.dial), kgo.ClientID("franz-go"),
		kgo.ConsumerGroup(r.Group), kgo.ConsumeTopics(r.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(balancer), kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(heartbeatInterval),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
	}
	if r.Instance != "" {
		options = append(options, kgo.InstanceID(r.Instance))
	}
	if r.Protocol == modern {
		options = append(options, kgo.ServerSideBalancer())
	}
	if r.Pattern {
		options = append(options, kgo.ConsumeRegex())
	}
	m.client, err = kgo.NewClient(options...)
	return err
}

func (m *franzMember) leave(ctx context.Context) error {
	defer m.client.CloseAllowingRebalance()
	return m.client.LeaveGroupContext(ctx)
}

func (m *franzMember) poll(ctx context.Context, r request) (a answer, err error) {
	patience, cancel := context.WithTimeout(ctx, time.Duration(r.Millis)*time.Millisecond)
	defer cancel()
	defer m.client.AllowRebalance()
	fetches := m.client.PollRecords(patience, r.Count)
	for _, failed := range fetches.Errors() {
		if !errors.Is(failed.Err, context.DeadlineExceeded) {
			err = errors.Join(err, failed.Err)
		}
	}
	records := fetches.Records()
	for _, record := range records {
		a.Records = append(a.Records, fromFranz(record))
	}
	if len(records) > 0 {
		if failed := m.client.CommitRecords(ctx, records...); failed != nil && !isRebalance(failed) {
			err = errors.Join(err, fmt.Errorf("commit: %w", failed))
		}
	}
	return a, err
}

// isRebalance says that a commit came too late: somebody else will read the records.
func isRebalance(err error) bool {
	return errors.Is(err, kerr.RebalanceInProgress) || errors.Is(err, kerr.IllegalGeneration) || errors.Is(err, kerr.UnknownMemberID) || errors.Is(err, kerr.StaleMemberEpoch)
}
