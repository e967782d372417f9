package node

import (
	"slices"
	"strings"
	"testing"
)

// The cases are those that the documentation of java.util.Properties.load describes.
func TestPropertiesAreReadAsJavaReadsThem(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []property
	}{
		{"empty", "", nil},
		{"blank lines and comments", "\n  \t\n# a=b\n  ! c=d\n", nil},
		{"equals", "a=b", []property{{"a", "b", 1}}},
		{"colon", "a: b", []property{{"a", "b", 1}}},
		{"white space parts", "Truth Beauty", []property{{"Truth", "Beauty", 1}}},
		{"white space around", "   Truth \t=\t  Beauty", []property{{"Truth", "Beauty", 1}}},
		{"only the first separator", "a==b:c", []property{{"a", "=b:c", 1}}},
		{"no value", "cheeses", []property{{"cheeses", "", 1}}},
		{"escaped separators in the key", `a\ b\:c\=d=e`, []property{{"a b:c=d", "e", 1}}},
		{"continuation", "fruits   apple, banana, \\\n     pear, \\\n  \tmango\nb=1", []property{{"fruits", "apple, banana, pear, mango", 1}, {"b", "1", 4}}},
		{"a comment does not continue", "# a \\\nb=c", []property{{"b", "c", 2}}},
		{"a continuation is no comment", "a=b\\\n#c", []property{{"a", "b#c", 1}}},
		{"a blank line ends a continuation", "a=b\\\n\nc=d", []property{{"a", "b", 1}, {"c", "d", 3}}},
		{"two backslashes do not continue", "a=b\\\\\nc=d", []property{{"a", `b\`, 1}, {"c", "d", 2}}},
		{"backslash at the end of the file", "a=b\\", []property{{"a", "b", 1}}},
		{"escapes", `a=\t\n\r\f\\\z`, []property{{"a", "\t\n\r\f\\z", 1}}},
		{"unicode", `a=\u00e9\uD83D\uDE00é`, []property{{"a", "é😀é", 1}}},
		{"half a surrogate pair", `a=\ud83dx`, []property{{"a", "\ufffdx", 1}}},
		{"line ends of all systems", "a=1\r\nb=2\rc=3\nd=4", []property{{"a", "1", 1}, {"b", "2", 2}, {"c", "3", 3}, {"d", "4", 4}}},
		{"byte order mark", "\ufeffa=1", []property{{"a", "1", 1}}},
		{"white space at the end is kept", "a=b ", []property{{"a", "b ", 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseProperties(c.text)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestABadUnicodeEscapeIsToldWithItsLine(t *testing.T) {
	for _, text := range []string{"x=1\n" + `a=\u12`, "x=1\n" + `a=\u12g4`, "x=1\n" + `\u=1`} {
		if _, err := parseProperties(text); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v, want an error with the line", text, err)
		}
	}
}

// FuzzParseProperties checks that nothing panics and that what is written with every character
// escaped is read back.
func FuzzParseProperties(f *testing.F) {
	f.Add("a=b", "key", "value")
	f.Add("a\\\n  b : c\\u0041\r\n!x\n\\", "a b=c:", " \\ \t\n#")
	f.Add(kafkaDefault, "log.dirs", "/a,/b")
	f.Add(`\ud83d\ude00\ud83d\u`, "é", "😀")
	f.Fuzz(func(t *testing.T, text, key, value string) {
		_, _ = parseProperties(text)

		key, value = strings.ToValidUTF8(key, "?"), strings.ToValidUTF8(value, "?")
		if strings.HasPrefix(key, "\ufeff") || key == "" {
			return
		}
		got, err := parseProperties(escapeProperty(key) + "=" + escapeProperty(value))
		if want := []property{{key, value, 1}}; err != nil || !slices.Equal(got, want) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	})
}

// escapeProperty writes s so that no character of it has a meaning.
func escapeProperty(s string) string {
	replacer := strings.NewReplacer("\n", `\n`, "\r", `\r`, "\t", `\t`, "\f", `\f`, `\`, `\\`, " ", `\ `, "=", `\=`, ":", `\:`, "#", `\#`, "!", `\!`)
	return replacer.Replace(s)
}
