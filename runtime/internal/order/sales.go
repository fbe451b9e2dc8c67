package order

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/order/orderdb"
)

// Sales are the orders that were placed on a day, in UTC, in a currency, as
// they are now. Amounts are minor units; cancelled orders count in Cancelled
// alone, refunded ones also in everything else.
type Sales struct {
	Day                                      time.Time
	Currency                                 string
	Orders, Items                            int64
	Subtotal, Discount, Shipping, Tax, Total int64
	Cancelled, Refunded, RefundedTotal       int64
	// Exchanged is what was paid with what came back of other orders; it is no
	// part of Discount.
	Exchanged int64
}

// SalesOf adds up the orders of days.
func (s *Orders) SalesOf(ctx context.Context, days []time.Time) ([]Sales, error) {
	rows, err := orderdb.New(s.pool).SalesOfDays(ctx, days)
	if err != nil {
		return nil, fmt.Errorf("adding up orders: %w", err)
	}
	sales := make([]Sales, len(rows))
	for i, r := range rows {
		sales[i] = Sales(r)
	}
	return sales, nil
}

// Placed is an order without its lines, with amounts in minor units of its
// currency.
type Placed struct {
	ID     uuid.UUID
	Number int64
	State  string
	// CustomerID is nil for a guest's.
	CustomerID *uuid.UUID
	Email      string
	// Country is where it is shipped to, empty where it is not.
	Country, Currency                        string
	Subtotal, Discount, Shipping, Tax, Total int64
	ItemCount                                int64
	CreatedAt, UpdatedAt                     time.Time
}

// EachPlaced calls each for the orders that were placed from a moment on and
// before another, the first first. It reads them in parts, each by a statement
// of its own, for one over all of them would be ended by its timeout.
func (s *Orders) EachPlaced(ctx context.Context, from, before time.Time, each func(Placed) error) error {
	const most = 1000
	page := orderdb.OrdersAfterParams{After: from.Add(-time.Microsecond), AfterID: uuid.Max, Before: before, Most: most}
	for {
		rows, err := orderdb.New(s.pool).OrdersAfter(ctx, page)
		if err != nil {
			return fmt.Errorf("reading orders: %w", err)
		}
		for _, r := range rows {
			if err := each(Placed(r)); err != nil {
				return err
			}
		}
		if len(rows) < most {
			return nil
		}
		page.After, page.AfterID = rows[most-1].CreatedAt, rows[most-1].ID
	}
}
