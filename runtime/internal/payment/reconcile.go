package payment

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/payment/paymentdb"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const (
	// reconcileEvery is how often store and providers are compared.
	reconcileEvery = 24 * time.Hour
	// settled is how old a payment is before it is compared: until then both
	// sides are at it.
	settled = 15 * time.Minute
	// stuckAfter is for how long a provider may leave an operation unanswered.
	stuckAfter = time.Hour
)

// Reconciliation is the job that compares the store with its providers.
type Reconciliation struct{}

// Kind is the job's name in the queue.
func (Reconciliation) Kind() string { return "payment_reconciliation" }

// InsertOpts make one job an interval, however many workers ask for it.
func (Reconciliation) InsertOpts() river.InsertOpts { return jobs.Once(reconcileEvery) }

// discrepancy is what store and provider do not agree about.
type discrepancy struct {
	kind                openapi.PaymentDiscrepancyKind
	provider, reference string
	payment, order      uuid.UUID
	detail              string
}

func failedOperation(p Payment, o Operation, why string) discrepancy {
	return discrepancy{
		kind: openapi.PaymentDiscrepancyKindOperationFailed, provider: p.Provider, reference: o.ID.String(), payment: p.ID, order: p.OrderID,
		detail: fmt.Sprintf("The provider refused the %s of %s: %s", o.Kind, o.Amount, why),
	}
}

func unknownEvent(provider, event, kind, reference string) discrepancy {
	return discrepancy{
		kind: openapi.PaymentDiscrepancyKindEventUnknown, provider: provider, reference: event,
		detail: fmt.Sprintf("The event %s is about %s, of which the store has no payment.", kind, reference),
	}
}

// dispute notes a discrepancy, once while it is open.
func (s *Payments) dispute(ctx context.Context, q paymentdb.DBTX, d discrepancy) error {
	row := paymentdb.FindDiscrepancyParams{
		ID: uuid.Must(uuid.NewV7()), Kind: string(d.kind), Provider: d.provider, Reference: d.reference, Detail: d.detail, At: s.now(),
	}
	if d.payment != uuid.Nil {
		row.PaymentID = &d.payment
	}
	if d.order != uuid.Nil {
		row.OrderID = &d.order
	}
	isNew, err := paymentdb.New(q).FindDiscrepancy(ctx, row)
	if err != nil {
		return fmt.Errorf("noting a discrepancy of payments: %w", err)
	}
	if isNew {
		s.log.WarnContext(ctx, "store and payment provider disagree", "kind", d.kind, "provider", d.provider, "reference", d.reference,
			"payment", d.payment, "order", d.order, "detail", d.detail)
	}
	return nil
}

// Reconcile compares the payments of the window with their providers: what was
// missed is applied, a payment without an order is given up, what a provider
// did not answer is asked again, and the rest is noted. It returns how many
// discrepancies it saw. Those that it sees no more are resolved. Two at once do
// no harm.
func (s *Payments) Reconcile(ctx context.Context) (int64, error) {
	r := &reconciliation{Payments: s, began: s.now()}
	var failed error
	for _, name := range slices.Sorted(maps.Keys(s.providers)) {
		if by, ok := s.providers[name].(Elsewhere); ok {
			if err := r.compare(ctx, name, by); err != nil {
				failed = errors.Join(failed, fmt.Errorf("comparing payments with %s: %w", name, err))
			}
		}
	}
	if err := r.lookHere(ctx); err != nil {
		failed = errors.Join(failed, err)
	}
	return r.found, failed
}

// reconciliation is one comparison.
type reconciliation struct {
	*Payments
	began time.Time
	found int64
}

func (r *reconciliation) dispute(ctx context.Context, d discrepancy) error {
	r.found++
	return r.Payments.dispute(ctx, r.pool, d)
}

// atProvider and here are kinds of discrepancies, by who has to be asked
// whether they are still there.
func atProvider() []string {
	return []string{
		string(openapi.PaymentDiscrepancyKindAmountsDiffer), string(openapi.PaymentDiscrepancyKindStateDiffers),
		string(openapi.PaymentDiscrepancyKindMissingAtProvider), string(openapi.PaymentDiscrepancyKindPaymentWithoutOrder),
	}
}

