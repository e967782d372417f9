package group

import (
	"slices"
	"strings"
	"testing"
)

func TestATopicThatWasAwayWhileNamesAreMatchedIsMatched(t *testing.T) {
	p, err := compilePattern(".*00250|" + strings.Repeat("x", maxPatternInstructions-20))
	if err != nil {
		t.Fatal(err)
	}
	there, away := manyTopics(500, 0), manyTopics(500, 0)
	name := there.names[250]
	delete(away.topics, name)
	away.names = slices.Delete(away.names, 250, 251)
	p.resolve(there)
	for p.round != nil && p.round.next <= 250 {
		p.resolve(away)
	}
	if p.round == nil {
		t.Fatal("all names were matched in the turn in which the topic was away")
	}
	for p.round != nil {
		p.resolve(there)
	}
	if !slices.Equal(p.matched, []string{name}) {
		t.Errorf("%d names are matched", len(p.matched))
	}
}
