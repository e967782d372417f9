package main

import (
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire/client"
)

func TestConsumingBeginsWhereTheFlagsSay(t *testing.T) {
	now := time.UnixMilli(1_000_000_000_000).In(time.FixedZone("test", 3600))
	for _, c := range []struct {
		flags startFlags
		want  start
	}{
		{startFlags{}, start{timestamp: client.Latest}},
		{startFlags{fromBeginning: true}, start{timestamp: client.Earliest}},
		{startFlags{offset: "beginning"}, start{timestamp: client.Earliest}},
		{startFlags{offset: "end"}, start{timestamp: client.Latest}},
		{startFlags{offset: "0"}, start{offset: 0, absolute: true}},
		{startFlags{offset: "17"}, start{offset: 17, absolute: true}},
		{startFlags{offset: "-10"}, start{timestamp: client.Latest, back: 10}},
		{startFlags{timestamp: "@5"}, start{timestamp: 5}},
		{startFlags{timestamp: "-90m"}, start{timestamp: 1_000_000_000_000 - 90*60*1000}},
		{startFlags{timestamp: "2001-09-09T02:46:40.5+01:00"}, start{timestamp: 1_000_000_000_500}},
		{startFlags{timestamp: "2001-09-09T02:46:40"}, start{timestamp: 1_000_000_000_000}},
		{startFlags{timestamp: "1970-01-02"}, start{timestamp: 23 * 3600 * 1000}},
	} {
		if got, err := c.flags.parse(now); err != nil || got != c.want {
			t.Errorf("%+v: %+v, %v; want %+v", c.flags, got, err, c.want)
		}
	}
	for _, flags := range []startFlags{
		{fromBeginning: true, offset: "1"},
		{offset: "1", timestamp: "@1"},
		{offset: "x"},
		{offset: "1.5"},
		{timestamp: "x"},
		{timestamp: "@-5"},
		{timestamp: "@x"},
		{timestamp: "1h"},
		{timestamp: "1960-01-01"},
	} {
		if got, err := flags.parse(now); err == nil {
			t.Errorf("%+v is taken as %+v", flags, got)
		}
	}
}
