package batch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

// tracer notes the queries that it is told of. pgx tells it of the end of those
// in a batch, too, of whose begin it does not.
type tracer struct{ began, ended []string }

type tracedKey struct{}

func (s *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	s.began = append(s.began, q.SQL)
	return context.WithValue(ctx, tracedKey{}, q.SQL)
}

func (s *tracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if sql, ok := ctx.Value(tracedKey{}).(string); ok {
		s.ended = append(s.ended, sql)
	}
}

// inTx runs f in a transaction of a database of its own.
func inTx(t *testing.T, f func(tx pgx.Tx) error) (*tracer, error) {
	t.Helper()
	c, err := pgx.ParseConfig(testbed.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	seen := &tracer{}
	c.Tracer = seen
	conn, err := pgx.ConnectConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	return seen, pgx.BeginFunc(t.Context(), conn, f)
}

func TestStatementsAnswerInTheirOrder(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var sum int
	var changed int64
	var listed []int
	_, err := inTx(t, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "CREATE TEMPORARY TABLE n AS SELECT generate_series(1, 4) AS n"); err != nil {
			return err
		}
		var s batch.Statements
		s.PlanOnce(ctx)
		s.Add(func(db batch.DB) error { return db.QueryRow(ctx, "SELECT sum(n) FROM n").Scan(&sum) })
		s.Add(func(db batch.DB) error {
			tag, err := db.Exec(ctx, "UPDATE n SET n = n + $1 WHERE n > 2", 10)
			changed = tag.RowsAffected()
			return err
		})
		s.Add(func(db batch.DB) error {
			rows, err := db.Query(ctx, "SELECT n FROM n ORDER BY n")
			if err != nil {
				return err
			}
			listed, err = pgx.CollectRows(rows, pgx.RowTo[int])
			return err
		})
		return s.Send(ctx, tx)
	})
	if err != nil || sum != 10 || changed != 2 || !slices.Equal(listed, []int{1, 2, 13, 14}) {
		t.Fatalf("%d in all, %d changed, %v, %v", sum, changed, listed, err)
	}
}

func TestAStatementThatFailsIsTheErrorAndThoseAfterItDoNotRun(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	answered := 0
	_, err := inTx(t, func(tx pgx.Tx) error {
		var s batch.Statements
		for _, divisor := range []int{1, 0, 2} {
			s.Add(func(db batch.DB) error {
				var n int
				if err := db.QueryRow(ctx, "SELECT 1 / $1::integer", divisor).Scan(&n); err != nil {
					return fmt.Errorf("by %d: %w", divisor, err)
				}
				answered++
				return nil
			})
		}
		return s.Send(ctx, tx)
	})
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pg.Code != "22012" || !strings.HasPrefix(err.Error(), "by 0: ") || answered != 1 {
		t.Fatalf("%v after %d answers", err, answered)
	}
}

func TestOnlyOneStatementAtATimeCanBeAdded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, ask := range map[string]func(batch.DB) error{
		"none": func(batch.DB) error { return nil },
		"two": func(db batch.DB) error {
			_, _ = db.Exec(ctx, "SELECT 1")
			_, err := db.Exec(ctx, "SELECT 2")
			return err
		},
		"one whose error is lost": func(db batch.DB) error {
			_, _ = db.Exec(ctx, "SELECT 1")
			return nil
		},
	} {
		seen, err := inTx(t, func(tx pgx.Tx) error {
			var s batch.Statements
			s.Add(ask)
			return s.Send(ctx, tx)
		})
		if err == nil || slices.Contains(seen.began, "SELECT 1") {
			t.Errorf("%s: %v, sent %q", name, err, seen.began)
		}
	}
}

func TestATracerOfQueriesIsToldOfEachStatement(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	seen, err := inTx(t, func(tx pgx.Tx) error {
		var s batch.Statements
		for _, sql := range []string{"SELECT 1", "SELECT 2"} {
			s.Add(func(db batch.DB) error {
				_, err := db.Exec(ctx, sql)
				return err
			})
		}
		return s.Send(ctx, tx)
	})
	want := []string{"begin", "SELECT 1", "SELECT 2", "commit"}
	if err != nil || !slices.Equal(seen.began, want) || !slices.Equal(seen.ended, want) {
		t.Fatalf("%v: began %q, ended %q", err, seen.began, seen.ended)
	}
}

func TestNothingToSendIsNothingToDo(t *testing.T) {
	t.Parallel()
	var s batch.Statements
	if err := s.Send(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}
