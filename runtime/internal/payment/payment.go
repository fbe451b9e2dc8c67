// Package payment takes money through providers and remembers how each payment
// stands. It owns the tables whose names begin with payment. Card data never
// comes here: a provider's own form turns it into a token.
//
// Nothing is asked of a provider while a transaction holds an order. What it
// is to do (capture, void, refund) is an operation, written with its amount by
// the transaction that decides it, together with a job. Once that is committed
// the provider is asked, at once and then by the job until it answers, under
// the operation's id, by which it does nothing twice. So what was decided is
// done although a process dies, and what was not decided is not done. What is
// requested counts against what can be taken or given back from then on, and
// no longer where the provider refuses.
//
// What the provider says, in an answer or an event, is learned: a payment only
// goes forward, and amounts are those of the provider, never added up from
// events. So it does not matter how often and in what order events come.
package payment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/payment/paymentdb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const (
	// HoldFor is how long an order waits for a payment that expires.
	HoldFor = 30 * time.Minute
	// patience is how long a provider may take to answer a buyer, and atOnce
	// how long it may take after a transaction before the rest is left to a job.
	patience = 10 * time.Second
	atOnce   = 4 * time.Second
)

// Payment is money that an order brings.
type Payment struct {
	ID, OrderID uuid.UUID
	Provider    string
	State       openapi.PaymentState
	Amount      money.Amount
	Reference   string
	// Captured and Refunded are what was taken of it and given back of that,
	// Capturing and Refunding what the provider was asked to and has not
	// answered, in minor units.
	Captured, Capturing, Refunded, Refunding int64
	// RefundedOutside is what of Refunded was given back by hand, of which the
	// provider knows nothing.
	RefundedOutside int64
	// Surplus is what of the amount the order does not need; see Brings.
	Surplus int64
	// Undone says that whatever it brings is given back.
	Undone bool
	// NextAction is what the buyer has left to do, nil for nothing.
	NextAction *openapi.PaymentAction
	CreatedAt  time.Time
	// Expires is known while the payment is made; see Facts.
	Expires bool

	// attempted says that there is a row of payment_attempts.
	attempted bool
}

// Public is the payment as callers see it.
func (p Payment) Public() openapi.Payment {
	return openapi.Payment{
		Id: p.ID, Provider: p.Provider, State: p.State, Amount: p.money(p.Amount.Minor), Captured: p.money(p.Captured), Refunded: p.money(p.Refunded),
		NextAction: p.NextAction,
	}
}

func (p Payment) amount(minor int64) money.Amount {
	return money.Amount{Minor: minor, Currency: p.Amount.Currency}
}

func (p Payment) money(minor int64) openapi.Money {
	return openapi.Money{Amount: p.amount(minor).Decimal(), Currency: p.Amount.Currency}
}

// Waits reports whether the payment has not come in yet, and may.
func (p Payment) Waits() bool {
	return p.State == openapi.PaymentStatePending || p.State == openapi.PaymentStateRequiresAction
}

// Orders are what payments belong to. An order is always held before its
// payments.
type Orders interface {
	// Lock has the transaction hold an order, and before it those whose refunds
	// its payments may be asked for.
	Lock(ctx context.Context, tx pgx.Tx, id uuid.UUID) error
	// Total is what an order comes to, in minor units of its currency.
	Total(ctx context.Context, tx pgx.Tx, id uuid.UUID) (int64, error)
	// Exchanged is what of the money of an order's payments is in others that
	// were placed in exchange, and is given back by way of those alone.
	Exchanged(ctx context.Context, tx pgx.Tx, id uuid.UUID) (int64, error)
	// Gone reports whether all of an order has gone out, so that what is set
	// aside for it is taken at once.
	Gone(ctx context.Context, tx pgx.Tx, id uuid.UUID) (bool, error)
	// Changed does what changes of its payments mean for an order that the
	// transaction holds, and tells of them.
	Changed(ctx context.Context, tx pgx.Tx, id uuid.UUID, all []Change) error
	// ConcludeRefunds has refunds be what became of their operations, of which
	// nobody told by Changed. Two at once do no harm.
	ConcludeRefunds(ctx context.Context) error
}

// Change is what became of a payment.
type Change struct {
	Payment Payment
	// Type is what to tell, such as payment.captured; empty for nothing.
	Type  string
	Actor string
	// Note is for the order's timeline, empty for nothing.
	Note string
	// Reason is why, in the words of Actor.
	Reason string
	// Private keeps it from the customer.
	Private bool
	// RefundID is the order's refund of which a provider has answered an
	// operation, uuid.Nil for none.
	RefundID uuid.UUID
}

