package order

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

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
}

// ChangedDays are the days, in UTC, on which orders were placed that changed at
// a moment or after it.
func ChangedDays(ctx context.Context, tx pgx.Tx, since time.Time) ([]time.Time, error) {
	days, err := orderdb.New(tx).ChangedDays(ctx, since)
	if err != nil {
		return nil, fmt.Errorf("finding days whose orders changed: %w", err)
	}
	return days, nil
}

// SalesOf adds up the orders of days.
func SalesOf(ctx context.Context, tx pgx.Tx, days []time.Time) ([]Sales, error) {
	rows, err := orderdb.New(tx).SalesOfDays(ctx, days)
	if err != nil {
		return nil, fmt.Errorf("adding up orders: %w", err)
	}
	sales := make([]Sales, len(rows))
	for i, r := range rows {
		sales[i] = Sales(r)
	}
	return sales, nil
}
