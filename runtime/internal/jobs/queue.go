package jobs

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/jobs/jobsdb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/status"
)

// Queue takes jobs in.
type Queue struct {
	client *river.Client[pgx.Tx]
	events *prometheus.CounterVec
	now    func() time.Time
}

// NewQueue takes in jobs for the workers of the store.
func NewQueue(log *slog.Logger, now func() time.Time) (*Queue, error) {
	q := &Queue{events: newEvents(), now: now}
	var err error
	// It only inserts. Workers are told of new jobs once a cooldown, and River's own
	// of 100 ms would be what a job waits.
	q.client, err = river.NewClient(riverpgxv5.New(nil), &river.Config{FetchCooldown: fetchCooldown, Logger: log})
	return q, err
}

// Enqueue has a job worked when tx has committed.
func (q *Queue) Enqueue(ctx context.Context, tx pgx.Tx, args Args) error {
	_, err := q.insert(ctx, tx, args, &river.InsertOpts{})
	return err
}

// EnqueueAt has a job worked at a moment, when tx has committed.
func (q *Queue) EnqueueAt(ctx context.Context, tx pgx.Tx, at time.Time, args Args) error {
	_, err := q.insert(ctx, tx, args, &river.InsertOpts{ScheduledAt: at})
	return err
}

func (q *Queue) insert(ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobRow, error) {
	inserted, err := q.client.InsertTx(ctx, tx, args, opts)
	if err != nil {
		return nil, fmt.Errorf("enqueueing a job of kind %s: %w", args.Kind(), err)
	}
	q.events.WithLabelValues(inserted.Job.Kind, inserted.Job.Queue, "enqueued").Inc()
	return inserted.Job, nil
}

// EnqueueWith is Enqueue as a part of statements: where a transaction is a few
// round trips, jobs add none. Workers are not told of them, and find them
// within a second.
func (q *Queue) EnqueueWith(ctx context.Context, statements *batch.Statements, all ...Args) error {
	if len(all) == 0 {
		return nil
	}
	var rows jobsdb.InsertParams
	for _, args := range all {
		raw, err := json.Marshal(args)
		if err != nil {
			return fmt.Errorf("encoding a job of kind %s: %w", args.Kind(), err)
		}
		opts := args.InsertOpts()
		rows.Kinds = append(rows.Kinds, args.Kind())
		rows.Queues = append(rows.Queues, opts.Queue)
		rows.Args = append(rows.Args, string(raw))
		rows.Metadata = append(rows.Metadata, "{}")
		rows.MaxAttempts = append(rows.MaxAttempts, int16(opts.MaxAttempts))
		rows.ScheduledAt = append(rows.ScheduledAt, q.now())
		rows.States = append(rows.States, string(rivertype.JobStateAvailable))
		q.events.WithLabelValues(args.Kind(), opts.Queue, "enqueued").Inc()
	}
	statements.Add(func(db batch.DB) error {
		if err := jobsdb.New(db).Insert(ctx, rows); err != nil {
			return fmt.Errorf("enqueueing jobs: %w", err)
		}
		return nil
	})
	return nil
}

// Request is a job that somebody asks for by name.
type Request struct {
	Kind string
	// Payload is a JSON object, which the kind must understand; empty for {}.
	Payload json.RawMessage
	// Queue, MaxAttempts and Timeout are the kind's where they are empty.
	Queue       string
	MaxAttempts int
	Timeout     time.Duration
	// At is when it may begin; the zero time is now.
	At time.Time
	// Schedule names what asks for it again and again, empty for none.
	Schedule string
	// Key makes one job of all requests that have it, empty for none.
	Key string

	// own is a queue that only who asks serves.
	own string
}

// ownPrefix begins the names of queues that one process serves.
const ownPrefix = "run-"

// ownQueue is the queue of what one process works alone: of the key, so that
// another finds it, or of chance.
func ownQueue(key string) string {
	if key == "" {
		return ownPrefix + strings.ToLower(rand.Text())
	}
	sum := sha256.Sum256([]byte(key))
	return ownPrefix + hex.EncodeToString(sum[:16])
}

