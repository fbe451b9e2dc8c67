package order

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/inventory"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/order/orderdb"
	"gitee.com/captainjez/gocart/runtime/internal/payment"
	"gitee.com/captainjez/gocart/runtime/internal/pricing"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// ExchangeReturn answers POST /returns/{id}/exchange.
func (h Handlers) ExchangeReturn(c *gin.Context, id uuid.UUID, params openapi.ExchangeReturnParams) {
	actor := identity.Of(c).Actor()
	var found *Return
	var prices Prices
	var asked []uuid.UUID
	rest.Create(c, h.Orders.pool, rest.Creation[openapi.ExchangeInput, openapi.Order]{
		Key: params.IdempotencyKey,
		Prepare: func(ctx context.Context, in openapi.ExchangeInput) (err error) {
			found, prices, err = h.Orders.prepareExchange(ctx, id, in)
			return err
		},
		Effect: func(ctx context.Context, tx pgx.Tx, in openapi.ExchangeInput) (made openapi.Order, err error) {
			asked, err = h.Orders.changeIn(ctx, tx, found.OrderID, actor, func(ctx context.Context, d *dispatch) error {
				o, err := d.exchange(ctx, id, in, prices)
				if err == nil {
					made = o.Public()
				}
				return err
			})
			return made, err
		},
		Location: func(o openapi.Order) string { return "/orders/" + o.Id.String() },
		After:    func(ctx context.Context, _ openapi.Order) { h.Orders.payments.Settle(ctx, asked...) },
	})
}

// prepareExchange wants what is wrong whatever the return is by then, and reads
// what the goods cost.
func (s *Orders) prepareExchange(ctx context.Context, id uuid.UUID, in openapi.ExchangeInput) (*Return, Prices, error) {
	var f problem.Findings
	f.Require(len(in.Lines) >= 1 && len(in.Lines) <= pricing.MaxLines, "/lines", "must be 1 to %d lines", pricing.MaxLines)
	ids := make([]uuid.UUID, len(in.Lines))
	for i, l := range in.Lines {
		f.Range(fmt.Sprintf("/lines/%d/quantity", i), l.Quantity, 1, maxQuantity)
		f.Require(!slices.Contains(ids[:i], l.VariantId), fmt.Sprintf("/lines/%d/variantId", i), "is named twice")
		ids[i] = l.VariantId
	}
	if err := f.Err(); err != nil {
		return nil, Prices{}, err
	}
	r, err := s.Return(ctx, id)
	if err != nil {
		return nil, Prices{}, err
	}
	o, err := s.byID(ctx, r.OrderID)
	if err != nil {
		return nil, Prices{}, err
	}
	prices, err := s.Prices(ctx, o.Currency, ids)
	return r, prices, err
}

// exchange places an order of other goods for what of a return was not given its
// money back. That much is taken off it, and what is left of that is given back.
func (d *dispatch) exchange(ctx context.Context, id uuid.UUID, in openapi.ExchangeInput, prices Prices) (*Order, error) {
	all, err := returnsOf(ctx, d.tx, d.order.ID)
	if err != nil {
		return nil, err
	}
	r := all[slices.IndexFunc(all, func(r *Return) bool { return r.ID == id })]
	if r.State != openapi.ReturnStateApproved && r.State != openapi.ReturnStateReceived || r.ExchangeID != uuid.Nil {
		return nil, problem.New(http.StatusConflict, "return_state", "The return is %s; one that is approved or received can be exchanged, once.", r.State)
	}
	credit, err := d.credit(ctx, r)
	if err != nil {
		return nil, err
	}
	o, used, err := d.inExchange(ctx, r, in, prices, credit)
	if err != nil {
		return nil, err
	}
	r.ExchangeID, r.Credit, r.UpdatedAt = o.ID, used, o.CreatedAt
	d.order.Exchanged += used
	d.tellExchange(r, o)
	if err := d.saveReturn(ctx, r); err != nil {
		return nil, err
	}
	if used == credit {
		return o, nil
	}
	_, err = d.refund(ctx, Repayment{Other: credit - used, ReturnID: r.ID, Reason: fmt.Sprintf("What order %d comes to less.", o.Number)})
	return o, err
}

// credit is what was paid for what comes back, in money or with what came back
// before that, as far as it was not given back; from now on it is exchanged.
func (d *dispatch) credit(ctx context.Context, r *Return) (minor int64, err error) {
	if err := d.readSettled(ctx); err != nil {
		return 0, err
	}
	rows := orderdb.ExchangeLinesParams{ReturnID: r.ID}
	for i := range r.Lines {
		back, l := &r.Lines[i], d.order.line(r.Lines[i].LineID)
		if l == nil { // nothing of it came, and it was edited out of the order since
			continue
		}
		n := back.Quantity
		if r.State == openapi.ReturnStateReceived {
			n = back.Restocked + back.WrittenOff
		}
		// A piece whose money was given back may be any: it is taken for one that
		// comes back, so that none that stays with its buyer pays for other goods.
		back.Exchanged = max(0, min(n, l.ComingBack-l.Refunded))
		worth := l.worth(back.Exchanged)
		minor += worth
		l.settle(back.Exchanged, worth)
		rows.LineIds = append(rows.LineIds, back.LineID)
		rows.Exchanged = append(rows.Exchanged, back.Exchanged)
		rows.Worth = append(rows.Worth, worth)
	}
	left := d.order.left()
	if d.order.over() { // what is there is being given back
		left = 0
	}
	if !slices.ContainsFunc(d.order.Payments, comes) && left > 0 {
		minor = min(minor, left) // an amount of it was given back for no line
	}
	if minor == 0 || minor > left {
		return 0, problem.New(http.StatusConflict, "nothing_to_exchange",
			"What comes back is worth %s that were not given back, and of the order's payments %s are there.", d.order.amount(minor), d.order.amount(max(0, left)))
	}
	if err := orderdb.New(d.tx).ExchangeLines(ctx, rows); err != nil {
		return 0, fmt.Errorf("noting what is exchanged: %w", err)
	}
	return minor, nil
}

