package clients

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// kcatMember is kcat -G: one process for as long as it is a member. It commits by itself, every five seconds: kcat takes
// auto.commit.interval.ms for a property of topics, where it does nothing.
type kcatMember struct {
	kcat
	cmd       *exec.Cmd
	complaint strings.Builder
	ended     chan struct{}

	mu   sync.Mutex
	read []record
}

func openKcatMember(t *testing.T, bootstrap string) client {
	t.Helper()
	m := &kcatMember{kcat: openKcat(t, bootstrap).(kcat), ended: make(chan struct{})}
	t.Cleanup(m.die)
	return m
}

func (m *kcatMember) do(ctx context.Context, r request) (answer, error) {
	return doAsMember(ctx, m, m.kcat, r)
}

func (m *kcatMember) join(r request) error {
	args := []string{
		"-b", m.bootstrap, "-q", "-u", "-f", `%p %o %T %S\n%s\n`,
		"-X", "partition.assignment.strategy=" + r.Assignor, "-X", "auto.offset.reset=earliest",
		"-X", fmt.Sprintf("session.timeout.ms=%d", sessionTimeout.Milliseconds()),
		"-X", fmt.Sprintf("heartbeat.interval.ms=%d", heartbeatInterval.Milliseconds()),
	}
	if r.Instance != "" {
		args = append(args, "-X", "group.instance.id="+r.Instance)
	}
	m.cmd = exec.Command(m.path, append(args, "-G", r.Group, r.Topic)...)
	m.cmd.Stderr = &m.complaint
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	go func() {
		defer close(m.ended)
		in := bufio.NewReader(out)
		for err := error(nil); err == nil; {
			err = m.readOne(in)
		}
		_ = m.cmd.Wait() // it was killed, or has said why it ended
	}()
	return nil
}

// readOne reads "partition offset timestamp length", and the value that follows.
func (m *kcatMember) readOne(in *bufio.Reader) error {
	head, err := in.ReadString('\n')
	if err != nil {
		return err
	}
	var r record
	var length int
	if _, err := fmt.Sscan(head, &r.Partition, &r.Offset, &r.Timestamp, &length); err != nil {
		return err
	}
	value := make([]byte, length+1)
	for n := 0; n < len(value); {
		more, err := in.Read(value[n:])
		if err != nil {
			return err
		}
		n += more
	}
	value = value[:length]
	r.Value = &value
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read = append(m.read, r)
	return nil
}

// poll returns what kcat has read meanwhile.
func (m *kcatMember) poll(ctx context.Context, r request) (answer, error) {
	select {
	case <-m.ended:
		return answer{}, fmt.Errorf("kcat has ended:\n%s", m.complaint.String())
	case <-ctx.Done():
	case <-time.After(time.Duration(r.Millis) * time.Millisecond):
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a := answer{Records: m.read}
	m.read = nil
	return a, nil
}

func (m *kcatMember) leave(context.Context) error {
	_ = m.cmd.Process.Signal(syscall.SIGTERM) // it commits and leaves
	<-m.ended
	return nil
}

// die ends kcat without a word to the coordinator.
func (m *kcatMember) die() {
	if m.cmd != nil && m.cmd.Process != nil {
		_ = m.cmd.Process.Kill() // it may have ended
		<-m.ended
	}
}
