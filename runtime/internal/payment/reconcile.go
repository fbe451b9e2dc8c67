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
	// refundsFail is for how long a refund that was made may fail after all.
	refundsFail = 30 * 24 * time.Hour
	// disputesFor is how far back chargebacks are looked for of which no event
	// came. It is less than keepEvents, for one that was over and forgotten would
	// be told of again.
	disputesFor = 60 * 24 * time.Hour
	// pageOf is how many rows are read at once.
	pageOf = 500
)

// allOf does something with every row that a query answers, page by page in the
// order of their ids.
func allOf[T any](page func(after uuid.UUID) ([]T, error), id func(T) uuid.UUID, do func(T) error) error {
	for after := uuid.Nil; ; {
		rows, err := page(after)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := do(row); err != nil {
				return err
			}
			after = id(row)
		}
		if len(rows) < pageOf {
			return nil
		}
	}
}

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

func notGivenUp(p Payment, f Facts, why *Refusal) discrepancy {
	return discrepancy{
		kind: openapi.PaymentDiscrepancyKindPaymentWithoutOrder, provider: p.Provider, reference: f.Reference,
		detail: fmt.Sprintf("The provider has %s for an order that the store does not have, and does not give it up: %v", p.Amount, why),
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
	failed := s.orders.ConcludeRefunds(ctx)
	for _, name := range slices.Sorted(maps.Keys(s.providers)) {
		if by, ok := s.providers[name].(Elsewhere); ok {
			if err := r.compare(ctx, name, by); err != nil {
				if errors.Is(err, ErrKey) {
					s.asked(ctx, name, "compare", err)
				}
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
// store's that were not among them and may have changed there, through those of
// which something was given back, through what is disputed, and through
// chargebacks.
func (r *reconciliation) compare(ctx context.Context, name string, by Elsewhere) error {
	from, before := r.began.Add(-r.window), r.began.Add(-settled)
	c := &comparison{reconciliation: r, name: name, by: by, seen: map[uuid.UUID]bool{}}
	err := by.List(ctx, from, before, func(f Facts) error {
		if f.Store != r.store {
			return nil
		}
		c.seen[f.PaymentID] = true
		return c.one(ctx, f)
	})
	if err != nil {
		return err
	}
	// Providers round to the second, and the store's time is a little later.
	page := paymentdb.PaymentsToCompareParams{Provider: name, Since: from.Add(time.Minute), Before: before, Most: pageOf}
	err = allOf(func(after uuid.UUID) ([]uuid.UUID, error) {
		page.After = after
		ids, err := paymentdb.New(r.pool).PaymentsToCompare(ctx, page)
		if err != nil {
			return nil, fmt.Errorf("listing payments: %w", err)
		}
		return ids, nil
	}, func(id uuid.UUID) uuid.UUID { return id }, func(id uuid.UUID) error { return c.missing(ctx, id) })
	if err != nil {
		return err
	}
	if err := c.refunds(ctx, from, before); err != nil {
		return err
	}
	if err := c.disputed(ctx); err != nil {
		return err
	}
	return c.chargebacks(ctx, before)
}

// comparison is that with one provider.
type comparison struct {
	*reconciliation
	name string
	by   Elsewhere
	// seen are the payments that were compared.
	seen map[uuid.UUID]bool
}

// refunds goes through what was given back in the window, and through what
// failed of what was given back before.
func (c *comparison) refunds(ctx context.Context, from, before time.Time) error {
	q := paymentdb.New(c.pool)
	look := func(e Event, inWindow bool) error {
		row, err := q.PaymentByReference(ctx, paymentdb.PaymentByReferenceParams{Provider: c.name, Reference: e.Reference})
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("looking for a refund's payment: %w", err)
		}
		if e.FailedRefund != "" {
			if err := c.failed(ctx, row.ID, e); err != nil {
				return err
			}
		}
		if !inWindow {
			return nil
		}
		return c.missing(ctx, row.ID)
	}
	err := c.by.ListRefunds(ctx, from, before, func(e Event) error { return look(e, true) })
	if since := c.began.Add(-refundsFail); err == nil && since.Before(from) {
		err = c.by.ListRefunds(ctx, since, from, func(e Event) error {
			if e.FailedRefund == "" {
				return nil
			}
			return look(e, false)
		})
	}
	return err
}

// failed takes back a refund that counts as made and failed.
func (c *comparison) failed(ctx context.Context, id uuid.UUID, e Event) error {
	op, err := paymentdb.New(c.pool).OperationByReference(ctx, e.FailedRefund)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && op.State != string(openapi.PaymentOperationStateSucceeded) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for a refund: %w", err)
	}
	_, _, err = c.learnNow(ctx, id, func(tx pgx.Tx, p *Payment, d *Decision) (openapi.PaymentOperationKind, error) {
		return openapi.PaymentOperationKindRefund, c.unrefund(ctx, tx, p, d, e)
	})
	return err
}

// disputed looks again at what is disputed.
func (c *comparison) disputed(ctx context.Context) error {
	return c.lookAgain(ctx, atProvider(), func(row paymentdb.DiscrepanciesToLookAtRow) error {
		if row.PaymentID != nil {
			return c.missing(ctx, *row.PaymentID)
		}
		return c.unowned(ctx, row.Reference)
	})
}

// chargebacks goes through those that came up of late, whose events may never
// have come, and looks again at those that are older and not over here.
func (c *comparison) chargebacks(ctx context.Context, before time.Time) error {
	err := c.by.ListDisputes(ctx, c.began.Add(-disputesFor), before, func(f Facts, d Dispute) error { return c.chargeback(ctx, f, d) })
	if err != nil {
		return err
	}
	return c.lookAgain(ctx, []string{string(openapi.PaymentDiscrepancyKindChargeDisputed)}, func(row paymentdb.DiscrepanciesToLookAtRow) error {
		f, d, err := c.by.FetchDispute(ctx, row.Reference)
		if errors.Is(err, ErrNoPayment) {
			return nil
		}
		if err != nil {
			return err
		}
		return c.chargeback(ctx, f, d)
	})
}

// chargeback is for one as an event about it is; of a payment that is none of
// this store's it is nothing.
func (c *comparison) chargeback(ctx context.Context, f Facts, of Dispute) error {
	row, err := paymentdb.New(c.pool).PaymentByReference(ctx, paymentdb.PaymentByReferenceParams{Provider: c.name, Reference: f.Reference})
	switch {
	case errors.Is(err, pgx.ErrNoRows) && f.Store != c.store:
		return nil
	case errors.Is(err, pgx.ErrNoRows):
		err = db.WithTx(ctx, c.pool, func(tx pgx.Tx) error {
			return c.chargedBack(ctx, tx, Payment{Provider: c.name, Reference: f.Reference}, &Decision{}, of)
		})
	case err == nil:
		err = c.held(ctx, row.ID, row.OrderID, func(tx pgx.Tx, p *Payment, d *Decision) error { return c.chargedBack(ctx, tx, *p, d, of) })
	}
	if err != nil {
		return fmt.Errorf("the dispute %s: %w", of.ID, err)
	}
	if !of.Over {
		c.found++
	}
	return nil
}

// lookAgain does something with each open discrepancy of some kinds that was not
// seen by now, and resolves those that are not seen then.
func (c *comparison) lookAgain(ctx context.Context, kinds []string, look func(paymentdb.DiscrepanciesToLookAtRow) error) error {
	q := paymentdb.New(c.pool)
	page := paymentdb.DiscrepanciesToLookAtParams{Provider: c.name, Kinds: kinds, Before: c.began, Most: pageOf}
	return allOf(func(after uuid.UUID) ([]paymentdb.DiscrepanciesToLookAtRow, error) {
		page.After = after
		rows, err := q.DiscrepanciesToLookAt(ctx, page)
		if err != nil {
			return nil, fmt.Errorf("listing what is disputed: %w", err)
		}
		return rows, nil
	}, func(row paymentdb.DiscrepanciesToLookAtRow) uuid.UUID { return row.ID }, func(row paymentdb.DiscrepanciesToLookAtRow) error {
		if err := look(row); err != nil {
			return err
		}
		now := c.now()
		resolved, err := q.ResolveDiscrepancy(ctx, paymentdb.ResolveDiscrepancyParams{ID: row.ID, At: &now, Before: c.began})
		if err != nil {
			return fmt.Errorf("resolving a discrepancy: %w", err)
		}
		if resolved > 0 {
			c.agreeAgain(ctx, row.Kind, row.ID)
		}
		return nil
	})
}

// unowned looks at what the provider has under a name, and no order.
func (c *comparison) unowned(ctx context.Context, reference string) error {
	f, err := c.by.Fetch(ctx, reference)
	if errors.Is(err, ErrNoPayment) || err == nil && (f.Store != c.store || c.seen[f.PaymentID]) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.one(ctx, f)
}

func (r *reconciliation) agreeAgain(ctx context.Context, kind string, id uuid.UUID) {
	r.log.InfoContext(ctx, "store and payment provider agree again", "kind", kind, "discrepancy", id)
}

// resolveHere resolves what the store's own tables do not say any more.
func (r *reconciliation) resolveHere(ctx context.Context) error {
	now := r.now()
	rows, err := paymentdb.New(r.pool).ResolveDiscrepancies(ctx, paymentdb.ResolveDiscrepanciesParams{At: &now, Before: r.began, Kinds: here()})
	if err != nil {
		return fmt.Errorf("resolving discrepancies: %w", err)
	}
	for _, row := range rows {
		r.agreeAgain(ctx, row.Kind, row.ID)
	}
	return nil
}

// missing compares a payment of the store with what its provider says of it, once.
func (c *comparison) missing(ctx context.Context, id uuid.UUID) error {
	if c.seen[id] {
		return nil
	}
	c.seen[id] = true
	p, err := c.read(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) { // it has been erased
		return nil
	}
	if err != nil || p.Reference == "" {
		return err
	}
	f, err := c.by.Fetch(ctx, p.Reference)
	switch {
	case err != nil && !errors.Is(err, ErrNoPayment):
		return err
	case err == nil && p.agrees(f):
		return nil
	}
	return c.agree(ctx, p)
}

// one compares a payment with its provider's facts.
func (c *comparison) one(ctx context.Context, f Facts) error {
	p, err := c.read(ctx, f.PaymentID)
	if errors.Is(err, pgx.ErrNoRows) {
		return c.withoutOrder(ctx, f)
	}
	if err != nil || p.agrees(f) {
		return err
	}
	return c.agree(ctx, p)
}

// agree has a payment be as its provider says that it stands now, and where
// that is not so afterwards disputes it.
func (c *comparison) agree(ctx context.Context, p Payment) error {
	after, f, err := c.learnNow(ctx, p.ID, nil)
	if errors.Is(err, ErrNoPayment) {
		return c.dispute(ctx, discrepancy{
			kind: openapi.PaymentDiscrepancyKindMissingAtProvider, provider: p.Provider, reference: p.Reference, payment: p.ID, order: p.OrderID,
			detail: fmt.Sprintf("The provider does not know the payment of %s, which is %s here.", p.Amount, p.State),
		})
	}
	if err != nil {
		return fmt.Errorf("payment %s: %w", p.ID, err)
	}
	p = after
	if p.Capturing > 0 || p.Refunding > 0 || p.agrees(f) {
		return nil
	}
	kind := openapi.PaymentDiscrepancyKindStateDiffers
	if !p.sameAmounts(f) {
		kind = openapi.PaymentDiscrepancyKindAmountsDiffer
	} else if voiding, err := c.voiding(ctx, c.pool, p); err != nil || voiding {
		return err
	}
	return c.dispute(ctx, discrepancy{
		kind: kind, provider: p.Provider, reference: f.Reference, payment: p.ID, order: p.OrderID,
		detail: fmt.Sprintf("Here the payment of %s is %s with %s captured and %s refunded; at the provider it is %s with %s and %s.",
			p.Amount, p.State, p.amount(p.Captured), p.amount(p.Refunded-p.RefundedOutside), f.State, p.amount(f.Captured), p.amount(f.Refunded)),
	})
}

// agrees reports whether payment and facts are the same.
func (p Payment) agrees(f Facts) bool {
	return p.sameAmounts(f) && (p.State == f.State || rank(p.State) == 4 && rank(f.State) == 4)
}

// sameAmounts reports whether the amounts of payment and facts are the same;
// what was given back by hand the provider does not know.
func (p Payment) sameAmounts(f Facts) bool {
	return p.Captured == f.Captured && p.Refunded-p.RefundedOutside == f.Refunded && (f.Amount.Currency == "" || f.Amount == p.Amount)
}

// withoutOrder gives up what a provider has and no order needs, unless money
// was taken: that is for people.
func (c *comparison) withoutOrder(ctx context.Context, f Facts) error {
	if open, err := paymentdb.New(c.pool).AttemptIsOpen(ctx, f.PaymentID); err != nil || open {
		return err // its order is being placed, or it is being given up
	}
	switch {
	case f.State == openapi.PaymentStateVoided, f.State == openapi.PaymentStateFailed, f.Captured > 0 && f.Captured == f.Refunded:
		return nil
	case f.Captured > 0:
		return c.dispute(ctx, discrepancy{
			kind: openapi.PaymentDiscrepancyKindPaymentWithoutOrder, provider: c.name, reference: f.Reference,
			detail: fmt.Sprintf("The provider has taken %s for an order that the store does not have.", f.Amount),
		})
	}
	p := Payment{ID: f.PaymentID, Provider: c.name, Amount: f.Amount}
	if err := c.giveUp(ctx, c.by, p, f); err != nil {
		refused, definite := errors.AsType[*Refusal](err)
		if !definite {
			return err
		}
		return c.dispute(ctx, notGivenUp(p, f, refused))
	}
	return nil
}

// lookHere finds what the store's own tables say is not right.
func (r *reconciliation) lookHere(ctx context.Context) error {
	for _, look := range []func(context.Context) error{r.stuckOperations, r.unknownEvents, r.failedOperations, r.ordersAndMoney} {
		if err := look(ctx); err != nil {
			return err
		}
	}
	return r.resolveHere(ctx)
}

// stuckOperations has operations asked for again that were not answered.
func (r *reconciliation) stuckOperations(ctx context.Context) error {
	page := paymentdb.StuckOperationsParams{Before: r.began.Add(-stuckAfter), Most: pageOf}
	return allOf(func(after uuid.UUID) ([]paymentdb.StuckOperationsRow, error) {
		page.After = after
		rows, err := paymentdb.New(r.pool).StuckOperations(ctx, page)
		if err != nil {
			return nil, fmt.Errorf("looking for operations that are stuck: %w", err)
		}
		return rows, nil
	}, func(o paymentdb.StuckOperationsRow) uuid.UUID { return o.ID }, func(o paymentdb.StuckOperationsRow) error {
		err := db.WithTx(ctx, r.pool, func(tx pgx.Tx) error { return r.queue.Enqueue(ctx, tx, Asking{Operation: o.ID}) })
		if err != nil {
			return err
		}
		return r.dispute(ctx, discrepancy{
			kind: openapi.PaymentDiscrepancyKindOperationStuck, provider: o.Provider, reference: o.ID.String(), payment: o.PaymentID, order: o.OrderID,
			detail: fmt.Sprintf("The provider has not answered the %s of %s, for which it was asked %d times.", o.Kind, o.Reference, o.Attempts),
		})
	})
}

func (r *reconciliation) unknownEvents(ctx context.Context) error {
	page := paymentdb.UnknownEventsParams{Before: r.began.Add(-stuckAfter), Most: pageOf}
	return allOf(func(after uuid.UUID) ([]paymentdb.UnknownEventsRow, error) {
		page.After = after
		rows, err := paymentdb.New(r.pool).UnknownEvents(ctx, page)
		if err != nil {
			return nil, fmt.Errorf("looking for events of nothing: %w", err)
		}
		return rows, nil
	}, func(e paymentdb.UnknownEventsRow) uuid.UUID { return e.ID }, func(e paymentdb.UnknownEventsRow) error {
		return r.dispute(ctx, unknownEvent(e.Provider, e.Event, e.Type, e.Reference))
	})
}

func (r *reconciliation) failedOperations(ctx context.Context) error {
	page := paymentdb.FailedOperationsParams{Since: r.began.Add(-keepEvents), Most: pageOf}
	return allOf(func(after uuid.UUID) ([]paymentdb.FailedOperationsRow, error) {
		page.After = after
		rows, err := paymentdb.New(r.pool).FailedOperations(ctx, page)
		if err != nil {
			return nil, fmt.Errorf("looking for operations that failed: %w", err)
		}
		return rows, nil
	}, func(f paymentdb.FailedOperationsRow) uuid.UUID { return f.PaymentOperation.ID }, func(f paymentdb.FailedOperationsRow) error {
		p, err := paymentOf(f.Payment)
		if err != nil {
			return err
		}
		o := operationOf(f.PaymentOperation, p.Amount.Currency)
		if p.overcame(o) {
			return nil
		}
		return r.dispute(ctx, failedOperation(p, o, o.Failure))
	})
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
	page := paymentdb.UnbalancedParams{Since: r.began.Add(-keepEvents), Before: r.began.Add(-settled), Most: pageOf}
	return allOf(func(after uuid.UUID) ([]paymentdb.Payment, error) {
		page.After = after
		rows, err := paymentdb.New(r.pool).Unbalanced(ctx, page)
		if err != nil {
			return nil, fmt.Errorf("comparing orders and payments: %w", err)
		}
		return rows, nil
	}, func(row paymentdb.Payment) uuid.UUID { return row.ID }, func(row paymentdb.Payment) error {
		p, err := paymentOf(row)
		if err != nil {
			return err
		}
		return r.unbalanced(ctx, p)
	})
}

func (r *reconciliation) unbalanced(ctx context.Context, p Payment) error {
	if !p.Undone {
		due, err := r.due(ctx, p.OrderID)
		if err != nil || due == 0 { // another payment took its place
			return err
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
	if err := r.dispute(ctx, d); err != nil || !p.Undone || p.Captured > 0 {
		return err
	}
	err := r.held(ctx, p.ID, p.OrderID, func(tx pgx.Tx, p *Payment, d *Decision) error {
		return r.pursue(ctx, tx, p, d, "store", Operation{Kind: openapi.PaymentOperationKindRefund})
	})
	if err != nil {
		return fmt.Errorf("payment %s: %w", p.ID, err)
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
