package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const groupCommand = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"

// groupTool runs kafka-consumer-groups.
func groupTool(t *testing.T, args ...string) string {
	t.Helper()
	return tool(t, "", groupCommand, append(args, "--bootstrap-server", bootstrap)...)
}

// expectLine fails when no line of out matches; blanks in the pattern stand for any number of them.
func expectLine(t *testing.T, out, pattern string) {
	t.Helper()
	line := regexp.MustCompile(`(?m)^\s*` + strings.ReplaceAll(pattern, " ", `\s+`) + `\s*$`)
	if !line.MatchString(out) {
		t.Fatalf("no line like %q in what the tool printed:\n%s", pattern, out)
	}
}

func TestKafkasOwnToolsShowAndChangeGroups(t *testing.T) {
	t.Parallel()
	javaCommand(t, groupCommand) // a group for nothing is not made
	for _, protocol := range []string{classic, modern} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			c := newCrew(t, 2)
			c.produce(10)
			how := request{Assignor: "range", Protocol: protocol}
			member := c.join(kinds[0], how)
			c.settle(member)
			of := []string{"--group", c.group}

			expectLine(t, groupTool(t, "--list", "--state"), c.group+` .*Stable`)
			out := groupTool(t, append(of, "--describe")...)
			expectLine(t, out, c.group+" "+c.topic+` 0 10 10 0 \S+ /\S+ franz-go`)
			expectLine(t, out, c.group+" "+c.topic+` 1 10 10 0 \S+ /\S+ franz-go`)
			expectLine(t, groupTool(t, append(of, "--describe", "--members", "--verbose")...), c.group+` \S+ /\S+ franz-go 2 .*`)
			expectLine(t, groupTool(t, append(of, "--describe", "--state")...), c.group+` .* range Stable .*1`)

			// A group at work keeps its offsets.
			out, err := tryTool(t, "", groupCommand, append(of, "--bootstrap-server", bootstrap, "--reset-offsets", "--all-topics", "--to-earliest", "--execute")...)
			if !strings.Contains(out, "Assignments can only be reset if the group") {
				t.Fatalf("the offsets of an active group: %v\n%s", err, out)
			}
			if out := groupTool(t, append(of, "--delete-offsets", "--topic", c.topic)...); !strings.Contains(out, "GroupSubscribedToTopic") {
				t.Fatalf("the offsets of a topic that is subscribed to:\n%s", out)
			}
			if out := groupTool(t, append(of, "--delete")...); !strings.Contains(out, "GroupNotEmptyException") {
				t.Fatalf("a group with a member is deleted:\n%s", out)
			}
			member.leave()

			expectLine(t, groupTool(t, append(of, "--describe", "--state")...), c.group+` .*Empty .*0`)
			file := filepath.Join(t.TempDir(), "offsets.csv")
			if err := os.WriteFile(file, fmt.Appendf(nil, "%s,0,3\n%s,1,4\n", c.topic, c.topic), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, step := range []struct {
				args []string
				want [2]int
			}{
				{[]string{"--all-topics", "--to-earliest"}, [2]int{0, 0}},
				{[]string{"--topic", c.topic + ":1", "--to-offset", "7"}, [2]int{0, 7}},
				{[]string{"--topic", c.topic, "--shift-by", "2"}, [2]int{2, 9}},
				{[]string{"--topic", c.topic, "--to-datetime", "2001-01-01T00:00:00.000"}, [2]int{0, 0}},
				{[]string{"--topic", c.topic, "--to-latest"}, [2]int{10, 10}},
				{[]string{"--from-file", file}, [2]int{3, 4}},
			} {
				groupTool(t, append(append(of, "--reset-offsets", "--execute"), step.args...)...)
				out := groupTool(t, append(of, "--describe")...)
				for partition, want := range step.want {
					expectLine(t, out, fmt.Sprintf(`%s %s %d %d 10 %d - - -`, c.group, c.topic, partition, want, 10-want))
				}
			}
			if out := groupTool(t, append(of, "--delete-offsets", "--topic", c.topic+":1")...); !strings.Contains(out, "Successful") {
				t.Fatalf("delete the offset of a partition:\n%s", out)
			}
			if out := groupTool(t, append(of, "--describe", "--offsets")...); strings.Contains(out, c.topic+" 1 ") {
				t.Fatalf("the offset of partition 1 is still there:\n%s", out)
			}
			if out := groupTool(t, append(of, "--delete")...); !strings.Contains(out, "successful") {
				t.Fatalf("delete:\n%s", out)
			}
			if out := groupTool(t, "--list"); strings.Contains(out, c.group) {
				t.Fatalf("the deleted group is listed:\n%s", out)
			}
		})
	}
}
