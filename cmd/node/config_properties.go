package node

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// property is one key and value of a properties file.
type property struct {
	key, value string
	line       int // where its logical line begins, from 1
}

// parseProperties reads the format of Java's properties files, in which server.properties is
// written: comments with # or !, continuation lines with a backslash, key and value parted by =,
// : or white space, and escapes. A key may come more than once; the last one counts.
//
// Kafka: reads the file as Latin-1; here it is UTF-8.
func parseProperties(text string) ([]property, error) {
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("not UTF-8 text")
	}
	var properties []property
	for _, logical := range logicalLines(strings.TrimPrefix(text, "\ufeff")) {
		key, value := splitProperty(logical.text)
		parsed := property{line: logical.number}
		var err error
		if parsed.key, err = unescapeProperty(key); err != nil {
			return nil, fmt.Errorf("line %d: %w", logical.number, err)
		}
		if parsed.value, err = unescapeProperty(value); err != nil {
			return nil, fmt.Errorf("line %d: %w", logical.number, err)
		}
		properties = append(properties, parsed)
	}
	return properties, nil
}

// logicalLine is a line with its continuations joined to it.
type logicalLine struct {
	text   string
	number int
}

// logicalLines drops comments and blank lines and joins continuations.
func logicalLines(text string) []logicalLine {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.ReplaceAll(text, "\r", "\n")
	var lines []logicalLine
	var open strings.Builder // the logical line so far, while continued
	continued, first := false, 0
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimLeft(line, " \t\f")
		if !continued {
			if line == "" || line[0] == '#' || line[0] == '!' {
				continue
			}
			first = i + 1
		}
		if continued = endsInBackslash(line); continued {
			open.WriteString(line[:len(line)-1])
			continue
		}
		open.WriteString(line)
		lines = append(lines, logicalLine{text: open.String(), number: first})
		open.Reset()
	}
	if continued { // the file ends in a backslash, which then means nothing
		lines = append(lines, logicalLine{text: open.String(), number: first})
	}
	return lines
}

// endsInBackslash says that the last backslash of line is not itself escaped.
func endsInBackslash(line string) bool {
	return (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1
}

// splitProperty parts a logical line at the first separator that is not escaped.
func splitProperty(line string) (key, value string) {
	end := 0
	for end < len(line) && !strings.ContainsRune("=: \t\f", rune(line[end])) {
		if line[end] == '\\' && end+1 < len(line) {
			end++
		}
		end++
	}
	key, value = line[:end], strings.TrimLeft(line[end:], " \t\f")
	if value != "" && (value[0] == '=' || value[0] == ':') {
		value = strings.TrimLeft(value[1:], " \t\f")
	}
	return key, value
}

// unescapeProperty replaces \t, \n, \r, \f and \u with four digits; a backslash before anything else is dropped.
func unescapeProperty(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 't':
			out.WriteByte('\t')
		case 'n':
			out.WriteByte('\n')
		case 'r':
			out.WriteByte('\r')
		case 'f':
			out.WriteByte('\f')
		case 'u':
			r, length, err := unescapeUnicode(s[i-1:])
			if err != nil {
				return "", err
			}
			out.WriteRune(r)
			i += length - 2
		default:
			out.WriteByte(s[i])
		}
	}
	return out.String(), nil
}

// unescapeUnicode reads the \u and its four digits at the start of s, or two of them that make one rune, and
// returns how many bytes it read.
func unescapeUnicode(s string) (rune, int, error) {
	high, err := unicodeEscape(s)
	if err != nil {
		return 0, 0, err
	}
	if utf16.IsSurrogate(high) && strings.HasPrefix(s[6:], `\u`) {
		if low, err := unicodeEscape(s[6:]); err == nil {
			if r := utf16.DecodeRune(high, low); r != utf8.RuneError {
				return r, 12, nil
			}
		}
	}
	return high, 6, nil
}

func unicodeEscape(s string) (rune, error) {
	if len(s) < 6 {
		return 0, fmt.Errorf(`escape %q: write \u and four hexadecimal digits, or \\u for a backslash and u`, s)
	}
	n, err := strconv.ParseUint(s[2:6], 16, 16)
	if err != nil {
		return 0, fmt.Errorf(`escape %q: write \u and four hexadecimal digits, or \\u for a backslash and u`, s[:6])
	}
	return rune(n), nil
}
