package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/jobs/jobsdb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/status"
)

// Ledger tells of jobs, and lets staff have dead ones worked again.
type Ledger struct {
	pool  *pgxpool.Pool
	kinds Kinds
	queue *Queue
	now   func() time.Time
}

// NewLedger is the ledger of the jobs in the database.
func NewLedger(pool *pgxpool.Pool, kinds Kinds, queue *Queue, now func() time.Time) *Ledger {
	return &Ledger{pool: pool, kinds: kinds, queue: queue, now: now}
}

// Entry is a job, for people.
type Entry struct {
	status.Job
	Queue       string
	Payload     json.RawMessage
	ScheduledAt time.Time
	StartedAt   *time.Time
	Schedule    string
	// Failures are those of its attempts, the first first.
	Failures []Failure
}

// Failure is what went wrong in an attempt.
type Failure struct {
	At      time.Time `json:"at"`
	Attempt int       `json:"attempt"`
	Error   string    `json:"error"`
	// Trace is the stack of a panic.
	Trace string `json:"trace"`
}

// states are River's names of what is told of a job.
var states = map[string][]string{
	status.JobScheduled: {"scheduled", "pending"},
	status.JobAvailable: {"available"},
	status.JobRunning:   {"running"},
	status.JobRetryable: {"retryable"},
	status.JobCompleted: {"completed"},
	status.JobDead:      {"discarded", "cancelled"},
}

func stateOf(s jobsdb.RiverJobState) string {
	for name, rivers := range states {
		for _, r := range rivers {
			if r == string(s) {
				return name
			}
		}
	}
	return string(s)
}

func entryOf(r jobsdb.RiverJob) (Entry, error) {
	e := Entry{
		Job: status.Job{
			ID: r.ID, Kind: r.Kind, State: stateOf(r.State), Attempt: int(r.Attempt), MaxAttempts: int(r.MaxAttempts), CreatedAt: r.CreatedAt.UTC(),
		},
		Queue: r.Queue, Payload: r.Args, ScheduledAt: r.ScheduledAt.UTC(), Schedule: metadataOf(r.Metadata).Schedule,
	}
	if r.FinalizedAt != nil {
		e.FinishedAt = new(r.FinalizedAt.UTC())
	}
	if r.AttemptedAt != nil {
		e.StartedAt = new(r.AttemptedAt.UTC())
	}
	for _, raw := range r.Errors {
		var f Failure
		if err := json.Unmarshal(raw, &f); err != nil {
			return e, fmt.Errorf("errors of job %d: %w", r.ID, err)
		}
		f.Error = strings.TrimPrefix(f.Error, "JobCancelError: ") // River's name for what Permanent marks
		e.Failures = append(e.Failures, f)
	}
	if n := len(e.Failures); n > 0 && e.State != status.JobCompleted {
		e.Error = e.Failures[n-1].Error
	}
	return e, nil
}

func notFound(id int64) error {
	return problem.New(http.StatusNotFound, "job_not_found", "No job has the id %d; one that was done is forgotten after a day.", id)
}

// Get reads a job.
func (l *Ledger) Get(ctx context.Context, id int64) (Entry, error) {
	r, err := jobsdb.New(l.pool).Job(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return Entry{}, notFound(id)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("reading a job: %w", err)
	}
	return entryOf(r)
}

// Filter chooses jobs; what is empty chooses all.
type Filter struct{ State, Kind, Queue string }

// Check wants a state and a queue that there are; its error is a
// *problem.Problem.
func (f Filter) Check() error {
	var v problem.Findings
	v.Require(f.State == "" || states[f.State] != nil, "state", "must be one of scheduled, available, running, retryable, completed, dead")
	if f.Queue != "" {
		checkQueue(&v, "queue", f.Queue, served())
	}
	checkKind(&v, f.Kind)
	return v.Err()
}

