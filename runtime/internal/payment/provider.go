// Package payment takes money through providers and remembers how each payment
// stands. It owns the table payments. Card data never comes here: a provider's
// own form turns it into a token.
package payment

import (
	"context"
	"errors"
	"net/http"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Request asks a provider for money.
type Request struct {
	// ID is the payment's; a provider that sees it again does nothing twice.
	ID      uuid.UUID
	OrderID uuid.UUID
	Amount  money.Amount
	// Token is what the provider's form gave the buyer.
	Token string
}

// Result is how a payment stands at its provider.
type Result struct {
	// State is authorized, or pending where the buyer has something left to do.
	State openapi.PaymentState
	// Reference is the provider's own name for the payment.
	Reference string
	// Expires says that a pending payment is given up after HoldFor.
	Expires bool
}

// Provider is one way to pay.
type Provider interface {
	// Authorize sets the amount aside. A payment that the provider refuses is
	// a *problem.Problem with status 402.
	Authorize(ctx context.Context, r Request) (Result, error)
	// Capture takes what was set aside.
	Capture(ctx context.Context, p Payment) error
	// Void gives up what was set aside or is pending.
	Void(ctx context.Context, p Payment) error
	// Refund gives back what was taken.
	Refund(ctx context.Context, p Payment) error
}

// ErrTestInProduction is why the test provider does not load.
var ErrTestInProduction = errors.New("the payment provider test takes no money and does not load in production")

// providers are the ways to pay that the configuration allows, by name.
func providers(c config.Config) (map[string]Provider, error) {
	all := map[string]Provider{"manual": manual{}}
	if c.Payments.Test {
		if c.Store.Mode != config.ModeDevelopment {
			return nil, ErrTestInProduction
		}
		all["test"] = test{}
	}
	return all, nil
}

// manual is money that comes in outside of the store, by bank transfer or on
// delivery: its payments are pending until a member of staff confirms the
// order.
type manual struct{}

func (manual) Authorize(context.Context, Request) (Result, error) {
	return Result{State: openapi.PaymentStatePending}, nil
}
func (manual) Capture(context.Context, Payment) error { return nil }
func (manual) Void(context.Context, Payment) error    { return nil }
func (manual) Refund(context.Context, Payment) error  { return nil }

// test takes no money. Its tokens say what happens: "" or tok_success is
// authorized, tok_pending stays pending, tok_declined is refused.
type test struct{}

func (test) Authorize(_ context.Context, r Request) (Result, error) {
	switch r.Token {
	case "", "tok_success":
		return Result{State: openapi.PaymentStateAuthorized, Reference: "test_" + r.ID.String()}, nil
	case "tok_pending":
		return Result{State: openapi.PaymentStatePending, Reference: "test_" + r.ID.String(), Expires: true}, nil
	case "tok_declined":
		return Result{}, problem.New(http.StatusPaymentRequired, "payment_declined", "The payment was declined. No order was placed; try another way to pay.")
	}
	return Result{}, problem.Invalid(problem.Field{Pointer: "/payment/token", Detail: "must be tok_success, tok_pending or tok_declined"})
}
func (test) Capture(context.Context, Payment) error { return nil }
func (test) Void(context.Context, Payment) error    { return nil }
func (test) Refund(context.Context, Payment) error  { return nil }
