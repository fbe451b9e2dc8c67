package order

import (
	"context"
	"fmt"
	"math/bits"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

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
	ReturnID                uuid.UUID
	Currency                string
	Amount, Shipping, Other int64
	Lines                   []RefundLine
	// Sources are what of it is given back on other orders' payments.
	Sources       []RefundSource
	Reason, Actor string
	CreatedAt     time.Time
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
		Id: r.ID, OrderId: r.OrderID, ReturnId: optional.Of(r.ReturnID), Amount: openapi.Money{Amount: decimal(r.Amount), Currency: r.Currency},
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
	if err := d.giveBack(ctx, r); err != nil {
		return nil, err
	}
	for _, l := range r.Lines {
		d.order.line(l.LineID).Refunded += l.Quantity
	}
	d.order.ShippingRefunded += r.Shipping
	d.spent = d.order.left() == r.Amount && d.order.Exchanged == 0 && !slices.ContainsFunc(d.order.Payments, comes)
	if err := d.s.storeRefund(ctx, d.tx, r); err != nil {
		return nil, err
	}
	d.repaid(r)
	return r, nil
}

// comes reports whether money is to come of a payment.
func comes(p payment.Payment) bool {
	return !p.Undone && (p.Waits() || p.State == openapi.PaymentStateAuthorized) && p.Amount.Minor > 0
}

// worth is what a repayment comes to.
func (d *dispatch) worth(ctx context.Context, in Repayment) (*Refund, error) {
	o := d.order
	r := d.newRefund(in)
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
		wrong.Require(slices.ContainsFunc(all, func(b *Return) bool { return b.ID == in.ReturnID }), "/returnId", "is no return of the order")
	}
	n, err := refundsOf(ctx, d.tx, o)
	if err != nil {
		return nil, err
	}
	if len(n) >= mostParts {
		return nil, tooManyParts("refunds")
	}
	return r, conflict(wrong, against, problem.New(http.StatusConflict, "refund_exceeds_order", "More is to be given back than was paid for this."))
}

func lineOfFulfillment(l openapi.FulfillmentLine) uuid.UUID { return l.LineId }

func (d *dispatch) newRefund(in Repayment) *Refund {
	return &Refund{
		ID: uuid.Must(uuid.NewV7()), OrderID: d.order.ID, ReturnID: in.ReturnID, Currency: d.order.Currency, Amount: in.Shipping + in.Other,
		Shipping: in.Shipping, Other: in.Other, Reason: in.Reason, Actor: d.actor, CreatedAt: d.s.now().Truncate(time.Microsecond),
	}
}

// refundRest notes that all that is left is given back, for no line in
// particular: what asks the providers for it is payment.Payments.Undo, but for
// the order's credit.
func (d *dispatch) refundRest(ctx context.Context, reason string) (err error) {
	if d.order.Payments, err = d.s.payments.Of(ctx, d.tx, d.order.ID); err != nil {
		return err
	}
	if d.order.Exchanged > 0 {
		return problem.New(http.StatusConflict, "order_exchanged", "A part of the order was exchanged, and its money is in another order: give back the rest of it with POST /orders/%s/refunds.", d.order.ID)
	}
	left := d.order.left()
	if left == 0 {
		return nil
	}
	r := d.newRefund(Repayment{Other: left, Reason: reason})
	if err := d.spendCredit(ctx, r, d.order.Credit); err != nil {
		return err
	}
	d.repaid(r)
	return d.s.storeRefund(ctx, d.tx, r)
}

// repaid is what an event of a refund tells.
type repaid struct {
	change
	RefundID uuid.UUID     `json:"refundId"`
	ReturnID *uuid.UUID    `json:"returnId,omitempty"`
	Amount   openapi.Money `json:"amount"`
}

// repaid tells of a refund, and its buyer by mail.
func (d *dispatch) repaid(r *Refund) {
	o, public, text := d.order, r.Public(), ""
	for _, s := range r.Sources {
		text = strings.TrimSpace(fmt.Sprintf("%s %s of it were paid with order %d, and are given back on its payments.", text, o.amount(s.Amount), s.Number))
	}
	d.happened = append(d.happened, events.Event{
		Type: "refund.created", Topic: events.Orders, Subject: o.ID, Customer: o.CustomerID, Actor: d.actor, Public: true, At: r.CreatedAt,
		Data: repaid{change: o.change(change{Text: text, Reason: r.Reason}), RefundID: r.ID, ReturnID: public.ReturnId, Amount: public.Amount},
	})
	m := o.message(mail.OrderRefunded)
	m.RefundID = r.ID
	d.mails = append(d.mails, m)
}

// storeRefund stores a refund.
func (s *Orders) storeRefund(ctx context.Context, tx orderdb.DBTX, r *Refund) error {
	q := orderdb.New(tx)
	err := q.InsertRefund(ctx, orderdb.InsertRefundParams{
		ID: r.ID, OrderID: r.OrderID, ReturnID: optional.Of(r.ReturnID), Amount: r.Amount, Shipping: r.Shipping, Other: r.Other, Reason: r.Reason, Actor: r.Actor, At: r.CreatedAt,
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
			Reason: r.Reason, Actor: r.Actor, CreatedAt: r.CreatedAt.UTC(),
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