func here() []string {
	return []string{
		string(openapi.PaymentDiscrepancyKindOperationStuck), string(openapi.PaymentDiscrepancyKindEventUnknown),
		string(openapi.PaymentDiscrepancyKindOrderUnpaid), string(openapi.PaymentDiscrepancyKindOrderKeptMoney),
		string(openapi.PaymentDiscrepancyKindOperationFailed),
	}
}

// compare goes through the provider's payments of the window, then through the
// store's that were not among them, and through those that are disputed.
func (r *reconciliation) compare(ctx context.Context, name string, by Elsewhere) error {
	from, before := r.began.Add(-r.window), r.began.Add(-settled)
	seen := map[uuid.UUID]bool{}
	err := by.List(ctx, from, before, func(f Facts) error {
		if f.Store != r.store {
			return nil
		}
		seen[f.PaymentID] = true
		return r.one(ctx, name, by, f)
	})
	if err != nil {
		return err
	}
	q := paymentdb.New(r.pool)
	const most = 500
	// Providers round to the second, and the store's time is a little later.
	page := paymentdb.PaymentsBetweenParams{Provider: name, Since: from.Add(time.Minute), Before: before, Most: most}
	for {
		ids, err := q.PaymentsBetween(ctx, page)
		if err != nil {
			return fmt.Errorf("listing payments: %w", err)
		}
		for _, id := range ids {
			if err := r.missing(ctx, by, id, seen); err != nil {
				return err
			}
		}
		if len(ids) < most {
			break
		}
		page.After = ids[most-1]
	}
	disputed, err := q.DisputedPayments(ctx, paymentdb.DisputedPaymentsParams{Provider: name, Most: 1000})
	if err != nil {
		return fmt.Errorf("listing disputed payments: %w", err)
	}
	for _, id := range disputed {
		if err := r.missing(ctx, by, id, seen); err != nil {
			return err
		}
	}
	return r.resolve(ctx, name, atProvider())
}

func (r *reconciliation) resolve(ctx context.Context, provider string, kinds []string) error {
	now := r.now()
	rows, err := paymentdb.New(r.pool).ResolveDiscrepancies(ctx, paymentdb.ResolveDiscrepanciesParams{At: &now, Before: r.began, Provider: provider, Kinds: kinds})
	if err != nil {
		return fmt.Errorf("resolving discrepancies: %w", err)
	}
	for _, row := range rows {
		r.log.InfoContext(ctx, "store and payment provider agree again", "kind", row.Kind, "discrepancy", row.ID)
	}
	return nil
}

// missing looks for a payment of the store that the provider did not list.
func (r *reconciliation) missing(ctx context.Context, by Elsewhere, id uuid.UUID, seen map[uuid.UUID]bool) error {
	if seen[id] {
		return nil
	}
	seen[id] = true
	row, err := paymentdb.New(r.pool).PaymentByID(ctx, id)
	if err != nil {
		return fmt.Errorf("reading a payment: %w", err)
	}
	p, err := paymentOf(row)
	if err != nil || p.Reference == "" {
		return err
	}
	facts, err := by.Fetch(ctx, p.Reference)
	if errors.Is(err, ErrNoPayment) {
		return r.dispute(ctx, discrepancy{
			kind: openapi.PaymentDiscrepancyKindMissingAtProvider, provider: p.Provider, reference: p.Reference, payment: p.ID, order: p.OrderID,
			detail: fmt.Sprintf("The provider does not know the payment of %s, which is %s here.", p.Amount, p.State),
		})
	}
	if err != nil {
		return err
	}
	facts.PaymentID = p.ID
	return r.one(ctx, p.Provider, by, facts)
}

