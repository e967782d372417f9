package group

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// manyTopics is a cluster of topics with names as long as may be, of which a pattern can match the first ones only.
func manyTopics(n, first int) *cluster {
	topics := make(map[string]int, n)
	for i := range n {
		name := fmt.Sprintf("%s%05d", strings.Repeat("t", 244), i)
		if i < first {
			name = fmt.Sprintf("first-%d", i)
		}
		topics[name] = 1
	}
	return clusterOf(topics)
}

// costly is a pattern that matches the first ones and counts as large.
var costly = "first-.*|" + strings.Repeat("x", maxPatternInstructions-20)

// subscriber is a member's heartbeat: its first one, or a later one in which it tells that it has nothing.
func subscriber(member wire.MemberID, epoch int32, pattern string) *wire.ConsumerHeartbeat {
	q := &wire.ConsumerHeartbeat{
		Group: "g", Member: member, MemberEpoch: epoch, ClientID: "c", ClientHost: "/h", RebalanceTimeout: time.Minute, OwnedTold: true,
	}
	if epoch == wire.MemberJoins {
		q.Subscribed, q.Pattern = true, &pattern
	}
	return q
}

func TestOneTurnMatchesNoMoreNamesThanItMay(t *testing.T) {
	const topics, first = 2000, 3
	d := newDesk(t)
	d.unfolded = true
	d.view = manyTopics(topics, first)
	joined := ask[*wire.ConsumerHeartbeatReply](d, subscriber("m", wire.MemberJoins, costly))
	wantError(t, joined.Err, wire.None)
	p := d.g.consumer.subs.patterns[costly]
	perTurn := stepsPerTurn/(p.cost*250) + 1 + first
	turns := 1
	for before := 0; p.round != nil; turns++ {
		if done := p.round.next - before; done == 0 || done > perTurn {
			t.Fatalf("turn %d matched %d names, and may %d", turns, done, perTurn)
		}
		before = p.round.next
		if !d.due.Equal(d.now) {
			t.Fatalf("the next turn is due at %s, now is %s", d.due, d.now)
		}
		if turns == 3 { // another one is answered in between
			wantError(t, ask[*wire.ConsumerHeartbeatReply](d, subscriber("n", wire.MemberJoins, "")).Err, wire.None)
		}
		d.effect(d.g.Tick(d.view, d.now))
	}
	if turns < topics/perTurn {
		t.Errorf("%d names were matched in %d turns of at most %d", topics, turns, perTurn)
	}
	if !d.due.After(d.now) {
		t.Error("all is matched, and another turn is due")
	}
	reply := ask[*wire.ConsumerHeartbeatReply](d, subscriber("m", joined.MemberEpoch, ""))
	if got := len(reply.Assignment); got != first {
		t.Errorf("%d topics are assigned, the pattern matches %d: %+v", got, first, reply)
	}
}

func TestWhatAPatternMatchedCountsWhileItIsMatchedAnew(t *testing.T) {
	const topics, first = 2000, 3
	d := newDesk(t)
	d.unfolded = true
	d.view = manyTopics(topics, first)
	joined := ask[*wire.ConsumerHeartbeatReply](d, subscriber("m", wire.MemberJoins, costly))
	d.pass(0)
	before := ask[*wire.ConsumerHeartbeatReply](d, subscriber("m", joined.MemberEpoch, ""))
	if got := len(before.Assignment); got != first {
		t.Fatalf("%d topics are assigned", got)
	}
	d.move()
	if d.g.consumer.subs.patterns[costly].round == nil {
		t.Fatal("all names were matched while the group was loaded")
	}
	q := subscriber("m", before.MemberEpoch, "")
	q.Owned = before.Assignment
	for range 2 { // in the middle of it, and after
		if reply := ask[*wire.ConsumerHeartbeatReply](d, q); reply.Err != nil || reply.MemberEpoch != before.MemberEpoch {
			t.Errorf("the group was at epoch %d: %+v", before.MemberEpoch, reply)
		}
		d.pass(0)
	}
}

func TestTopicsThatComeWhileNamesAreMatchedAreMatchedToo(t *testing.T) {
	p, err := compilePattern(costly)
	if err != nil {
		t.Fatal(err)
	}
	p.resolve(manyTopics(500, 0))
	if p.round == nil {
		t.Fatal("all names were matched at once")
	}
	for later := manyTopics(600, 2); p.round != nil; {
		p.resolve(later)
	}
	if len(p.matched) != 2 {
		t.Errorf("%d names are matched", len(p.matched))
	}
}

// fresh is a cluster that makes the list of its topics anew for everyone who asks, as a broker does.
type fresh struct{ *cluster }

func (f fresh) TopicNames() []string { return slices.Clone(f.names) }

func TestNamesAreMatchedOnceInWhicheverListTheyCome(t *testing.T) {
	s := newSubscriptions()
	view := fresh{manyTopics(500, 3)}
	s.look(view)
	s.add(nil, costly)
	for turns := 0; s.unfinished; turns++ {
		if turns > 500 {
			t.Fatal("it does not come to an end")
		}
		s.look(view)
	}
	p, steps := s.patterns[costly], 0
	if p.match(view, view.TopicNames(), &steps); len(p.matched) != 3 || p.round != nil || steps != 0 {
		t.Errorf("%d names are matched, of 3, and %d steps were made for names that were matched before", len(p.matched), -steps)
	}
}

// A pattern of some bytes can stand for very many instructions, which must not be compiled to be counted.
func TestThePriceOfAPatternIsKnownBeforeItIsPaid(t *testing.T) {
	for _, text := range []string{
		"", ".*", "a|b|c", "(a|bc)*", "x{3,9}", "x{3,}", "(ab?){0,40}", "[a-z0-9._-]+", `\pL{20}`, "(?i)straße", "((a{3}){3}){3}", `^\bx\b$`,
		"(a*|b+|c?)(d|)", "a{0}", "(?:a{5}){5,9}", "log-(eu|us|ap)-[0-9]{1,3}",
	} {
		parsed, err := syntax.Parse(text, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		counted := instructions(parsed)
		program, err := syntax.Compile(parsed.Simplify())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(program.Inst) - 2; n > counted || counted > 3*n+3 { // but for the two that every program has
			t.Errorf("%q compiles to %d instructions, %d were counted", text, n, counted)
		}
	}
	for _, text := range []string{strings.Repeat("(a{0,900})", 400), strings.Repeat("[ab]{1000}", 400), strings.Repeat("x", maxPatternInstructions+1)} {
		if _, err := compilePattern(text); !errors.Is(err, wire.InvalidRegularExpression) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	if p, err := compilePattern(strings.Repeat("x", maxPatternInstructions)); err != nil || p.cost != maxPatternInstructions {
		t.Errorf("a pattern as large as may be: %v", err)
	}
}
