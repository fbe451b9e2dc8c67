package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
)

const (
	// expiryInterval is how long what was held for a while may be held longer.
	expiryInterval = 30 * time.Second
	// retentionInterval is how often what has lapsed is forgotten.
	retentionInterval = time.Hour
)

// Sweep looks after things that lapse by themselves. Twice does no harm.
type Sweep struct {
	// Name says of what, for the log and the metric.
	Name string
	// Do sees to all that have lapsed, and returns how many.
	Do func(context.Context) (int64, error)
}

// Sweeps are what a store's upkeep consists of.
type Sweeps struct {
	// Expiry gives back what was held for a while, every 30 s.
	Expiry []Sweep
	// Retention forgets what the store need not keep, every hour.
	Retention []Sweep
}

// Expiry is the job that gives back what was held for a while.
type Expiry struct{}

// Kind is the job's name in the queue.
func (Expiry) Kind() string { return "expiry" }

// InsertOpts make one job an interval, however many workers ask for it.
func (Expiry) InsertOpts() river.InsertOpts { return once(expiryInterval) }

// Retention is the job that forgets what the store need not keep.
type Retention struct{}

// Kind is the job's name in the queue.
func (Retention) Kind() string { return "retention" }

// InsertOpts make one job an interval, however many workers ask for it.
func (Retention) InsertOpts() river.InsertOpts { return once(retentionInterval) }

func once(interval time.Duration) river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 5, UniqueOpts: river.UniqueOpts{ByPeriod: interval}}
}

func periodic(args river.JobArgs, every time.Duration, queue string) *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(every),
		func() (river.JobArgs, *river.InsertOpts) { return args, &river.InsertOpts{Queue: queue} },
		&river.PeriodicJobOpts{RunOnStart: true})
}

// sweeper works one of the jobs.
type sweeper[Args river.JobArgs] struct {
	river.WorkerDefaults[Args]
	sweeps []Sweep
	log    *slog.Logger
	swept  *prometheus.CounterVec
}

func newSwept(r prometheus.Registerer) *prometheus.CounterVec {
	swept := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocart_swept_total", Help: "Things that lapsed and were seen to by this process, by what they are.",
	}, []string{"sweep"})
	r.MustRegister(swept)
	return swept
}

// Work does every sweep, also after one that fails.
func (w *sweeper[Args]) Work(ctx context.Context, _ *river.Job[Args]) error {
	var failed error
	for _, s := range w.sweeps {
		n, err := s.Do(ctx)
		w.swept.WithLabelValues(s.Name).Add(float64(n))
		if n > 0 {
			w.log.InfoContext(ctx, "swept", "sweep", s.Name, "count", n)
		}
		if err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return failed
}
