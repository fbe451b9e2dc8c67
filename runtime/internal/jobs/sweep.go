package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"gitee.com/captainjez/gocart/runtime/config"
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

// Expiry is the job that gives back what was held for a while.
type Expiry struct{}

// Kind is the job's name in the queue.
func (Expiry) Kind() string { return "expiry" }

// InsertOpts make one job an interval, however many workers ask for it.
func (Expiry) InsertOpts() river.InsertOpts { return Once(expiryInterval) }

// Retention is the job that forgets what the store need not keep.
type Retention struct{}

// Kind is the job's name in the queue.
func (Retention) Kind() string { return "retention" }

// InsertOpts make one job an interval, however many workers ask for it.
func (Retention) InsertOpts() river.InsertOpts { return Once(retentionInterval) }

// Once are the options of upkeep that the store itself asks for: in the least
// urgent queue, and one job an interval, whoever asks for it.
func Once(interval time.Duration) river.InsertOpts {
	return river.InsertOpts{Queue: config.QueueLow, MaxAttempts: 5, UniqueOpts: river.UniqueOpts{ByPeriod: interval}}
}

// Sweeps are the kinds that do sweeps.
func Sweeps(expiry, retention []Sweep, queue *Queue, log *slog.Logger) Kinds {
	return Kinds{
		Of(Kind{About: "Gives back stock that was held for a while, and cancels orders that were not paid in time.", Every: expiryInterval},
			sweeping[Expiry](expiry, log, queue.swept)),
		Of(Kind{About: "Forgets what the store need not keep: old keys, sessions, tokens and carts.", Every: retentionInterval},
			sweeping[Retention](retention, log, queue.swept)),
	}
}

// sweeping does every sweep, also after one that fails.
func sweeping[A Args](sweeps []Sweep, log *slog.Logger, swept *prometheus.CounterVec) func(context.Context, *river.Job[A]) error {
	return func(ctx context.Context, _ *river.Job[A]) error {
		var failed error
		for _, s := range sweeps {
			n, err := s.Do(ctx)
			swept.WithLabelValues(s.Name).Add(float64(n))
			if n > 0 {
				log.InfoContext(ctx, "swept", "sweep", s.Name, "count", n)
			}
			if err != nil && failed == nil {
				failed = fmt.Errorf("%s: %w", s.Name, err)
			}
		}
		return failed
	}
}
