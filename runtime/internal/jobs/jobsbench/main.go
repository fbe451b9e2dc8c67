// Command jobsbench measures the store's workers beside River used bare, at its
// best setting, and asynq on Redis, all in the same run, on a PostgreSQL and a
// Redis that it starts: how many jobs a second are worked and inserted, and how
// long one waits that is offered at a fixed rate, alone and before a million
// that wait. Each does its jobs with 50 slots, and a job does nothing. The last
// line is one JSON object. It is a module of its own, so that the store's does
// not name the peers.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	slots     = 50
	inserters = 16
	rounds    = 3
	// offered is the rate at which latency is measured, in jobs a second.
	offered = 200
)

func main() {
	batch := flag.Int("jobs", 30_000, "`JOBS` that are worked in each round")
	waiting := flag.Int("waiting", 1_000_000, "`JOBS` that wait in the least urgent queue")
	seconds := flag.Float64("seconds", 5, "how long inserting and offering take each, in `SECONDS`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *batch, *waiting, time.Duration(*seconds*float64(time.Second))); err != nil {
		fmt.Fprintln(os.Stderr, "jobsbench:", err)
		os.Exit(1)
	}
}

// subject is a queue with its workers.
type subject interface {
	name() string
	// fill puts n jobs into a queue by the fastest way there is.
	fill(ctx context.Context, queue string, n int) error
	// add inserts one job for good.
	add(ctx context.Context, queue string) error
	// work has jobs worked until stop is called; each calls the tally.
	work(ctx context.Context, t *tally, queues ...string) (stop func(), err error)
	// clear forgets all jobs.
	clear(ctx context.Context) error
}

// The queues.
const (
	urgent  = "high"
	patient = "low"
)

// tally hears of each job that begins.
type tally struct {
	mu        sync.Mutex
	begun     map[string]int
	latencies []time.Duration
	first     time.Time
	last      time.Time
	enough    int
	done      chan struct{}
}

func newTally(enough int) *tally {
	return &tally{begun: map[string]int{}, enough: enough, done: make(chan struct{})}
}

// job is told when a job begins: of which queue, and when it was added, zero
// for one that was filled in.
func (t *tally) job(queue string, added int64) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.begun[queue]++; t.first.IsZero() {
		t.first = now
	}
	t.last = now
	if added > 0 {
		t.latencies = append(t.latencies, now.Sub(time.Unix(0, added)))
	}
	if t.enough--; t.enough == 0 {
		close(t.done)
	}
}

func (t *tally) wait(ctx context.Context) error {
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(3 * time.Minute):
		return errors.New("three minutes were not enough")
	}
}

// rate is how many jobs began a second.
func (t *tally) rate() float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, begun := range t.begun {
		n += begun
	}
	return float64(n-1) / t.last.Sub(t.first).Seconds()
}

type percentiles struct{ p50, p99 time.Duration }

func (t *tally) percentiles() percentiles {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.Sort(t.latencies)
	n := len(t.latencies)
	if n == 0 {
		return percentiles{}
	}
	return percentiles{t.latencies[n/2], t.latencies[n*99/100]}
}

// figures are what is measured of a subject.
type figures struct {
	worked, inserted, flood float64
	alone, before, flooded  percentiles
	// heap is how much more memory the process uses with the jobs that wait.
	heap int64
}

func run(ctx context.Context, batch, waiting int, each time.Duration) error {
	servers, err := startServers(ctx)
	if err != nil {
		return err
	}
	defer servers.stop()
	subjects, err := servers.subjects(ctx)
	if err != nil {
		return err
	}
	all := map[string]*figures{}
	worked := map[string][]float64{}
	for _, s := range subjects {
		all[s.name()] = &figures{}
	}
	for range rounds {
		for _, s := range subjects {
			rate, err := work(ctx, s, batch)
			if err != nil {
				return fmt.Errorf("%s: working: %w", s.name(), err)
			}
			fmt.Fprintf(os.Stderr, "%-14s worked %8.0f/s\n", s.name(), rate)
			worked[s.name()] = append(worked[s.name()], rate)
		}
	}
	for _, s := range subjects {
		f := all[s.name()]
		slices.Sort(worked[s.name()])
		f.worked = worked[s.name()][rounds/2]
		if err := f.measure(ctx, s, batch, waiting, each); err != nil {
			return fmt.Errorf("%s: %w", s.name(), err)
		}
	}
	return report(subjects, all, waiting)
}

// work measures how fast jobs are worked that are there.
func work(ctx context.Context, s subject, n int) (float64, error) {
	if err := errors.Join(s.clear(ctx), s.fill(ctx, urgent, n)); err != nil {
		return 0, err
	}
	t := newTally(n)
	stop, err := s.work(ctx, t, urgent)
	if err != nil {
		return 0, err
	}
	defer stop()
	if err := t.wait(ctx); err != nil {
		return 0, err
	}
	return t.rate(), nil
}

