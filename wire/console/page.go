package console

import (
	"bytes"
	"html/template"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/troupe-mq/troupe/wire"
)

// maxRows bounds a page: whoever has more topics or partitions filters, or takes the command line.
const maxRows = 1000

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"count":  count,
	"leader": leaderName,
	"ids":    idList,
}).ParseFS(assets, "assets/*.html"))

// frame is what every page shows around its own part.
type frame struct {
	Title     string
	Version   string
	ClusterID string
	Broker    wire.BrokerID
	NotReady  string // the reason, or ""
}

// overviewPage lists brokers and topics.
type overviewPage struct {
	frame
	Controller wire.BrokerID
	Brokers    []wire.Broker
	Filter     string
	Topics     []topicRow
	Matching   int // topics whose name contains Filter; Topics shows the first maxRows
	All        int
}

// topicRow sums up a topic.
type topicRow struct {
	wire.Topic
	Leaderless      int
	UnderReplicated int
	Records         int64 // between log start and high watermark, of the partitions on this broker
}

// topicPage lists the partitions of a topic.
type topicPage struct {
	frame
	Topic topicRow
	Rows  []partitionRow // the first maxRows
}

// partitionRow is a partition, with its offsets if this broker has a replica of it.
type partitionRow struct {
	Number int32
	wire.Partition
	Offsets
	Local bool
}

// overview shows the cluster. The answer is built before the first byte goes out, so that a page
// is whole or an error.
func (c *Console) overview(w http.ResponseWriter, r *http.Request) {
	page := overviewPage{frame: c.frame("Troupe"), Controller: wire.NoBroker}
	page.Filter = r.URL.Query().Get("filter")
	if view := c.source.View(); view != nil {
		page.Controller, page.Brokers = view.Controller(), view.Brokers()
		names := view.TopicNames()
		page.All = len(names)
		for _, name := range names {
			topic, ok := view.Topic(name)
			if !ok || !strings.Contains(name, page.Filter) {
				continue
			}
			page.Matching++
			if page.Matching <= maxRows {
				page.Topics = append(page.Topics, c.topicRow(view, topic))
			}
		}
	}
	c.render(w, http.StatusOK, "overview.html", page)
}

func (c *Console) topic(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	page := topicPage{frame: c.frame(name + " · Troupe")}
	view := c.source.View()
	if view == nil {
		c.render(w, http.StatusServiceUnavailable, "missing.html", page)
		return
	}
	topic, ok := view.Topic(name)
	if !ok {
		page.Topic.Name = name
		c.render(w, http.StatusNotFound, "missing.html", page)
		return
	}
	page.Topic = c.topicRow(view, topic)
	for number := range min(topic.Partitions, maxRows) {
		row := partitionRow{Number: number}
		row.Partition, _ = view.Partition(topic.ID, number)
		row.Offsets, row.Local = c.source.Offsets(topic.ID, number)
		page.Rows = append(page.Rows, row)
	}
	c.render(w, http.StatusOK, "topic.html", page)
}

func (c *Console) topicRow(view wire.View, topic wire.Topic) topicRow {
	row := topicRow{Topic: topic}
	for number := range topic.Partitions {
		partition, ok := view.Partition(topic.ID, number)
		if !ok || partition.Leader == wire.NoBroker {
			row.Leaderless++
		}
		if len(partition.ISR) < len(partition.Replicas) {
			row.UnderReplicated++
		}
		if offsets, ok := c.source.Offsets(topic.ID, number); ok {
			row.Records += int64(offsets.HighWatermark - offsets.LogStart)
		}
	}
	return row
}

func (c *Console) frame(title string) frame {
	f := frame{Title: title, Version: c.version, Broker: c.source.BrokerID()}
	if err := c.source.Ready(); err != nil {
		f.NotReady = err.Error()
	}
	if view := c.source.View(); view != nil {
		f.ClusterID = view.ClusterID()
	}
	return f
}

func (c *Console) render(w http.ResponseWriter, status int, name string, page any) {
	var body bytes.Buffer
	if err := pages.ExecuteTemplate(&body, name, page); err != nil {
		c.log.Error("console page could not be made", "page", name, "err", err)
		http.Error(w, "this page could not be made; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // a client that has gone needs no answer
}

// count writes a whole number of any type as people read it: 1234567 is 1 234 567, with spaces that do not break.
func count(n reflect.Value) string {
	digits := strconv.FormatInt(n.Int(), 10)
	var out strings.Builder
	for i, digit := range digits {
		if left := len(digits) - i; i > 0 && left%3 == 0 && digits[i-1] != '-' {
			out.WriteRune('\u202f')
		}
		out.WriteRune(digit)
	}
	return out.String()
}

func leaderName(id wire.BrokerID) string {
	if id == wire.NoBroker {
		return "none"
	}
	return strconv.Itoa(int(id))
}

func idList(ids []wire.BrokerID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.Itoa(int(id))
	}
	return strings.Join(texts, ", ")
}
