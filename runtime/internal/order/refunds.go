package order

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/mail"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/order/orderdb"
	"gitee.com/captainjez/gocart/runtime/internal/payment"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Refund is money that the store gave back of an order, with amounts in minor
// units of the order's currency: Amount is that of the lines, Shipping and Other.
type Refund struct {
	ID, OrderID uuid.UUID
	// ReturnID is the return that it is for, uuid.Nil for none.
	ReturnID uuid.UUID
	// State is what became of it: what has failed counts for nothing.
	State                   openapi.RefundState
	Currency                string
	Amount, Shipping, Other int64
	// GivenBack is what of the amount was given back by now.
	GivenBack int64
	Lines     []RefundLine
	// Sources are what of it is given back on other orders' payments.
	Sources       []RefundSource
	Reason, Actor string
	// Outside says that it was given back by hand, and no provider is asked.
	Outside   bool
	CreatedAt time.Time
}

// RefundLine is what was given back for so much of a line.
type RefundLine struct {
	LineID           uuid.UUID
	Quantity, Amount int64
}

// RefundSource is what of a refund is given back on the payments of an order
// that the refund's own was placed in exchange for.
type RefundSource struct {
	OrderID uuid.UUID
	// Number is known while the refund is made.
	Number, Amount int64
}

// Public is the refund as callers see it.
func (r *Refund) Public() openapi.Refund {
	decimal := func(minor int64) string { return money.Amount{Minor: minor, Currency: r.Currency}.Decimal() }
	public := openapi.Refund{
		Id: r.ID, OrderId: r.OrderID, ReturnId: optional.Of(r.ReturnID), State: r.State, Outside: r.Outside,
		Amount: openapi.Money{Amount: decimal(r.Amount), Currency: r.Currency}, GivenBack: openapi.Money{Amount: decimal(r.GivenBack), Currency: r.Currency},
		Shipping: decimal(r.Shipping), Other: decimal(r.Other), Reason: optional.Of(r.Reason), CreatedAt: r.CreatedAt, Lines: make([]openapi.RefundLine, len(r.Lines)),
	}
	for i, l := range r.Lines {
		public.Lines[i] = openapi.RefundLine{LineId: l.LineID, Quantity: l.Quantity, Amount: decimal(l.Amount)}
	}
	if len(r.Sources) > 0 {
		from := make([]openapi.RefundSource, len(r.Sources))
		for i, s := range r.Sources {
			from[i] = openapi.RefundSource{OrderId: s.OrderID, Amount: decimal(s.Amount)}
		}
		public.FromOrders = &from
	}
	return public
}

// Share is what n pieces are of an amount for so many, of which some were
// shared out before: together the shares are the amount, to the minor unit.
func Share(amount, quantity, before, n int64) int64 {
	upTo := func(n int64) int64 {
		high, low := bits.Mul64(uint64(amount), uint64(n))
		share, _ := bits.Div64(high, low, uint64(quantity))
		return int64(share) // at most amount, for n is at most quantity
	}
	return upTo(before+n) - upTo(before)
}

// carriage is what shipping the order cost, with its tax.
func (o *Order) carriage() int64 {
	rest := o.Total
	for _, l := range o.Lines {
		rest -= l.Total
	}
	return rest
}

// Repayment is what is to be given back.
type Repayment struct {
	Lines []openapi.FulfillmentLine
	// Shipping and Other are minor units of the order's currency.
	Shipping, Other int64
	ReturnID        uuid.UUID
	Reason          string
	// Outside says that it was given back by hand.
	Outside bool
}

// refund gives money back; more than there is to give back is a
// *problem.Problem with status 409, and nothing is.
func (d *dispatch) refund(ctx context.Context, in Repayment) (*Refund, error) {
	r, err := d.worth(ctx, in)
	if err != nil {
		return nil, err
	}
	if left := d.order.left(); r.Amount > left {
		refusal := problem.New(http.StatusConflict, "refund_exceeds_captured", "%s can be given back at most: that is what was taken and not given back.", d.order.amount(max(0, left)))
		if d.order.Exchanged > 0 {
			refusal.Detail += fmt.Sprintf(" %s are in what was placed in exchange, and are given back by refunds of that.", d.order.amount(d.order.Exchanged))
		}
		return nil, refusal
	}
	for _, l := range r.Lines {
		d.order.line(l.LineID).settle(l.Quantity, l.Amount)
	}
	d.order.ShippingRefunded += r.Shipping
	return r, d.give(ctx, r)
}

