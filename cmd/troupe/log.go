package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

func newLog() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Look into segment files and check them, without a broker",
		Long: `Log has the commands that read the files of a log directory: segments, indexes, snapshots and
checkpoints. They change nothing, and may run beside a broker.`,
		Example: `  troupe log dump troupe-data/access-log-0 --records
  troupe log verify troupe-data`,
		GroupID: groupInspect,
	}
	cmd.AddCommand(newLogDump(), newLogVerify())
	return cmd
}

const logPathHelp = `A path is a file, the directory of a partition, or a log directory with many of them.`

func newLogDump() *cobra.Command {
	var records, asJSON bool
	cmd := &cobra.Command{
		Use:   "dump PATH...",
		Short: "Show what is in the files of a log",
		Long: `Dump shows every batch of segments, and every entry of indexes, snapshots and checkpoints.
` + logPathHelp,
		Example: `  troupe log dump troupe-data/access-log-0
  troupe log dump troupe-data/access-log-0/00000000000000000000.log --records
  troupe log dump troupe-data/access-log-0 --records --json | jq 'select(.records) | .records[].value'`,
		Args: oneOrMore("PATH"),
	}
	cmd.Flags().BoolVar(&records, "records", false, "open the batches and show their records")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write a JSON object a line instead of text")
	cmd.RunE = func(cmd *cobra.Command, paths []string) error {
		out := bufio.NewWriterSize(cmd.OutOrStdout(), outputBytes)
		show := dumpText(out)
		if asJSON {
			show = dumpJSON(out)
		}
		damaged := 0
		unread := forEach(cmd.Context(), paths, func(path string) error {
			shown := false
			err := storage.Dump(storage.OSFS{}, path, storage.DumpOptions{Records: records}, func(d storage.Dumped) error {
				shown = true
				if d.Damage != nil {
					damaged++
				}
				if err := cmd.Context().Err(); err != nil {
					return errors.New("interrupted")
				}
				return show(d)
			})
			if err == nil && !shown {
				_, err = surveyOf(path)
			}
			if err != nil {
				return fmt.Errorf("dump %s: %w", path, err)
			}
			return nil
		})
		if err := out.Flush(); err != nil { // which whoever wrote has met before
			return err
		}
		if damaged > 0 {
			unread = errors.Join(unread, fmt.Errorf("%s damaged; \"troupe log verify\" looks behind the damage", plural(int64(damaged), "file")))
		}
		return unread
	}
	return cmd
}

// dumpText writes the name of each file above what is in it.
func dumpText(out io.Writer) func(storage.Dumped) error {
	file := ""
	return func(d storage.Dumped) error {
		if d.File != file {
			file = d.File
			if _, err := fmt.Fprintf(out, "%s\n", file); err != nil {
				return err
			}
		}
		records := d.Records
		d.Records = nil
		if _, err := fmt.Fprintf(out, "%s\n", d); err != nil {
			return err
		}
		for i := range records {
			if _, err := fmt.Fprintf(out, "%s\n", dumpedRecord(&records[i])); err != nil {
				return err
			}
		}
		return nil
	}
}

// dumpedRecord returns a line that tells nothing from what is empty.
func dumpedRecord(r *record.Record) string {
	var line strings.Builder
	fmt.Fprintf(&line, "| offset: %d timestamp: %d key: %s value: %s", r.Offset, r.Timestamp, quoted(r.Key), quoted(r.Value))
	for i, header := range r.Headers {
		if i == 0 {
			line.WriteString(" headers:")
		}
		fmt.Fprintf(&line, " %q=%s", header.Key, quoted(header.Value))
	}
	return line.String()
}

func quoted(b []byte) string {
	if b == nil {
		return "null"
	}
	return strconv.Quote(string(b))
}

// dumpedJSON is one thing found in a file, as --json shows it: what it is not, is left out.
type dumpedJSON struct {
	File     string              `json:"file"`
	Position int64               `json:"position"`
	Batch    *batchJSON          `json:"batch,omitempty"`
	Records  []dumpedRecordJSON  `json:"records,omitempty"`
	Index    *dumpedIndexJSON    `json:"index,omitempty"`
	Producer *dumpedProducerJSON `json:"producer,omitempty"`
	Text     string              `json:"text,omitempty"`
	Damage   string              `json:"damage,omitempty"`
}

type batchJSON struct {
	BaseOffset    int64  `json:"base_offset"`
	LastOffset    int64  `json:"last_offset"`
	Count         int32  `json:"count"`
	LeaderEpoch   int32  `json:"leader_epoch"`
	MaxTimestamp  int64  `json:"max_timestamp_ms"`
	Compression   string `json:"compression"`
	Producer      int64  `json:"producer_id"`
	ProducerEpoch int16  `json:"producer_epoch"`
	BaseSequence  int32  `json:"base_sequence"`
	Transactional bool   `json:"transactional"`
	Control       bool   `json:"control"`
	Size          int    `json:"size"`
	CRC           uint32 `json:"crc"`
}

type dumpedRecordJSON struct {
	Offset    int64        `json:"offset"`
	Timestamp int64        `json:"timestamp_ms"`
	Key       any          `json:"key"`
	Value     any          `json:"value"`
	Headers   []headerJSON `json:"headers"`
}

// dumpedIndexJSON is an entry of an offset index, or with a timestamp of a time index.
type dumpedIndexJSON struct {
	Offset    int64  `json:"offset"`
	Position  *int64 `json:"position,omitempty"`
	Timestamp *int64 `json:"timestamp_ms,omitempty"`
}

