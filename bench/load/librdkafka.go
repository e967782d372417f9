package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/troupe-mq/troupe/bench/chaos"
)

const librdkafkaName = "librdkafka"

// librdkafka is the client library behind confluent-kafka, driven by a Python process which is
// given a line for each record. It writes only.
type librdkafka struct{ python, script string }

// newLibrdkafka finds the Python that .ci/run installs for the tests with foreign clients.
func newLibrdkafka() (*librdkafka, error) {
	l := &librdkafka{
		python: filepath.Join(".ci", "cache", "venv", "bin", "python"),
		script: filepath.Join("bench", "load", "librdkafka", "producer.py"),
	}
	if err := exec.Command(l.python, "-c", "import confluent_kafka").Run(); err != nil {
		return nil, fmt.Errorf("librdkafka is not there: %w; run .ci/run clients once, and this in the root of the module", err)
	}
	return l, nil
}

// Name implements chaos.Library.
func (*librdkafka) Name() string { return librdkafkaName }

// Settings implements chaos.Library.
func (*librdkafka) Settings() string {
	return "enable.idempotence=true, linger.ms=0, message.timeout.ms=1800000; acks=all and unlimited retries by default"
}

// NewReader implements chaos.Library.
func (*librdkafka) NewReader(*chaos.LoadConfig) (chaos.Reader, error) { return nil, nil }

// NewProducer implements chaos.Library.
func (l *librdkafka) NewProducer(cfg *chaos.LoadConfig) (chaos.Producer, error) {
	p := &librdkafkaProducer{
		cmd:     exec.Command(l.python, l.script, strings.Join(cfg.Addresses, ","), cfg.Topic),
		waiting: make(map[int]func(int64, error)), ended: make(chan struct{}),
	}
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.listen(out)
	return p, nil
}

type librdkafkaProducer struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	ended chan struct{} // closed when nothing more is heard

	mu      sync.Mutex
	next    int
	waiting map[int]func(int64, error)
}

// Produce implements chaos.Producer.
func (p *librdkafkaProducer) Produce(partition int32, value []byte, done func(int64, error)) {
	p.mu.Lock()
	id := p.next
	p.next++
	p.waiting[id] = done
	p.mu.Unlock()
	if _, err := fmt.Fprintf(p.in, "%d %d %s\n", id, partition, base64.StdEncoding.EncodeToString(value)); err != nil {
		p.answer(id, -1, err)
	}
}

func (p *librdkafkaProducer) answer(id int, offset int64, err error) {
	p.mu.Lock()
	done := p.waiting[id]
	delete(p.waiting, id)
	p.mu.Unlock()
	if done != nil {
		done(offset, err)
	}
}

func (p *librdkafkaProducer) listen(out io.Reader) {
	defer close(p.ended)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		id, rest, _ := strings.Cut(lines.Text(), " ")
		outcome, detail, _ := strings.Cut(rest, " ")
		number, err := strconv.Atoi(id)
		if err != nil {
			continue // not one of ours
		}
		offset, err := strconv.ParseInt(detail, 10, 64)
		if outcome != "ok" || err != nil {
			p.answer(number, -1, errors.New(detail))
			continue
		}
		p.answer(number, offset, nil)
	}
}

// Flush implements chaos.Producer. It ends the process: nothing can be produced afterwards.
func (p *librdkafkaProducer) Flush(ctx context.Context) error {
	if err := p.in.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close implements chaos.Producer.
func (p *librdkafkaProducer) Close() {
	_ = p.cmd.Process.Kill() // it has ended already when all went well
	<-p.ended
	_ = p.cmd.Wait() // how it ended is known
	p.mu.Lock()
	waiting := p.waiting
	p.waiting = nil
	p.mu.Unlock()
	for _, done := range waiting {
		done(-1, errors.New("the process has ended"))
	}
}
