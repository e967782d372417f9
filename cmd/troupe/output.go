package main

import (
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// jsonFlag adds --json to a command that shows something.
func jsonFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "write JSON instead of a table")
}

// writeJSON writes one value, indented: programs do not mind, and people can read it.
func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// printable is a text of somebody else's as a line can show it: what would end the line, or tell the terminal something, is escaped.
func printable(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, isUnprintable) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || isUnprintable(r) {
			quoted := strconv.QuoteToASCII(s[i : i+size])
			out.WriteString(quoted[1 : len(quoted)-1])
		} else {
			out.WriteString(s[i : i+size])
		}
		i += size
	}
	return out.String()
}

func isUnprintable(r rune) bool { return !unicode.IsPrint(r) }

// writeTable writes rows in columns, two spaces apart, under a header unless that is nil. Numbers
// are aligned to the right. Cells are escaped as printable does.
func writeTable(w io.Writer, header []string, rows [][]string) error {
	all := make([][]string, 0, len(rows)+1)
	if header != nil {
		all = append(all, header)
	}
	for _, row := range rows {
		shown := make([]string, len(row))
		for column, cell := range row {
			shown[column] = printable(cell) // it may be anybody's
		}
		all = append(all, shown)
	}
	var widths []int
	for _, row := range all {
		for column, cell := range row {
			if column == len(widths) {
				widths = append(widths, 0)
			}
			widths[column] = max(widths[column], utf8.RuneCountInString(cell))
		}
	}
	numeric := numericColumns(rows, len(widths))
	var out strings.Builder
	for _, row := range all {
		var line strings.Builder
		for column, cell := range row {
			padding := strings.Repeat(" ", widths[column]-utf8.RuneCountInString(cell))
			if column > 0 {
				line.WriteString("  ")
			}
			if numeric[column] {
				line.WriteString(padding + cell)
			} else {
				line.WriteString(cell + padding)
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// numericColumns tells the columns that hold nothing but whole numbers.
func numericColumns(rows [][]string, columns int) []bool {
	numeric := make([]bool, columns)
	for column := range numeric {
		numeric[column] = len(rows) > 0
		for _, row := range rows {
			if column < len(row) && strings.Trim(row[column], "+-0123456789") != "" {
				numeric[column] = false
			}
		}
	}
	return numeric
}

// isTerminal says that a stream is where a person reads or types.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// grouped writes a number as people read it: 1234567 is 1,234,567.
func grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	var out strings.Builder
	for i, digit := range digits {
		if left := len(digits) - i; i > 0 && left%3 == 0 && digits[i-1] != '-' {
			out.WriteByte(',')
		}
		out.WriteRune(digit)
	}
	return out.String()
}

// megabytes writes a size as people read it.
func megabytes(n int64) string { return strconv.FormatFloat(float64(n)/1e6, 'f', 1, 64) + " MB" }

// plural writes 1 record, and 2 records.
func plural(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.FormatInt(n, 10) + " " + thing + "s"
}
