package events

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events/eventsdb"
)

// The readers that there are.
const (
	// Webhooks tells others' programs.
	Webhooks = "webhooks"
	// Statistics counts what happens to orders.
	Statistics = "statistics"
)

// Reader reads every event with a position, in order, each once, whichever
// process does it and however it ends: how far it has come is in the database,
// and moves in the transaction of what is done with the events. Nothing is
// forgotten that it has yet to read.
type Reader struct {
	pool *pgxpool.Pool
	name string
}

// NewReader continues for one of the names of this package. Any number of
// processes may have one of the same name.
func NewReader(pool *pgxpool.Pool, name string) *Reader { return &Reader{pool: pool, name: name} }

// Read gives take up to 1,000 events that were not read yet, in a transaction
// that also notes that they were, and returns how many; fewer than 1,000 are
// all that there are. Where take fails they are read again. For no events take
// is not called.
func (r *Reader) Read(ctx context.Context, take func(ctx context.Context, tx pgx.Tx, all []Published) error) (n int, err error) {
	err = db.WithTx(ctx, r.pool, func(tx pgx.Tx) error {
		q := eventsdb.New(tx)
		position, err := q.LockReader(ctx, r.name)
		if err != nil {
			return fmt.Errorf("reading for %s: %w", r.name, err)
		}
		rows, err := q.EventsAfter(ctx, eventsdb.EventsAfterParams{After: position, Most: page})
		if err != nil {
			return fmt.Errorf("reading events for %s: %w", r.name, err)
		}
		if n = len(rows); n == 0 {
			return nil
		}
		all := make([]Published, n)
		for i, row := range rows {
			all[i] = published(row)
		}
		if err := take(ctx, tx, all); err != nil {
			return err
		}
		if err := q.MoveReader(ctx, eventsdb.MoveReaderParams{Name: r.name, Position: all[n-1].Position}); err != nil {
			return fmt.Errorf("noting what %s has read: %w", r.name, err)
		}
		return nil
	})
	return n, err
}

// Most is how many events Read gives at once.
const Most = page

// Skip notes that all events that there are were read, where no webhook
// endpoint is enabled at that moment; otherwise it does nothing.
func (r *Reader) Skip(ctx context.Context) error {
	if err := eventsdb.New(r.pool).SkipReader(ctx, r.name); err != nil {
		return fmt.Errorf("passing over events for %s: %w", r.name, err)
	}
	return nil
}

// Since is the moment up to which everything that happened was read, as far as
// who asks can see; the zero time where all of it was.
func (r *Reader) Since(ctx context.Context, over eventsdb.DBTX) (since time.Time, err error) {
	unread, err := eventsdb.New(over).FirstUnread(ctx, r.name)
	if err != nil {
		return since, fmt.Errorf("finding what %s has yet to read: %w", r.name, err)
	}
	for _, at := range unread {
		if since.IsZero() || at.Before(since) {
			since = at.UTC()
		}
	}
	return since, nil
}
