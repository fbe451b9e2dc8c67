// Package stats is what a store's orders come to, by time, product, buyer, tax
// and coupon, kept so that reading it does not add up every order anew. It owns
// the tables statistics_*; packages order and payment tell what an order is.
//
// It reads the outbox as the reader events.Statistics. Whatever happens to an
// order, what the order is now is compared with what was counted of it, and the
// difference is added to the sums of the time at which it was placed: in the
// transaction that notes that the event was read. So no order is counted twice
// however a process ends, one that is edited, cancelled or refunded later
// corrects what it was counted for, and who checks out pays nothing for it.
// Orders that were there before are counted in parts beside that.
//
// Sums are kept by quarters of an hour, days, months and years in UTC. A
// period in any time zone is made up of the largest of them, and what they
// leave out at its ends, such as a part of a day, of what was counted of each
// order. So every figure is the exact sum over the orders that were counted.
package stats

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/order"
	"gitee.com/captainjez/gocart/runtime/internal/stats/statsdb"
)

const (
	// lookEvery is how often a process looks for what happened, and so about how
	// far the statistics are behind. What happens meanwhile is counted together.
	lookEvery = time.Second
	// atOnce is how many of the orders that were there before are counted in one
	// transaction.
	atOnce = 1000
)

// Dependencies are what statistics take beside the database.
type Dependencies struct {
	Orders *order.Orders
	// Currency is the store's own.
	Currency func(context.Context) (string, error)
}

// Statistics keeps sums of orders. Any number of processes may do so: one at a
// time counts.
type Statistics struct {
	pool   *pgxpool.Pool
	uses   Dependencies
	reader *events.Reader
	log    *slog.Logger
	now    func() time.Time
}

// New keeps them in the database.
func New(pool *pgxpool.Pool, d Dependencies, log *slog.Logger, now func() time.Time) *Statistics {
	return &Statistics{pool: pool, uses: d, reader: events.NewReader(pool, events.Statistics), log: log, now: now}
}

// Run counts until ctx ends.
func (s *Statistics) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	healthy := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		_, err := s.CatchUp(ctx)
		if ok := err == nil; ok != healthy && ctx.Err() == nil {
			if healthy = ok; ok {
				s.log.Info("statistics are counted again")
			} else {
				s.log.Warn("statistics are not counted, and will be later", "reason", db.Explain(err).Message)
			}
		}
		timer.Reset(lookEvery)
	}
}

// CatchUp counts what happened to orders, and orders that were there before
// anything was counted, until there are none left; it returns how many orders
// were looked at.
func (s *Statistics) CatchUp(ctx context.Context) (n int64, err error) {
	for {
		looked := 0
		read, err := s.reader.Read(ctx, func(ctx context.Context, tx pgx.Tx, all []events.Published) error {
			ids := touched(all)
			looked = len(ids)
			return s.count(ctx, tx, ids)
		})
		if err != nil {
			return n, err
		}
		n += int64(looked)
		counted, left, err := s.countBefore(ctx)
		if n += int64(counted); err != nil || read < events.Most && !left {
			return n, err
		}
	}
}

// touched are the ids that may be those of orders to which something happened:
// what the events are about, and the orderId that they tell.
func touched(all []events.Published) []uuid.UUID {
	seen := map[uuid.UUID]bool{}
	for _, e := range all {
		if e.Topic == events.Orders {
			seen[e.Subject] = true
		}
		if !bytes.Contains(e.Data, []byte(`"orderId"`)) {
			continue
		}
		var data struct {
			OrderID uuid.UUID `json:"orderId"`
		}
		if json.Unmarshal(e.Data, &data) == nil {
			seen[data.OrderID] = true
		}
	}
	ids := make([]uuid.UUID, 0, len(seen))
	for id := range seen {
		ids = append(ids, id)
	}
	return ids
}

// countBefore counts the next of the orders that were there before anything
// was counted, and reports whether there may be more of them.
func (s *Statistics) countBefore(ctx context.Context) (n int, left bool, err error) {
	if to, err := statsdb.New(s.pool).Progress(ctx); err != nil || to == nil {
		if err != nil {
			err = fmt.Errorf("reading how far statistics are: %w", err)
		}
		return 0, false, err
	}
	err = db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
		q := statsdb.New(tx)
		to, err := q.LockProgress(ctx)
		if err != nil {
			return fmt.Errorf("waiting to count orders: %w", err)
		}
		if n, left = 0, false; to == nil {
			return nil // another has come to the end
		}
		ids, err := s.uses.Orders.After(ctx, tx, *to, atOnce)
		if err != nil {
			return err
		}
		n = len(ids)
		if to = nil; n == atOnce {
			to, left = &ids[n-1], true
		}
		if err := s.count(ctx, tx, ids); err != nil {
			return err
		}
		if err := q.SetProgress(ctx, to); err != nil {
			return fmt.Errorf("noting which orders were counted: %w", err)
		}
		return nil
	})
	return n, left, err
}