// one compares a payment with its provider's facts.
func (r *reconciliation) one(ctx context.Context, provider string, by Elsewhere, f Facts) error {
	q := paymentdb.New(r.pool)
	row, err := q.PaymentByID(ctx, f.PaymentID)
	if errors.Is(err, pgx.ErrNoRows) {
		return r.withoutOrder(ctx, provider, by, f)
	}
	if err != nil {
		return fmt.Errorf("reading a payment: %w", err)
	}
	p, err := paymentOf(row)
	if err != nil {
		return err
	}
	if p.agrees(f) {
		return nil
	}
	if err := r.learnAbout(ctx, p, f, nil); err != nil {
		return fmt.Errorf("payment %s: %w", p.ID, err)
	}
	if row, err = q.PaymentByID(ctx, f.PaymentID); err != nil {
		return fmt.Errorf("reading a payment: %w", err)
	}
	if p, err = paymentOf(row); err != nil {
		return err
	}
	if p.Capturing > 0 || p.Refunding > 0 || p.agrees(f) {
		return nil
	}
	kind := openapi.PaymentDiscrepancyKindStateDiffers
	if p.Captured != f.Captured || p.Refunded != f.Refunded || f.Amount.Currency != "" && f.Amount != p.Amount {
		kind = openapi.PaymentDiscrepancyKindAmountsDiffer
	} else if voiding, err := q.AskingFor(ctx, paymentdb.AskingForParams{PaymentID: p.ID, Kind: string(openapi.PaymentOperationKindVoid)}); err != nil || voiding {
		return err
	}
	return r.dispute(ctx, discrepancy{
		kind: kind, provider: provider, reference: f.Reference, payment: p.ID, order: p.OrderID,
		detail: fmt.Sprintf("Here the payment of %s is %s with %s captured and %s refunded; at the provider it is %s with %s and %s.",
			p.Amount, p.State, p.amount(p.Captured), p.amount(p.Refunded), f.State, p.amount(f.Captured), p.amount(f.Refunded)),
	})
}

// agrees reports whether payment and facts are the same.
func (p Payment) agrees(f Facts) bool {
	if p.Captured != f.Captured || p.Refunded != f.Refunded || f.Amount.Currency != "" && f.Amount != p.Amount {
		return false
	}
	return p.State == f.State || rank(p.State) == 4 && rank(f.State) == 4
}

// withoutOrder gives up what a provider has and no order needs, unless money
// was taken: that is for people.
func (r *reconciliation) withoutOrder(ctx context.Context, provider string, by Elsewhere, f Facts) error {
	if open, err := paymentdb.New(r.pool).AttemptIsOpen(ctx, f.PaymentID); err != nil || open {
		return err // its order is being placed, or it is being given up
	}
	switch {
	case f.State == openapi.PaymentStateVoided, f.State == openapi.PaymentStateFailed, f.Captured > 0 && f.Captured == f.Refunded:
		return nil
	case f.Captured > 0:
		return r.dispute(ctx, discrepancy{
			kind: openapi.PaymentDiscrepancyKindPaymentWithoutOrder, provider: provider, reference: f.Reference,
			detail: fmt.Sprintf("The provider has taken %s for an order that the store does not have.", f.Amount),
		})
	}
	p := Payment{ID: f.PaymentID, Provider: provider, Amount: f.Amount}
	if err := r.giveUp(ctx, by, p, f); err != nil {
		if _, refused := errors.AsType[*Refusal](err); !refused {
			return err
		}
		return r.dispute(ctx, discrepancy{
			kind: openapi.PaymentDiscrepancyKindPaymentWithoutOrder, provider: provider, reference: f.Reference,
			detail: fmt.Sprintf("The provider has set %s aside for an order that the store does not have, and does not give it up: %v", f.Amount, err),
		})
	}
	return nil
}

