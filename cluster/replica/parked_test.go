package replica

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/troupe-mq/troupe/wire"
)

func TestParkedAreAnsweredInTheOrderOfTheirOffsets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p Parked[int]
		type entry struct {
			end wire.Offset
			who int
		}
		var model []entry
		for who := range rapid.IntRange(1, 200).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "step") > 0 {
				end := wire.Offset(rapid.IntRange(1, 60).Draw(t, "end"))
				p.Add(end, time.Time{}, who)
				model = append(model, entry{end, who})
				continue
			}
			watermark := wire.Offset(rapid.IntRange(0, 60).Draw(t, "watermark"))
			var got, want []int
			for {
				who, ok := p.Next(watermark)
				if !ok {
					break
				}
				got = append(got, who)
			}
			slices.SortStableFunc(model, func(a, b entry) int { return int(a.end - b.end) })
			for len(model) > 0 && model[0].end <= watermark {
				want = append(want, model[0].who)
				model = model[1:]
			}
			if !slices.Equal(got, want) {
				t.Fatalf("up to %d: %v, want %v", watermark, got, want)
			}
		}
		if p.Len() != len(model) || len(p.Drain()) != len(model) || p.Len() != 0 {
			t.Fatalf("left over: want %d", len(model))
		}
	})
}

func TestParkedExpireAtTheirDeadline(t *testing.T) {
	var p Parked[string]
	start := time.Unix(100, 0)
	p.Add(1, start.Add(2*time.Second), "late")
	p.Add(2, start.Add(time.Second), "soon")
	p.Add(3, time.Time{}, "patient")
	expired, next := p.Expire(start.Add(time.Second))
	if !slices.Equal(expired, []string{"soon"}) || !next.Equal(start.Add(2*time.Second)) {
		t.Fatalf("expired %v, next %v", expired, next)
	}
	if who, ok := p.Next(1); !ok || who != "late" {
		t.Fatalf("next is %q, %v", who, ok)
	}
	if expired, next = p.Expire(start.Add(time.Hour)); len(expired) != 0 || !next.IsZero() {
		t.Fatalf("expired %v, next %v, though the last one has no deadline", expired, next)
	}
	if who, ok := p.Next(3); !ok || who != "patient" {
		t.Fatalf("next is %q, %v", who, ok)
	}
}
