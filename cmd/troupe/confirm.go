package main

import (
	"bufio"
	"fmt"
	"strings"
	"sync"

	"github.com/spf13/pflag"
)

// yesFlag adds --yes to a command that asks before it does something.
func yesFlag(set *pflag.FlagSet, yes *bool) {
	set.BoolVar(yes, "yes", false, "do not ask")
}

// confirm asks a person whether to go on. Without a person to ask, --yes must have been given.
func confirm(std streams, yes bool, question string) error {
	if yes {
		return nil
	}
	if !isTerminal(std.in) {
		return usagef("%s There is nobody to ask; say --yes to go on", question)
	}
	if _, err := fmt.Fprintf(std.err, "%s [y/N] ", question); err != nil {
		return err
	}
	answer, err := bufio.NewReader(std.in).ReadString('\n')
	if err != nil {
		return errInterrupted
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return fmt.Errorf("nothing was done")
}

// confirmDeletion asks a person at a terminal. Scripts may delete without --yes, as they always could.
func confirmDeletion(std streams, yes bool, what string, names []string) error {
	if !isTerminal(std.in) || !isTerminal(std.err) {
		return nil
	}
	return confirm(std, yes, fmt.Sprintf("%s going to be deleted for good: %s. Go on?", what, printable(strings.Join(names, ", "))))
}

// shared is a text that one goroutine shows while another one changes it.
type shared struct {
	mu   sync.Mutex
	text string
}

func newShared(text string) *shared { return &shared{text: text} }

func (s *shared) set(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = text
}

func (s *shared) get() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text
}