// lookHere finds what the store's own tables say is not right.
func (r *reconciliation) lookHere(ctx context.Context) error {
	const most = 1000
	q := paymentdb.New(r.pool)
	stuck, err := q.StuckOperations(ctx, paymentdb.StuckOperationsParams{Before: r.began.Add(-stuckAfter), Most: most})
	if err != nil {
		return fmt.Errorf("looking for operations that are stuck: %w", err)
	}
	for _, o := range stuck {
		err := db.WithTx(ctx, r.pool, func(tx pgx.Tx) error { return r.queue.Enqueue(ctx, tx, Asking{Operation: o.ID}) })
		if err != nil {
			return err
		}
		err = r.dispute(ctx, discrepancy{
			kind: openapi.PaymentDiscrepancyKindOperationStuck, provider: o.Provider, reference: o.ID.String(), payment: o.PaymentID, order: o.OrderID,
			detail: fmt.Sprintf("The provider has not answered the %s of %s, for which it was asked %d times.", o.Kind, o.Reference, o.Attempts),
		})
		if err != nil {
			return err
		}
	}
	events, err := q.UnknownEvents(ctx, paymentdb.UnknownEventsParams{Before: r.began.Add(-stuckAfter), Most: most})
	if err != nil {
		return fmt.Errorf("looking for events of nothing: %w", err)
	}
	for _, e := range events {
		if err := r.dispute(ctx, unknownEvent(e.Provider, e.Event, e.Type, e.Reference)); err != nil {
			return err
		}
	}
	failed, err := q.FailedOperations(ctx, paymentdb.FailedOperationsParams{Since: r.began.Add(-keepEvents), Most: most})
	if err != nil {
		return fmt.Errorf("looking for operations that failed: %w", err)
	}
	for _, f := range failed {
		p, err := paymentOf(f.Payment)
		if err != nil {
			return err
		}
		o := operationOf(f.PaymentOperation, p.Amount.Currency)
		if p.overcame(o) {
			continue
		}
		if err := r.dispute(ctx, failedOperation(p, o, o.Failure)); err != nil {
			return err
		}
	}
	if err := r.ordersAndMoney(ctx); err != nil {
		return err
	}
	return r.resolve(ctx, "", here())
}

// overcame reports whether what a provider refused does not matter any more.
func (p Payment) overcame(o Operation) bool {
	switch o.Kind {
	case openapi.PaymentOperationKindCapture, openapi.PaymentOperationKindVoid:
		return p.State != openapi.PaymentStateAuthorized && !p.Waits()
	case openapi.PaymentOperationKindRefund:
		return p.State == openapi.PaymentStateRefunded
	}
	return false
}

// ordersAndMoney finds orders whose payments are not what their states say. To
// void what is still open is asked again; a refund that was refused is not, for
// it moves money: that is for people.
func (r *reconciliation) ordersAndMoney(ctx context.Context) error {
	rows, err := paymentdb.New(r.pool).Unbalanced(ctx, paymentdb.UnbalancedParams{Since: r.began.Add(-keepEvents), Before: r.began.Add(-settled), Most: 1000})
	if err != nil {
		return fmt.Errorf("comparing orders and payments: %w", err)
	}
	for _, row := range rows {
		p, err := paymentOf(row)
		if err != nil {
			return err
		}
		if !p.Undone {
			due, err := r.due(ctx, p.OrderID)
			if err != nil {
				return err
			}
			if due == 0 { // another payment took its place
				continue
			}
		}
		d := discrepancy{
			kind: openapi.PaymentDiscrepancyKindOrderUnpaid, provider: p.Provider, reference: p.ID.String(), payment: p.ID, order: p.OrderID,
			detail: fmt.Sprintf("The order is not cancelled, and its payment of %s is %s.", p.Amount, p.State),
		}
		if p.Undone {
			d.kind = openapi.PaymentDiscrepancyKindOrderKeptMoney
			d.detail = fmt.Sprintf("The order is no more, and its payment of %s is %s with %s captured and %s refunded.",
				p.Amount, p.State, p.amount(p.Captured), p.amount(p.Refunded))
		}
		if err := r.dispute(ctx, d); err != nil {
			return err
		}
		if !p.Undone || p.Captured > 0 {
			continue
		}
		err = r.held(ctx, p.ID, p.OrderID, func(tx pgx.Tx, p *Payment, d *Decision) error {
			return r.pursue(ctx, tx, p, d, "store", openapi.PaymentOperationKindRefund)
		})
		if err != nil {
			return fmt.Errorf("payment %s: %w", p.ID, err)
		}
	}
	return nil
}

// due is what an order still needs.
func (s *Payments) due(ctx context.Context, orderID uuid.UUID) (due int64, err error) {
	err = db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
		total, err := s.orders.Total(ctx, tx, orderID)
		if err != nil {
			return err
		}
		all, err := s.Of(ctx, tx, orderID)
		due = Due(all, total)
		return err
	})
	return due, err
}
