package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestChaosRefusesAPlanThatSaysNothing(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--faults", "earthquake"}, "earthquake"},
		{[]string{"--duration", "1s"}, "too short"},
		{[]string{"--rate", "0"}, "at least 1"},
		{[]string{"--brokers", "0"}, "at least 1"},
	} {
		var stderr bytes.Buffer
		std := terminal()
		std.err = &stderr
		if code := run(append([]string{"chaos"}, c.args...), std); code != exitUsage || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%v: exit code %d, %q", c.args, code, stderr.String())
		}
	}
}

func TestAnErrorMayHaveAnExitCodeOfItsOwn(t *testing.T) {
	cause := errors.New("nothing happened")
	err := error(&codeError{exitUnknown, cause})
	if !errors.Is(err, cause) || err.Error() != cause.Error() {
		t.Fatalf("got %v", err)
	}
}
