package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/pflag"
)

// yesFlag adds --yes to a command that asks before it does something.
func yesFlag(set *pflag.FlagSet, yes *bool) {
	set.BoolVar(yes, "yes", false, "do not ask")
}

// confirm asks a person whether to go on with what a sentence says. Without a person to ask, --yes must have been given.
func confirm(ctx context.Context, std streams, yes bool, what string) error {
	if yes {
		return nil
	}
	if err := mayAsk(std, yes, what); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(std.err, "%s Go on? [y/N] ", printable(what)); err != nil {
		return err
	}
	answers := make(chan string, 1)
	go func() { // which ends with the process: nothing else ends a terminal's wait for a line
		defer close(answers)
		if answer, err := bufio.NewReader(std.in).ReadString('\n'); err == nil {
			answers <- answer
		}
	}()
	select {
	case answer, answered := <-answers:
		switch {
		case !answered:
			return errInterrupted
		case slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(answer))):
			return nil
		}
		return errors.New("nothing was done")
	case <-ctx.Done():
		_, _ = fmt.Fprintln(std.err) // so that the error begins a line
		return errInterrupted
	}
}

// mayAsk refuses what needs a yes that nobody can give. A command that shows much before it asks calls it first.
func mayAsk(std streams, yes bool, what string) error {
	if yes || isTerminal(std.in) && isTerminal(std.err) {
		return nil
	}
	return usagef("say --yes, as there is no terminal to ask at. %s", what)
}

// confirmAtTerminal asks a person at a terminal. Scripts may go on without --yes: for what they always could.
func confirmAtTerminal(ctx context.Context, std streams, yes bool, what string) error {
	if !isTerminal(std.in) || !isTerminal(std.err) {
		return nil
	}
	return confirm(ctx, std, yes, what)
}

// confirmDeletion is confirmAtTerminal for what is there no more then.
func confirmDeletion(ctx context.Context, std streams, yes bool, what string, names []string) error {
	return confirmAtTerminal(ctx, std, yes, fmt.Sprintf("%s going to be deleted for good: %s.", what, strings.Join(names, ", ")))
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
