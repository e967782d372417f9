package main

import (
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// buildInfo says which program this is.
type buildInfo struct {
	Version  string   `json:"version"`
	Commit   string   `json:"commit"`   // "" when it was not built from a repository
	Modified bool     `json:"modified"` // built from a work tree with changes
	Go       string   `json:"go"`
	Platform string   `json:"platform"`
	Tags     []string `json:"tags"` // build tags, such as those that plant bugs for the checkers to find
}

// readBuildInfo asks the Go runtime what it was linked from.
func readBuildInfo() buildInfo {
	build := buildInfo{
		Version:  "unknown",
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Tags:     []string{},
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return build
	}
	build.Version = strings.Trim(info.Main.Version, "()")
	if build.Version == "" {
		build.Version = "devel"
	}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			build.Commit = setting.Value
		case "vcs.modified":
			build.Modified = setting.Value == "true"
		case "-tags":
			build.Tags = strings.Split(setting.Value, ",")
		}
	}
	return build
}

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show which troupe this is",
		Long:    "Version shows the version, the commit it was built from, and what built it.",
		Example: "  troupe version\n  troupe version --json",
		GroupID: groupInspect,
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			build := readBuildInfo()
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), build)
			}
			commit := build.Commit
			if build.Modified {
				commit += " (modified)"
			}
			rows := [][]string{{"version", build.Version}}
			if commit != "" {
				rows = append(rows, []string{"commit", commit})
			}
			rows = append(rows, []string{"go", build.Go + " " + build.Platform})
			if len(build.Tags) > 0 {
				rows = append(rows, []string{"tags", strings.Join(build.Tags, ",")})
			}
			return writeTable(cmd.OutOrStdout(), nil, rows)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}
