package events_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

// BenchmarkOutbox has four writers append b.N events in transactions of their
// own, the relay order them, and one reader read them all. Beside it the same
// writers store the same rows in a table with a key and nothing else, which
// nobody orders or reads. PostgreSQL is as tests have it, which does not flush.
func BenchmarkOutbox(b *testing.B) {
	const writers = 4
	write := func(b *testing.B, pool *pgxpool.Pool, one func(tx pgx.Tx) error) {
		b.Helper()
		var next atomic.Int64
		var running sync.WaitGroup
		for range writers {
			running.Go(func() {
				for next.Add(1) <= int64(b.N) {
					if err := db.WithTx(b.Context(), pool, one); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		running.Wait()
	}
	data := map[string]any{"number": "1001", "to": "confirmed", "total": map[string]string{"amount": "19.90", "currency": "EUR"}}
	b.Run("appended, ordered and read", func(b *testing.B) {
		pool := testbed.Pools(b).Main
		log := events.NewLog(pool)
		ctx, stop := context.WithCancel(b.Context())
		var running sync.WaitGroup
		defer running.Wait()
		defer stop()
		relay := events.NewRelay(log, nil, (&testbed.Log{}).Logger(), prometheus.NewRegistry())
		running.Go(func() { relay.Run(ctx) })
		reader := events.NewReader(pool, events.Webhooks)
		b.ResetTimer()
		read := make(chan error, 1)
		running.Go(func() {
			for all := 0; all < b.N; {
				n, err := reader.Read(ctx, func(context.Context, pgx.Tx, []events.Published) error { return nil })
				if err != nil {
					read <- err
					return
				}
				if all += n; n == 0 {
					select {
					case <-ctx.Done():
					case <-time.After(time.Millisecond):
					}
				}
			}
			read <- nil
		})
		write(b, pool, func(tx pgx.Tx) error {
			return log.Append(b.Context(), tx, events.Event{
				Type: "order.placed", Topic: events.Orders, Subject: uuid.Must(uuid.NewV7()), Actor: "guest", Public: true, Data: data, At: time.Now(),
			})
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appended/s")
		if err := <-read; err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("bare rows", func(b *testing.B) {
		pool := testbed.Pools(b).Main
		if _, err := pool.Exec(b.Context(), `CREATE TABLE bare (id uuid PRIMARY KEY, type text, subject_id uuid, data jsonb, created_at timestamptz)`); err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		write(b, pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(b.Context(), `INSERT INTO bare VALUES ($1, $2, $3, $4, $5)`, uuid.Must(uuid.NewV7()), "order.placed", uuid.Must(uuid.NewV7()), data, time.Now())
			return err
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}