// Payments makes and moves payments.
type Payments struct {
	pool      *pgxpool.Pool
	queue     *jobs.Queue
	providers map[string]Provider
	orders    Orders
	store     string
	window    time.Duration
	metrics   *metrics
	log       *slog.Logger
	now       func() time.Time
}

// New loads the providers of the configuration. The test provider in
// production is ErrTestInProduction.
func New(c config.Config, pool *pgxpool.Pool, queue *jobs.Queue, log *slog.Logger, now func() time.Time) (*Payments, error) {
	all, err := providers(c)
	s := &Payments{pool: pool, queue: queue, providers: all, store: storeName(c), window: time.Duration(c.Payments.ReconcileWindow), log: log, now: now}
	s.metrics = newMetrics(s)
	return s, err
}

// storeName tells the payments of stores apart that share an account at a provider.
func storeName(c config.Config) string { return c.Store.Namespace + "/" + c.Store.Name }

// Connect has orders told of what becomes of their payments.
func (s *Payments) Connect(o Orders) { s.orders = o }

// Use adds a provider by its name; it is not for use while requests are served.
func (s *Payments) Use(name string, by Provider) { s.providers[name] = by }

// Register shows what is asked of providers.
func (s *Payments) Register(r prometheus.Registerer) { s.metrics.register(r) }

// Authorize sets the amount aside at the provider; no payment is stored yet. An
// order of nothing needs no provider. While a provider is away it is a
// *problem.Problem with status 503.
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
	// Whoever asks may go; what comes of it is to be known.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if _, elsewhere := by.(Elsewhere); elsewhere {
		if err := s.attempt(ctx, &p); err != nil {
			return p, err
		}
	}
	facts, err := by.Authorize(ctx, Request{ID: p.ID, OrderID: orderID, Amount: amount, Token: token})
	s.asked(ctx, provider, "authorize", err)
	if err != nil {
		return p, s.notAuthorized(ctx, p, err)
	}
	p.State, p.Reference, p.Expires, p.NextAction = facts.State, facts.Reference, facts.Expires, facts.NextAction
	p.Captured = min(facts.Captured, amount.Minor)
	p.settle()
	return p, nil
}

// asked counts what a provider was asked, and says so where that can not work
// before the store is set up otherwise.
func (s *Payments) asked(ctx context.Context, provider, kind string, err error) {
	s.metrics.asked(provider, kind, err)
	if errors.Is(err, ErrKey) {
		s.log.ErrorContext(ctx, "a payment provider does not take the store's key: set it up anew", "provider", provider, "kind", kind, "error", err)
	}
}

func (s *Payments) notAuthorized(ctx context.Context, p Payment, err error) error {
	refused, definite := errors.AsType[*problem.Problem](err)
	if errors.Is(err, ErrKey) {
		definite, refused = true, problem.New(http.StatusBadGateway, "payment_provider_misconfigured",
			"The store can not take payments through %s before it has set that up anew. Nothing was bought; please pay in another way, or tell the store.", p.Provider)
		err = refused
	}
	if definite && (refused.Status < http.StatusInternalServerError || refused.Status == http.StatusBadGateway) {
		if p.attempted {
			if err := paymentdb.New(s.pool).ForgetAttempt(ctx, p.ID); err != nil {
				s.log.WarnContext(ctx, "an attempt to pay was not forgotten", "payment", p.ID, "error", err)
			}
		}
		return err
	}
	s.log.ErrorContext(ctx, "a payment provider is away", "provider", p.Provider, "payment", p.ID, "error", err)
	away := problem.New(http.StatusServiceUnavailable, "payment_provider_unavailable",
		"The payment provider %s does not answer right now. Nothing was bought; please try again, or pay in another way.", p.Provider)
	away.RetryAfter = 5 * time.Second
	return away
}

