package measure

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
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
	Client  time.Duration `json:"client_cpu_ns"`          // of this process
	Broker  time.Duration `json:"broker_cpu_ns"`          // of the measured processes together
	Kernel  float64       `json:"kernel_threads_percent"` // what syncs and write-back cost, in nobody's CPU
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
	kernel  time.Duration
	machine machineCPU
}

// Start begins to measure; brokers are the process ids whose CPU counts as the broker's.
func Start(brokers ...int) (*Meter, error) {
	m := &Meter{brokers: brokers}
	var err error
	if m.broker, err = cpuOf(brokers); err != nil {
		return nil, err
	}
	if m.kernel, err = kernelThreadsCPU(); err != nil {
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
	kernel, err := kernelThreadsCPU()
	if err != nil {
		return c, err
	}
	kernel -= m.kernel
	all := c.Elapsed * time.Duration(runtime.NumCPU())
	c.Kernel = percent(kernel, all)
	c.Others = percent(now.busy-m.machine.busy-c.Client-c.Broker-kernel, all)
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

// tick is the unit of /proc/stat and /proc/PID/stat.
const tick = time.Second / 100

// kernelThreadsCPU is the CPU of all threads of the kernel.
func kernelThreadsCPU() (time.Duration, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // the process has ended meanwhile
		}
		cpu, err := parseKernelThread(string(b))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		total += cpu
	}
	return total, nil
}

// parseKernelThread returns the CPU of a /proc/PID/stat whose parent is kthreadd, and 0 for all
// others: pid (name) state parent ... with the user time and the system time as the 14th and
// 15th field.
func parseKernelThread(stat string) (time.Duration, error) {
	const kthreadd = "2"
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("%d fields after the name in %q", len(fields), stat)
	}
	if fields[1] != kthreadd {
		return 0, nil
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * tick, err
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
