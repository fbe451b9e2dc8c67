package payment

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/payment/paymentdb"
)

// Sums are what an order's payments come to, in minor units.
type Sums struct{ Captured, Refunded int64 }

// Sums adds up the payments of orders; an order without payments has none.
func (s *Payments) Sums(ctx context.Context, tx pgx.Tx, orderIDs []uuid.UUID) (map[uuid.UUID]Sums, error) {
	rows, err := paymentdb.New(tx).SumsOf(ctx, orderIDs)
	if err != nil {
		return nil, fmt.Errorf("adding up payments: %w", err)
	}
	sums := make(map[uuid.UUID]Sums, len(rows))
	for _, r := range rows {
		sums[r.OrderID] = Sums{Captured: r.Captured, Refunded: r.Refunded}
	}
	return sums, nil
}
