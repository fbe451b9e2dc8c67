package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/jobs/jobsdb"
	"gitee.com/captainjez/gocart/runtime/status"
)

// lookAgain is how often a job that is worked alone is looked at.
const lookAgain = 200 * time.Millisecond

// RunOne works the job that is asked for in this process, as often as its kind
// says, and returns what became of it: an error where it is dead. It has a
// queue of its own, which no other worker serves. Where ctx ends or the process
// dies before it is done, it is dead; asked for again with the same key, it is
// worked on where it has attempts left. One that failed for good stays dead.
func RunOne(ctx context.Context, c config.Config, o Options, l *Ledger, r Request) (Entry, error) {
	if err := wait(ctx, r.At.Sub(o.Now())); err != nil {
		return Entry{}, err
	}
	r.At = time.Time{}
	e, own, err := l.open(ctx, r)
	switch {
	case err != nil || e.State == status.JobCompleted:
		return e, err
	case e.State == status.JobDead:
		return e, failure(e)
	}
	w := newWorker(c, o)
	w.named = own // so that others see whether anybody serves the queue
	w.queues[own] = river.QueueConfig{MaxWorkers: 1}
	working, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(working) }()
	e, waitErr := l.await(ctx, e)
	stop()
	if err := <-ended; err != nil {
		return e, err
	}
	if waitErr == nil {
		if e.State == status.JobDead {
			if err := jobsdb.New(o.Pool).Adopt(ctx, jobsdb.AdoptParams{ID: e.ID, Queue: config.QueueNormal}); err != nil {
				return e, errors.Join(failure(e), err)
			}
		}
		return e, failure(e)
	}
	// It was cut: what it came to is to be seen, whoever asked.
	e, err = l.close(context.WithoutCancel(ctx), e.ID)
	if err != nil {
		return e, errors.Join(waitErr, err)
	}
	return e, failure(e)
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func failure(e Entry) error {
	if e.State == status.JobCompleted {
		return nil
	}
	return fmt.Errorf("job %d of kind %s is %s after %d attempts: %s", e.ID, e.Kind, e.State, e.Attempt, e.Error)
}

// open enqueues the job in a queue of its own, or takes up the one that the
// request's key made.
func (l *Ledger) open(ctx context.Context, r Request) (e Entry, own string, err error) {
	own = ownQueue(r.Key)
	r.own = own
	err = db.WithTx(ctx, l.pool, func(tx pgx.Tx) error {
		if e, err = l.Enqueue(ctx, tx, r); err != nil || !cutShort(e) {
			return err
		}
		e.State = status.JobAvailable
		_, err := jobsdb.New(tx).Retry(ctx, jobsdb.RetryParams{ID: e.ID, Most: 1, Now: l.now(), Queues: []string{own}, Otherwise: own})
		return err
	})
	return e, own, err
}

// cutShort tells of a job that is dead because its process ended, and has
// attempts left. What failed by itself for good stays so: only a person knows
// better.
func cutShort(e Entry) bool {
	return e.State == status.JobDead && e.Attempt < e.MaxAttempts && (e.Error == workerGone || e.Error == processStopped)
}

// processStopped is the error of a job whose process was told to end.
const processStopped = "its process was stopped"

// await looks until the job is completed or dead.
func (l *Ledger) await(ctx context.Context, e Entry) (Entry, error) {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return e, context.Cause(ctx)
		case <-tick.C:
		}
		// While the database is away the worker waits for it, and so do we.
		if now, err := l.Get(ctx, e.ID); err == nil {
			if e = now; e.FinishedAt != nil {
				return e, nil
			}
		}
	}
}

// close makes a job dead that nobody will work any more.
func (l *Ledger) close(ctx context.Context, id int64) (Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, usualTerms.cut)
	defer cancel()
	if err := jobsdb.New(l.pool).Close(ctx, jobsdb.CloseParams{ID: id, Otherwise: config.QueueNormal, Error: processStopped}); err != nil {
		return Entry{}, fmt.Errorf("closing a job: %w", err)
	}
	return l.Get(ctx, id)
}