// Store keeps payments with the orders of the transaction in which the
// statements are sent.
func (s *Payments) Store(ctx context.Context, statements *batch.Statements, all []Payment) error {
	rows := paymentdb.InsertPaymentsParams{At: s.now()}
	var attempted []uuid.UUID
	for _, p := range all {
		next, err := encode(p.NextAction)
		if err != nil {
			return err
		}
		rows.Ids = append(rows.Ids, p.ID)
		rows.OrderIds = append(rows.OrderIds, p.OrderID)
		rows.Providers = append(rows.Providers, p.Provider)
		rows.States = append(rows.States, string(p.State))
		rows.Amounts = append(rows.Amounts, p.Amount.Minor)
		rows.Currencies = append(rows.Currencies, p.Amount.Currency)
		rows.Refs = append(rows.Refs, p.Reference)
		rows.Captured = append(rows.Captured, p.Captured)
		rows.Refunded = append(rows.Refunded, p.Refunded)
		rows.NextActions = append(rows.NextActions, string(next))
		if p.attempted {
			attempted = append(attempted, p.ID)
		}
	}
	statements.Add(func(db batch.DB) error {
		if err := paymentdb.New(db).InsertPayments(ctx, rows); err != nil {
			return fmt.Errorf("storing payments: %w", err)
		}
		return nil
	})
	takeAttempts(ctx, statements, attempted)
	return nil
}

func paymentOf(r paymentdb.Payment) (Payment, error) {
	p := Payment{
		ID: r.ID, OrderID: r.OrderID, Provider: r.Provider, State: openapi.PaymentState(r.State), Amount: money.Amount{Minor: r.Amount, Currency: r.Currency},
		Reference: r.Reference, Captured: r.Captured, Capturing: r.Capturing, Refunded: r.Refunded, Refunding: r.Refunding,
		RefundedOutside: r.RefundedOutside, Surplus: r.Surplus, Undone: r.Undone, CreatedAt: r.CreatedAt.UTC(),
	}
	if r.NextAction != nil {
		if err := json.Unmarshal(r.NextAction, &p.NextAction); err != nil {
			return p, fmt.Errorf("what a buyer has left to do for payment %s: %w", p.ID, err)
		}
	}
	return p, nil
}

// encode is what a buyer has left to do, as it is kept while that is so; nil for
// nothing.
func encode(next *openapi.PaymentAction) ([]byte, error) {
	if next == nil {
		return nil, nil
	}
	raw, err := json.Marshal(next) //nolint:gosec // the secret in it is the buyer's, who is to have it
	if err != nil {
		return nil, fmt.Errorf("encoding what a buyer has left to do: %w", err)
	}
	return raw, nil
}

