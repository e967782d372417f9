package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/troupe-mq/troupe/bench/measure"
	"github.com/troupe-mq/troupe/bench/testbed"
)

// startReport is how long a broker needs from the start of its binary to an answered request.
type startReport struct {
	Fresh    measure.Quantiles `json:"fresh"`    // on an empty directory
	Again    measure.Quantiles `json:"again"`    // on the directory of a broker that was stopped
	Resident int64             `json:"resident"` // bytes of memory of the idle broker, median
}

func startCommand() *cobra.Command {
	var at targetFlags
	count := 20
	cmd := &cobra.Command{
		Use:     "start",
		Short:   "Time the start of the binary up to an answered request",
		Example: "  go run ./bench/load start --count 20",
		Args:    cobra.NoArgs,
	}
	at.registerBinary(cmd.Flags())
	cmd.Flags().IntVar(&count, "count", count, "how often")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		r, err := measureStart(cmd.Context(), at, count)
		if err != nil {
			return err
		}
		return report(cmd, r, func(w io.Writer) {
			fmt.Fprintln(w, "start to answered request\tp50\tlargest\ttimes")
			fmt.Fprintf(w, "on an empty directory\t%s\t%s\t%d\n", short(r.Fresh.P50), short(r.Fresh.Max), r.Fresh.N)
			fmt.Fprintf(w, "after a clean stop\t%s\t%s\t%d\n", short(r.Again.P50), short(r.Again.Max), r.Again.N)
			fmt.Fprintf(w, "resident memory, idle\t%.1f MiB\n", float64(r.Resident)/(1<<20))
		})
	}
	return cmd
}

func measureStart(ctx context.Context, at targetFlags, count int) (*startReport, error) {
	work, err := os.MkdirTemp("", "load-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work) //nolint:errcheck // a temporary directory
	binary, err := at.troupe(ctx, work)
	if err != nil {
		return nil, err
	}
	var fresh, again []time.Duration
	var resident []float64
	for i := range count {
		data := filepath.Join(work, fmt.Sprint("data-", i))
		for _, took := range []*[]time.Duration{&fresh, &again} {
			answered, memory, err := startOnce(ctx, binary, data)
			if err != nil {
				return nil, err
			}
			*took = append(*took, answered)
			resident = append(resident, float64(memory))
		}
		if err := os.RemoveAll(data); err != nil {
			return nil, err
		}
	}
	return &startReport{
		Fresh: measure.NewQuantiles(fresh), Again: measure.NewQuantiles(again),
		Resident: int64(measure.NewSpread(resident).Median),
	}, nil
}

func startOnce(ctx context.Context, binary, data string) (answered time.Duration, resident int64, err error) {
	p, err := testbed.StartProcess(ctx, binary, testbed.BrokerArgs(data)...)
	if err != nil {
		return 0, 0, err
	}
	if err := askOnce(ctx, p.Kafka()); err != nil {
		p.Kill()
		return 0, 0, err
	}
	answered = time.Since(p.Begun())
	resident, err = measure.ResidentBytes(p.PID())
	if err != nil {
		p.Kill()
		return 0, 0, err
	}
	return answered, resident, p.Stop()
}

// askOnce sends a Metadata request for all topics, by hand, since a client library's own start
// is not the broker's, and waits for the whole answer.
func askOnce(ctx context.Context, addr string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the answer has been read
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	const metadataKey, version, correlation = 3, 1, 7
	request := binary.BigEndian.AppendUint16([]byte{0, 0, 0, 14}, metadataKey)
	request = binary.BigEndian.AppendUint16(request, version)
	request = binary.BigEndian.AppendUint32(request, correlation)
	request = binary.BigEndian.AppendUint16(request, 0xffff)     // no client id
	request = binary.BigEndian.AppendUint32(request, 0xffffffff) // all topics
	if _, err := c.Write(request); err != nil {
		return err
	}
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return fmt.Errorf("no answer to a metadata request: %w", err)
	}
	if got := binary.BigEndian.Uint32(head[4:]); got != correlation {
		return fmt.Errorf("the answer is for request %d, not %d", got, correlation)
	}
	_, err = io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[:]))-4)
	return err
}
