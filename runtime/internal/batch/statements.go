package batch

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// DB is what a generated query runs on.
type DB interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Statements go to the database together, in one round trip, and run there in
// their order. Use one for the locks of a transaction and another for what was
// decided under them. One goroutine may use it.
type Statements struct{ asks []func(DB) error }

// Add adds the one statement that ask runs on its DB. Ask is called twice:
// first to learn the statement, with an error that it must return, then with
// what the database answered. So it only says what to run and where to put the
// answer.
func (s *Statements) Add(ask func(DB) error) { s.asks = append(s.asks, ask) }

// PlanOnce has the statements that follow, and the rest of the transaction, run
// by plans that PostgreSQL keeps. It would plan a statement anew for each list
// of ids, which takes longer than to run it.
func (s *Statements) PlanOnce(ctx context.Context) {
	s.Add(func(db DB) error {
		_, err := db.Exec(ctx, "SET LOCAL plan_cache_mode = force_generic_plan")
		return err
	})
}

// Send runs the statements in a transaction, and returns the error of the
// first that fails; those after it were not run.
func (s *Statements) Send(ctx context.Context, tx pgx.Tx) error {
	if len(s.asks) == 0 {
		return nil
	}
	var sent queue
	for i, ask := range s.asks {
		if err := ask(&sent); !errors.Is(err, errQueued) {
			return fmt.Errorf("statement %d of a batch does not wait for its answer: %w", i, err)
		}
		if sent.Len() != i+1 {
			return fmt.Errorf("statement %d of a batch is more than one", i)
		}
	}
	defer sent.trace(ctx, tx.Conn())()
	results := tx.SendBatch(ctx, &sent.Batch)
	var err error
	for _, ask := range s.asks {
		if err = ask(answers{results}); err != nil {
			break
		}
	}
	if closed := results.Close(); err == nil {
		err = closed
	}
	return err
}

// errQueued is what a statement gets that was not run yet.
var errQueued = errors.New("the statement was not run yet")

// queue is a DB that only notes what is to run.
type queue struct{ pgx.Batch }

func (q *queue) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	q.Queue(sql, args...)
	return pgconn.CommandTag{}, errQueued
}

func (q *queue) Query(_ context.Context, sql string, args ...any) (pgx.Rows, error) {
	q.Queue(sql, args...)
	return nil, errQueued
}

func (q *queue) QueryRow(_ context.Context, sql string, args ...any) pgx.Row {
	q.Queue(sql, args...)
	return queued{}
}

type queued struct{}

func (queued) Scan(...any) error { return errQueued }

// trace tells a connection's tracer of each statement, as if it were sent
// alone: pgx tells of a batch only a tracer that knows of batches.
func (q *queue) trace(ctx context.Context, conn *pgx.Conn) (end func()) {
	tracer := conn.Config().Tracer
	if _, told := tracer.(pgx.BatchTracer); told || tracer == nil {
		return func() {}
	}
	contexts := make([]context.Context, q.Len())
	for i, one := range q.QueuedQueries {
		contexts[i] = tracer.TraceQueryStart(ctx, conn, pgx.TraceQueryStartData{SQL: one.SQL, Args: one.Arguments})
	}
	return func() {
		for _, ctx := range contexts {
			tracer.TraceQueryEnd(ctx, conn, pgx.TraceQueryEndData{})
		}
	}
}

// answers is a DB that gives what the database answered, in its order.
type answers struct{ results pgx.BatchResults }

func (a answers) Exec(context.Context, string, ...any) (pgconn.CommandTag, error) {
	return a.results.Exec()
}

func (a answers) Query(context.Context, string, ...any) (pgx.Rows, error) { return a.results.Query() }

func (a answers) QueryRow(context.Context, string, ...any) pgx.Row { return a.results.QueryRow() }
