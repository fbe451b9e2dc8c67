// Package stats is what a store's orders come to, day by day, kept so that
// reading it does not add up every order anew. It owns the tables sales_daily
// and sales_rollup; package order adds up a day.
package stats

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/order"
	"gitee.com/captainjez/gocart/runtime/internal/stats/statsdb"
)

const (
	// rollupInterval is how far behind the statistics are.
	rollupInterval = 15 * time.Minute
	// overlap is for how long a change is looked for again, since it is stored
	// later than the time that it bears, and processes' clocks differ.
	overlap = 15 * time.Minute
	// atOnce is how many days one statement adds up.
	atOnce = 100
)

// Rollup is the job that adds up the days whose orders changed.
type Rollup struct{}

// Kind is the job's name in the queue.
func (Rollup) Kind() string { return "statistics" }

// InsertOpts make one job an interval, however many workers ask for it.
func (Rollup) InsertOpts() river.InsertOpts { return jobs.Once(rollupInterval) }

// Statistics keeps sums of orders.
type Statistics struct {
	pool *pgxpool.Pool
	now  func() time.Time
}

// New keeps them in the database.
func New(pool *pgxpool.Pool, now func() time.Time) *Statistics {
	return &Statistics{pool: pool, now: now}
}

// Kind is the kind of jobs that keep them true.
func (s *Statistics) Kind(sweeper *jobs.Sweeper) jobs.Kind {
	about := "Adds up the days whose orders changed, for the statistics."
	return jobs.Sweeping[Rollup](sweeper, jobs.Kind{About: about, Every: rollupInterval}, jobs.Sweep{Name: "days of sales", Do: s.RollUp})
}

// RollUp adds up the days whose orders changed since the last time, and
// returns how many. Again, and two at once, come to the same: a day is always
// added up as a whole.
func (s *Statistics) RollUp(ctx context.Context) (n int64, err error) {
	err = db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
		q := statsdb.New(tx)
		before, err := q.LockRollup(ctx)
		if err != nil {
			return fmt.Errorf("waiting to add up orders: %w", err)
		}
		now := s.now()
		days, err := order.ChangedDays(ctx, tx, before.Add(-overlap))
		if err != nil {
			return err
		}
		n = int64(len(days))
		for part := range slices.Chunk(days, atOnce) {
			sales, err := order.SalesOf(ctx, tx, part)
			if err != nil {
				return err
			}
			if err := q.StoreSales(ctx, rows(sales)); err != nil {
				return fmt.Errorf("storing statistics: %w", err)
			}
		}
		if err := q.SetRollup(ctx, now); err != nil {
			return fmt.Errorf("noting what was added up: %w", err)
		}
		return nil
	})
	return n, err
}

func rows(all []order.Sales) (r statsdb.StoreSalesParams) {
	for _, s := range all {
		r.Days, r.Currencies = append(r.Days, s.Day), append(r.Currencies, s.Currency)
		r.Orders, r.Items = append(r.Orders, s.Orders), append(r.Items, s.Items)
		r.Subtotals, r.Discounts = append(r.Subtotals, s.Subtotal), append(r.Discounts, s.Discount)
		r.Shippings, r.Taxes = append(r.Shippings, s.Shipping), append(r.Taxes, s.Tax)
		r.Totals, r.Cancelled = append(r.Totals, s.Total), append(r.Cancelled, s.Cancelled)
		r.Refunded, r.RefundedTotals = append(r.Refunded, s.Refunded), append(r.RefundedTotals, s.RefundedTotal)
	}
	return r
}

// Sales are the days from the first to the last, in UTC, and up to when changes
// of orders are counted in them; the zero time where none are yet.
func (s *Statistics) Sales(ctx context.Context, first, last time.Time) (sales []order.Sales, before time.Time, err error) {
	q := statsdb.New(s.pool)
	before, err = q.Rollup(ctx) // first, so that it is not said of more than was read
	if err == nil {
		var found []statsdb.SalesDaily
		found, err = q.SalesBetween(ctx, statsdb.SalesBetweenParams{First: first, Last: last})
		for _, r := range found {
			sales = append(sales, order.Sales(r))
		}
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("reading statistics: %w", err)
	}
	if before.Unix() == 0 {
		before = time.Time{}
	}
	return sales, before.UTC(), nil
}
