package console

import (
	"bytes"
	"html/template"
	"net/http"
	"reflect"
	"slices"
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
	"size":   size,
	"origin": origin,
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
	Brokers    []brokerRow
	Partitions totals
	Filter     string
	Topics     []topicRow
	Matching   int // topics whose name contains Filter; Topics shows the first maxRows
	All        int
}

// brokerRow is a broker with what it has to do.
type brokerRow struct {
	wire.ClusterBroker
	Voter    bool // for the metadata
	Leads    int  // partitions
	Replicas int
}

// totals sums up the partitions of all topics.
type totals struct{ All, Leaderless, UnderReplicated int }

// topicRow sums up a topic.
type topicRow struct {
	wire.Topic
	Leaderless      int
	UnderReplicated int
	Records         int64 // between log start and high watermark, of the partitions on this broker
	Bytes           int64 // of their logs
}

// topicPage lists what is configured for a topic, and its partitions.
type topicPage struct {
	frame
	Topic   topicRow
	Configs []wire.ConfigEntry // those that are no defaults
	Rows    []partitionRow     // the first maxRows
}

// partitionRow is a partition, with its offsets if this broker has a replica of it that works.
type partitionRow struct {
	Number int32
	wire.Partition
	Offsets
	Local   bool
	Unusual string // in a word, what keeps a replica of this broker from its work
}

// overview shows the cluster. The answer is built before the first byte goes out, so that a page
// is whole or an error.
func (c *Console) overview(w http.ResponseWriter, r *http.Request) {
	page := overviewPage{frame: c.frame("Troupe"), Controller: wire.NoBroker}
	page.Filter = r.URL.Query().Get("filter")
	if view := c.source.View(); view != nil {
		page.Controller = view.Controller()
		page.Brokers, page.Partitions = c.cluster(view)
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

// cluster sums up the brokers and all partitions.
func (c *Console) cluster(view wire.View) ([]brokerRow, totals) {
	described := c.source.Cluster()
	rows := make([]brokerRow, len(described.Brokers))
	places := make(map[wire.BrokerID]*brokerRow, len(rows))
	for i := range described.Brokers {
		rows[i].ClusterBroker = described.Brokers[i]
		places[rows[i].ID] = &rows[i]
	}
	for _, voter := range described.Quorum.Voters {
		if row := places[voter.Broker]; row != nil {
			row.Voter = true
		}
	}
	var sum totals
	for _, name := range view.TopicNames() {
		topic, _ := view.Topic(name)
		for number := range topic.Partitions {
			sum.All++
			p, ok := view.Partition(topic.ID, number)
			if !ok || p.Leader == wire.NoBroker {
				sum.Leaderless++
			}
			if underReplicated(&p) {
				sum.UnderReplicated++
			}
			if row := places[p.Leader]; row != nil {
				row.Leads++
			}
			for _, id := range p.Replicas {
				if row := places[id]; row != nil {
					row.Replicas++
				}
			}
		}
	}
	return rows, sum
}

// underReplicated says that a replica is not in sync, other than one that a reassignment brings in.
func underReplicated(p *wire.Partition) bool { return len(p.ISR) < len(p.Replicas)-len(p.Adding) }

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
	for _, entry := range c.source.TopicConfigs(name) {
		if entry.Source != wire.SourceDefault {
			page.Configs = append(page.Configs, entry)
		}
	}
	for number := range min(topic.Partitions, maxRows) {
		row := partitionRow{Number: number}
		row.Partition, _ = view.Partition(topic.ID, number)
		row.Offsets, row.Local = c.source.Offsets(topic.ID, number)
		row.Unusual = unusual(&row, page.Broker)
		page.Rows = append(page.Rows, row)
	}
	c.render(w, http.StatusOK, "topic.html", page)
}

// unusual says what is wrong with the replica on this broker, if anything is.
func unusual(row *partitionRow, broker wire.BrokerID) string {
	switch {
	case row.Local:
		return ""
	case !slices.Contains(row.Replicas, broker):
		return "not on this broker"
	case row.Leader == wire.NoBroker:
		return "offline"
	default:
		return "not led here"
	}
}

func (c *Console) topicRow(view wire.View, topic wire.Topic) topicRow {
	row := topicRow{Topic: topic}
	for number := range topic.Partitions {
		partition, ok := view.Partition(topic.ID, number)
		if !ok || partition.Leader == wire.NoBroker {
			row.Leaderless++
		}
		if underReplicated(&partition) {
			row.UnderReplicated++
		}
		if offsets, ok := c.source.Offsets(topic.ID, number); ok {
			row.Records += int64(offsets.HighWatermark - offsets.LogStart)
			row.Bytes += offsets.Bytes
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

// size writes a number of bytes in the largest unit that leaves a whole one.
func size(bytes int64) string {
	const units = "KMGTPE"
	if bytes < 1<<10 {
		return strconv.FormatInt(bytes, 10) + "\u00a0B"
	}
	value, unit := float64(bytes)/(1<<10), 0
	for value >= 1<<10 && unit < len(units)-1 {
		value, unit = value/(1<<10), unit+1
	}
	return strconv.FormatFloat(value, 'f', 1, 64) + "\u00a0" + units[unit:unit+1] + "iB"
}

// origin says where a configuration was set.
func origin(source wire.ConfigSource) string {
	switch source {
	case wire.SourceDynamicTopic:
		return "this topic"
	case wire.SourceDynamicBroker:
		return "this broker, while it runs"
	case wire.SourceDynamicDefaultBroker:
		return "all brokers"
	case wire.SourceStaticBroker:
		return "this broker, at its start"
	default:
		return "default"
	}
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
