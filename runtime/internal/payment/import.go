package payment

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/payment/paymentdb"
)

// MarkUndone says of payments that came in that their orders are no more.
func (s *Payments) MarkUndone(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) error {
	if err := paymentdb.New(tx).MarkUndone(ctx, ids); err != nil {
		return fmt.Errorf("storing payments: %w", err)
	}
	return nil
}
