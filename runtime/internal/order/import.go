package order

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/order/orderdb"
	"gitee.com/captainjez/gocart/runtime/internal/payment"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/transfer"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Accounts knows whose orders come in.
type Accounts interface {
	// Accounts are those of the ids that there are, and the ids of the accounts
	// whose addresses, in lower case, are confirmed.
	Accounts(ctx context.Context, tx pgx.Tx, ids []uuid.UUID, emails []string) (there map[uuid.UUID]bool, confirmed map[string]uuid.UUID, err error)
}

// importOrders brings orders in that were placed elsewhere, or before: what is
// past. They move no stock, ask no provider, use no promotion and send no mail;
// each is an event. One that is there already is not changed.
func (s *Orders) importOrders(ctx context.Context, tx pgx.Tx, accounts Accounts, all []Record) ([]transfer.Result, func(context.Context), error) {
	results := make([]transfer.Result, len(all))
	orders := make([]*Order, len(all))
	for i, r := range all {
		orders[i], results[i].Err = r.order(s.now())
	}
	there, err := s.imported(ctx, tx, orders)
	if err != nil {
		return nil, nil, err
	}
	var fresh []*Order
	for i, o := range orders {
		if results[i].Err != nil {
			continue
		}
		var f problem.Findings
		was := there.byNumber[o.Number]
		f.Require(was == nil || same(was, o), "/number", "is that of an order that is there, and another one")
		f.Require(was != nil || !there.ids[o.ID], "/id", "is that of an order that is there")
		for n, p := range o.Payments {
			f.Require(was != nil || !there.ids[p.ID], fmt.Sprintf("/payments/%d/id", n), "is that of a payment that is there")
		}
		if results[i].Err = f.Err(); results[i].Err != nil {
			continue
		}
		results[i].Outcome = transfer.Unchanged
		if was == nil {
			results[i].Outcome = transfer.Created
			fresh, there.byNumber[o.Number], there.ids[o.ID] = append(fresh, o), o, true
			for _, p := range o.Payments {
				there.ids[p.ID] = true
			}
		}
	}
	if len(fresh) == 0 {
		return results, nil, nil
	}
	if err := s.settle(ctx, tx, accounts, all, orders, fresh); err != nil {
		return nil, nil, err
	}
	return results, nil, s.insertPast(ctx, tx, fresh)
}

// present are orders that are there, and ids of orders and payments that are
// taken.
type present struct {
	byNumber map[int64]*Order
	ids      map[uuid.UUID]bool
}

func (s *Orders) imported(ctx context.Context, tx pgx.Tx, orders []*Order) (present, error) {
	found := present{byNumber: map[int64]*Order{}, ids: map[uuid.UUID]bool{}}
	var p orderdb.TakenParams
	for _, o := range orders {
		if o == nil {
			continue
		}
		p.Numbers, p.OrderIds = append(p.Numbers, o.Number), append(p.OrderIds, o.ID)
		for _, paid := range o.Payments {
			p.PaymentIds = append(p.PaymentIds, paid.ID)
		}
	}
	rows, err := orderdb.New(tx).Taken(ctx, p)
	if err != nil {
		return found, fmt.Errorf("reading orders: %w", err)
	}
	for _, r := range rows {
		if found.ids[r.ID] = true; r.Number == 0 {
			continue
		}
		row, err := orderdb.New(tx).OrderByID(ctx, r.ID)
		if err != nil {
			return found, fmt.Errorf("reading an order: %w", err)
		}
		o, err := orderOf(row)
		if err == nil {
			err = s.complete(ctx, tx, o)
		}
		if err != nil {
			return found, err
		}
		found.byNumber[o.Number] = o
	}
	return found, nil
}

// same reports whether an order is what a record says, as far as that says it.
func same(was, now *Order) bool {
	type sums struct {
		state                                    openapi.OrderState
		email, currency                          string
		subtotal, discount, shipping, tax, total int64
	}
	of := func(o *Order) sums {
		return sums{o.State, strings.ToLower(o.Email), o.Currency, o.Subtotal, o.Discount, o.Shipping, o.Tax, o.Total}
	}
	type piece struct {
		sku, title                                          string
		quantity, unitPrice, subtotal, discount, tax, total int64
	}
	bought := func(l Line) piece {
		return piece{l.SKU, l.Title, l.Quantity, l.UnitPrice, l.Subtotal, l.Discount, l.Tax, l.Total}
	}
	line := func(a, b Line) bool { return bought(a) == bought(b) }
	paid := func(a, b payment.Payment) bool {
		return a.Provider == b.Provider && a.State == b.State && a.Amount == b.Amount && a.Captured == b.Captured && a.Refunded == b.Refunded
	}
	said := func(was, now string) bool { return now == "" || was == now }
	address := func(was, now *openapi.Address) bool {
		return now == nil || was != nil && was.Name == now.Name && was.Country == now.Country && said(was.Line1, now.Line1) && said(was.City, now.City)
	}
	return of(was) == of(now) && was.CreatedAt.Equal(now.CreatedAt) && slices.EqualFunc(was.Lines, now.Lines, line) &&
		(len(now.Payments) == 0 || slices.EqualFunc(was.Payments, now.Payments, paid)) &&
		address(was.Details.ShippingAddress, now.Details.ShippingAddress) && address(was.Details.BillingAddress, now.Details.BillingAddress) &&
		said(was.Details.Note, now.Details.Note) && said(was.Details.VATID, now.Details.VATID)
}

