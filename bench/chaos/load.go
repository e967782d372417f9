package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/bench/history"
	"github.com/troupe-mq/troupe/wire"
)

// LoadConfig is what clients do to a topic.
type LoadConfig struct {
	Addresses  []string // where clients begin
	Topic      string
	Partitions int32
	Libraries  []Library
	Rate       int  // records a second of each library, over all its partitions
	Size       int  // bytes of a value
	Tail       bool // each library that can also reads everything as it comes
}

// Load is clients at work. What they see goes to History.
type Load struct {
	cfg     LoadConfig
	begun   time.Time
	History *history.History

	writing   context.Context // ends when no more records are offered
	cease     context.CancelFunc
	writers   sync.WaitGroup
	producers []Producer

	reading  context.Context
	stopRead context.CancelFunc
	readers  sync.WaitGroup
	tails    []*tail
}

// Library is a client library. Each has a writer for every partition.
type Library interface {
	Name() string
	// Settings says what is not the library's default.
	Settings() string
	NewProducer(cfg *LoadConfig) (Producer, error)
	// NewReader returns nil for a library that only writes here.
	NewReader(cfg *LoadConfig) (Reader, error)
}

// Producer is a library at writing.
type Producer interface {
	// Produce never waits for an acknowledgement; done is called once, on any goroutine.
	Produce(partition int32, value []byte, done func(offset int64, err error))
	// Flush waits until everything is answered, or ctx ends.
	Flush(ctx context.Context) error
	// Close gives up what is unanswered.
	Close()
}

// Reader is a library at reading all partitions of a topic from their beginning.
type Reader interface {
	// Poll waits for records; each is called for all that have come, in the order of their partition.
	Poll(ctx context.Context, each func(partition int32, offset int64, value []byte)) error
	Close()
}

// StartLoad begins to write, and to read; times are counted from begun. Stop must be called.
func StartLoad(ctx context.Context, cfg LoadConfig, begun time.Time) (*Load, error) {
	l := &Load{cfg: cfg, begun: begun, History: &history.History{}}
	l.writing, l.cease = context.WithCancel(ctx)
	l.reading, l.stopRead = context.WithCancel(ctx)
	for _, library := range cfg.Libraries {
		if err := l.start(library); err != nil {
			l.close()
			return nil, fmt.Errorf("start %s: %w", library.Name(), err)
		}
	}
	return l, nil
}

func (l *Load) start(library Library) error {
	p, err := library.NewProducer(&l.cfg)
	if err != nil {
		return err
	}
	l.producers = append(l.producers, p)
	var writers []*history.Writer
	for partition := range l.cfg.Partitions {
		writers = append(writers, l.History.NewWriter(library.Name(), history.Place{Topic: l.cfg.Topic, Partition: partition}))
	}
	l.writers.Go(func() { l.offer(p, writers) })
	if !l.cfg.Tail {
		return nil
	}
	r, err := library.NewReader(&l.cfg)
	if r == nil || err != nil {
		return err
	}
	t := newTail(library.Name()+" on the way", &l.cfg, r)
	l.tails = append(l.tails, t)
	l.readers.Go(func() { t.follow(l.reading) })
	return nil
}

// now is the time since the beginning of the run.
func (l *Load) now() time.Duration { return time.Since(l.begun) }

// offer hands a record to the client at each intended time. A client that made it wait is given the
// missed ones at once.
func (l *Load) offer(p Producer, writers []*history.Writer) {
	interval := time.Second / time.Duration(l.cfg.Rate)
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; ; i++ {
		if wait := time.Until(start.Add(time.Duration(i) * interval)); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-l.writing.Done():
				return
			}
		}
		if l.writing.Err() != nil {
			return
		}
		w := writers[i%len(writers)]
		number := w.Sending(l.now())
		p.Produce(w.Place.Partition, history.Value(w.ID, number, l.cfg.Size), func(offset int64, err error) {
			if err != nil {
				w.Fail(number, outcomeOf(err), err, l.now())
				return
			}
			w.Acknowledge(number, offset, l.now())
		})
	}
}

// outcomeOf says what an error tells of a record. Only what a broker refuses before it writes counts
// as refused; all else may have been written by one of the attempts.
func outcomeOf(err error) history.Outcome {
	for _, refusal := range []wire.ErrorCode{wire.MessageTooLarge, wire.InvalidRecord} {
		if errors.Is(err, refusal) {
			return history.Refused
		}
	}
	return history.Unknown
}

// Stop offers no more records, waits until those that were taken are answered or ctx ends, and ends
// the readers. What is unanswered then has an unknown outcome for ever.
func (l *Load) Stop(ctx context.Context) error {
	l.cease()
	l.writers.Wait()
	var errs []error
	for _, p := range l.producers {
		errs = append(errs, p.Flush(ctx))
	}
	l.close()
	for _, t := range l.tails {
		l.History.Readings = append(l.History.Readings, t.readings()...)
	}
	return errors.Join(errs...)
}

func (l *Load) close() {
	l.cease()
	l.stopRead()
	for _, p := range l.producers {
		p.Close()
	}
	l.writers.Wait()
	l.readers.Wait()
}

// tail is a reader at work on all partitions.
type tail struct {
	name   string
	topic  string
	reader Reader
	read   [][]history.Read // by partition
	final  bool
}

func newTail(name string, cfg *LoadConfig, r Reader) *tail {
	return &tail{name: name, topic: cfg.Topic, reader: r, read: make([][]history.Read, cfg.Partitions)}
}

// follow reads until ctx ends. Errors pass: during faults there are many, and a reader that gets
// stuck for good saw less, which the final readings make up for.
func (t *tail) follow(ctx context.Context) {
	defer t.reader.Close()
	for ctx.Err() == nil {
		if err := t.reader.Poll(ctx, t.saw); err != nil && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}

func (t *tail) saw(partition int32, offset int64, value []byte) {
	t.read[partition] = append(t.read[partition], history.NewRead(offset, value))
}

// next is the offset behind what was read of a partition.
func (t *tail) next(partition int32) int64 {
	read := t.read[partition]
	if len(read) == 0 {
		return 0
	}
	return read[len(read)-1].Offset + 1
}

func (t *tail) readings() []history.Reading {
	var readings []history.Reading
	for partition, records := range t.read {
		readings = append(readings, history.Reading{
			Reader: t.name, Final: t.final, Records: records,
			Place: history.Place{Topic: t.topic, Partition: int32(partition)},
		})
	}
	return readings
}
