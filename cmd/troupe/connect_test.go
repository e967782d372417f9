package main

import (
	"context"
	"errors"
	"testing"
)

func TestWhoInterruptsAListIsToldThatTheRestIsNotDone(t *testing.T) {
	for _, c := range []struct {
		name string
		list []int
		at   int // the one that is under way, and succeeds
		want error
		done int
	}{
		{"in the middle", []int{1, 2, 3}, 2, context.Canceled, 2},
		{"at the last one", []int{1, 2, 3}, 3, nil, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			done := 0
			err := forEach(ctx, c.list, func(one int) error {
				done++
				if one == c.at {
					interrupt()
				}
				return nil
			})
			if !errors.Is(err, c.want) || done != c.done {
				t.Errorf("%d were done, and the error is %v", done, err)
			}
		})
	}
}