// give stores a refund with what payment providers are asked for it: of what the
// order's own payments have, and for what is beyond that of what its credit is from.
func (d *dispatch) give(ctx context.Context, r *Refund) error {
	at, own := len(d.happened), min(r.Amount, d.order.held())
	if err := d.repay(ctx, d.order, r, own, r.Reason); err != nil {
		return err
	}
	if err := d.spendCredit(ctx, r, r.Amount-own); err != nil {
		return err
	}
	text := ""
	for _, s := range r.Sources {
		text = strings.TrimSpace(fmt.Sprintf("%s %s of it were paid with order %d, and are given back on its payments.", text, d.order.amount(s.Amount), s.Number))
	}
	created := d.order.refundEvent(r, events.Event{Type: "refund.created", Actor: d.actor, At: r.CreatedAt}, change{Text: text, Reason: r.Reason})
	d.happened = slices.Insert(d.happened, at, created)
	return d.s.storeRefund(ctx, d.tx, r)
}

// comes reports whether money is to come of a payment.
func comes(p payment.Payment) bool {
	return !p.Undone && (p.Waits() || p.State == openapi.PaymentStateAuthorized) && p.Amount.Minor > 0
}

// worth is what a repayment comes to.
func (d *dispatch) worth(ctx context.Context, in Repayment) (*Refund, error) {
	o := d.order
	r := d.newRefund(in)
	before, err := refundsOf(ctx, d.tx, o)
	if err != nil {
		return nil, err
	}
	if err := d.readSettled(ctx); err != nil {
		return nil, err
	}
	if err := room("refunds", before, func(r *Refund) bool { return r.State != openapi.RefundStateFailed }); err != nil {
		return nil, err
	}
	var wrong, against problem.Findings
	for i, w := range in.Lines {
		at := fmt.Sprintf("/lines/%d", i)
		l := pick(o, &wrong, at, w.LineId, in.Lines[:i], lineOfFulfillment)
		if l == nil {
			continue
		}
		wrong.Range(at+"/quantity", w.Quantity, 1, mostQuantity)
		ok := l.Refunded+w.Quantity <= l.Shipped
		against.Require(ok, at+"/quantity", "only %d of %s were shipped and not given their money back; what was not shipped is edited out of the order", l.Shipped-l.Refunded, l.SKU)
		if ok && w.Quantity > 0 {
			amount := l.worth(w.Quantity)
			r.Lines = append(r.Lines, RefundLine{LineID: l.ID, Quantity: w.Quantity, Amount: amount})
			r.Amount += amount
		}
	}
	left := money.Amount{Minor: o.carriage() - o.ShippingRefunded, Currency: o.Currency}
	against.Require(in.Shipping == 0 || in.Shipping <= left.Minor, "/shipping", "%s of the shipping were not given back", left)
	against.Require(len(against) > 0 || len(wrong) > 0 || r.Amount > 0, "/lines", "cost nothing, so there is nothing to give back")
	if in.ReturnID != uuid.Nil {
		all, err := returnsOf(ctx, d.tx, o.ID)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(all, func(b *Return) bool { return b.ID == in.ReturnID })
		wrong.Require(at >= 0, "/returnId", "is no return of the order")
		for i, w := range in.Lines {
			if at < 0 || o.line(w.LineId) == nil {
				continue
			}
			n := all[at].toRefund(w.LineId, before)
			against.Require(w.Quantity <= n, fmt.Sprintf("/lines/%d/quantity", i), "only %d of it are in the return and were neither given their money back nor exchanged by it", n)
		}
	}
	return r, conflict(wrong, against, problem.New(http.StatusConflict, "refund_exceeds_order", "More is to be given back than was paid for this."))
}

func lineOfFulfillment(l openapi.FulfillmentLine) uuid.UUID { return l.LineId }