type dumpedProducerJSON struct {
	Producer     int64 `json:"producer_id"`
	Epoch        int16 `json:"producer_epoch"`
	LastSequence int32 `json:"last_sequence"`
	LastOffset   int64 `json:"last_offset"`
	Timestamp    int64 `json:"timestamp_ms"`
}

func dumpJSON(out io.Writer) func(storage.Dumped) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return func(d storage.Dumped) error { return encoder.Encode(newDumpedJSON(d)) }
}

func newDumpedJSON(d storage.Dumped) dumpedJSON {
	shown := dumpedJSON{File: d.File, Position: d.Position, Text: d.Text}
	if d.Damage != nil {
		shown.Damage = d.Damage.Error()
	}
	if h := d.Batch; h != nil {
		shown.Batch = &batchJSON{
			BaseOffset: int64(h.BaseOffset), LastOffset: int64(h.LastOffset()), Count: h.Count, LeaderEpoch: int32(h.LeaderEpoch),
			MaxTimestamp: h.MaxTimestamp, Compression: h.Codec().String(), Producer: int64(h.Producer),
			ProducerEpoch: int16(h.ProducerEpoch), BaseSequence: int32(h.BaseSequence), Transactional: h.Transactional(),
			Control: h.Control(), Size: h.Size(), CRC: h.CRC,
		}
	}
	for _, r := range d.Records {
		record := dumpedRecordJSON{
			Offset: int64(r.Offset), Timestamp: r.Timestamp, Key: textJSON(r.Key), Value: textJSON(r.Value),
			Headers: make([]headerJSON, len(r.Headers)),
		}
		for i, header := range r.Headers {
			record.Headers[i] = headerJSON{Key: textJSON([]byte(header.Key)), Value: textJSON(header.Value)}
		}
		shown.Records = append(shown.Records, record)
	}
	if d.Index != nil {
		shown.Index = &dumpedIndexJSON{Offset: int64(d.Index.Offset), Position: &d.Index.Position}
	}
	if d.Time != nil {
		shown.Index = &dumpedIndexJSON{Offset: int64(d.Time.Offset), Timestamp: &d.Time.Timestamp}
	}
	if p := d.Producer; p != nil {
		shown.Producer = &dumpedProducerJSON{
			Producer: int64(p.Producer), Epoch: int16(p.Epoch), LastSequence: int32(p.LastSequence),
			LastOffset: int64(p.LastOffset), Timestamp: p.Timestamp,
		}
	}
	return shown
}

// damageJSON is something wrong in a file, as log verify --json shows it.
type damageJSON struct {
	File     string `json:"file"`
	Position int64  `json:"position"`
	Offset   *int64 `json:"offset"` // null where no offset is affected
	What     string `json:"what"`
	Tail     bool   `json:"tail"` // a write that was not finished: recovery cuts it off
}

func newLogVerify() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify PATH...",
		Short: "Check the files of a log; exit 1 if there is damage",
		Long: `Verify checks every batch with its checksum, the order of batches and segments, and whether indexes,
snapshots and checkpoints agree with them. It names the file and the offset of all damage.
` + logPathHelp + `

An unfinished write at the very end counts as damage, too, although a broker mends that when it
starts: beside a running broker it may only be the write of this moment. The log of the cluster's
metadata is not checked: the broker does that when it starts.`,
		Example: `  troupe log verify troupe-data
  troupe log verify troupe-data/access-log-0 --json`,
		Args: oneOrMore("PATH"),
	}
	jsonFlag(cmd, &asJSON)
	cmd.RunE = func(cmd *cobra.Command, paths []string) error {
		found := []damageJSON{}
		unread := forEach(cmd.Context(), paths, func(path string) error {
			there, err := surveyOf(path)
			if err != nil {
				return fmt.Errorf("verify %s: %w", path, err)
			}
			if _, err := io.WriteString(cmd.ErrOrStderr(), there.notChecked()); err != nil {
				return err
			}
			damages, err := storage.Verify(storage.OSFS{}, path)
			if err != nil {
				return fmt.Errorf("verify %s: %w", path, err)
			}
			for _, d := range damages {
				found = append(found, newDamageJSON(d))
			}
			if asJSON {
				return nil
			}
			return printDamages(cmd.OutOrStdout(), path, &there, damages)
		})
		if asJSON {
			if err := writeJSON(cmd.OutOrStdout(), found); err != nil {
				return err
			}
		}
		if len(found) > 0 {
			unread = errors.Join(unread, fmt.Errorf("%s; keep a copy of the files before anything writes to them", plural(int64(len(found)), "damaged place")))
		}
		return unread
	}
	return cmd
}

func printDamages(out io.Writer, path string, there *survey, damages []storage.Damage) error {
	if len(damages) == 0 {
		_, err := fmt.Fprintf(out, "%s: %s: no damage\n", path, there)
		return err
	}
	for _, d := range damages {
		note := ""
		if d.Tail {
			note = " (the end of an unfinished write)"
		}
		if _, err := fmt.Fprintf(out, "%s%s\n", d, note); err != nil {
			return err
		}
	}
	return nil
}

func newDamageJSON(d storage.Damage) damageJSON {
	shown := damageJSON{File: d.File, Position: d.Position, What: d.What, Tail: d.Tail}
	if d.Offset != wire.NoOffset {
		offset := int64(d.Offset)
		shown.Offset = &offset
	}
	return shown
}
