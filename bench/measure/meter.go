package measure

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A run during which others used more than MaxOthers, or the hypervisor withheld more than
// MaxSteal, says little. Both are percent of all cores.
const (
	MaxOthers = 10
	MaxSteal  = 5
)

// Cost is what a run took from start to end.
type Cost struct {
	Elapsed time.Duration `json:"elapsed_ns"`
	Client  time.Duration `json:"client_cpu_ns"` // of this process
	Broker  time.Duration `json:"broker_cpu_ns"` // of the measured processes together
	Others  float64       `json:"others_percent"`
	Steal   float64       `json:"steal_percent"`
}

// Disturbed says that the run is not to be believed.
func (c Cost) Disturbed() bool { return c.Others > MaxOthers || c.Steal > MaxSteal }

// Meter measures from Start to Stop.
type Meter struct {
	brokers []int
	begun   time.Time
	client  time.Duration
	broker  time.Duration
	machine machineCPU
}

// Start begins to measure; brokers are the process ids whose CPU counts as the broker's.
func Start(brokers ...int) (*Meter, error) {
	m := &Meter{brokers: brokers}
	var err error
	if m.broker, err = cpuOf(brokers); err != nil {
		return nil, err
	}
	if m.machine, err = readMachineCPU(); err != nil {
		return nil, err
	}
	m.client = ownCPU()
	m.begun = time.Now()
	return m, nil
}

// Stop returns the cost since Start.
func (m *Meter) Stop() (Cost, error) {
	c := Cost{Elapsed: time.Since(m.begun), Client: ownCPU() - m.client}
	broker, err := cpuOf(m.brokers)
	if err != nil {
		return c, err
	}
	c.Broker = broker - m.broker
	now, err := readMachineCPU()
	if err != nil {
		return c, err
	}
	all := c.Elapsed * time.Duration(runtime.NumCPU())
	c.Others = percent(now.busy-m.machine.busy-c.Client-c.Broker, all)
	c.Steal = percent(now.steal-m.machine.steal, all)
	return c, nil
}

func percent(part, whole time.Duration) float64 {
	return max(0, 100*float64(part)/float64(max(whole, 1)))
}

func ownCPU() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// cpuOf reads the CPU clocks of other processes, which are exact, where /proc/PID/stat counts in
// steps of 10 ms.
func cpuOf(pids []int) (time.Duration, error) {
	const schedulerClock = 2 // clock_getcpuclockid(3) numbers a process's clock so
	var total time.Duration
	for _, pid := range pids {
		var t unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|schedulerClock), &t); err != nil {
			return 0, fmt.Errorf("cpu clock of process %d: %w", pid, err)
		}
		total += time.Duration(t.Nano())
	}
	return total, nil
}

// machineCPU is what all cores did since the machine started.
type machineCPU struct{ busy, steal time.Duration }

func readMachineCPU() (machineCPU, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machineCPU{}, err
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return parseMachineCPU(string(line))
}

// parseMachineCPU reads the first line of /proc/stat, which counts in 1/100 s:
// cpu user nice system idle iowait irq softirq steal.
func parseMachineCPU(line string) (machineCPU, error) {
	const tick = time.Second / 100
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return machineCPU{}, fmt.Errorf("/proc/stat begins with %q", line)
	}
	var ticks [9]time.Duration
	for i := 1; i < len(ticks); i++ {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return machineCPU{}, fmt.Errorf("/proc/stat: %w", err)
		}
		ticks[i] = time.Duration(n) * tick
	}
	return machineCPU{busy: ticks[1] + ticks[2] + ticks[3] + ticks[6] + ticks[7], steal: ticks[8]}, nil
}

// ResidentBytes is the memory that a process has in RAM now.
func ResidentBytes(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%d/statm holds %q", pid, b)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// OpenFiles is how many descriptors a process has open now.
func OpenFiles(pid int) (int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries), err
}
