package main

import "fmt"

// rows are the loads of the side-by-side scenario with what is asked of Troupe in each.
func rows() []row {
	var all []row
	for _, durable := range []bool{false, true} {
		for _, size := range []int{100, 1000} {
			for _, partitions := range []int32{1, 4, 16} {
				all = append(all, throughput(size, partitions, durable))
			}
		}
	}
	return append(all, smallBatches(), offered(false), offered(true), native(100), native(1000))
}

// throughput is as many records as go, in large batches.
func throughput(size int, partitions int32, durable bool) row {
	w := defaultWorkload()
	w.Size, w.Partitions, w.Records = size, partitions, recordsOf(size)
	r := row{
		name: fmt.Sprintf("%s x %d, %s", bytesWord(size), partitions, durabilityWord(durable)),
		load: w, durable: durable,
	}
	if durable {
		r.figures = []figure{produceRate(atLeast(0.8, 0.95)), produceCPU(goal{})}
		return r
	}
	cpu := goal{}
	if size == 1000 {
		cpu = atMost(1.6, 1.25)
	}
	r.figures = []figure{
		produceRate(atLeast(0.8, 0.92)), produceCPU(cpu),
		{"consume records/s", "consume", (*result).perSecond, atLeast(0.85, 0.95)},
		{"consume broker us/MB", "consume", (*result).cpuPerMB, atMost(1.3, 1.1)},
	}
	return r
}

// recordsOf keeps a run long enough to measure and its data below 1 GB.
func recordsOf(size int) int64 {
	if size <= 100 {
		return 2_500_000
	}
	return 800_000
}

func produceRate(g goal) figure {
	return figure{"produce records/s", "produce", (*result).perSecond, g}
}

func produceCPU(g goal) figure {
	return figure{"produce broker us/MB", "produce", (*result).cpuPerMB, g}
}

// smallBatches keeps the broker busy with requests, not with bytes.
func smallBatches() row {
	w := defaultWorkload()
	w.Size, w.Partitions, w.Records, w.Clients, w.BatchBytes = 1000, 16, recordsOf(1000), 4, 16<<10
	return row{
		name: "1 KB x 16 in 16 KB batches, page cache",
		load: w,
		figures: []figure{
			{"produce broker us/batch", "produce", (*result).cpuPerBatch, atMost(2, 1.4)},
			produceRate(goal{}),
		},
	}
}

// offered is latency at 2,000 records a second. With group commit the floor's consumer sees a
// record before its sync, so only the acknowledgement is compared there.
func offered(durable bool) row {
	w := defaultWorkload()
	w.Size, w.Linger, w.Rate, w.Duration = 1000, 0, 2000, 5*1e9
	r := row{
		name: "2,000/s of 1 KB, " + durabilityWord(durable), load: w, durable: durable, latency: true,
		figures: []figure{
			{"acknowledged p50 us", "latency", func(r *result) float64 { return micros(r.Ack.P50) }, goal{}},
			{"acknowledged p99 us", "latency", func(r *result) float64 { return micros(r.Ack.P99) }, goal{}},
		},
	}
	if !durable {
		r.figures = append(r.figures,
			figure{"end to end p50 us", "latency", func(r *result) float64 { return micros(r.EndToEnd.P50) }, atMost(1.3, 1.15)},
			figure{"end to end p99 us", "latency", func(r *result) float64 { return micros(r.EndToEnd.P99) }, atMost(1.5, 0)})
	}
	return r
}

// native compares Troupe's own protocol, by wire/client, with its Kafka listener, by franz-go:
// the broker's CPU, since the clients are different programs.
func native(size int) row {
	w := defaultWorkload()
	w.Size, w.Records = size, recordsOf(size)
	return row{
		name: fmt.Sprintf("native : Kafka listener, %s x 1", bytesWord(size)), load: w, native: true,
		figures: []figure{
			produceCPU(atMost(1.05, 0)),
			{"consume broker us/MB", "consume", (*result).cpuPerMB, atMost(1.05, 0)},
		},
	}
}