func (d *dispatch) newRefund(in Repayment) *Refund {
	return &Refund{
		ID: uuid.Must(uuid.NewV7()), OrderID: d.order.ID, ReturnID: in.ReturnID, State: openapi.RefundStatePending, Outside: in.Outside,
		Currency: d.order.Currency, Amount: in.Shipping + in.Other,
		Shipping: in.Shipping, Other: in.Other, Reason: in.Reason, Actor: d.actor, CreatedAt: d.s.now().Truncate(time.Microsecond),
	}
}

// refundRest gives all that is left back, for no line in particular. While a
// provider is being asked to take more it is a *problem.Problem with status 409.
func (d *dispatch) refundRest(ctx context.Context, reason string) (err error) {
	if d.order.Payments, err = d.s.payments.Of(ctx, d.tx, d.order.ID); err != nil {
		return err
	}
	if d.order.Exchanged > 0 {
		return problem.New(http.StatusConflict, "order_exchanged", "A part of the order was exchanged, and its money is in another order: give back the rest of it with POST /orders/%s/refunds.", d.order.ID)
	}
	for _, p := range d.order.Payments {
		if p.Capturing > 0 {
			return problem.New(http.StatusConflict, "payment_being_captured", "%s of a payment are being captured; wait until the provider has answered.", d.order.amount(p.Capturing))
		}
	}
	left := d.order.left()
	if left == 0 {
		return nil
	}
	return d.give(ctx, d.newRefund(Repayment{Other: left, Reason: reason}))
}

// refundsChanged does what changes of payments mean for refunds and for the
// orders whose money was given back, or was not: refunds are what became of
// their operations, an order is refunded when all that it brought was given
// back, and is what it was before where it was refunded and has money after all.
// The transaction holds the orders as Lock says.
func (s *Orders) refundsChanged(ctx context.Context, tx pgx.Tx, all []payment.Change, now time.Time) error {
	var refunds []uuid.UUID
	by := map[uuid.UUID]string{} // the orders, and whose doing it is
	for _, c := range all {
		if c.RefundID != uuid.Nil && !slices.Contains(refunds, c.RefundID) {
			refunds = append(refunds, c.RefundID)
		}
		if c.Payment.Captured > 0 && (c.Type == "payment.refunded" || c.Type == "payment.operation_failed") {
			by[c.Payment.OrderID] = c.Actor
		}
	}
	for _, id := range refunds {
		if err := s.conclude(ctx, tx, id, now, by); err != nil {
			return fmt.Errorf("refund %s: %w", id, err)
		}
	}
	// One that was placed in exchange before the one that it was placed for.
	for _, id := range slices.SortedFunc(maps.Keys(by), func(a, b uuid.UUID) int { return bytes.Compare(b[:], a[:]) }) {
		if err := s.follow(ctx, tx, id, by[id]); err != nil {
			return fmt.Errorf("order %s: %w", id, err)
		}
	}
	return nil
}

// unconcluded is how far back refunds are looked for that are not what became of
// them. A provider tells of a refund that failed after all within a month.
const unconcluded = 60 * 24 * time.Hour

// ConcludeRefunds has refunds be what became of their operations.
func (s *Orders) ConcludeRefunds(ctx context.Context) error {
	const most = 500
	for {
		rows, err := orderdb.New(s.pool).UnconcludedRefunds(ctx, orderdb.UnconcludedRefundsParams{Since: s.now().Add(-unconcluded), Most: most})
		if err != nil {
			return fmt.Errorf("looking for refunds: %w", err)
		}
		var failed error
		for _, r := range rows {
			err := db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
				if err := s.Lock(ctx, tx, r.OrderID); err != nil {
					return err
				}
				return s.refundsChanged(ctx, tx, []payment.Change{{RefundID: r.ID}}, s.now().Truncate(time.Microsecond))
			})
			if err != nil {
				failed = errors.Join(failed, err)
			}
		}
		if failed != nil || len(rows) < most {
			return failed
		}
	}
}

