package main

import (
	"strings"
	"testing"
)

// Any client may choose the names of its instance and its group. An operator copies the command that the hint shows.
func TestTheCommandOfAHintDoesNothingElseWhateverNamesAreInIt(t *testing.T) {
	for _, c := range []struct {
		group    string
		instance string
		want     string
	}{
		{"billing", "till-3", `"troupe group remove-member billing --instance till-3"`},
		{"billing", "till; rm -rf ~", `"troupe group remove-member billing --instance 'till; rm -rf ~'"`},
		{"billing", "o'hara", `"troupe group remove-member billing --instance 'o'\''hara'"`},
		{"$(reboot)", "", `"troupe group remove-member '$(reboot)' --instance ''"`},
	} {
		if got := hintForAway(c.group, []string{c.instance}); !strings.Contains(got, c.want) {
			t.Errorf("instance %q of group %q: %s", c.instance, c.group, got)
		}
	}
}
