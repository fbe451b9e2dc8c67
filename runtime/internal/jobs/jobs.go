// Package jobs is the store's background work: River's queues in the store's
// own database, so that a job commits with what caused it.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/mail"
)

const (
	// fetchCooldown is the least time between two looks for jobs; River's own
	// 100 ms would bound both latency and throughput.
	fetchCooldown = 5 * time.Millisecond
	// pollInterval finds jobs whose notification was missed.
	pollInterval = time.Second
	jobTimeout   = 5 * time.Minute
	retryStart   = 2 * time.Second
)

// Worker works the jobs of one process.
type Worker struct {
	client *river.Client[pgx.Tx]
	log    *slog.Logger
	drain  time.Duration
}

// New makes a worker for the configured queues; it connects when it runs.
func New(c config.Config, pool *pgxpool.Pool, sweeps Sweeps, log *slog.Logger, metrics prometheus.Registerer) (*Worker, error) {
	workers, swept := river.NewWorkers(), newSwept(metrics)
	if err := errors.Join(
		river.AddWorkerSafely(workers, &sweeper[Expiry]{sweeps: sweeps.Expiry, log: log, swept: swept}),
		river.AddWorkerSafely(workers, &sweeper[Retention]{sweeps: sweeps.Retention, log: log, swept: swept}),
	); err != nil {
		return nil, err
	}
	if c.Mail != nil {
		if err := river.AddWorkerSafely(workers, mail.NewWorker(c)); err != nil {
			return nil, err
		}
	}
	low := c.Worker.Queues[len(c.Worker.Queues)-1]
	queues := map[string]river.QueueConfig{}
	for _, q := range c.Worker.Queues {
		queues[q] = river.QueueConfig{MaxWorkers: c.Worker.Concurrency}
	}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Queues:            queues,
		Workers:           workers,
		PeriodicJobs:      []*river.PeriodicJob{periodic(Expiry{}, expiryInterval, low), periodic(Retention{}, retentionInterval, low)},
		FetchCooldown:     fetchCooldown,
		FetchPollInterval: pollInterval,
		JobTimeout:        jobTimeout,
		Logger:            log,
		Middleware:        []rivertype.Middleware{newMeasure(metrics)},
	})
	if err != nil {
		return nil, err
	}
	return &Worker{client: client, log: log, drain: time.Duration(c.Server.DrainTimeout)}, nil
}

// Run works until ctx ends, then finishes the jobs at hand within the drain
// timeout; what is cut is worked again by another worker. While the database
// cannot be reached it keeps trying.
func (w *Worker) Run(ctx context.Context) error {
	// The client's context ends jobs at hand, so it is not ctx.
	for {
		err := w.client.Start(context.WithoutCancel(ctx))
		if err == nil {
			break
		}
		w.log.Warn("worker cannot start yet", "reason", db.Explain(err).Message)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryStart):
		}
	}
	w.log.Info("worker started")
	<-ctx.Done()
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.drain)
	defer cancel()
	err := w.client.Stop(stopCtx)
	if errors.Is(err, context.DeadlineExceeded) {
		w.log.Warn("jobs were cut; they will be worked again")
		cutCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), retryStart)
		defer cancel()
		err = w.client.StopAndCancel(cutCtx)
	}
	if err != nil {
		return fmt.Errorf("stopping the worker: %w", err)
	}
	return nil
}

// measure counts and times jobs by kind and result.
type measure struct {
	river.MiddlewareDefaults
	seconds *prometheus.HistogramVec
}

func newMeasure(r prometheus.Registerer) *measure {
	m := &measure{seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "gocart_job_duration_seconds", Help: "Time that a job was worked, by kind, queue and result.",
		Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 30, 300},
	}, []string{"kind", "queue", "result"})}
	r.MustRegister(m.seconds)
	return m
}

// Work wraps each job.
func (m *measure) Work(ctx context.Context, job *rivertype.JobRow, do func(context.Context) error) error {
	start, result := time.Now(), "panic"
	defer func() {
		m.seconds.WithLabelValues(job.Kind, job.Queue, result).Observe(time.Since(start).Seconds())
	}()
	err := do(ctx)
	if result = "done"; err != nil {
		result = "error"
	}
	return err
}