// metadata is what is kept with a job.
type metadata struct {
	Timeout  time.Duration `json:"timeout,omitempty"`
	Schedule string        `json:"schedule,omitempty"`
	Key      string        `json:"key,omitempty"`
}

func metadataOf(raw []byte) (m metadata) {
	_ = json.Unmarshal(raw, &m) // others' metadata has none of it
	return m
}

// Insert enqueues what is asked for, or finds the job that its key made
// before. What is wrong with it is a *problem.Problem.
func (q *Queue) Insert(ctx context.Context, tx pgx.Tx, kinds Kinds, r Request) (*rivertype.JobRow, error) {
	kind, err := kinds.Find(r.Kind)
	if err != nil {
		return nil, err
	}
	args, err := kind.args(r.Payload)
	if err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	if r.Key != "" {
		before, err := q.before(ctx, tx, r.Kind, r.Key, r.own != "")
		if before != nil || err != nil {
			return before, err
		}
	}
	raw, err := json.Marshal(metadata{Timeout: r.Timeout, Schedule: r.Schedule, Key: r.Key})
	if err != nil {
		return nil, err
	}
	// Whoever asks by name gets one, however often the store itself asks.
	opts := kind.opts
	opts.UniqueOpts = river.UniqueOpts{}
	opts.Metadata, opts.ScheduledAt = raw, r.At
	if r.Queue != "" {
		opts.Queue = r.Queue
	}
	if r.own != "" {
		opts.Queue = r.own
	}
	if r.MaxAttempts > 0 {
		opts.MaxAttempts = r.MaxAttempts
	}
	payload, err := json.Marshal(args)
	if err != nil {
		return nil, fmt.Errorf("encoding a job of kind %s: %w", r.Kind, err)
	}
	return q.insert(ctx, tx, plain{kind: r.Kind, payload: payload}, &opts)
}

// plain are arguments whose options are said elsewhere.
type plain struct {
	kind    string
	payload []byte
}

// Kind is the job's name in the queue.
func (p plain) Kind() string { return p.kind }

// MarshalJSON is the payload itself.
func (p plain) MarshalJSON() ([]byte, error) { return p.payload, nil }

const (
	maxTimeout = 24 * time.Hour
	maxTries   = 100
	maxName    = 253 // of a Kubernetes object
)

// checkQueue wants one of some queues.
func checkQueue(f *problem.Findings, pointer, queue string, of []string) {
	f.Require(slices.Contains(of, queue), pointer, "must be one of %s", strings.Join(of, ", "))
}

func (r Request) check() error {
	var f problem.Findings
	if r.Queue != "" {
		checkQueue(&f, "/queue", r.Queue, config.Queues())
	}
	f.Require(r.MaxAttempts >= 0 && r.MaxAttempts <= maxTries, "/maxAttempts", "must be 1 to %d", maxTries)
	f.Require(r.Timeout >= 0 && r.Timeout <= maxTimeout, "/timeout", "must be above 0s and %s at most", maxTimeout)
	f.Text("/schedule", r.Schedule, 0, maxName)
	f.Text("/key", r.Key, 0, maxName)
	return f.Err()
}

// before is the job that a key made, nil for none; who asks with the same key
// at the same moment waits.
func (q *Queue) before(ctx context.Context, tx pgx.Tx, kind, key string, own bool) (*rivertype.JobRow, error) {
	db := jobsdb.New(tx)
	if err := db.OneAtATime(ctx, "job "+key); err != nil {
		return nil, fmt.Errorf("waiting for a job of the same key: %w", err)
	}
	wanted, err := json.Marshal(metadata{Key: key})
	if err != nil {
		return nil, err
	}
	found, err := db.WithMetadata(ctx, wanted)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for a job of the same key: %w", err)
	}
	alone := strings.HasPrefix(found.Queue, ownPrefix)
	if found.Kind != kind || alone != own && stateOf(found.State) != status.JobDead { // which is in a common queue, whoever worked it
		return nil, problem.New(http.StatusConflict, "job_key_reused", "The key was used for job %d of kind %s, which is another: take another key.", found.ID, found.Kind)
	}
	return q.client.JobGetTx(ctx, tx, found.ID)
}