// conclude has a refund be what became of its operations, and adds to by the
// orders that it is of.
func (s *Orders) conclude(ctx context.Context, tx pgx.Tx, id uuid.UUID, now time.Time, by map[uuid.UUID]string) error {
	orderID, err := orderdb.New(tx).OrderOfRefund(ctx, id)
	if err != nil {
		return fmt.Errorf("looking for a refund's order: %w", err)
	}
	o, err := s.hold(ctx, tx, orderID)
	if err != nil {
		return err
	}
	all, err := refundsOf(ctx, tx, o)
	if err != nil {
		return err
	}
	r := all[slices.IndexFunc(all, func(r *Refund) bool { return r.ID == id })]
	out, err := s.payments.OutcomeOf(ctx, tx, r.ID)
	if err != nil {
		return err
	}
	was, before := r.State, r.GivenBack
	r.State, r.GivenBack = outcome(out), out.Succeeded
	if r.State == was && r.GivenBack == before {
		return nil
	}
	if err := orderdb.New(tx).SetRefundState(ctx, orderdb.SetRefundStateParams{ID: r.ID, State: string(r.State), GivenBack: r.GivenBack}); err != nil {
		return fmt.Errorf("storing a refund's state: %w", err)
	}
	if r.State == openapi.RefundStatePending {
		return nil
	}
	if err := s.complete(ctx, tx, o); err != nil {
		return err
	}
	sources, err := s.sources(ctx, tx, o)
	if err != nil {
		return err
	}
	of := append(r.of(), o.ID) // also where it has no credit any more, as one that was cancelled
	for _, source := range sources {
		of = append(of, source.ID)
	}
	for _, id := range of {
		if _, there := by[id]; !there {
			by[id] = r.Actor
		}
	}
	if r.State != openapi.RefundStateSucceeded {
		return s.notGiven(ctx, tx, o, r, out, was, now)
	}
	if err := s.events.Append(ctx, tx, o.refundEvent(r, events.Event{Type: "refund.succeeded", Actor: r.Actor, At: now}, change{})); err != nil {
		return err
	}
	return s.mailOf(ctx, tx, o, r)
}

// of are the orders on whose payments a part of the refund is given back, one
// that was placed in exchange before the one that it was placed for.
func (r *Refund) of() []uuid.UUID {
	ids := make([]uuid.UUID, len(r.Sources))
	for i, s := range r.Sources {
		ids[i] = s.OrderID
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return bytes.Compare(b[:], a[:]) })
	return ids
}

// mailOf tells the order's buyer what was given back.
func (s *Orders) mailOf(ctx context.Context, tx pgx.Tx, o *Order, r *Refund) error {
	m := o.message(mail.OrderRefunded)
	m.RefundID = r.ID
	return s.mailer.Enqueue(ctx, tx, m)
}

// notGiven tells of a refund that was refused, or a part of it. What was to be
// given back on another order's payments is that order's own again.
func (s *Orders) notGiven(ctx context.Context, tx pgx.Tx, o *Order, r *Refund, out payment.Outcome, was openapi.RefundState, now time.Time) error {
	if r.State == openapi.RefundStateFailed {
		if err := s.free(ctx, tx, r); err != nil {
			return err
		}
	}
	told := change{Text: fmt.Sprintf("%s of %s were not given back: the payment provider refused that.", o.amount(r.Amount-r.GivenBack), o.amount(r.Amount))}
	for _, id := range r.of() {
		of, err := s.hold(ctx, tx, id) // each, for they are locked in this order
		if err != nil {
			return err
		}
		failed := out.FailedOf[id]
		if failed == 0 {
			continue
		}
		told.Reason = strings.TrimSpace(fmt.Sprintf("%s %s of that are on payments of order %d, and can be given back by a refund of that one, as an amount.", told.Reason, o.amount(failed), of.Number))
	}
	if err := s.events.Append(ctx, tx, o.refundEvent(r, events.Event{Type: "refund.failed", Actor: "provider", At: now}, told)); err != nil {
		return err
	}
	if was == openapi.RefundStatePending && r.GivenBack > 0 {
		if err := s.mailOf(ctx, tx, o, r); err != nil {
			return err
		}
	}
	if o.State != openapi.OrderStateRefunded {
		return nil
	}
	if empty, err := s.empty(ctx, tx, o); err != nil || empty { // by another refund
		return err
	}
	return s.goesOn(ctx, tx, o) // also where its money was all another's
}

// outcome is the state of a refund whose operations came to this.
func outcome(of payment.Outcome) openapi.RefundState {
	switch {
	case of.Requested > 0:
		return openapi.RefundStatePending
	case of.Failed == 0:
		return openapi.RefundStateSucceeded
	case of.Succeeded == 0:
		return openapi.RefundStateFailed
	}
	return openapi.RefundStatePartial
}

