package jobs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/jobs/jobsdb"
)

// terms are those of leases. A worker says every beat that it lives. One that
// could not for lapse cuts its jobs, which takes cut at most; only then do
// others take it for dead and its jobs for theirs. So a job is not worked by
// two, however long the network between them and the database is down; and one
// of a killed process is worked again within half a minute.
//
// While the database itself is down nobody can say anything: who finds it back
// waits once more as long before it takes anybody for dead.
type terms struct{ beat, lapse, cut time.Duration }

var usualTerms = terms{beat: time.Second, lapse: 10 * time.Second, cut: 5 * time.Second}

// silence is for how long nothing is heard of a worker that is dead.
func (t terms) silence() time.Duration { return t.lapse + t.cut }

// workerGone is the error of a job whose worker died.
const workerGone = "the worker that had it is gone: its process was killed, or it lost the database"

// errDead is what the others took this process for.
var errDead = errors.New("it was taken for dead")

// lease is the name under which a worker works, and its claim to live.
type lease struct {
	worker *Worker
	id     string
	// seen is before the database was last told of it; since is the first of
	// an unbroken row of such times.
	seen, since time.Time
}

// arrive takes a name.
func (w *Worker) arrive(ctx context.Context) (*lease, error) {
	l := &lease{worker: w, id: w.named + "_" + rand.Text()[:10], seen: time.Now()}
	l.since = l.seen
	ctx, cancel := context.WithTimeout(ctx, w.terms.lapse)
	defer cancel()
	if err := jobsdb.New(w.pool).Arrive(ctx, l.id); err != nil {
		return nil, fmt.Errorf("saying that a worker is there: %w", err)
	}
	return l, nil
}

// leave gives the name up. Where the database cannot be told, it finds out.
func (l *lease) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.worker.terms.cut)
	defer cancel()
	if err := jobsdb.New(l.worker.pool).Leave(ctx, l.id); err != nil {
		l.worker.log.Debug("a worker could not say that it leaves", "id", l.id, "error", err)
	}
}

// keep says that the worker lives, and looks after the jobs of those that do
// not, until ctx ends or the claim lapses; then it says why.
func (l *lease) keep(ctx context.Context) error {
	tick := time.NewTicker(l.worker.terms.beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := l.beat(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errDead):
			return err
		case err != nil:
			if time.Since(l.seen) > l.worker.terms.lapse {
				return err
			}
			continue
		}
		if time.Since(l.since) > l.worker.terms.silence() {
			l.worker.rescue(ctx)
		}
	}
}

func (l *lease) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*l.worker.terms.beat)
	defer cancel()
	now := time.Now()
	n, err := jobsdb.New(l.worker.pool).Beat(ctx, l.id)
	switch {
	case err != nil:
		return err
	case n == 0, now.Sub(l.seen) > l.worker.terms.lapse: // as a process that slept
		return errDead
	case now.Sub(l.seen) > l.worker.terms.silence()/2:
		l.since = now
	}
	l.seen = now
	return nil
}

// rescue gives others the jobs of workers that are gone.
func (w *Worker) rescue(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, w.terms.cut)
	defer cancel()
	// Who is forgotten can not come back before its jobs are given away.
	var rescued []jobsdb.RescueRow
	err := db.WithTx(ctx, w.pool, func(tx pgx.Tx) (err error) {
		q := jobsdb.New(tx)
		if err := q.ForgetSilent(ctx, w.terms.silence()); err != nil {
			return err
		}
		rescued, err = q.Rescue(ctx, jobsdb.RescueParams{Queues: served(), Otherwise: config.QueueNormal, Silence: w.terms.silence(), Error: workerGone})
		return err
	})
	if err != nil {
		w.log.Warn("jobs of workers that are gone could not be looked for", "error", err)
		return
	}
	for _, job := range rescued {
		w.rescued.WithLabelValues(job.Kind, job.Queue).Inc()
		w.log.Warn("a job's worker is gone", "job", job.ID, "kind", job.Kind, "queue", job.Queue, "dead", job.Dead)
	}
}
