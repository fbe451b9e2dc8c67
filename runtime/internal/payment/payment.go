package payment

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/payment/paymentdb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// HoldFor is how long an order waits for a payment that expires.
const HoldFor = 30 * time.Minute

// Payment is money that an order brings.
type Payment struct {
	ID, OrderID uuid.UUID
	Provider    string
	State       openapi.PaymentState
	Amount      money.Amount
	Reference   string
	// Expires is known while the payment is made; see Result.
	Expires bool
}

// Public is the payment as callers see it.
func (p Payment) Public() openapi.Payment {
	return openapi.Payment{
		Id: p.ID, Provider: p.Provider, State: p.State,
		Amount: openapi.Money{Amount: p.Amount.Decimal(), Currency: p.Amount.Currency},
	}
}

// Payments makes and moves payments.
type Payments struct {
	providers map[string]Provider
	now       func() time.Time
}

// New loads the providers of the configuration. The test provider in
// production is ErrTestInProduction.
func New(c config.Config, now func() time.Time) (*Payments, error) {
	all, err := providers(c)
	return &Payments{providers: all, now: now}, err
}

// Use adds a provider by its name; it is not for use while requests are served.
func (s *Payments) Use(name string, by Provider) { s.providers[name] = by }

// Authorize sets the amount aside at the provider; nothing is stored yet. An
// order of nothing needs no provider.
func (s *Payments) Authorize(ctx context.Context, provider, token string, orderID uuid.UUID, amount money.Amount) (Payment, error) {
	p := Payment{ID: uuid.Must(uuid.NewV7()), OrderID: orderID, Provider: provider, Amount: amount}
	by, ok := s.providers[provider]
	if !ok {
		names := strings.Join(slices.Sorted(maps.Keys(s.providers)), " or ")
		return p, problem.Invalid(problem.Field{Pointer: "/payment/provider", Detail: "must be " + names})
	}
	if amount.Minor == 0 {
		p.State = openapi.PaymentStateCaptured
		return p, nil
	}
	result, err := by.Authorize(ctx, Request{ID: p.ID, OrderID: orderID, Amount: amount, Token: token})
	if err != nil {
		return p, err
	}
	p.State, p.Reference, p.Expires = result.State, result.Reference, result.Expires
	return p, nil
}

// Abandon gives up a payment whose order was not placed after all.
func (s *Payments) Abandon(ctx context.Context, p Payment) error {
	if p.Amount.Minor == 0 {
		return nil
	}
	return s.providers[p.Provider].Void(context.WithoutCancel(ctx), p)
}

// Store keeps payments with the orders of the transaction in which the
// statements are sent.
func (s *Payments) Store(ctx context.Context, statements *batch.Statements, all []Payment) {
	rows := paymentdb.InsertPaymentsParams{At: s.now()}
	for _, p := range all {
		rows.Ids = append(rows.Ids, p.ID)
		rows.OrderIds = append(rows.OrderIds, p.OrderID)
		rows.Providers = append(rows.Providers, p.Provider)
		rows.States = append(rows.States, string(p.State))
		rows.Amounts = append(rows.Amounts, p.Amount.Minor)
		rows.Currencies = append(rows.Currencies, p.Amount.Currency)
		rows.Refs = append(rows.Refs, p.Reference)
	}
	statements.Add(func(db batch.DB) error {
		if err := paymentdb.New(db).InsertPayments(ctx, rows); err != nil {
			return fmt.Errorf("storing payments: %w", err)
		}
		return nil
	})
}

// Of lists an order's payments.
func (s *Payments) Of(ctx context.Context, q paymentdb.DBTX, orderID uuid.UUID) ([]Payment, error) {
	rows, err := paymentdb.New(q).PaymentsOf(ctx, orderID)
	if err != nil {
		return nil, fmt.Errorf("reading payments: %w", err)
	}
	all := make([]Payment, len(rows))
	for i, r := range rows {
		all[i] = Payment{
			ID: r.ID, OrderID: r.OrderID, Provider: r.Provider, State: openapi.PaymentState(r.State),
			Amount: money.Amount{Minor: r.Amount, Currency: r.Currency}, Reference: r.Reference,
		}
	}
	return all, nil
}

// Confirm notes that pending payments of an order came in. It returns those
// that it moved, as do Capture and Undo.
func (s *Payments) Confirm(ctx context.Context, tx pgx.Tx, orderID uuid.UUID) ([]Payment, error) {
	return s.each(ctx, tx, orderID, func(p Payment) (openapi.PaymentState, error) {
		if p.State == openapi.PaymentStatePending {
			return openapi.PaymentStateCaptured, nil
		}
		return p.State, nil
	})
}

// Capture takes what is set aside for an order.
func (s *Payments) Capture(ctx context.Context, tx pgx.Tx, orderID uuid.UUID) ([]Payment, error) {
	return s.each(ctx, tx, orderID, func(p Payment) (openapi.PaymentState, error) {
		if p.State != openapi.PaymentStateAuthorized {
			return p.State, nil
		}
		by, err := s.by(p)
		if err != nil {
			return p.State, err
		}
		return openapi.PaymentStateCaptured, by.Capture(ctx, p)
	})
}

// Undo gives back what an order brought: what is only set aside or pending is
// voided, what was taken is refunded.
func (s *Payments) Undo(ctx context.Context, tx pgx.Tx, orderID uuid.UUID) ([]Payment, error) {
	return s.each(ctx, tx, orderID, func(p Payment) (openapi.PaymentState, error) {
		switch p.State {
		case openapi.PaymentStatePending, openapi.PaymentStateAuthorized:
			by, err := s.by(p)
			if err != nil {
				return p.State, err
			}
			return openapi.PaymentStateVoided, by.Void(ctx, p)
		case openapi.PaymentStateCaptured:
			if p.Amount.Minor == 0 {
				return openapi.PaymentStateVoided, nil
			}
			by, err := s.by(p)
			if err != nil {
				return p.State, err
			}
			return openapi.PaymentStateRefunded, by.Refund(ctx, p)
		case openapi.PaymentStateVoided, openapi.PaymentStateFailed, openapi.PaymentStateRefunded:
		}
		return p.State, nil
	})
}

func (s *Payments) by(p Payment) (Provider, error) {
	by, ok := s.providers[p.Provider]
	if !ok {
		return nil, problem.New(http.StatusConflict, "provider_not_loaded",
			"The payment was made through %q, which this store does not load now.", p.Provider)
	}
	return by, nil
}

// each moves an order's payments to the states that to gives, and returns those
// that were in another one.
func (s *Payments) each(ctx context.Context, tx pgx.Tx, orderID uuid.UUID, to func(Payment) (openapi.PaymentState, error)) ([]Payment, error) {
	all, err := s.Of(ctx, tx, orderID)
	if err != nil {
		return nil, err
	}
	var moved []Payment
	for _, p := range all {
		state, err := to(p)
		if err != nil {
			return nil, fmt.Errorf("payment %s: %w", p.ID, err)
		}
		if state == p.State {
			continue
		}
		if err := paymentdb.New(tx).SetState(ctx, paymentdb.SetStateParams{ID: p.ID, State: string(state), At: s.now()}); err != nil {
			return nil, fmt.Errorf("storing a payment's state: %w", err)
		}
		p.State = state
		moved = append(moved, p)
	}
	return moved, nil
}
