package payment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/payment/paymentdb"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// An attempt is written before a provider elsewhere is asked for money, and
// taken away by the transaction that stores the order. One that stays had no
// order in the end, whatever happened to the process: after abandonedAfter,
// which no order takes to be placed, it is given up, and whatever the provider
// has of it is voided. Given up comes first: a process that slept for so long
// finds its attempt gone, and does not place the order.

// abandonedAfter is when an attempt is given up.
const abandonedAfter = 10 * time.Minute

// errGivenUp says that the payment of an order was given up before the order
// was stored.
var errGivenUp = errors.New("the payment was given up before its order was stored")

func (s *Payments) attempt(ctx context.Context, p *Payment) error {
	err := paymentdb.New(s.pool).InsertAttempt(ctx, paymentdb.InsertAttemptParams{
		ID: p.ID, OrderID: p.OrderID, Provider: p.Provider, Amount: p.Amount.Minor, Currency: p.Amount.Currency, At: s.now(),
	})
	if err != nil {
		return fmt.Errorf("noting an attempt to pay: %w", err)
	}
	p.attempted = true
	return nil
}

// takeAttempts takes attempts away when the statements are sent; those that
// were given up meanwhile are an error.
func takeAttempts(ctx context.Context, statements *batch.Statements, ids []uuid.UUID) {
	if len(ids) == 0 {
		return
	}
	statements.Add(func(db batch.DB) error {
		n, err := paymentdb.New(db).TakeAttempts(ctx, ids)
		if err != nil {
			return fmt.Errorf("taking attempts to pay: %w", err)
		}
		if n != int64(len(ids)) {
			return errGivenUp
		}
		return nil
	})
}

// Abandon gives up a payment whose order was not placed after all. Where the
// provider cannot be told, ExpireAttempts tells it later.
func (s *Payments) Abandon(ctx context.Context, p Payment) error {
	if p.Amount.Minor == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if p.attempted {
		if err := paymentdb.New(s.pool).GiveUpAttempt(ctx, p.ID); err != nil {
			return fmt.Errorf("giving an attempt to pay up: %w", err)
		}
	}
	if err := s.release(ctx, s.providers[p.Provider], p); err != nil {
		return err
	}
	if !p.attempted {
		return nil
	}
	return paymentdb.New(s.pool).ForgetAttempt(ctx, p.ID)
}

// release has a provider give a payment up that has no order.
func (s *Payments) release(ctx context.Context, by Provider, p Payment) error {
	// The payment's own id would be the key of its making.
	o := Operation{ID: uuid.NewSHA1(p.ID, []byte("abandon")), PaymentID: p.ID, Kind: openapi.PaymentOperationKindVoid, Amount: p.Amount}
	var err error
	if p.Captured > 0 {
		o.Kind, o.Amount = openapi.PaymentOperationKindRefund, p.amount(p.Captured-p.Refunded)
		_, err = by.Refund(ctx, p, o)
	} else {
		_, err = by.Void(ctx, p, o)
	}
	s.metrics.asked(p.Provider, string(o.Kind), err)
	return err
}

// ExpireAttempts gives up payments of orders that were never stored, and
// returns how many. Two at once do no harm.
func (s *Payments) ExpireAttempts(ctx context.Context) (int, error) {
	const most = 100
	q := paymentdb.New(s.pool)
	rows, err := q.GiveUpAttempts(ctx, paymentdb.GiveUpAttemptsParams{Before: s.now().Add(-abandonedAfter), At: new(s.now()), Most: most})
	if err != nil {
		return 0, fmt.Errorf("finding payments without an order: %w", err)
	}
	done := 0
	var failed error
	for _, r := range rows {
		p := Payment{ID: r.ID, OrderID: r.OrderID, Provider: r.Provider, Amount: money.Amount{Minor: r.Amount, Currency: r.Currency}}
		if err := s.expire(ctx, p, r.CreatedAt); err != nil {
			failed = errors.Join(failed, fmt.Errorf("giving payment %s up, which has no order: %w", r.ID, err))
			continue
		}
		if err := q.ForgetAttempt(ctx, r.ID); err != nil {
			return done, fmt.Errorf("forgetting an attempt to pay: %w", err)
		}
		done++
	}
	return done, failed
}

func (s *Payments) expire(ctx context.Context, p Payment, at time.Time) error {
	by, err := s.by(p)
	if err != nil {
		return err
	}
	elsewhere, ok := by.(Elsewhere)
	if !ok {
		return nil
	}
	facts, err := elsewhere.Find(ctx, p.ID, at)
	if errors.Is(err, ErrNoPayment) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.giveUp(ctx, elsewhere, p, facts)
}

// giveUp has a provider give up what it has of a payment that has no order.
func (s *Payments) giveUp(ctx context.Context, by Provider, p Payment, facts Facts) error {
	p.Reference, p.Captured, p.Refunded = facts.Reference, facts.Captured, facts.Refunded
	if facts.State == openapi.PaymentStateVoided || p.Captured > 0 && p.Captured == p.Refunded {
		return nil
	}
	if err := s.release(ctx, by, p); err != nil {
		return err
	}
	s.log.WarnContext(ctx, "a payment without an order was given up", "payment", p.ID, "provider", p.Provider, "reference", p.Reference)
	return nil
}
