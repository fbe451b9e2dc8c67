package jobs

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Handlers is the jobs' part of openapi.ServerInterface.
type Handlers struct{ Ledger *Ledger }

// Public is the job as callers see it.
func (e Entry) Public() openapi.Job {
	job := openapi.Job{
		Id: e.ID, Kind: e.Kind, Queue: e.Queue, State: openapi.JobState(e.State), Attempt: e.Attempt, MaxAttempts: e.MaxAttempts, Payload: e.Payload,
		Schedule: optional.Of(e.Schedule), CreatedAt: e.CreatedAt, ScheduledAt: e.ScheduledAt, StartedAt: e.StartedAt, FinishedAt: e.FinishedAt,
		Failures: make([]openapi.JobFailure, len(e.Failures)),
	}
	for i, f := range e.Failures {
		job.Failures[i] = openapi.JobFailure{Attempt: f.Attempt, At: f.At.UTC(), Error: f.Error, Stack: optional.Of(f.Trace)}
	}
	return job
}

// ListJobs answers GET /jobs.
func (h Handlers) ListJobs(c *gin.Context, params openapi.ListJobsParams) {
	const list = "jobs"
	f := Filter{State: string(optional.Value(params.State)), Kind: optional.Value(params.Kind), Queue: string(optional.Value(params.Queue))}
	limit, err := rest.Limit(params.Limit)
	before := int64(math.MaxInt64)
	if err == nil {
		err = f.Check()
	}
	if err == nil {
		err = rest.Place(params.Cursor, list, &before)
	}
	if err != nil {
		rest.Fail(c, err)
		return
	}
	found, err := h.Ledger.List(c.Request.Context(), f, before, limit+1)
	page := openapi.JobPage{Jobs: make([]openapi.Job, 0, len(found))}
	if len(found) > limit {
		found = found[:limit]
		page.NextCursor = new(rest.Cursor(list, found[limit-1].ID))
	}
	for _, e := range found {
		page.Jobs = append(page.Jobs, e.Public())
	}
	rest.JSON(c, http.StatusOK, page, err)
}

// checkKind wants a kind that could be one: jobs of a kind that is gone can
// still be looked for.
func checkKind(v *problem.Findings, kind string) {
	const longest = 100
	v.Text("kind", kind, 0, longest)
}

// EnqueueJob answers POST /jobs.
func (h Handlers) EnqueueJob(c *gin.Context, params openapi.EnqueueJobParams) {
	rest.Create(c, h.Ledger.pool, rest.Creation[openapi.JobInput, openapi.Job]{
		Key: params.IdempotencyKey,
		Effect: func(ctx context.Context, tx pgx.Tx, in openapi.JobInput) (openapi.Job, error) {
			r, err := h.Ledger.request(in)
			if err != nil {
				return openapi.Job{}, err
			}
			e, err := h.Ledger.Enqueue(ctx, tx, r)
			return e.Public(), err
		},
		Location: func(job openapi.Job) string { return "/jobs/" + strconv.FormatInt(job.Id, 10) },
	})
}

// horizon is how far ahead a job may be asked for.
const horizon = 10 * 366 * 24 * time.Hour

func (l *Ledger) request(in openapi.JobInput) (Request, error) {
	r := Request{Kind: in.Kind, Queue: string(optional.Value(in.Queue)), MaxAttempts: optional.Value(in.MaxAttempts)}
	if in.Payload != nil {
		r.Payload = *in.Payload
	}
	var v problem.Findings
	if in.Queue != nil {
		checkQueue(&v, "/queue", r.Queue, config.Queues())
	}
	if in.MaxAttempts != nil {
		v.Require(r.MaxAttempts >= 1 && r.MaxAttempts <= maxTries, "/maxAttempts", "must be 1 to %d", maxTries)
	}
	if s := in.TimeoutSeconds; s != nil {
		most := int(maxTimeout / time.Second)
		v.Require(*s >= 1 && *s <= most, "/timeoutSeconds", "must be 1 to %d", most)
		r.Timeout = time.Duration(*s) * time.Second
	}
	if at := in.ScheduledAt; at != nil {
		v.Require(at.Sub(l.now()) < horizon, "/scheduledAt", "must be within ten years")
		r.At = *at
	}
	return r, v.Err()
}

// GetJob answers GET /jobs/{id}.
func (h Handlers) GetJob(c *gin.Context, id int64) {
	e, err := h.Ledger.Get(c.Request.Context(), id)
	rest.JSON(c, http.StatusOK, e.Public(), err)
}

// DeleteJob answers DELETE /jobs/{id}.
func (h Handlers) DeleteJob(c *gin.Context, id int64) {
	rest.NoContent(c, h.Ledger.Delete(c.Request.Context(), id))
}

// RetryJob answers POST /jobs/{id}/retry.
func (h Handlers) RetryJob(c *gin.Context, id int64) {
	e, err := h.Ledger.Retry(c.Request.Context(), id)
	rest.JSON(c, http.StatusOK, e.Public(), err)
}

// RetryDeadJobs answers POST /dead-jobs/retry.
func (h Handlers) RetryDeadJobs(c *gin.Context, params openapi.RetryDeadJobsParams) {
	ofDead(c, params.Kind, h.Ledger.RetryDead)
}

// PurgeDeadJobs answers DELETE /dead-jobs.
func (h Handlers) PurgeDeadJobs(c *gin.Context, params openapi.PurgeDeadJobsParams) {
	ofDead(c, params.Kind, h.Ledger.PurgeDead)
}

func ofDead(c *gin.Context, kind *string, do func(context.Context, string) (int64, error)) {
	var v problem.Findings
	checkKind(&v, optional.Value(kind))
	if kind != nil {
		v.Require(*kind != "", "kind", "must not be empty: leave it out for all kinds")
	}
	if err := v.Err(); err != nil {
		rest.Fail(c, err)
		return
	}
	n, err := do(c.Request.Context(), optional.Value(kind))
	rest.JSON(c, http.StatusOK, openapi.JobCount{Jobs: n}, err)
}

// ListJobQueues answers GET /job-queues.
func (h Handlers) ListJobQueues(c *gin.Context) {
	all, err := h.Ledger.Queues(c.Request.Context())
	list := openapi.JobQueueList{Queues: []openapi.JobQueueStatus{}}
	for _, q := range all.Queues {
		list.Queues = append(list.Queues, openapi.JobQueueStatus{
			Name: openapi.JobQueue(q.Name), Waiting: q.Waiting, Running: q.Running, OldestSeconds: q.OldestSeconds,
		})
	}
	rest.JSON(c, http.StatusOK, list, err)
}

// ListJobKinds answers GET /job-kinds.
func (h Handlers) ListJobKinds(c *gin.Context) {
	list, err := h.Ledger.kinds.Public()
	rest.JSON(c, http.StatusOK, list, err)
}

// Public are the kinds as callers see them, by name.
func (all Kinds) Public() (openapi.JobKindList, error) {
	list := openapi.JobKindList{Kinds: []openapi.JobKind{}}
	for i := range all {
		k := &all[i]
		schema, err := json.Marshal(k.schema)
		if err != nil {
			return list, err
		}
		kind := openapi.JobKind{
			Name: k.name, Description: k.About, Queue: openapi.JobQueue(k.opts.Queue), MaxAttempts: k.opts.MaxAttempts,
			TimeoutSeconds: int(k.Timeout / time.Second), EverySeconds: optional.Of(int(k.Every / time.Second)), PayloadSchema: schema,
		}
		list.Kinds = append(list.Kinds, kind)
	}
	slices.SortFunc(list.Kinds, func(a, b openapi.JobKind) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}