// follow takes an order to refunded when all that it brought was given back and
// nothing is to come, and to what it was before where it is refunded and has
// money for which nobody is asked.
func (s *Orders) follow(ctx context.Context, tx pgx.Tx, id uuid.UUID, actor string) error {
	o, err := s.hold(ctx, tx, id)
	if err != nil {
		return err
	}
	refunded := o.State == openapi.OrderStateRefunded
	if !refunded && !slices.Contains(transitions[o.State], openapi.OrderStateRefunded) {
		return nil
	}
	if err := s.complete(ctx, tx, o); err != nil {
		return err
	}
	if refunded {
		if o.held() > 0 {
			return s.goesOn(ctx, tx, o)
		}
		return nil
	}
	if o.Total == 0 && !o.inExchange() { // nothing was bought of which money could be given back
		return nil
	}
	empty, err := s.empty(ctx, tx, o)
	if err != nil || !empty || slices.ContainsFunc(o.Payments, comes) {
		return err
	}
	_, err = s.take(ctx, tx, o, openapi.OrderStateRefunded, actor, "") // nothing is left to ask for
	return err
}

// empty reports whether all that an order brought was given back, also what of
// its credit was to be.
func (s *Orders) empty(ctx context.Context, tx pgx.Tx, o *Order) (bool, error) {
	if o.Credit > 0 || o.Exchanged > 0 {
		return false, nil
	}
	for _, p := range o.Payments {
		if p.Captured+p.Capturing > p.Refunded {
			return false, nil
		}
	}
	owes, err := orderdb.New(tx).OwesCredit(ctx, o.ID)
	if err != nil {
		return false, fmt.Errorf("looking for credit that was not given back: %w", err)
	}
	return !owes, nil
}

// free has what a refund was for count as not given back.
func (s *Orders) free(ctx context.Context, tx pgx.Tx, r *Refund) error {
	q := orderdb.New(tx)
	if err := q.FreeRefundLines(ctx, orderdb.FreeRefundLinesParams{RefundID: r.ID, OrderID: r.OrderID}); err != nil {
		return fmt.Errorf("freeing a refund's lines: %w", err)
	}
	if r.Shipping == 0 {
		return nil
	}
	if err := q.RefundShipping(ctx, orderdb.RefundShippingParams{ID: r.OrderID, Amount: -r.Shipping}); err != nil {
		return fmt.Errorf("noting shipping that was not given back: %w", err)
	}
	return nil
}

// goesOn has an order be what it was before it was refunded, or what its goods
// are by now.
func (s *Orders) goesOn(ctx context.Context, tx pgx.Tx, o *Order) error {
	if err := s.payments.Redo(ctx, tx, o.ID); err != nil {
		return err
	}
	to := o.HeldFrom
	if to == "" { // it was refunded before that was kept
		to = openapi.OrderStateShipped
	}
	if err := s.enter(ctx, tx, o, to, "store", notRefunded, nil); err != nil {
		return err
	}
	if err := s.complete(ctx, tx, o); err != nil {
		return err
	}
	return (&dispatch{s: s, tx: tx, order: o, actor: "store"}).progress(ctx)
}

// notRefunded is why an order that was refunded is so no more.
const notRefunded = "What was to be given back was not."

// repaid is what an event of a refund tells.
type repaid struct {
	change
	RefundID  uuid.UUID           `json:"refundId"`
	ReturnID  *uuid.UUID          `json:"returnId,omitempty"`
	State     openapi.RefundState `json:"state"`
	Amount    openapi.Money       `json:"amount"`
	GivenBack openapi.Money       `json:"givenBack"`
}

// refundEvent completes an event of one of the order's refunds, with words for
// the timeline and a reason.
func (o *Order) refundEvent(r *Refund, e events.Event, c change) events.Event {
	public := r.Public()
	e.Topic, e.Subject, e.Customer, e.Public = events.Orders, o.ID, o.CustomerID, true
	e.Data = repaid{
		change: o.change(c), RefundID: r.ID, ReturnID: public.ReturnId, State: r.State, Amount: public.Amount, GivenBack: public.GivenBack,
	}
	return e
}

