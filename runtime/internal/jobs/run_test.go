package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/status"
)

func (h *house) runOne(ctx context.Context, r Request) (Entry, error) {
	c := config.Default()
	c.Server.DrainTimeout = config.Duration(200 * time.Millisecond)
	return RunOne(ctx, c, Options{Pool: h.pool, Kinds: h.kinds, Queue: h.queue, Log: h.log.Logger(), Metrics: prometheus.NewRegistry(), Now: time.Now}, h.ledger, r)
}

var sweepOnce = Request{Kind: "chore", Payload: json.RawMessage(`{"name": "sweep"}`), Key: "nightly-1"}

func TestAJobThatIsRunAloneIsTriedAsOftenAsItsKindSays(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.chores = func(_ context.Context, job *river.Job[chore]) error {
		if job.Attempt == 1 {
			return errors.New("the broom is in use")
		}
		return nil
	}
	if e, err := h.runOne(t.Context(), sweepOnce); err != nil || e.State != status.JobCompleted || e.Attempt != 2 {
		t.Errorf("%+v %v", e, err)
	}
}

func TestAJobThatIsRunAloneAndFailsForGoodIsNotTriedAgainByItsKey(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.chores = func(context.Context, *river.Job[chore]) error { return Permanent(errors.New("there is no broom")) }
	for range 2 {
		e, err := h.runOne(t.Context(), sweepOnce)
		if err == nil || !strings.Contains(err.Error(), "there is no broom") || e.State != status.JobDead || e.Attempt != 1 {
			t.Fatalf("%+v %v", e, err)
		}
	}
	if dead := h.until(status.JobDead); dead.Queue != config.QueueNormal {
		t.Errorf("nobody would work it if it were retried: %+v", dead)
	}
}

func TestAJobThatIsRunAloneAndCutShortIsTakenUpByItsKey(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx, stop := context.WithCancel(t.Context())
	h.chores = func(ctx context.Context, _ *river.Job[chore]) error {
		stop()
		<-ctx.Done()
		return ctx.Err()
	}
	cut, err := h.runOne(ctx, sweepOnce)
	if err == nil || cut.State != status.JobDead {
		t.Fatalf("%+v %v", cut, err)
	}
	h.chores = func(context.Context, *river.Job[chore]) error { return nil }
	if e, err := h.runOne(t.Context(), sweepOnce); err != nil || e.ID != cut.ID || e.State != status.JobCompleted {
		t.Errorf("%+v %v", e, err)
	}
}

func TestAJobInAQueueThatNobodyServesAnyMoreIsDead(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.enqueue(chore{Name: "between two attempts"})
	if _, err := h.pool.Exec(t.Context(), `UPDATE river_job SET state = 'retryable', queue = 'run-1', attempt = 1, created_at = now() - interval '1 hour',
		attempted_at = now() - interval '1 minute', scheduled_at = now() + interval '1 hour'`); err != nil {
		t.Fatal(err)
	}
	h.worker()
	if dead := h.until(status.JobDead); dead.Error != workerGone || dead.Queue != config.QueueNormal {
		t.Errorf("%+v", dead)
	}
}

func TestAKeyIsOfOneKind(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if _, err := h.ask(sweepOnce); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ask(Request{Kind: "tick", Key: sweepOnce.Key}); err == nil || !strings.Contains(err.Error(), "job_key_reused") {
		t.Errorf("%v", err)
	}
	if _, err := h.runOne(t.Context(), sweepOnce); err == nil || !strings.Contains(err.Error(), "job_key_reused") {
		t.Errorf("a job that waits for the workers is run beside them: %v", err)
	}
}

func TestAJobWhoseProcessIsStoppedIsDeadAndSaysSo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx, stop := context.WithCancel(t.Context())
	h.chores = func(ctx context.Context, _ *river.Job[chore]) error {
		stop()
		<-ctx.Done()
		return ctx.Err()
	}
	e, err := h.runOne(ctx, sweepOnce)
	if err == nil || e.State != status.JobDead || !strings.Contains(e.Error, "its process was stopped") {
		t.Errorf("%+v %v", e, err)
	}
	// No worker may take it by itself, and staff can have it worked.
	h.chores = func(context.Context, *river.Job[chore]) error { return nil }
	h.worker()
	if _, err := h.ledger.Retry(t.Context(), e.ID); err != nil {
		t.Fatal(err)
	}
	if done := h.until(status.JobCompleted); done.Queue != config.QueueNormal {
		t.Errorf("%+v", done)
	}
}
