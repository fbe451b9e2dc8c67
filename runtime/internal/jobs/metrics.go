package jobs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"gitee.com/captainjez/gocart/runtime/internal/jobs/jobsdb"
	"gitee.com/captainjez/gocart/runtime/status"
)

func newEvents() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocart_jobs_total",
		Help: "What became of jobs in this process, by kind, queue and event: enqueued, also where the transaction did not commit; started; " +
			"completed; failed, of which each is retried or dead; and handed_back, by a worker that had to stop.",
	}, []string{"kind", "queue", "event"})
}

// Register shows what the queue takes in, and what becomes of it.
func (q *Queue) Register(r prometheus.Registerer) { r.MustRegister(q.events) }

// lookEvery bounds how often a scrape asks the database.
const lookEvery = 10 * time.Second

// depths are how much there is to do, for Prometheus. What the database can
// not tell is left out.
type depths struct {
	ledger          *Ledger
	waiting, oldest *prometheus.Desc
	dead            *prometheus.Desc

	mu     sync.Mutex
	asked  time.Time
	queues []status.Queue
	buried int64
	known  bool
}

// Register shows how much there is to do.
func (l *Ledger) Register(r prometheus.Registerer) {
	r.MustRegister(&depths{
		ledger:  l,
		waiting: prometheus.NewDesc("gocart_jobs_waiting", "Jobs of the store that could be worked now, by queue; counting ends at 100,000.", []string{"queue"}, nil),
		oldest:  prometheus.NewDesc("gocart_jobs_oldest_seconds", "How long the first job that waits could have been worked, by queue.", []string{"queue"}, nil),
		dead:    prometheus.NewDesc("gocart_jobs_dead", "Dead jobs of the store that nobody retried or deleted.", nil, nil),
	})
}

// Describe is for Prometheus.
func (d *depths) Describe(to chan<- *prometheus.Desc) { to <- d.waiting; to <- d.oldest; to <- d.dead }

// Collect is for Prometheus.
func (d *depths) Collect(to chan<- prometheus.Metric) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := d.ledger.now(); now.Sub(d.asked) > lookEvery {
		d.asked, d.known = now, d.look() == nil
	}
	if !d.known {
		return
	}
	for _, q := range d.queues {
		to <- prometheus.MustNewConstMetric(d.waiting, prometheus.GaugeValue, float64(q.Waiting), q.Name)
		to <- prometheus.MustNewConstMetric(d.oldest, prometheus.GaugeValue, q.OldestSeconds, q.Name)
	}
	to <- prometheus.MustNewConstMetric(d.dead, prometheus.GaugeValue, float64(d.buried))
}

func (d *depths) look() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	all, err := d.ledger.Queues(ctx)
	if err != nil {
		return err
	}
	d.queues = all.Queues
	d.buried, err = jobsdb.New(d.ledger.pool).Dead(ctx)
	return err
}

// measure counts and times jobs. It is River's middleware.
type measure struct {
	river.MiddlewareDefaults
	events                   *prometheus.CounterVec
	toStart, toFinish, spent *prometheus.HistogramVec
	now                      func() time.Time
}

var (
	latencies = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 3600}
	durations = []float64{.001, .005, .01, .05, .1, .5, 1, 5, 30, 300}
)

func newMeasure(events *prometheus.CounterVec, r prometheus.Registerer, now func() time.Time) *measure {
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, append([]string{"kind", "queue"}, labels...))
		r.MustRegister(h)
		return h
	}
	return &measure{
		events: events, now: now,
		toStart:  histogram("gocart_job_start_latency_seconds", "Time from when a job could be worked until an attempt began.", latencies),
		toFinish: histogram("gocart_job_finish_latency_seconds", "Time from when a job was enqueued until it was completed or dead.", latencies),
		spent:    histogram("gocart_job_duration_seconds", "Time that an attempt took, by its result: completed, retried, dead or handed_back.", durations, "result"),
	}
}

// Work wraps each attempt.
func (m *measure) Work(ctx context.Context, job *rivertype.JobRow, do func(context.Context) error) error {
	count := func(event string) { m.events.WithLabelValues(job.Kind, job.Queue, event).Inc() }
	start := m.now()
	count("started")
	m.toStart.WithLabelValues(job.Kind, job.Queue).Observe(start.Sub(job.ScheduledAt).Seconds())
	result := outcome(job, errPanic) // unless it returns
	defer func() {
		end := m.now()
		m.spent.WithLabelValues(job.Kind, job.Queue, result).Observe(end.Sub(start).Seconds())
		count(result)
		if result == retried || result == dead {
			count("failed")
		}
		if result == completed || result == dead {
			m.toFinish.WithLabelValues(job.Kind, job.Queue).Observe(end.Sub(job.CreatedAt).Seconds())
		}
	}()
	err := do(ctx)
	result = outcome(job, err)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		result = handedBack
	}
	return err
}

// What an attempt comes to.
const (
	completed  = "completed"
	retried    = "retried"
	dead       = "dead"
	handedBack = "handed_back"
)

var errPanic = errors.New("panic")

func outcome(job *rivertype.JobRow, err error) string {
	permanent, _ := errors.AsType[*river.JobCancelError](err)
	switch {
	case err == nil:
		return completed
	case permanent != nil || job.Attempt >= job.MaxAttempts:
		return dead
	}
	return retried
}