// List reads jobs, the newest first, from before an id on.
func (l *Ledger) List(ctx context.Context, f Filter, before int64, most int) ([]Entry, error) {
	rows, err := jobsdb.New(l.pool).Jobs(ctx, jobsdb.JobsParams{
		Before: before, States: append([]string{}, states[f.State]...), Kind: f.Kind, Queue: f.Queue, Most: int32(most),
	})
	if err != nil {
		return nil, fmt.Errorf("reading jobs: %w", err)
	}
	entries := make([]Entry, len(rows))
	for i, r := range rows {
		if entries[i], err = entryOf(r); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// Enqueue has a job worked that somebody asks for by name.
func (l *Ledger) Enqueue(ctx context.Context, tx pgx.Tx, r Request) (Entry, error) {
	row, err := l.queue.Insert(ctx, tx, l.kinds, r)
	if err != nil {
		return Entry{}, err
	}
	inserted, err := jobsdb.New(tx).Job(ctx, row.ID)
	if err != nil {
		return Entry{}, fmt.Errorf("reading a job: %w", err)
	}
	return entryOf(inserted)
}

// atOnce is how many jobs one statement changes.
const atOnce = 1000

// Retry has a job worked again at once that is dead, or waits for its time.
func (l *Ledger) Retry(ctx context.Context, id int64) (Entry, error) {
	var e Entry
	err := db.WithTx(ctx, l.pool, func(tx pgx.Tx) error {
		changed, err := l.retry(ctx, tx, jobsdb.RetryParams{ID: id, Most: 1})
		if err != nil {
			return err
		}
		r, err := jobsdb.New(tx).Job(ctx, id)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return notFound(id)
		case err != nil:
			return fmt.Errorf("reading a job: %w", err)
		}
		if e, err = entryOf(r); err == nil && changed == 0 {
			return problem.New(http.StatusConflict, "job_not_retryable", "The job is %s: only one that is dead, or waits for its time, can be worked again now.", e.State)
		}
		return err
	})
	return e, err
}

// RetryDead has all dead jobs of a kind, or of every kind where it is empty,
// worked again at once, and returns how many.
func (l *Ledger) RetryDead(ctx context.Context, kind string) (int64, error) {
	before := l.now() // those that die again meanwhile are not tried for ever
	return inParts(func() (n int64, err error) {
		return l.retry(ctx, l.pool, jobsdb.RetryParams{Kind: kind, Most: atOnce, Now: before})
	})
}

func (l *Ledger) retry(ctx context.Context, on jobsdb.DBTX, p jobsdb.RetryParams) (int64, error) {
	if p.Now.IsZero() {
		p.Now = l.now()
	}
	p.Queues, p.Otherwise = served(), config.QueueNormal
	ids, err := jobsdb.New(on).Retry(ctx, p)
	if err != nil {
		return 0, fmt.Errorf("having jobs worked again: %w", err)
	}
	return int64(len(ids)), nil
}

// PurgeDead deletes all dead jobs of a kind, or of every kind where it is
// empty, and returns how many.
func (l *Ledger) PurgeDead(ctx context.Context, kind string) (int64, error) {
	return inParts(func() (int64, error) {
		n, err := jobsdb.New(l.pool).Purge(ctx, jobsdb.PurgeParams{Kind: kind, Most: atOnce})
		if err != nil {
			return 0, fmt.Errorf("deleting dead jobs: %w", err)
		}
		return n, nil
	})
}

// inParts does something to 1,000 jobs at a time until none is left, so that
// no statement takes long.
func inParts(part func() (int64, error)) (int64, error) {
	for total := int64(0); ; {
		n, err := part()
		total += n
		if err != nil || n < atOnce {
			return total, err
		}
	}
}

// Delete forgets a job that is not being worked.
func (l *Ledger) Delete(ctx context.Context, id int64) error {
	running, err := jobsdb.New(l.pool).Remove(ctx, id)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return notFound(id)
	case err != nil:
		return fmt.Errorf("deleting a job: %w", err)
	case running:
		return problem.New(http.StatusConflict, "job_running", "The job is being worked: wait until it is completed or dead.")
	}
	return nil
}

// Queues tells how much there is to do.
func (l *Ledger) Queues(ctx context.Context) (status.Jobs, error) {
	now := l.now().Truncate(time.Microsecond) // what PostgreSQL keeps
	rows, err := jobsdb.New(l.pool).Waiting(ctx, jobsdb.WaitingParams{Queues: config.Queues(), Now: now, Most: status.CountedJobs})
	if err != nil {
		return status.Jobs{}, fmt.Errorf("counting jobs: %w", err)
	}
	var all status.Jobs
	for _, r := range rows {
		all.Queues = append(all.Queues, status.Queue{
			Name: r.Queue, Waiting: r.Waiting, Running: r.Running, OldestSeconds: now.Sub(r.Oldest).Seconds(),
		})
	}
	return all, nil
}

// Schedule tells what became of the jobs of a schedule.
func (l *Ledger) Schedule(ctx context.Context, name string) (status.Schedule, error) {
	var s status.Schedule
	wanted, err := json.Marshal(metadata{Schedule: name})
	if err != nil {
		return s, err
	}
	q := jobsdb.New(l.pool)
	if s.Last, err = told(q.WithMetadata(ctx, wanted)); err != nil {
		return s, err
	}
	if s.LastFinished, err = told(q.FinishedWithMetadata(ctx, wanted)); err != nil {
		return s, err
	}
	if s.Dead, err = q.CountDead(ctx, wanted); err != nil {
		return s, fmt.Errorf("counting the dead jobs of a schedule: %w", err)
	}
	return s, nil
}

func told(r jobsdb.RiverJob, err error) (*status.Job, error) {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading a schedule's job: %w", err)
	}
	e, err := entryOf(r)
	return &e.Job, err
}
