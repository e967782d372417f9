package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire/client"
)

func sampleRecord() *client.Record {
	return &client.Record{
		Topic: "orders", Partition: 3, Offset: 42, Timestamp: time.UnixMilli(1700000000123),
		Key: []byte("k1"), Value: []byte("größe <1>"),
		Headers: []client.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}},
	}
}

func TestAFormatHasTheTokensOfKcat(t *testing.T) {
	null := &client.Record{Topic: "t", Value: []byte{}}
	for _, c := range []struct {
		format string
		record *client.Record
		want   string
	}{
		{`%t/%p@%o %T\n`, sampleRecord(), "orders/3@42 1700000000123\n"},
		{`%k(%K)=%s(%S)`, sampleRecord(), "k1(2)=größe <1>(11)"},
		{`%h`, sampleRecord(), "a=1,b=NULL"},
		{`[%k]%K [%s]%S %T`, null, "[]-1 []0 -1"},
		{`100%% \t\r\\\x41`, null, "100% \t\r\\A"},
		{"", null, ""},
	} {
		write, err := parseFormat(c.format)
		if err != nil {
			t.Errorf("%q: %v", c.format, err)
			continue
		}
		if got := string(write(nil, c.record)); got != c.want {
			t.Errorf("%q writes %q, want %q", c.format, got, c.want)
		}
	}
}

func TestABadFormatIsToldWithWhatThereIs(t *testing.T) {
	for format, want := range map[string]string{
		`%z`: "%s", `100%`: "%%", `\q`: `\n`, `\`: `\\`, `\x4`: `\x1f`, `\xzz`: `\x1f`,
	} {
		if _, err := parseFormat(format); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", format, err, want)
		}
	}
}

func TestJSONKeepsEveryByte(t *testing.T) {
	binary := &client.Record{Topic: "t", Offset: 1, Timestamp: time.UnixMilli(5), Value: []byte{0xff, 0}, Headers: []client.Header{{Key: "\xfe", Value: []byte{}}}}
	write := newJSONWriter()
	for _, c := range []struct {
		record *client.Record
		want   string
	}{
		{sampleRecord(), `{"topic":"orders","partition":3,"offset":42,"timestamp_ms":1700000000123,"key":"k1","value":"größe <1>","headers":[{"key":"a","value":"1"},{"key":"b","value":null}]}`},
		{binary, `{"topic":"t","partition":0,"offset":1,"timestamp_ms":5,"key":null,"value":{"base64":"/wA="},"headers":[{"key":{"base64":"/g=="},"value":""}]}`},
		{&client.Record{Topic: "t"}, `{"topic":"t","partition":0,"offset":0,"timestamp_ms":-1,"key":null,"value":null,"headers":[]}`},
	} {
		if got := string(write(nil, c.record)); got != c.want+"\n" {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// FuzzParseFormat checks that a format is either refused or writes without panicking, and that
// one without tokens and escapes writes itself.
func FuzzParseFormat(f *testing.F) {
	for _, seed := range []string{`%t %p %o\n`, `%%%`, `\x4`, "plain", `\`, "%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, format string) {
		write, err := parseFormat(format)
		if err != nil {
			return
		}
		got := write(nil, sampleRecord())
		if !strings.ContainsAny(format, `%\`) && !bytes.Equal(got, []byte(format)) {
			t.Errorf("%q writes %q", format, got)
		}
	})
}

func TestATableShowsWhatOthersHaveNamedWithoutObeyingIt(t *testing.T) {
	var out strings.Builder
	rows := [][]string{{"x\ny\x1b[31m", "1"}, {"grün 日本", "2"}, {"\xff\u202e\ufffd", "3"}}
	if err := writeTable(&out, []string{"GROUP", "N"}, rows); err != nil {
		t.Fatal(err)
	}
	want := "GROUP         N\n" +
		`x\ny\x1b[31m  1` + "\n" +
		"grün 日本       2\n" +
		`\xff\u202e` + "\ufffd   3\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
