package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

func openJava(t *testing.T, bootstrap string) client {
	t.Helper()
	return openDriver(t, javaCommand(t, javaDriver, bootstrap))
}

const javaDriver = "troupe.Driver"

// javaCommand runs a class of ours, or of Apache Kafka's tools.
func javaCommand(t *testing.T, class string, args ...string) *exec.Cmd {
	t.Helper()
	if _, err := exec.LookPath("java"); err != nil {
		missing(t, "there is no java")
	}
	if _, err := os.Stat("java/target/lib"); err != nil {
		missing(t, "the Java client is not there (mvn package in bench/clients/java)")
	}
	option := "-Xshare:auto" // which is the default
	if archive := javaArchive(); archive != "" {
		option = "-XX:SharedArchiveFile=" + archive
	}
	return java(context.Background(), option, class, args...) // who starts it also ends it
}

func java(ctx context.Context, option, class string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "java", append([]string{
		"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", option,
		"-Xlog:disable", // standard output is not for what the JVM itself has to say
		"-cp", "java/target/clients-java-1.jar:java/target/lib/*", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", class,
	}, args...)...)
}

// javaArchive is a file of the classes that a client loads (class data sharing): with it each of more than a hundred JVMs
// starts with half the work. It is "" where the JVM cannot make one.
var javaArchive = sync.OnceValue(func() string {
	const topic = "archived"
	value := []byte("value")
	var input bytes.Buffer
	lines := json.NewEncoder(&input)
	for _, r := range []request{
		{Op: "create", Topic: topic, Partitions: 1},
		{Op: "produce", Topic: topic, Codec: "none", Acks: "all", Records: []record{{Value: &value}}},
		{Op: "join", Topic: topic, Group: topic, Protocol: classic, Assignor: "range"},
		{Op: "poll", Count: 1, Millis: int(settleLimit.Milliseconds())},
		{Op: "leave"},
		{Op: "join", Topic: topic, Group: topic, Protocol: modern, Assignor: "range"},
		{Op: "poll", Count: 1, Millis: 1000},
		{Op: "leave"},
		{Op: "delete", Topic: topic},
	} {
		if lines.Encode(r) != nil {
			return ""
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), helloLimit)
	defer cancel()
	file := filepath.Join(work, "java.jsa")
	dump := java(ctx, "-XX:ArchiveClassesAtExit="+file, javaDriver, bootstrap)
	dump.Stdin = &input
	if dump.Run() != nil {
		return ""
	}
	if _, err := os.Stat(file); err != nil {
		return ""
	}
	return file
})