// inExchange stores an order for who bought, of which up to so much is paid by
// what comes back, and says how much is.
func (d *dispatch) inExchange(ctx context.Context, r *Return, in openapi.ExchangeInput, prices Prices, credit int64) (o *Order, used int64, err error) {
	was := d.order
	o = &Order{
		ID: uuid.Must(uuid.NewV7()), CartID: uuid.New(), CustomerID: was.CustomerID, Email: was.Email, Currency: was.Currency, State: openapi.OrderStatePending,
		Details: Details{
			ShippingAddress: was.Details.ShippingAddress, BillingAddress: was.Details.BillingAddress, VATID: was.Details.VATID, Locale: was.Details.Locale,
			ShippingMethod: was.Details.ShippingMethod,
		},
	}
	if was.CustomerID == uuid.Nil {
		o.GuestCartID = was.tokenOf()
	}
	wanted := make([]Wanted, len(in.Lines))
	for i, l := range in.Lines {
		wanted[i] = Wanted{VariantID: l.VariantId, Quantity: l.Quantity}
	}
	whole := *o
	if _, err := prices.quote(&whole, wanted, 0); err != nil {
		return nil, 0, err
	}
	demands, err := prices.quote(o, wanted, credit)
	if err != nil {
		return nil, 0, err
	}
	used = whole.Total - o.Total
	for i := range o.Lines {
		o.Lines[i].Credit = whole.Lines[i].Total - o.Lines[i].Total
	}
	o.Credit = used
	o.Details.Discounts = []openapi.AppliedDiscount{{Title: fmt.Sprintf("In exchange for a part of order %d", was.Number), Amount: o.amount(o.Discount).Decimal()}}
	if o.Total == 0 {
		o.State = openapi.OrderStateConfirmed
	}
	o.Payments = []payment.Payment{{
		ID: uuid.Must(uuid.NewV7()), OrderID: o.ID, Provider: exchanged, State: openapi.PaymentStateCaptured, Amount: money.Amount{Currency: o.Currency},
		Reference: r.ID.String(), CreatedAt: d.s.now().Truncate(time.Microsecond),
	}}
	return o, used, d.storeNew(ctx, o, demands)
}

// inExchange reports whether the order was placed in exchange for another's goods.
func (o *Order) inExchange() bool {
	return slices.ContainsFunc(o.Payments, func(p payment.Payment) bool { return p.Provider == exchanged })
}

// exchanged is the provider of the payment of nothing that an order in exchange has.
const exchanged = "exchange"

// tellExchange tells of an exchange where the goods come back.
func (d *dispatch) tellExchange(r *Return, o *Order) {
	was := d.order
	d.happened = append(d.happened, events.Event{
		Type: "return.exchanged", Topic: events.Orders, Subject: was.ID, Customer: was.CustomerID, Actor: d.actor, Public: true, At: r.UpdatedAt,
		Data: sentBack{
			change: was.change(change{Text: fmt.Sprintf("Order %d was placed in exchange.", o.Number)}), ReturnID: r.ID, State: r.State, Lines: r.Public().Lines,
		},
	})
}

// undoExchange has an order that is cancelled be in exchange for nothing: what
// it was placed for can be given its money back, or exchanged, again.
func (s *Orders) undoExchange(ctx context.Context, tx pgx.Tx, o *Order, actor string) error {
	q := orderdb.New(tx)
	all, err := q.ExchangedBy(ctx, &o.ID)
	if err != nil {
		return fmt.Errorf("looking for what an order was placed for: %w", err)
	}
	for _, r := range all {
		was, err := s.hold(ctx, tx, r.OrderID)
		if err != nil {
			return err
		}
		now := s.now().Truncate(time.Microsecond)
		if err := q.UndoExchangedLines(ctx, orderdb.UndoExchangedLinesParams{ReturnID: r.ID, OrderID: r.OrderID}); err != nil {
			return fmt.Errorf("undoing an exchange: %w", err)
		}
		if err := q.UndoExchange(ctx, orderdb.UndoExchangeParams{ReturnID: r.ID, At: now}); err != nil {
			return fmt.Errorf("undoing an exchange: %w", err)
		}
		text := fmt.Sprintf("Order %d, which was placed in exchange, was cancelled.", o.Number)
		if err := s.events.Append(ctx, tx, events.Event{
			Type: "order.payment", Topic: events.Orders, Subject: was.ID, Customer: was.CustomerID, Actor: actor, Public: true, At: now, Data: change{Text: text},
		}); err != nil {
			return err
		}
	}
	return nil
}

// storeNew stores an order that no cart describes, with what it takes of the stock.
func (d *dispatch) storeNew(ctx context.Context, o *Order, demands []inventory.Demand) error {
	locked, err := d.s.stock.Lock(ctx, d.tx, demands)
	if err != nil {
		return err
	}
	if err := locked.Reserve(inventory.Owner{ID: o.ID, Order: true}, demands); err != nil {
		return err
	}
	var numbers, writes batch.Statements
	taken := TakeNumbers(ctx, &numbers, 1)
	if err := numbers.Send(ctx, d.tx); err != nil {
		return err
	}
	if err := d.s.Insert(ctx, &writes, []*Order{o}, *taken, func(*Order) string { return d.actor }); err != nil {
		return err
	}
	if err := locked.StoreWith(ctx, &writes); err != nil {
		return err
	}
	return writes.Send(ctx, d.tx)
}
