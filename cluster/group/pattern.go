package group

import (
	"regexp"
	"regexp/syntax"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// pattern is a regular expression, and the topics that it matched last. Patterns are compiled once for a group, and each name is
// matched once: only new ones are, when topics come.
type pattern struct {
	text     string
	matcher  *regexp.Regexp
	cost     int      // what a byte of a name takes at most, in steps of the matcher
	users    int      // subscriptions that have it
	resolved bool     // matched was computed, from seen
	seen     []string // the names of all topics, sorted
	matched  []string // sorted
	round    *matching
}

// matching is names on their way through a pattern. If they are many it takes several turns, and what the pattern matched before
// counts until it is through.
type matching struct {
	names    []string // of all topics when it began
	next     int      // of them
	old, was []string // what was seen and matched before, from next on
	matched  []string
}

// Limits of a pattern. RE2 takes time in proportion to the length of a name times the size of the program, so that one turn can be
// bounded in both: it takes some tenths of a second at most. Ten thousand names of thirty bytes and a program of a hundred
// instructions are one turn.
//
// Kafka: has no limits, and matches on a thread of its own.
const (
	maxPatternBytes        = 4 << 10
	maxPatternInstructions = 1000
	stepsPerTurn           = 1 << 25
)

// compilePattern compiles a regular expression that has to match the whole of a topic's name.
func compilePattern(text string) (*pattern, error) {
	if len(text) > maxPatternBytes {
		return nil, wire.Errorf(wire.InvalidRegularExpression, "the pattern has %d bytes, and may have %d", len(text), maxPatternBytes)
	}
	parsed, err := syntax.Parse(text, syntax.Perl) // alone, or a)(b would pass when it is put in brackets
	if err != nil {
		return nil, wire.Errorf(wire.InvalidRegularExpression, "%v", err)
	}
	size := instructions(parsed)
	if size > maxPatternInstructions {
		return nil, wire.Errorf(wire.InvalidRegularExpression, "the pattern compiles to more than %d instructions", maxPatternInstructions)
	}
	matcher, err := regexp.Compile(`\A(?:` + text + `)\z`)
	if err != nil {
		return nil, wire.Errorf(wire.InvalidRegularExpression, "%v", err)
	}
	return &pattern{text: text, matcher: matcher, cost: size}, nil
}

// instructions returns how many instructions an expression compiles to, or some more, and does not count further when they are too
// many. To compile it would tell too, but four thousand bytes can come to a million instructions, which takes seconds.
func instructions(re *syntax.Regexp) int {
	n := 1
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpCapture:
		n = 2
	case syntax.OpAlternate:
		n = len(re.Sub)
	default:
	}
	for _, sub := range re.Sub {
		if n += instructions(sub); n > maxPatternInstructions {
			return maxPatternInstructions + 1
		}
	}
	if re.Op == syntax.OpRepeat { // as often as it may come; what may be left out is an alternative
		n = n*max(re.Min, re.Max, 1) + max(re.Max-re.Min, 0)
	}
	return min(n, maxPatternInstructions+1)
}

// resolve is match for a pattern that has just come.
func (p *pattern) resolve(view wire.View) {
	steps := stepsPerTurn
	p.match(view, view.TopicNames(), &steps)
}

// match brings matched up to date with the names of all topics, as far as the steps suffice, and says whether it changed. A round is left
// if they do not.
//
// Kafka: internal topics are matched too, and left to the authoriser. Nobody means __consumer_offsets by ".*".
func (p *pattern) match(view wire.View, names []string, steps *int) (changed bool) {
	for {
		if p.round == nil {
			if p.resolved && slices.Equal(names, p.seen) {
				return changed
			}
			p.round = &matching{names: names, old: p.seen, was: p.matched}
		}
		if !p.goOn(view, steps) {
			return changed
		}
		r := p.round
		p.round, p.resolved, p.seen = nil, true, r.names
		if !slices.Equal(r.matched, p.matched) {
			p.matched, changed = r.matched, true
		}
	}
}

// goOn matches the next names of the round. It is false when there are no steps left.
func (p *pattern) goOn(view wire.View, steps *int) bool {
	r := p.round
	for ; r.next < len(r.names); r.next++ {
		name := r.names[r.next]
		for len(r.old) > 0 && r.old[0] < name {
			r.old = r.old[1:]
		}
		known := len(r.old) > 0 && r.old[0] == name
		for len(r.was) > 0 && r.was[0] < name {
			r.was = r.was[1:]
		}
		if !known {
			if *steps <= 0 {
				return false
			}
			*steps -= p.cost * (len(name) + 1)
		}
		if known && len(r.was) > 0 && r.was[0] == name || !known && p.matches(view, name) {
			r.matched = append(r.matched, name)
		}
	}
	return true
}

// matches also says so of a topic that has gone since the round began: it may be back before that ends, and is not looked at again.
func (p *pattern) matches(view wire.View, name string) bool {
	if p.matcher == nil || !p.matcher.MatchString(name) {
		return false
	}
	t, _ := view.Topic(name)
	return !t.Internal
}
