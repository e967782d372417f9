package gossip

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"
)

// logWriter turns memberlist's lines into those of slog. They come as "[WARN] memberlist: text",
// one a call. Somebody who sends garbage could make it complain without end: of complaints that begin
// alike one is passed on in a while.
type logWriter struct {
	log *slog.Logger
	now func() time.Time

	mu   sync.Mutex
	told map[string]time.Time // by how a complaint begins
}

const (
	// complaintInterval is how often the same complaint is worth a line.
	complaintInterval = time.Minute
	// maxComplaints bounds how many complaints are remembered.
	maxComplaints = 256
	// complaintBytes is how much of a line says what it is about: names and addresses come later.
	complaintBytes = 24
	// maxLineBytes bounds a line: parts of it are what others sent.
	maxLineBytes = 400
)

func newLogWriter(log *slog.Logger, now func() time.Time) *logWriter {
	return &logWriter{log: log, now: now, told: make(map[string]time.Time)}
}

// Write takes one line.
func (w *logWriter) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line[:min(len(line), maxLineBytes)]))
	level := slog.LevelDebug // memberlist's information is of interest to few
	if rest, ok := strings.CutPrefix(text, "["); ok {
		name, after, _ := strings.Cut(rest, "]")
		text = strings.TrimSpace(after)
		switch name { // what fails is one stream or packet, or the probe of a process that has ended
		case "ERR":
			level = slog.LevelWarn
		case "WARN":
			level = slog.LevelInfo
		}
	}
	text = strings.TrimPrefix(text, "memberlist: ")
	if strings.Contains(text, net.ErrClosed.Error()) {
		level = slog.LevelDebug // it is being stopped
	}
	if level == slog.LevelDebug || w.isNews(text) {
		w.log.Log(context.Background(), level, "gossip", "says", text)
	}
	return len(line), nil
}

func (w *logWriter) isNews(text string) bool {
	kind := text[:min(len(text), complaintBytes)]
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if told, ok := w.told[kind]; ok && now.Sub(told) < complaintInterval {
		return false
	}
	if len(w.told) >= maxComplaints {
		clear(w.told)
	}
	w.told[kind] = now
	return true
}
