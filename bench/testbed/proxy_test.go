package testbed

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echo is a server that says back each line.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

// line is a connection through a proxy.
type line struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func throughProxy(t *testing.T) (*Proxy, *line) {
	t.Helper()
	p, err := NewProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, dial(t, p)
}

func dial(t *testing.T, p *Proxy) *line {
	t.Helper()
	c, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &line{t, c, bufio.NewReader(c)}
}

func (l *line) say(text string) {
	l.t.Helper()
	if _, err := l.conn.Write([]byte(text + "\n")); err != nil {
		l.t.Fatal(err)
	}
}

func (l *line) hear(want string) {
	l.t.Helper()
	if err := l.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		l.t.Fatal(err)
	}
	if got, err := l.in.ReadString('\n'); err != nil || got != want+"\n" {
		l.t.Fatalf("heard %q, %v, want %q", got, err, want)
	}
}

func (l *line) hearNothing() {
	l.t.Helper()
	if err := l.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		l.t.Fatal(err)
	}
	if got, err := l.in.ReadString('\n'); !errors.Is(err, os.ErrDeadlineExceeded) {
		l.t.Fatalf("heard %q, %v", got, err)
	}
}

func TestALineCarriesBothWays(t *testing.T) {
	_, l := throughProxy(t)
	l.say("one")
	l.hear("one")
}

func TestAStoppedDirectionGoesOnWhereItStopped(t *testing.T) {
	for _, d := range []Direction{ToBroker, FromBroker} {
		p, l := throughProxy(t)
		p.Stop(d)
		l.say("one")
		l.hearNothing()
		p.Heal()
		l.hear("one")
	}
}

func TestALosingDirectionLosesForGood(t *testing.T) {
	p, l := throughProxy(t)
	p.Lose(FromBroker)
	l.say("one")
	l.hearNothing()
	p.Heal()
	l.say("two")
	l.hear("two")
}

func TestADelayedDirectionIsLate(t *testing.T) {
	p, l := throughProxy(t)
	const delay = 60 * time.Millisecond
	p.Delay(ToBroker, delay)
	begun := time.Now()
	l.say("one")
	l.hear("one")
	if took := time.Since(begun); took < delay {
		t.Fatalf("it took %s", took)
	}
}

func TestABrokenLineIsResetAndTakesNewConnections(t *testing.T) {
	p, l := throughProxy(t)
	l.say("one")
	l.hear("one")
	p.Break()
	if err := l.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if got, err := l.in.ReadString('\n'); err == nil {
		t.Fatalf("heard %q", got)
	}
	l = dial(t, p)
	l.say("two")
	l.hear("two")
}