func paymentsOf(rows []paymentdb.Payment) (all []Payment, err error) {
	all = make([]Payment, len(rows))
	for i, r := range rows {
		if all[i], err = paymentOf(r); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Of lists the payments of orders, the oldest first.
func (s *Payments) Of(ctx context.Context, q paymentdb.DBTX, orderIDs ...uuid.UUID) ([]Payment, error) {
	rows, err := paymentdb.New(q).PaymentsOf(ctx, orderIDs)
	if err != nil {
		return nil, fmt.Errorf("reading payments: %w", err)
	}
	return paymentsOf(rows)
}

// hold is Of for a transaction that holds the order and changes its payments.
func (s *Payments) hold(ctx context.Context, tx pgx.Tx, orderID uuid.UUID) ([]Payment, error) {
	rows, err := paymentdb.New(tx).LockPaymentsOf(ctx, orderID)
	if err != nil {
		return nil, fmt.Errorf("locking payments: %w", err)
	}
	return paymentsOf(rows)
}

// one is a payment that the transaction holds, and whose order it holds.
func (s *Payments) one(ctx context.Context, tx pgx.Tx, id uuid.UUID) (Payment, error) {
	r, err := paymentdb.New(tx).LockPayment(ctx, id)
	if err != nil {
		return Payment{}, fmt.Errorf("locking a payment: %w", err)
	}
	return paymentOf(r)
}

// write stores how a payment stands.
func (s *Payments) write(ctx context.Context, tx pgx.Tx, p Payment) error {
	row := paymentdb.UpdatePaymentParams{
		ID: p.ID, State: string(p.State), Amount: p.Amount.Minor, Captured: p.Captured, Capturing: p.Capturing, Refunded: p.Refunded, Refunding: p.Refunding,
		RefundedOutside: p.RefundedOutside, Surplus: p.Surplus, Undone: p.Undone, At: s.now(),
	}
	var err error
	if row.NextAction, err = encode(p.NextAction); err != nil {
		return err
	}
	if err := paymentdb.New(tx).UpdatePayment(ctx, row); err != nil {
		return fmt.Errorf("storing a payment: %w", err)
	}
	return nil
}

// Decision is what a transaction decided about an order's payments.
type Decision struct {
	// Changes are what is so at once.
	Changes []Change
	// Asked are the operations to Settle when the transaction has committed.
	Asked []uuid.UUID
}

// each has a change made to each of an order's payments, and stores those that
// report so.
func (s *Payments) each(ctx context.Context, tx pgx.Tx, orderID uuid.UUID, do func(*Payment, *Decision) (bool, error)) (d Decision, err error) {
	all, err := s.hold(ctx, tx, orderID)
	if err != nil {
		return d, err
	}
	return s.eachOf(ctx, tx, all, do)
}

// eachOf is each for payments that the transaction holds.
func (s *Payments) eachOf(ctx context.Context, tx pgx.Tx, all []Payment, do func(*Payment, *Decision) (bool, error)) (d Decision, err error) {
	for i := range all {
		changed, err := do(&all[i], &d)
		if err == nil && changed {
			err = s.write(ctx, tx, all[i])
		}
		if err != nil {
			return d, fmt.Errorf("payment %s: %w", all[i].ID, err)
		}
	}
	return d, nil
}

// Confirm notes that payments outside of the store came in, or the rest of them,
// on somebody's word.
// Where a provider would tell of it, it is a *problem.Problem.
func (s *Payments) Confirm(ctx context.Context, tx pgx.Tx, orderID uuid.UUID, actor string) (Decision, error) {
	total, err := s.orders.Total(ctx, tx, orderID)
	if err != nil {
		return Decision{}, err
	}
	all, err := s.hold(ctx, tx, orderID)
	if err != nil {
		return Decision{}, err
	}
	left := Due(all, total)
	return s.eachOf(ctx, tx, all, func(p *Payment, d *Decision) (bool, error) {
		if rest := min(p.Amount.Minor-p.Captured, left); s.partly(*p) && p.Capturing == 0 && rest > 0 {
			p.come(rest)
			p.Captured += rest
			left -= rest
			d.Changes = append(d.Changes, Change{Payment: *p, Type: "payment.captured", Actor: actor})
			return true, nil
		}
		if !p.Waits() {
			return false, nil
		}
		if _, err := s.by(*p); err != nil {
			return false, err
		}
		if !s.byHand(*p) {
			return false, problem.New(http.StatusConflict, "payment_open",
				"The payment at %s has not come in; the order is confirmed by itself when it does. Cancel the order to give it up.", p.Provider)
		}
		p.State, p.NextAction, p.Captured = openapi.PaymentStateCaptured, nil, p.Amount.Minor
		d.Changes = append(d.Changes, Change{Payment: *p, Type: "payment.captured", Actor: actor})
		return true, nil
	})
}

// Capture takes what is set aside for an order, as far as the order comes to
// it; what it does not need at all is voided. What was taken in part is left at
// that.
func (s *Payments) Capture(ctx context.Context, tx pgx.Tx, orderID uuid.UUID, actor string) (Decision, error) {
	total, err := s.orders.Total(ctx, tx, orderID)
	if err != nil {
		return Decision{}, err
	}
	all, err := s.hold(ctx, tx, orderID)
	if err != nil {
		return Decision{}, err
	}
	left := total - taken(all)
	return s.eachOf(ctx, tx, all, func(p *Payment, d *Decision) (bool, error) {
		if p.State != openapi.PaymentStateAuthorized || p.Capturing > 0 {
			return false, nil
		}
		if voiding, err := s.voiding(ctx, tx, *p); err != nil || voiding {
			return false, err
		}
		needed := min(p.Amount.Minor, max(0, left))
		left -= needed
		if needed == 0 {
			return true, s.void(ctx, tx, p, d, actor)
		}
		p.Surplus = p.Amount.Minor - needed
		return true, s.ask(ctx, tx, p, d, Operation{Kind: openapi.PaymentOperationKindCapture, Amount: p.amount(needed), Actor: actor})
	})
}

// Undo gives back what an order brought, and what it may still bring: what is
// only set aside or has not come in is voided, what was taken is refunded.
func (s *Payments) Undo(ctx context.Context, tx pgx.Tx, orderID uuid.UUID, actor string) (Decision, error) {
	return s.each(ctx, tx, orderID, func(p *Payment, d *Decision) (bool, error) {
		if p.Amount.Minor == 0 {
			if p.State != openapi.PaymentStateCaptured {
				return false, nil
			}
			p.State = openapi.PaymentStateVoided
			d.Changes = append(d.Changes, Change{Payment: *p, Type: "payment.voided", Actor: actor})
			return true, nil
		}
		p.Undone = true
		return true, s.pursue(ctx, tx, p, d, actor, Operation{})
	})
}

// Repayment is what of an order's money is to be given back.
type Repayment struct {
	// RefundID is the order's refund, which is told of in Change.
	RefundID uuid.UUID
	// OrderID is the order that the refund is of, where that is another one.
	OrderID       uuid.UUID
	Amount        money.Amount
	Reason, Actor string
	// Outside says that it was given back by hand, and no provider is asked.
	Outside bool
}

// Refund gives an amount of what an order brought back, in the caller's
// transaction, which holds the order: of its payments in their order, of each
// what is left. More than that is a *problem.Problem with status 409, and so is
// what the provider of a payment cannot be asked for; then nothing is refunded.
// The caller tells of the changes by Orders.Changed, and settles what was asked
// when the transaction has committed.
func (s *Payments) Refund(ctx context.Context, tx pgx.Tx, orderID uuid.UUID, r Repayment) (Decision, error) {
	left := r.Amount.Minor
	available := int64(0)
	var against error
	d, err := s.each(ctx, tx, orderID, func(p *Payment, d *Decision) (bool, error) {
		if p.Amount.Currency != r.Amount.Currency {
			return false, nil
		}
		part := min(left, p.refundable())
		available += p.refundable()
		if part <= 0 {
			return false, nil
		}
		o := Operation{Kind: openapi.PaymentOperationKindRefund, Amount: p.amount(part), Actor: r.Actor, Reason: r.Reason, RefundID: r.RefundID}
		if r.Outside {
			left -= part
			return true, s.note(ctx, tx, p, d, o)
		}
		if no := s.askable(*p, r.OrderID); no != nil {
			against = no
			return false, nil //nolint:nilerr // another payment may have enough, and else that is the answer
		}
		left -= part
		return true, s.ask(ctx, tx, p, d, o)
	})
	switch {
	case err != nil || left == 0:
		return d, err
	case left <= available && against != nil:
		return d, against
	}
	return d, tooMuch(money.Amount{Minor: available, Currency: r.Amount.Currency})
}

// askable says what stands against asking a payment's provider to give it back
// for an order, which may be another than the payment's.
func (s *Payments) askable(p Payment, orderID uuid.UUID) error {
	const instead = "Give it back there or otherwise, and note that with POST /orders/%s/refunds and outside: true."
	by, ok := s.providers[p.Provider]
	if !ok {
		return problem.New(http.StatusConflict, "provider_not_loaded",
			"The payment was made through %q, which this store does not load now. "+instead, p.Provider, orderID)
	}
	if _, elsewhere := by.(Elsewhere); elsewhere && p.Reference == "" {
		return problem.New(http.StatusConflict, "payment_without_reference",
			"It is not known what the payment is called at %s, as of one that was imported. "+instead, p.Provider, orderID)
	}
	return nil
}

// Outcome is what became of the operations of an order's refund, in minor units.
type Outcome struct {
	Requested, Succeeded, Failed int64
	// FailedOf is what failed of each order's payments.
	FailedOf map[uuid.UUID]int64
}

// OutcomeOf adds up the operations of an order's refund.
func (s *Payments) OutcomeOf(ctx context.Context, tx pgx.Tx, refundID uuid.UUID) (Outcome, error) {
	o := Outcome{FailedOf: map[uuid.UUID]int64{}}
	rows, err := paymentdb.New(tx).OutcomeOf(ctx, refundID)
	if err != nil {
		return o, fmt.Errorf("reading what became of a refund: %w", err)
	}
	for _, r := range rows {
		o.Requested += r.Requested
		o.Succeeded += r.Succeeded
		o.Failed += r.Failed
		o.FailedOf[r.OrderID] = r.Failed
	}
	return o, nil
}

// Redo has the payments of an order that the transaction holds bring what they
// do: the order goes on after all. What was voided stays so.
func (s *Payments) Redo(ctx context.Context, tx pgx.Tx, orderID uuid.UUID) error {
	if err := paymentdb.New(tx).Redo(ctx, paymentdb.RedoParams{OrderID: orderID, At: s.now()}); err != nil {
		return fmt.Errorf("storing payments: %w", err)
	}
	return nil
}

func tooMuch(available money.Amount) error {
	return problem.New(http.StatusConflict, "refund_exceeds_captured", "%s can be given back at most: that is what was taken and not given back.", available)
}

// refundable is what of a payment can be given back.
func (p Payment) refundable() int64 { return p.Captured - p.Refunded - p.Refunding }

func (s *Payments) by(p Payment) (Provider, error) {
	by, ok := s.providers[p.Provider]
	if !ok {
		return nil, problem.New(http.StatusConflict, "provider_not_loaded",
			"The payment was made through %q, which this store does not load now.", p.Provider)
	}
	return by, nil
}
