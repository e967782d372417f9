package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/troupe-mq/troupe/wire/client"
)

// recordWriter appends one record, in the form that the user asked for, to dst.
type recordWriter func(dst []byte, r *client.Record) []byte

// writeValue is the default: the value and a line feed.
func writeValue(dst []byte, r *client.Record) []byte {
	return append(append(dst, r.Value...), '\n')
}

// formatHelp explains --format.
const formatHelp = `The format has kcat's tokens:
  %t topic    %p partition    %o offset    %T timestamp in milliseconds    %h headers
  %k key      %K its length (-1: none)
  %s value    %S its length (-1: none)     %% a percent sign
and the escapes \n \r \t \\ \xHH.`

// parseFormat makes a writer out of a format. Text between tokens is copied.
func parseFormat(format string) (recordWriter, error) {
	var parts []recordWriter
	var text []byte
	flush := func() {
		if len(text) > 0 {
			literal := text
			parts = append(parts, func(dst []byte, _ *client.Record) []byte { return append(dst, literal...) })
			text = nil
		}
	}
	for i := 0; i < len(format); i++ {
		switch format[i] {
		case '\\':
			b, length, err := parseEscape(format[i:])
			if err != nil {
				return nil, err
			}
			text = append(text, b)
			i += length - 1
		case '%':
			if i++; i == len(format) {
				return nil, fmt.Errorf("the format ends in %%; write %%%% for a percent sign")
			}
			if format[i] == '%' {
				text = append(text, '%')
				continue
			}
			token, ok := tokens[format[i]]
			if !ok {
				return nil, fmt.Errorf("unknown token %%%c in the format; there are %%t %%p %%o %%k %%K %%s %%S %%T %%h %%%%", format[i])
			}
			flush()
			parts = append(parts, token)
		default:
			text = append(text, format[i])
		}
	}
	flush()
	return func(dst []byte, r *client.Record) []byte {
		for _, part := range parts {
			dst = part(dst, r)
		}
		return dst
	}, nil
}

// parseEscape reads the escape at the start of s and returns its byte and how long it is.
func parseEscape(s string) (b byte, length int, err error) {
	if len(s) < 2 {
		return 0, 0, fmt.Errorf(`the format ends in a backslash; write \\ for a backslash`)
	}
	switch s[1] {
	case 'n':
		return '\n', 2, nil
	case 'r':
		return '\r', 2, nil
	case 't':
		return '\t', 2, nil
	case '\\':
		return '\\', 2, nil
	case 'x':
		if len(s) >= 4 {
			if n, err := strconv.ParseUint(s[2:4], 16, 8); err == nil {
				return byte(n), 4, nil
			}
		}
		return 0, 0, fmt.Errorf(`\x in the format wants two hexadecimal digits, as in \x1f`)
	}
	return 0, 0, fmt.Errorf(`unknown escape \%c in the format; there are \n \r \t \\ \xHH`, s[1])
}

// tokens are what follows a percent sign.
var tokens = map[byte]recordWriter{
	't': func(dst []byte, r *client.Record) []byte { return append(dst, r.Topic...) },
	'p': func(dst []byte, r *client.Record) []byte { return strconv.AppendInt(dst, int64(r.Partition), 10) },
	'o': func(dst []byte, r *client.Record) []byte { return strconv.AppendInt(dst, int64(r.Offset), 10) },
	'k': func(dst []byte, r *client.Record) []byte { return append(dst, r.Key...) },
	'K': func(dst []byte, r *client.Record) []byte { return appendLength(dst, r.Key) },
	's': func(dst []byte, r *client.Record) []byte { return append(dst, r.Value...) },
	'S': func(dst []byte, r *client.Record) []byte { return appendLength(dst, r.Value) },
	'T': func(dst []byte, r *client.Record) []byte { return strconv.AppendInt(dst, millis(r.Timestamp), 10) },
	'h': appendHeaders,
}

func appendLength(dst, b []byte) []byte {
	if b == nil {
		return append(dst, "-1"...)
	}
	return strconv.AppendInt(dst, int64(len(b)), 10)
}

// appendHeaders writes a=1,b=2, and NULL for a header without value, as kcat does.
func appendHeaders(dst []byte, r *client.Record) []byte {
	for i, header := range r.Headers {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, header.Key...), '=')
		if header.Value == nil {
			dst = append(dst, "NULL"...)
		}
		dst = append(dst, header.Value...)
	}
	return dst
}

// millis returns a timestamp as Kafka has it: -1 for none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return -1
	}
	return t.UnixMilli()
}

// recordJSON is a record as --json shows it.
type recordJSON struct {
	Topic       string       `json:"topic"`
	Partition   int32        `json:"partition"`
	Offset      int64        `json:"offset"`
	TimestampMS int64        `json:"timestamp_ms"`
	Key         any          `json:"key"`
	Value       any          `json:"value"`
	Headers     []headerJSON `json:"headers"`
}

type headerJSON struct {
	Key   any `json:"key"`
	Value any `json:"value"`
}

// textJSON returns what shows bytes so that every one survives: null, a string where they are
// UTF-8, else {"base64": "..."}.
func textJSON(b []byte) any {
	switch {
	case b == nil:
		return nil
	case utf8.Valid(b):
		return string(b)
	}
	return map[string]string{"base64": base64.StdEncoding.EncodeToString(b)}
}

// newJSONWriter writes one object on a line for every record.
func newJSONWriter() recordWriter {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	return func(dst []byte, r *client.Record) []byte {
		record := recordJSON{
			Topic: r.Topic, Partition: r.Partition, Offset: int64(r.Offset), TimestampMS: millis(r.Timestamp),
			Key: textJSON(r.Key), Value: textJSON(r.Value), Headers: make([]headerJSON, len(r.Headers)),
		}
		for i, header := range r.Headers {
			record.Headers[i] = headerJSON{Key: textJSON([]byte(header.Key)), Value: textJSON(header.Value)}
		}
		line.Reset()
		if err := encoder.Encode(record); err != nil {
			panic(err) // strings and numbers can always be encoded
		}
		return append(dst, line.Bytes()...)
	}
}