// settle finds whose the new orders are, and which of the store's variants their
// lines are of.
func (s *Orders) settle(ctx context.Context, tx pgx.Tx, accounts Accounts, records []Record, orders, fresh []*Order) error {
	var ids []uuid.UUID
	var emails, skus []string
	for _, r := range records {
		if r.CustomerID != nil {
			ids = append(ids, *r.CustomerID)
		}
	}
	for _, o := range fresh {
		emails = append(emails, strings.ToLower(o.Email))
		for _, l := range o.Lines {
			skus = append(skus, l.SKU)
		}
	}
	there, confirmed, err := accounts.Accounts(ctx, tx, ids, emails)
	if err != nil {
		return err
	}
	variants, err := s.stock.Variants(ctx, tx, skus)
	if err != nil {
		return err
	}
	for i, o := range orders {
		if o == nil {
			continue
		}
		o.CustomerID = confirmed[strings.ToLower(o.Email)]
		if id := records[i].CustomerID; id != nil && there[*id] {
			o.CustomerID = *id
		}
	}
	for _, o := range fresh {
		for i := range o.Lines {
			l := &o.Lines[i]
			if v, ok := variants[l.SKU]; ok && l.VariantID == uuid.Nil {
				l.VariantID, l.ProductID = v.ID, v.ProductID
			}
		}
	}
	return nil
}

// insertPast stores orders as they were.
func (s *Orders) insertPast(ctx context.Context, tx pgx.Tx, all []*Order) error {
	if err := s.numbersAfter(ctx, tx, all); err != nil {
		return err
	}
	orders, lines := orderdb.InsertOrdersParams{}, orderdb.InsertLinesParams{}
	times := orderdb.InsertPastOrdersParams{}
	var payments []payment.Payment
	var told []events.Event
	var delivered, undone []uuid.UUID
	for _, o := range all {
		if err := o.addTo(&orders, &lines); err != nil {
			return err
		}
		times.CreatedAt, times.UpdatedAt = append(times.CreatedAt, o.CreatedAt), append(times.UpdatedAt, o.UpdatedAt)
		payments = append(payments, o.Payments...)
		for _, p := range o.Payments {
			if p.Undone {
				undone = append(undone, p.ID)
			}
		}
		if o.State != openapi.OrderStateCancelled {
			delivered = append(delivered, o.ID)
		}
		told = append(told, events.Event{
			Type: "order.imported", Topic: events.Orders, Subject: o.ID, Customer: o.CustomerID, Actor: "store", Public: true, At: s.now().Truncate(time.Microsecond),
			Data: o.change(change{To: o.State}),
		})
	}
	times.Ids, times.Numbers, times.States, times.CustomerIds, times.CartIds = orders.Ids, orders.Numbers, orders.States, orders.CustomerIds, orders.CartIds
	times.Emails, times.Currencies, times.Subtotals, times.Discounts = orders.Emails, orders.Currencies, orders.Subtotals, orders.Discounts
	times.Shippings, times.Taxes, times.Totals, times.ItemCounts, times.Details = orders.Shippings, orders.Taxes, orders.Totals, orders.ItemCounts, orders.Details
	q := orderdb.New(tx)
	if err := q.InsertPastOrders(ctx, times); err != nil {
		return fmt.Errorf("storing orders: %w", err)
	}
	if err := q.InsertLines(ctx, lines); err != nil {
		return fmt.Errorf("storing order lines: %w", err)
	}
	if err := q.LinesHaveArrived(ctx, delivered); err != nil {
		return fmt.Errorf("storing order lines: %w", err)
	}
	var statements batch.Statements
	if err := s.payments.Store(ctx, &statements, payments); err != nil {
		return err
	}
	if err := s.events.AppendWith(ctx, &statements, told...); err != nil {
		return err
	}
	if err := statements.Send(ctx, tx); err != nil {
		return err
	}
	return s.payments.MarkUndone(ctx, tx, undone)
}

// numbersAfter has the store's own numbers go on after those that come in. It
// holds off who takes one meanwhile, so that no two get the same.
func (s *Orders) numbersAfter(ctx context.Context, tx pgx.Tx, all []*Order) error {
	highest := int64(0)
	for _, o := range all {
		highest = max(highest, o.Number)
	}
	q := orderdb.New(tx)
	last, err := q.LastNumber(ctx)
	if err != nil || highest < last {
		return err
	}
	if _, err := tx.Exec(ctx, "ALTER SEQUENCE order_numbers NO CYCLE"); err != nil { // waits for who has taken one, and has others wait
		return fmt.Errorf("holding order numbers: %w", err)
	}
	if err := q.NumbersAfter(ctx, highest); err != nil {
		return fmt.Errorf("moving order numbers: %w", err)
	}
	return nil
}
