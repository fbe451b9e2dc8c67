package payment

import (
	"context"
	"errors"
	"net/http"
	"time"

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

// Facts are how a payment stands at its provider.
type Facts struct {
	// Reference is the provider's own name for the payment, empty where the
	// provider has nothing to say.
	Reference string
	State     openapi.PaymentState
	// Captured and Refunded are what was taken and given back in all, in minor units.
	Captured, Refunded int64
	// Expires says that a payment which waits is given up after HoldFor.
	Expires bool
	// NextAction is what the buyer has left to do, nil for nothing.
	NextAction *openapi.PaymentAction
	// Operation is the provider's own name for what it was asked to do.
	Operation string
	// Store, PaymentID and Amount are what the provider was given; Store is
	// namespace/name, empty for what no store of this kind made.
	Store     string
	PaymentID uuid.UUID
	Amount    money.Amount
}

// Provider is one way to pay. What it refuses for good is a *Refusal, and of
// Authorize a *problem.Problem; after another error nobody knows what it did.
type Provider interface {
	// Authorize sets the amount aside. A payment that the provider refuses is
	// a *problem.Problem with status 402.
	Authorize(ctx context.Context, r Request) (Facts, error)
	// Capture takes the operation's amount of what was set aside, and sets the
	// rest free.
	Capture(ctx context.Context, p Payment, o Operation) (Facts, error)
	// Void gives up what was set aside or has not come in.
	Void(ctx context.Context, p Payment, o Operation) (Facts, error)
	// Refund gives the operation's amount back. Asked again for the same
	// operation it does nothing, however much later that is.
	Refund(ctx context.Context, p Payment, o Operation) (Facts, error)
}

// Elsewhere is a provider over the network: it may have done what it did not
// answer, and things happen there that nobody asked for here.
type Elsewhere interface {
	Provider
	// Fetch tells how a payment stands, by the provider's own name for it.
	Fetch(ctx context.Context, reference string) (Facts, error)
	// List calls each for the payments made from a moment on and before another.
	List(ctx context.Context, from, before time.Time, each func(Facts) error) error
	// ListRefunds calls each for the refunds made from a moment on and before
	// another, as an event about each would tell of it now.
	ListRefunds(ctx context.Context, from, before time.Time, each func(Event) error) error
	// ListDisputes calls each for the chargebacks that came up from a moment on
	// and before another, with how their payments stand.
	ListDisputes(ctx context.Context, from, before time.Time, each func(Facts, Dispute) error) error
	// FetchDispute tells how a chargeback and its payment stand, by the
	// provider's own name for it. One that is not there is ErrNoPayment.
	FetchDispute(ctx context.Context, reference string) (Facts, Dispute, error)
}

// Hook is a provider that tells of events.
type Hook interface {
	// Verify is nil where the provider itself said this just now.
	Verify(raw []byte, header http.Header) error
	// Read decodes an event that was verified.
	Read(raw []byte) (Event, error)
	// Keep is what of an event is kept: enough for Read to read the same of it,
	// and nothing of its buyer.
	Keep(raw []byte) ([]byte, error)
}

// Event is what a provider tells.
type Event struct {
	// ID is the provider's, the same whenever it tells of it.
	ID, Type string
	// Reference is the provider's own name for the payment that it is about;
	// empty for what is none of a store's business.
	Reference string
	// Facts are nil where the provider is to be asked for them.
	Facts *Facts
	// FailedRefund is the provider's own name for a refund that failed after
	// it had been taken for done, empty for none.
	FailedRefund string
	// Failure is why.
	Failure string
	// Dispute is what the event tells of a chargeback, of no ID where it is
	// about none.
	Dispute Dispute
}

// Dispute is a chargeback: the buyer's bank asks for money back.
type Dispute struct {
	// ID is the provider's own name for it, and Status and Reason are its words.
	ID, Status, Reason string
	Amount             money.Amount
	// Over says that it is decided.
	Over bool
}

// Refusal is a provider's definite no.
type Refusal struct {
	// Code is the provider's word for why.
	Code, Detail string
}

func (r *Refusal) Error() string {
	if r.Detail == "" {
		return r.Code
	}
	return r.Code + ": " + r.Detail
}

var (
	// ErrTestInProduction is why the test provider does not load.
	ErrTestInProduction = errors.New("the payment provider test takes no money and does not load in production")
	// ErrNoPayment says that the provider has no such payment.
	ErrNoPayment = errors.New("the provider has no such payment")
	// ErrKey says that the provider does not take the store's key, or not for
	// this: it did nothing, and does nothing until somebody sets that right.
	ErrKey = errors.New("the provider does not take the store's key")
)

// unsent is an error of what was not asked of the provider at all.
type unsent struct{ error }

// Unwrap is the error itself.
func (u unsent) Unwrap() error { return u.error }

// providers are the ways to pay that the configuration allows, by name.
func providers(c config.Config) (map[string]Provider, error) {
	all := map[string]Provider{"manual": manual{}}
	if c.Payments.Test {
		if c.Store.Mode != config.ModeDevelopment {
			return nil, ErrTestInProduction
		}
		all["test"] = test{}
	}
	if c.Payments.Stripe != nil {
		all["stripe"] = newStripe(c)
	}
	return all, nil
}

// manual is money that comes in outside of the store, by bank transfer or on
// delivery: its payments are pending until a member of staff confirms the
// order, and what is given back is given back by hand.
type manual struct{}

func (manual) Authorize(context.Context, Request) (Facts, error) {
	return Facts{State: openapi.PaymentStatePending}, nil
}
func (manual) Capture(context.Context, Payment, Operation) (Facts, error) { return Facts{}, nil }
func (manual) Void(context.Context, Payment, Operation) (Facts, error)    { return Facts{}, nil }
func (manual) Refund(context.Context, Payment, Operation) (Facts, error)  { return Facts{}, nil }

func declined(why string) *problem.Problem {
	if why != "" {
		why = " (" + why + ")"
	}
	return problem.New(http.StatusPaymentRequired, "payment_declined", "The payment was declined%s. Nothing was bought; try another way to pay.", why)
}
