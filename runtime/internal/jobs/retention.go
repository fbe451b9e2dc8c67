package jobs

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"gitee.com/captainjez/gocart/runtime/internal/idempotency"
)

// retentionInterval is how often what has lapsed is forgotten.
const retentionInterval = time.Hour

// Retention is the job that forgets what the store need not keep: answers to
// idempotent requests after a day.
type Retention struct{}

// Kind is the job's name in the queue.
func (Retention) Kind() string { return "retention" }

// InsertOpts make one job an interval, however many workers ask for it.
func (Retention) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 5, UniqueOpts: river.UniqueOpts{ByPeriod: retentionInterval}}
}

func periodicRetention(queue string) *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(retentionInterval),
		func() (river.JobArgs, *river.InsertOpts) { return Retention{}, &river.InsertOpts{Queue: queue} },
		&river.PeriodicJobOpts{RunOnStart: true})
}

type retention struct {
	river.WorkerDefaults[Retention]
	pool   *pgxpool.Pool
	log    *slog.Logger
	purged prometheus.Counter
}

func newRetention(pool *pgxpool.Pool, log *slog.Logger, r prometheus.Registerer) *retention {
	w := &retention{pool: pool, log: log, purged: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gocart_retention_purged_total", Help: "Idempotency keys forgotten by this process.",
	})}
	r.MustRegister(w.purged)
	return w
}

// Work forgets what has lapsed.
func (w *retention) Work(ctx context.Context, _ *river.Job[Retention]) error {
	n, err := idempotency.Purge(ctx, w.pool)
	if err != nil {
		return err
	}
	w.purged.Add(float64(n))
	w.log.InfoContext(ctx, "retention done", "idempotencyKeys", n)
	return nil
}