// storeRefund stores a refund.
func (s *Orders) storeRefund(ctx context.Context, tx orderdb.DBTX, r *Refund) error {
	q := orderdb.New(tx)
	err := q.InsertRefund(ctx, orderdb.InsertRefundParams{
		ID: r.ID, OrderID: r.OrderID, ReturnID: optional.Of(r.ReturnID), State: string(r.State), Outside: r.Outside, Amount: r.Amount, Shipping: r.Shipping,
		Other: r.Other, Reason: r.Reason, Actor: r.Actor, At: r.CreatedAt,
	})
	if err != nil {
		return fmt.Errorf("storing a refund: %w", err)
	}
	rows := orderdb.InsertRefundLinesParams{RefundID: r.ID}
	for _, l := range r.Lines {
		rows.LineIds = append(rows.LineIds, l.LineID)
		rows.Quantities = append(rows.Quantities, l.Quantity)
		rows.Amounts = append(rows.Amounts, l.Amount)
	}
	if len(r.Lines) > 0 {
		if err := q.InsertRefundLines(ctx, rows); err != nil {
			return fmt.Errorf("storing a refund's lines: %w", err)
		}
	}
	sources := orderdb.InsertRefundSourcesParams{RefundID: r.ID}
	for _, s := range r.Sources {
		sources.OrderIds = append(sources.OrderIds, s.OrderID)
		sources.Amounts = append(sources.Amounts, s.Amount)
	}
	if len(r.Sources) > 0 {
		if err := q.InsertRefundSources(ctx, sources); err != nil {
			return fmt.Errorf("storing where a refund is taken from: %w", err)
		}
	}
	if r.Shipping == 0 {
		return nil
	}
	if err := q.RefundShipping(ctx, orderdb.RefundShippingParams{ID: r.OrderID, Amount: r.Shipping}); err != nil {
		return fmt.Errorf("noting shipping that was given back: %w", err)
	}
	return nil
}

// refundsOf lists an order's, the oldest first.
func refundsOf(ctx context.Context, tx orderdb.DBTX, o *Order) ([]*Refund, error) {
	q := orderdb.New(tx)
	rows, err := q.RefundsOf(ctx, o.ID)
	if err != nil {
		return nil, fmt.Errorf("reading refunds: %w", err)
	}
	all, ids, byID := make([]*Refund, len(rows)), make([]uuid.UUID, len(rows)), make(map[uuid.UUID]*Refund, len(rows))
	for i, r := range rows {
		all[i] = &Refund{
			ID: r.ID, OrderID: r.OrderID, ReturnID: optional.Value(r.ReturnID), Currency: o.Currency, Amount: r.Amount, Shipping: r.Shipping, Other: r.Other,
			State: openapi.RefundState(r.State), GivenBack: r.GivenBack, Outside: r.Outside, Reason: r.Reason, Actor: r.Actor, CreatedAt: r.CreatedAt.UTC(),
		}
		if all[i].State == openapi.RefundStateSucceeded {
			all[i].GivenBack = r.Amount
		}
		ids[i], byID[r.ID] = r.ID, all[i]
	}
	if len(ids) == 0 {
		return all, nil
	}
	lines, err := q.RefundLines(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("reading what refunds are for: %w", err)
	}
	for _, l := range lines {
		r := byID[l.RefundID]
		r.Lines = append(r.Lines, RefundLine{LineID: l.LineID, Quantity: l.Quantity, Amount: l.Amount})
	}
	sources, err := q.RefundSources(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("reading where refunds are taken from: %w", err)
	}
	for _, s := range sources {
		r := byID[s.RefundID]
		r.Sources = append(r.Sources, RefundSource{OrderID: s.OrderID, Amount: s.Amount})
	}
	return all, nil
}

// Refund reads one of an order's.
func (s *Orders) Refund(ctx context.Context, orderID, id uuid.UUID) (*Refund, error) {
	o, err := s.byID(ctx, orderID)
	if err != nil {
		return nil, err
	}
	all, err := refundsOf(ctx, s.pool, o)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(all, func(r *Refund) bool { return r.ID == id }); i >= 0 {
		return all[i], nil
	}
	return nil, problem.New(http.StatusNotFound, "refund_not_found", "The order has no refund %s.", id)
}
