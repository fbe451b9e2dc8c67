package jobs

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
)

const (
	// fetchCooldown is the least time between two looks for jobs; River's own
	// 100 ms would bound both latency and throughput.
	fetchCooldown = time.Millisecond
	// pollInterval finds jobs whose notification was missed.
	pollInterval = time.Second
	retryStart   = 2 * time.Second
)

// Worker works the jobs of one process.
type Worker struct {
	pool    *pgxpool.Pool
	kinds   Kinds
	queues  map[string]river.QueueConfig
	named   string // how its leases' names begin
	drain   time.Duration
	terms   terms
	log     *slog.Logger
	measure *measure
	rescued *prometheus.CounterVec
	now     func() time.Time
}

// Options are what a worker is made of.
type Options struct {
	Pool  *pgxpool.Pool
	Kinds Kinds
	// Queue counts what becomes of jobs beside what it takes in.
	Queue   *Queue
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Now     func() time.Time
}

// NewWorker makes a worker for the configured queues and for upkeep; it
// connects when it runs. Each queue has slots of its own, so that however much
// there is in one, a job of another finds one.
func NewWorker(c config.Config, o Options) *Worker {
	w := NewUpkeep(c, o)
	for _, q := range c.Worker.Queues {
		w.queues[q] = river.QueueConfig{MaxWorkers: min(c.Worker.Workers*c.Worker.Concurrency, river.QueueNumWorkersMax)} // River takes no more
	}
	return w
}

// NewUpkeep makes a worker for upkeep alone.
func NewUpkeep(c config.Config, o Options) *Worker {
	const slots = 4
	w := newWorker(c, o)
	w.queues[upkeep] = river.QueueConfig{MaxWorkers: slots}
	return w
}

func newWorker(c config.Config, o Options) *Worker {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown" // it is for people; what follows it is the lease's own
	}
	w := &Worker{
		pool: o.Pool, named: host, kinds: o.Kinds, queues: map[string]river.QueueConfig{}, drain: time.Duration(c.Server.DrainTimeout), terms: usualTerms, log: o.Log,
		measure: newMeasure(o.Queue.events, o.Metrics, o.Now), now: o.Now,
		rescued: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocart_jobs_rescued_total", Help: "Jobs of workers that fell silent, which this process gave to others, by kind and queue.",
		}, []string{"kind", "queue"}),
	}
	o.Metrics.MustRegister(w.rescued)
	return w
}

// Run works until ctx ends, then finishes the jobs at hand within the drain
// timeout; those that do not end by then are cut and handed back. While the
// database cannot be reached it keeps trying.
func (w *Worker) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := w.session(ctx)
		if err == nil {
			continue // it ended with ctx, or its lease lapsed
		}
		w.log.Warn("worker cannot start yet", "reason", db.Explain(err).Message)
		select {
		case <-ctx.Done():
		case <-time.After(retryStart):
		}
	}
	return nil
}

// session works under one name until ctx ends or others may take it for dead.
// Its error is of starting.
func (w *Worker) session(ctx context.Context) error {
	lease, err := w.arrive(ctx)
	if err != nil {
		return err
	}
	defer lease.leave(ctx)
	client, err := w.client(lease.id)
	if err != nil {
		return err
	}
	if err := client.Start(context.WithoutCancel(ctx)); err != nil { // jobs at hand outlive ctx
		return err
	}
	w.log.Info("worker started", "id", lease.id)
	lapsed := make(chan error, 1)
	beating, enough := context.WithCancel(context.WithoutCancel(ctx))
	defer enough()
	go func() { lapsed <- lease.keep(beating) }()
	select {
	case <-ctx.Done():
		stopped := make(chan error, 1)
		go func() { stopped <- w.within(ctx, w.drain+w.terms.cut, client.Stop) }() // River cuts after the drain timeout
		select {
		case err = <-stopped:
		case reason := <-lapsed:
			w.log.Warn("jobs are cut, for this process could not say that it lives", "reason", reason)
			err = w.within(ctx, w.terms.cut, client.StopAndCancel)
		}
	case reason := <-lapsed:
		w.log.Warn("jobs are cut and worked again, for this process could not say that it lives", "reason", reason)
		err = w.within(ctx, w.terms.cut, client.StopAndCancel)
	}
	if err != nil {
		w.log.Warn("some jobs did not end; others will have them", "error", err)
	}
	return nil
}

func (w *Worker) within(ctx context.Context, d time.Duration, stop func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d)
	defer cancel()
	return stop(ctx)
}

func (w *Worker) client(id string) (*river.Client[pgx.Tx], error) {
	workers := river.NewWorkers()
	for _, k := range w.kinds {
		if err := k.register(workers); err != nil {
			return nil, err
		}
	}
	c := &river.Config{
		ID:                          id,
		Queues:                      w.queues,
		Workers:                     workers,
		FetchCooldown:               fetchCooldown,
		FetchPollInterval:           pollInterval,
		JobTimeout:                  defaultTimeout,
		SoftStopTimeout:             w.drain,
		RescueStuckJobsAfter:        maxTimeout + time.Hour, // leases tell of the dead long before
		RetryPolicy:                 backoff{w.now},
		CompletedJobRetentionPeriod: keepDone,
		CancelledJobRetentionPeriod: keepDead,
		DiscardedJobRetentionPeriod: keepDead,
		Logger:                      w.log,
		Middleware:                  []rivertype.Middleware{w.measure},
	}
	for i := range w.kinds {
		if k := &w.kinds[i]; k.Every > 0 {
			c.PeriodicJobs = append(c.PeriodicJobs, river.NewPeriodicJob(river.PeriodicInterval(k.Every),
				func() (river.JobArgs, *river.InsertOpts) { return k.empty, nil }, &river.PeriodicJobOpts{RunOnStart: true}))
		}
	}
	return river.NewClient(riverpgxv5.New(w.pool), c)
}
