package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// lineReader parts a stream into records as kcat does: LF ends a record and does not belong to it,
// CR belongs to it, and a last line without LF counts. It copies, since records live on until they
// are acknowledged.
type lineReader struct {
	in      *bufio.Reader
	maximum int // bytes of a line
	number  int64
	chunk   []byte // from which lines are cut, so that short ones share an allocation
}

// Bytes of the buffer that is filled by one read, and of the chunks that lines are cut from.
const (
	readBytes  = 1 << 20
	chunkBytes = 256 << 10
)

func newLineReader(in io.Reader, maximum int) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(in, readBytes), maximum: maximum}
}

// lineTooLongError tells which line no broker would take.
type lineTooLongError struct {
	line    int64
	maximum int
}

func (e *lineTooLongError) Error() string {
	return fmt.Sprintf("line %d has more than the %d bytes of max.message.bytes; allow more with: troupe topic alter TOPIC --config max.message.bytes=N", e.line, e.maximum)
}

// next returns the next line, io.EOF after the last. The line is the caller's.
func (l *lineReader) next() ([]byte, error) {
	l.number++
	part, err := l.in.ReadSlice('\n')
	if err == nil || (errors.Is(err, io.EOF) && len(part) > 0) {
		return l.keep(bytes.TrimSuffix(part, []byte("\n")))
	}
	if !errors.Is(err, bufio.ErrBufferFull) {
		return nil, err
	}
	// The line is longer than the buffer: join its parts, as long as a broker would take it.
	var line []byte
	for errors.Is(err, bufio.ErrBufferFull) {
		if line = append(line, part...); len(line) > l.maximum {
			return nil, &lineTooLongError{l.number, l.maximum}
		}
		part, err = l.in.ReadSlice('\n')
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	line = append(line, bytes.TrimSuffix(part, []byte("\n"))...)
	if len(line) > l.maximum {
		return nil, &lineTooLongError{l.number, l.maximum}
	}
	return line, nil
}

// keep copies a line out of the buffer.
func (l *lineReader) keep(line []byte) ([]byte, error) {
	if len(line) > l.maximum {
		return nil, &lineTooLongError{l.number, l.maximum}
	}
	if len(line) > chunkBytes/8 {
		return bytes.Clone(line), nil
	}
	if l.chunk == nil || len(line) > cap(l.chunk)-len(l.chunk) { // an empty line is not nil
		l.chunk = make([]byte, 0, chunkBytes)
	}
	start := len(l.chunk)
	l.chunk = append(l.chunk, line...)
	return l.chunk[start:len(l.chunk):len(l.chunk)], nil
}