func (f *figures) measure(ctx context.Context, s subject, batch, waiting int, each time.Duration) (err error) {
	if err := s.clear(ctx); err != nil {
		return err
	}
	if f.inserted, err = insert(ctx, s, each); err != nil {
		return fmt.Errorf("inserting: %w", err)
	}
	if err := s.clear(ctx); err != nil {
		return err
	}
	if f.alone, _, err = offer(ctx, s, each, urgent); err != nil {
		return fmt.Errorf("offering: %w", err)
	}
	empty := heap()
	if err := s.fill(ctx, patient, waiting); err != nil {
		return fmt.Errorf("filling: %w", err)
	}
	if f.before, _, err = offer(ctx, s, each, urgent); err != nil {
		return fmt.Errorf("offering before those that wait: %w", err)
	}
	f.heap = heap() - empty
	if f.flooded, f.flood, err = offer(ctx, s, each, urgent, patient); err != nil {
		return fmt.Errorf("offering in a flood: %w", err)
	}
	fmt.Fprintf(os.Stderr, "%-14s measured\n", s.name())
	return s.clear(ctx)
}

// insert measures how fast jobs are inserted one by one, by many at once.
func insert(ctx context.Context, s subject, each time.Duration) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	counts, errs := make([]int, inserters), make([]error, inserters)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range inserters {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := s.add(ctx, urgent); err == nil {
					counts[i]++
				} else if ctx.Err() == nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / time.Since(start).Seconds(), errors.Join(errs...)
}

// offer adds urgent jobs at a fixed rate while the queues are worked.
func offer(ctx context.Context, s subject, each time.Duration, queues ...string) (percentiles, float64, error) {
	n := int(each.Seconds() * offered)
	t := newTally(1 << 40)
	stop, err := s.work(ctx, t, queues...)
	if err != nil {
		return percentiles{}, 0, err
	}
	defer stop()
	tick := time.NewTicker(time.Second / offered)
	defer tick.Stop()
	// Whatever a start takes is over when the first has begun.
	if err := s.add(ctx, urgent); err != nil {
		return percentiles{}, 0, err
	}
	for deadline := time.Now().Add(time.Minute); t.count(urgent) == 0; <-tick.C {
		if time.Now().After(deadline) {
			return percentiles{}, 0, errors.New("the first job did not begin within a minute")
		}
	}
	t.forget()
	failed := make(chan error, n)
	var wg sync.WaitGroup
	start := time.Now()
	for range n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return percentiles{}, 0, ctx.Err()
		}
		wg.Go(func() { failed <- s.add(ctx, urgent) })
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return percentiles{}, 0, err
		}
	}
	for deadline := time.Now().Add(time.Minute); t.count(urgent) < n; {
		if time.Now().After(deadline) {
			return percentiles{}, 0, fmt.Errorf("of %d jobs %d began within a minute", n, t.count(urgent))
		}
		<-tick.C
	}
	return t.percentiles(), float64(t.count(patient)) / time.Since(start).Seconds(), nil
}

func (t *tally) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun, t.latencies = map[string]int{}, nil
}

func (t *tally) count(queue string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.begun[queue]
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func report(subjects []subject, all map[string]*figures, waiting int) error {
	fmt.Printf("\n%d slots, %d inserters, %d jobs/s offered, %d waiting, %d processors; worked: medians of %d rounds\n\n", slots, inserters, offered, waiting, runtime.NumCPU(), rounds)
	fmt.Printf("%-14s %10s %12s %22s %22s %22s %10s %14s\n", "", "worked/s", "inserted/s", "start alone p50/p99", "behind a million", "in a flood", "flood/s", "memory a job")
	for _, s := range subjects {
		f := all[s.name()]
		fmt.Printf("%-14s %10.0f %12.0f %22s %22s %22s %10.0f %12.2f B\n", s.name(), f.worked, f.inserted, f.alone, f.before, f.flooded, f.flood, float64(f.heap)/float64(max(waiting, 1)))
	}
	ours, river, asynq := all["gocart"], all["river"], all["asynq"]
	line, err := json.Marshal(map[string]any{
		"name": "jobs", "machine": fmt.Sprintf("%d processors, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()),
		"ratios": map[string]float64{
			"work_vs_river": round(ours.worked / river.worked), "work_vs_asynq": round(ours.worked / asynq.worked),
			"insert_vs_river": round(ours.inserted / river.inserted), "jobs_per_s": round(ours.worked),
		},
		"latencyMs": map[string]any{
			"alone": ours.alone.ms(), "behindAMillion": ours.before.ms(), "inAFlood": ours.flooded.ms(),
		},
	})
	if err != nil {
		return err
	}
	fmt.Printf("\n%s\n", line)
	return nil
}

func (p percentiles) ms() map[string]float64 {
	return map[string]float64{"p50": round(float64(p.p50.Microseconds()) / 1000), "p99": round(float64(p.p99.Microseconds()) / 1000)}
}

func (p percentiles) String() string {
	m := p.ms()
	return fmt.Sprintf("%.1f / %.1f ms", m["p50"], m["p99"])
}

func round(f float64) float64 { return float64(int64(f*100+0.5)) / 100 }
