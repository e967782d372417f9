package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

func TestOnlyOffsetsOfPartitionsAreReadFromAFile(t *testing.T) {
	for text, want := range map[string]string{
		"t,0,5\n":                         "",
		"# a comment\n\nt, 0 , 5\n":       "",
		"\"t\",0,5\n":                     "",
		"topic,partition,offset\nt,0,5\n": "",
		"\ufeffTopic, Partition ,Offset\r\nt,0,5\r\n": "",
		"\ufefft,0,5\n":                   "",
		" t , 0 , 5 \n":                   "",
		"":                                "there is nothing in it",
		"\ufeff":                          "there is nothing in it",
		"topic,partition,offset\n":        "there is nothing in it",
		"t,0,5\ntopic,partition,offset\n": `line 2: "partition" is no partition`,
		"t;0;5\n":                         "line 1: there is no comma",
		"t\t0\t5\n":                       "line 1: there is no comma",
		"t\n":                             "line 1: there is 1 field",
		" ,0,5\n":                         "line 1: the topic is missing",
		",0,5\n":                          "line 1: the topic is missing",
		"t,0\n":                           "line 1: there are 2 fields",
		"g,t,0,5\n":                       "line 1: there are 4 fields",
		"t,0,5\nt,0,6\n":                  "line 2: t/0 is there twice",
		"t,-1,5\n":                        `line 1: "-1" is no partition`,
		"t,0,-5\n":                        `line 1: "-5" is no offset`,
		"t,0,99999999999999999999\n":      "is no offset",
		"t,3000000000,5\n":                "is no partition",
		"t,0,5\n\"t,0,5\n":                "line 2",
	} {
		offsets, err := readOffsets(streams{in: strings.NewReader(text)}, "-")
		switch {
		case want == "" && (err != nil || len(offsets) != 1 || offsets[0] != client.GroupOffset{Topic: "t", Offset: 5}):
			t.Errorf("%q: %+v, %v", text, offsets, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestAShiftDoesNotLeaveTheNumbers(t *testing.T) {
	const most = 1<<63 - 1
	for _, c := range []struct{ old, by, want int64 }{
		{5, 3, 8}, {5, -3, 2}, {5, -9, 0}, {5, most, most}, {most, 1, most}, {0, -most - 1, 0}, {most, -1, most - 1},
	} {
		if got := shifted(c.old, c.by); got != c.want {
			t.Errorf("%d by %d is %d, want %d", c.old, c.by, got, c.want)
		}
	}
}

func TestTopicsAreSelectedAsKafkasToolDoes(t *testing.T) {
	selected, err := parseTopicsFlag([]string{"orders", "clicks:0,2"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[client.PartitionName]bool{
		{Topic: "orders", Partition: 7}: true, {Topic: "clicks", Partition: 2}: true,
		{Topic: "clicks", Partition: 1}: false, {Topic: "other"}: false,
	} {
		if got := selects(selected, name); got != want {
			t.Errorf("%v is selected: %t", name, got)
		}
	}
	selected, err = parseTopicsFlag([]string{"orders/0-2,5", "clicks:7-7"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[client.PartitionName]bool{
		{Topic: "orders", Partition: 0}: true, {Topic: "orders", Partition: 2}: true, {Topic: "orders", Partition: 3}: false,
		{Topic: "orders", Partition: 5}: true, {Topic: "clicks", Partition: 7}: true, {Topic: "clicks", Partition: 8}: false,
	} {
		if got := selects(selected, name); got != want {
			t.Errorf("of ranges %v is selected: %t", name, got)
		}
	}
	for _, wrong := range []string{
		"", ":0", "t:", "t:x", "t:-1", "t:0,,1", "t:99999999999", "/0", "t/", "t/0/1", "t:2-1", "t:0-", "t:0-1-2", "t:0-2147483648", "t:+1",
	} {
		var usage *usageError
		if _, err := parseTopicsFlag([]string{wrong}); !errors.As(err, &usage) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// Whatever is in a file, each partition gets one offset that the log can have, or a person is told why not.
func FuzzReadOffsets(f *testing.F) {
	for _, seed := range []string{"t,0,5\n", "# x\nt,0,5\r\n", "\"a\"\"b\",1,2", "t,0,5\nt,0,6", ",,", "\xff,0,1", "\ufefftopic,partition,offset\n t ,0,1", "t;0;5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		offsets, err := readOffsets(streams{in: strings.NewReader(text)}, "-")
		seen := make(map[client.PartitionName]bool)
		for _, o := range offsets {
			name := client.PartitionName{Topic: o.Topic, Partition: o.Partition}
			if err == nil && (o.Offset < 0 || o.Partition < 0 || seen[name]) {
				t.Errorf("%q was read as %+v", text, offsets)
			}
			seen[name] = true
		}
		if err == nil && len(offsets) == 0 {
			t.Errorf("%q is nothing, and no error", text)
		}
	})
}

func TestWhoMeetsStoppedStaticMembersIsToldToWait(t *testing.T) {
	away := client.GroupMember{}
	away.Instance, away.Epoch = "one", wire.StaticMemberPauses
	there := client.GroupMember{}
	there.Instance, there.Epoch = "two", 3
	got := awayInstances([]client.GroupMember{away, there, {}})
	if len(got) != 1 || got[0] != "one" || !strings.Contains(hintForAway("g", got), "(one)") {
		t.Errorf("away are %q: %s", got, hintForAway("g", got))
	}
	many := hintForAway("g", []string{"d", "c\n\x1b[31m", "b", "a", "e"})
	if !strings.Contains(many, `(a, b, c\n\x1b[31m and 2 more)`) || !strings.Contains(many, `--instance a --instance b --instance 'c\n\x1b[31m'"`) {
		t.Errorf("of five: %s", many)
	}
}
