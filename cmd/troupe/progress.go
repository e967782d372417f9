package main

import (
	"io"
	"sync"
	"time"
)

// progressInterval is how often a person sees that something moves.
const progressInterval = 250 * time.Millisecond

// clearLine takes the line away that a terminal shows.
const clearLine = "\r\x1b[K"

// progress is a line on a terminal that is written again and again.
type progress struct {
	stop func()
	done sync.WaitGroup
}

// startProgress shows what line returns, if w is a terminal.
func startProgress(w io.Writer, line func() string) *progress {
	if !isTerminal(w) {
		return &progress{stop: func() {}}
	}
	ended := make(chan struct{})
	p := &progress{stop: func() { close(ended) }}
	p.done.Go(func() {
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		shown := false
		for {
			select {
			case <-ticker.C:
				_, _ = io.WriteString(w, clearLine+line()) // a lost terminal loses nothing else
				shown = true
			case <-ended:
				if shown {
					_, _ = io.WriteString(w, clearLine)
				}
				return
			}
		}
	})
	return p
}

// end takes the line away.
func (p *progress) end() {
	p.stop()
	p.done.Wait()
}
