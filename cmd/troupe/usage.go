package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError says in a sentence what is wrong with a flag.
func flagError(cmd *cobra.Command, err error) error {
	var (
		invalid *pflag.InvalidValueError
		missing *pflag.ValueRequiredError
		unknown *pflag.NotExistError
	)
	switch {
	case errors.As(err, &invalid):
		return usagef("--%s %s: %s; see %s --help", invalid.GetFlag().Name, invalid.GetValue(), wanted(invalid), cmd.CommandPath())
	case errors.As(err, &missing):
		return usagef("--%s needs a value; see %s --help", missing.GetFlag().Name, cmd.CommandPath())
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return usagef("there is no flag -%s; see %s --help", unknown.GetSpecifiedName(), cmd.CommandPath())
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		if near := nearFlag(cmd, name); near != "" {
			return usagef("there is no flag --%s; did you mean --%s?", name, near)
		}
		return usagef("there is no flag --%s; see %s --help", name, cmd.CommandPath())
	}
	return usagef("%w; see %s --help", err, cmd.CommandPath())
}

// wanted says what a flag takes.
func wanted(invalid *pflag.InvalidValueError) string {
	switch kind := invalid.GetFlag().Value.Type(); kind {
	case "bool":
		return "write true or false"
	case "int16", "int32", "int64":
		if errors.Is(invalid, strconv.ErrRange) {
			return fmt.Sprintf("the number is too large for %s bits", strings.TrimPrefix(kind, "int"))
		}
		return "write a whole number"
	}
	return invalid.Unwrap().Error()
}

// nearFlag returns a flag that begins with name, or with which name begins.
func nearFlag(cmd *cobra.Command, name string) string {
	near := ""
	cmd.Flags().VisitAll(func(flag *pflag.Flag) {
		if strings.HasPrefix(flag.Name, name) || strings.HasPrefix(name, flag.Name) {
			near = flag.Name
		}
	})
	return near
}

// nounAlone answers a noun without a verb that it has. The root alone shows what there is.
func nounAlone(cmd *cobra.Command, args []string) error {
	if len(args) == 0 && !cmd.HasParent() {
		return cmd.Help()
	}
	var verbs []string
	for _, child := range cmd.Commands() {
		if child.IsAvailableCommand() {
			verbs = append(verbs, child.Name())
		}
	}
	if len(args) == 0 {
		return usagef("%s needs one more word: %s", cmd.CommandPath(), strings.Join(verbs, ", "))
	}
	cmd.SuggestionsMinimumDistance = 2
	if len(args[0]) < 5 {
		cmd.SuggestionsMinimumDistance = 1 // in a short word, two letters are most of it
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usagef("there is no %s %s; did you mean %s %s?", cmd.CommandPath(), args[0], cmd.CommandPath(), near[0])
	}
	return usagef("there is no %s %s, only: %s", cmd.CommandPath(), args[0], strings.Join(verbs, ", "))
}

// helpFor is troupe help: the help of a command that there is.
func helpFor(help *cobra.Command, words []string) error {
	cmd, rest, err := help.Root().Find(words)
	switch {
	case err != nil:
		return &usageError{err}
	case len(rest) > 0 && cmd.HasSubCommands():
		return nounAlone(cmd, rest)
	case len(rest) > 0:
		return usagef("%q is one argument too many; see %s --help", rest[0], cmd.CommandPath())
	}
	cmd.InitDefaultHelpFlag()
	return cmd.Help()
}

// exactly accepts one argument for each name.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fmt.Errorf("%s is missing", names[len(args)])
		case len(args) > len(names):
			return fmt.Errorf("%q is one argument too many", args[len(names)])
		}
		return nil
	}
}

// oneOrMore accepts any number of arguments but none.
func oneOrMore(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s is missing", name)
		}
		return nil
	}
}
