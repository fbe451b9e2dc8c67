package mail

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/rivertype"

	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/mail/maildb"
)

// handovers knows which mails were handed to the server. A mail is the server's
// from its last dot on, and whoever says the dot may be gone before it can say
// that it did. So that it will say it is recorded first, by a statement that
// also makes sure that the attempt still has the job; what came of it follows.
//
//	nothing        not sent
//	handed over    sent, or not: only who did it can tell
//	sent           sent
//
// Who handed a mail over has its server's answer within the timeout, and has
// recorded it within twice that, or never will.
type handovers struct {
	pool    *pgxpool.Pool
	timeout time.Duration
}

var (
	errSent = errors.New("the mail was sent")
	// errFenced is of an attempt that lasted until the job was taken from it.
	errFenced = errors.New("another attempt has the job now")
)

// doubt is part of every failure after which nobody knows. It is looked for in
// a job's failures: whoever has such a job worked again has read it.
const doubt = "it may have been delivered; retry sends it again"

// before is nil where the mail was not handed over, and may be now. Where it
// was, without a known end, and somebody asks for it again all the same, it
// tells by which attempt. Its error otherwise says what stands against sending
// the mail; errSent is that it is done.
func (h *handovers) before(ctx context.Context, job *rivertype.JobRow) (doubted *time.Time, err error) {
	found, err := maildb.New(h.pool).Standing(ctx, maildb.StandingParams{JobID: job.ID, Term: 2 * h.timeout})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading whether a mail was handed over: %w", err)
	case found.Sent:
		return nil, errSent
	case askedAgain(job.Errors, int(found.Failures)):
		return &found.AttemptedAt, nil
	case !found.Over && job.Attempt < job.MaxAttempts:
		return nil, errors.New("an earlier attempt handed the mail over, and may yet tell what came of it")
	}
	return nil, jobs.Permanent(errors.New("the worker was lost as the mail was handed over: " + doubt))
}

// askedAgain reports whether a job failed in doubt since it had so many
// failures.
func askedAgain(failures []rivertype.AttemptError, had int) bool {
	return slices.ContainsFunc(failures[min(had, len(failures)):], func(f rivertype.AttemptError) bool {
		return strings.Contains(f.Error, doubt)
	})
}

// do hands a mail over, which is offered and lacks its last dot, and records
// what came of it, whatever becomes of ctx.
func (h *handovers) do(ctx context.Context, job *rivertype.JobRow, doubted *time.Time, c *conn, finish func() error) error {
	begun := time.Now()
	answered := begun.Add(h.timeout)
	if err := c.raw.SetDeadline(answered); err != nil { // also for who is paused from here on
		return err
	}
	inTime, cancel := context.WithDeadline(ctx, answered)
	defer cancel()
	n, err := maildb.New(h.pool).HandOver(inTime, maildb.HandOverParams{JobID: job.ID, AttemptedAt: job.AttemptedAt, Doubted: doubted})
	if err != nil { // it may be recorded all the same
		return errors.Join(fmt.Errorf("recording that a mail is handed over: %w", err), h.takeBack(ctx, job, begun))
	}
	if n == 0 {
		return errFenced
	}
	if err := c.listens(answered); err != nil {
		_ = c.raw.Close() // so that it cannot be taken for a whole mail
		return errors.Join(err, h.takeBack(ctx, job, begun))
	}
	switch err := finish(); {
	case err == nil:
		h.sent(ctx, job, begun)
		return nil
	case refusal(err) != nil:
		return errors.Join(err, h.takeBack(ctx, job, begun))
	default:
		return jobs.Permanent(fmt.Errorf("the mail server did not say whether it took the mail: %s: %w", doubt, err))
	}
}

// sent records that the server took a mail. Where that cannot be recorded, the
// job's own end, which is not certain either, has to do.
func (h *handovers) sent(ctx context.Context, job *rivertype.JobRow, begun time.Time) {
	_ = h.insist(ctx, begun, func(ctx context.Context, q *maildb.Queries) error {
		return q.Sent(ctx, maildb.SentParams{JobID: job.ID, AttemptedAt: *job.AttemptedAt})
	})
}

// takeBack records that a mail was not handed over after all.
func (h *handovers) takeBack(ctx context.Context, job *rivertype.JobRow, begun time.Time) error {
	return h.insist(ctx, begun, func(ctx context.Context, q *maildb.Queries) error {
		return q.TakeBack(ctx, maildb.TakeBackParams{JobID: job.ID, AttemptedAt: *job.AttemptedAt})
	})
}

// again is how soon the database is asked once more.
const again = 100 * time.Millisecond

// insist records something, also while the database is started anew, as long as
// others wait for it.
func (h *handovers) insist(ctx context.Context, begun time.Time, record func(context.Context, *maildb.Queries) error) error {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), begun.Add(2*h.timeout))
	defer cancel()
	for {
		err := record(ctx, maildb.New(h.pool))
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("recording what became of a mail: %w", err)
		case <-time.After(again):
		}
	}
}

// Forget forgets of mails whose jobs are forgotten that they were handed over,
// and returns how many.
func Forget(ctx context.Context, pool *pgxpool.Pool) (int64, error) {
	n, err := maildb.New(pool).Forget(ctx)
	if err != nil {
		return 0, fmt.Errorf("forgetting mails: %w", err)
	}
	return n, nil
}
