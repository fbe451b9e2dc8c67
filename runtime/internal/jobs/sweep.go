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

// Sweep looks after things that lapse, or are due, by themselves. Twice does no
// harm.
type Sweep struct {
	// Name says of what, for the log and the metric.
	Name string
	// Do sees to all that there are, and returns how many.
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

// Once are the options of upkeep that the store itself asks for: in the queue
// of upkeep, and one job an interval, whoever asks for it.
func Once(interval time.Duration) river.InsertOpts {
	return river.InsertOpts{Queue: upkeep, MaxAttempts: 5, UniqueOpts: river.UniqueOpts{ByPeriod: interval}}
}

// Sweeper makes kinds that do sweeps, and says what they saw to.
type Sweeper struct {
	log   *slog.Logger
	swept *prometheus.CounterVec
}

// NewSweeper makes the one of a process.
func NewSweeper(log *slog.Logger) *Sweeper {
	return &Sweeper{log: log, swept: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocart_swept_total", Help: "Things that lapsed or were due and were seen to by this process, by what they are.",
	}, []string{"sweep"})}
}

// Register shows what was seen to.
func (s *Sweeper) Register(r prometheus.Registerer) { r.MustRegister(s.swept) }

// Sweeps are the kinds that look after what lapses.
func (s *Sweeper) Sweeps(expiry, retention []Sweep) []Kind {
	return []Kind{
		Sweeping[Expiry](s, Kind{
			About: "Gives back stock that was held for a while, cancels orders that were not paid in time, and gives up payments without an order.", Every: expiryInterval,
		}, expiry...),
		Sweeping[Retention](s, Kind{
			About: "Forgets what the store need not keep: old keys, sessions, tokens, carts, webhook deliveries and audit entries.", Every: retentionInterval,
		}, retention...),
	}
}

// Sweeping is a kind whose jobs do every sweep, also after one that fails.
func Sweeping[A Args](s *Sweeper, k Kind, sweeps ...Sweep) Kind {
	return Of(k, func(ctx context.Context, _ *river.Job[A]) error {
		var failed error
		for _, sweep := range sweeps {
			n, err := sweep.Do(ctx)
			s.swept.WithLabelValues(sweep.Name).Add(float64(n))
			if n > 0 {
				s.log.InfoContext(ctx, "swept", "sweep", sweep.Name, "count", n)
			}
			if err != nil && failed == nil {
				failed = fmt.Errorf("%s: %w", sweep.Name, err)
			}
		}
		return failed
	})
}
