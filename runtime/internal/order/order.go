// Package order is what was bought and what became of it: orders, their lines
// and states, what goes out of them in fulfilments, comes back in returns and is
// given back in refunds. It owns the tables orders, order_lines, fulfillments,
// returns, refunds and their lines. An order is made by package checkout; here
// it is read and taken through its states.
package order

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/inventory"
	"gitee.com/captainjez/gocart/runtime/internal/mail"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/order/orderdb"
	"gitee.com/captainjez/gocart/runtime/internal/payment"
	"gitee.com/captainjez/gocart/runtime/internal/pricing"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Order is one order, with amounts in minor units of Currency.
type Order struct {
	ID, CartID uuid.UUID
	// GuestCartID is the cart by whose token a guest is known as the buyer where
	// that is not CartID, uuid.Nil else.
	GuestCartID uuid.UUID
	// CustomerID is nil for a guest's.
	CustomerID uuid.UUID
	Number     int64
	State      openapi.OrderState
	// HeldFrom is the state to go back to from on_hold, and from refunded where
	// that comes to nothing.
	HeldFrom openapi.OrderState
	Email    string
	Currency string

	Subtotal, Discount, Shipping, Tax, Total int64
	// ShippingRefunded is what of the shipping, with its tax, was given back.
	ShippingRefunded int64
	// Credit is what of other orders' money is in this one, which was placed in
	// exchange, Exchanged what of its money is in others; of a complete order.
	Credit, Exchanged int64

	Lines    []Line
	Details  Details
	Payments []payment.Payment
	// PaymentDueAt is when a pending order is cancelled, zero for never.
	PaymentDueAt         time.Time
	CreatedAt, UpdatedAt time.Time
}

// Line is one variant of an order, as it was when it was bought.
type Line struct {
	ID, VariantID, ProductID uuid.UUID
	SKU, Title               string
	Options                  map[string]string
	Quantity, UnitPrice      int64

	Subtotal, Discount, Tax, Total int64
	// Credit is what was paid of it with what came back in exchange, with tax. It
	// is in the discount, and not in the total.
	Credit int64
	// Rates are what it is taxed by; nil where they were not kept.
	Rates []pricing.Rate

	// Packed is how much of the quantity is in packages, Shipped and Delivered
	// are how much of that left and arrived. ComingBack is how much is being
	// sent back, or was, Returned how much of that came. Refunded is for how
	// much the money was given back.
	Packed, Shipped, Delivered, ComingBack, Returned, Refunded int64
	// settled is what was given back of what was paid for the line, or exchanged,
	// where readSettled has read it.
	settled int64

	// Stock is what one of it takes from the stock, which for a bundle is what
	// it is made of; nil where that is not known.
	Stock []inventory.Part
}

// takes is what one of the line takes from the stock.
func (l *Line) takes() []inventory.Part {
	if l.Stock == nil {
		return []inventory.Part{{VariantID: l.VariantID, Quantity: 1}}
	}
	return l.Stock
}

// Details are what of an order only people read; they are stored as JSON.
type Details struct {
	ShippingAddress  *openapi.Address          `json:"shippingAddress,omitempty"`
	BillingAddress   *openapi.Address          `json:"billingAddress,omitempty"`
	ShippingMethod   string                    `json:"shippingMethod,omitempty"`
	VATID            string                    `json:"vatId,omitempty"`
	Note             string                    `json:"note,omitempty"`
	Locale           string                    `json:"locale,omitempty"`
	PricesIncludeTax bool                      `json:"pricesIncludeTax"`
	ReverseCharge    bool                      `json:"reverseCharge"`
	Discounts        []openapi.AppliedDiscount `json:"discounts"`
	Taxes            []openapi.TaxAmount       `json:"taxes"`
}

// Public is the order as callers see it.
func (o *Order) Public() openapi.Order {
	decimal := func(minor int64) string { return money.Amount{Minor: minor, Currency: o.Currency}.Decimal() }
	public := openapi.Order{
		Id: o.ID, Number: strconv.FormatInt(o.Number, 10), State: o.State, Email: o.Email,
		ShippingAddress: o.Details.ShippingAddress, BillingAddress: o.Details.BillingAddress,
		ShippingMethod: optional.Of(o.Details.ShippingMethod), VatId: optional.Of(o.Details.VATID), Note: optional.Of(o.Details.Note), Locale: optional.Of(o.Details.Locale),
		CustomerId: optional.Of(o.CustomerID), PaymentDueAt: optional.Of(o.PaymentDueAt),
		CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt,
		Totals: openapi.Totals{
			Currency: o.Currency, Subtotal: decimal(o.Subtotal), Discount: decimal(o.Discount), Shipping: decimal(o.Shipping),
			Tax: decimal(o.Tax), Total: decimal(o.Total), PricesIncludeTax: o.Details.PricesIncludeTax, ReverseCharge: o.Details.ReverseCharge,
			Discounts: o.Details.Discounts, Taxes: o.Details.Taxes,
		},
		Lines: make([]openapi.OrderLine, len(o.Lines)), Payments: make([]openapi.Payment, len(o.Payments)),
	}
	public.Paid, public.Refunded, public.Due = o.balance()
	if o.Credit > 0 {
		public.Credit = new(o.money(o.Credit))
	}
	if o.Exchanged > 0 {
		public.Exchanged = new(o.money(o.Exchanged))
	}
	for i, l := range o.Lines {
		public.Lines[i] = openapi.OrderLine{
			Id: l.ID, VariantId: l.VariantID, ProductId: l.ProductID, Sku: l.SKU, Title: l.Title, Options: l.Options, Quantity: l.Quantity,
			FulfillableQuantity: l.Quantity - l.Packed, ShippedQuantity: l.Shipped, DeliveredQuantity: l.Delivered,
			ReturnableQuantity: l.Shipped - l.ComingBack, ReturnedQuantity: l.Returned, RefundedQuantity: l.Refunded,
			UnitPrice: decimal(l.UnitPrice), Subtotal: decimal(l.Subtotal), Discount: decimal(l.Discount), Tax: decimal(l.Tax), Total: decimal(l.Total),
		}
		if l.Credit > 0 {
			public.Lines[i].Credit = new(decimal(l.Credit))
		}
	}
	for i, p := range o.Payments {
		public.Payments[i] = p.Public()
	}
	return public
}

// Promotions counts the uses of promotions.
type Promotions interface {
	// GiveBack forgets the uses of a cancelled order.
	GiveBack(ctx context.Context, tx pgx.Tx, orderID uuid.UUID) error
}

// Mailer takes mails to buyers, to be sent when a transaction commits.
type Mailer interface {
	Enqueue(ctx context.Context, tx pgx.Tx, m mail.Message) error
	EnqueueWith(ctx context.Context, statements *batch.Statements, all ...mail.Message) error
}

// Orders reads orders and moves them through their states.
type Orders struct {
	pool       *pgxpool.Pool
	stock      *inventory.Stock
	payments   *payment.Payments
	promotions Promotions
	variants   Variants
	rules      Rules
	mailer     Mailer
	keys       *identity.Keys
	events     *events.Log
	now        func() time.Time
}

// Dependencies are what orders take beside the database.
type Dependencies struct {
	Stock      *inventory.Stock
	Payments   *payment.Payments
	Promotions Promotions
	// Variants and Rules price what staff put into orders.
	Variants Variants
	Rules    Rules
	Mailer   Mailer
	Keys     *identity.Keys
	Events   *events.Log
}

// New makes the orders in the database.
func New(pool *pgxpool.Pool, d Dependencies, now func() time.Time) *Orders {
	return &Orders{
		pool: pool, stock: d.Stock, payments: d.Payments, promotions: d.Promotions, variants: d.Variants, rules: d.Rules, mailer: d.Mailer, keys: d.Keys,
		events: d.Events, now: now,
	}
}

// Numbers are what the next orders are called.
type Numbers []int64

// TakeNumbers takes numbers for so many orders, when the statements are sent.
// Numbers rise; those that no order gets are gaps.
func TakeNumbers(ctx context.Context, statements *batch.Statements, n int) *Numbers {
	var taken Numbers
	statements.Add(func(db batch.DB) (err error) {
		if taken, err = orderdb.New(db).NextNumbers(ctx, int32(n)); err != nil {
			return fmt.Errorf("taking order numbers: %w", err)
		}
		return nil
	})
	return &taken
}

// Insert stores new orders with their lines, their payments, the events of
// their placing and the mails about it when the statements are sent, and gives
// them their numbers and times at once.
func (s *Orders) Insert(ctx context.Context, statements *batch.Statements, all []*Order, numbers Numbers, actor func(*Order) string) error {
	now := s.now().Truncate(time.Microsecond) // what PostgreSQL keeps
	orders, lines := orderdb.InsertOrdersParams{At: now}, orderdb.InsertLinesParams{}
	var payments []payment.Payment
	var placed []events.Event
	var mails []mail.Message
	for i, o := range all {
		o.Number, o.CreatedAt, o.UpdatedAt = numbers[i], now, now
		if err := o.addTo(&orders, &lines); err != nil {
			return err
		}
		payments = append(payments, o.Payments...)
		placed = append(placed, events.Event{
			Type: "order.placed", Topic: events.Orders, Subject: o.ID, Customer: o.CustomerID, Actor: actor(o), Public: true, At: now,
			Data: o.change(change{To: o.State}),
		})
		for _, p := range o.Payments {
			placed = append(placed, o.paymentEvent(p, actor(o), now))
		}
		mails = append(mails, o.message(mail.OrderPlaced))
	}
	statements.Add(func(db batch.DB) error {
		if err := orderdb.New(db).InsertOrders(ctx, orders); err != nil {
			return fmt.Errorf("storing orders: %w", err)
		}
		return nil
	})
	statements.Add(func(db batch.DB) error {
		if err := orderdb.New(db).InsertLines(ctx, lines); err != nil {
			return fmt.Errorf("storing order lines: %w", err)
		}
		return nil
	})
	if err := s.payments.Store(ctx, statements, payments); err != nil {
		return err
	}
	if err := s.events.AppendWith(ctx, statements, placed...); err != nil {
		return err
	}
	return s.mailer.EnqueueWith(ctx, statements, mails...)
}

// message is a mail to who placed the order.
func (o *Order) message(t mail.Template) mail.Message {
	return mail.Message{Template: t, To: o.Email, Locale: o.Details.Locale, OrderID: o.ID}
}

func (o *Order) addTo(orders *orderdb.InsertOrdersParams, lines *orderdb.InsertLinesParams) error {
	details, err := json.Marshal(o.Details)
	if err != nil {
		return fmt.Errorf("encoding an order: %w", err)
	}
	items := int64(0)
	for i, l := range o.Lines {
		options, err := json.Marshal(l.Options)
		if err != nil {
			return fmt.Errorf("encoding an order line: %w", err)
		}
		stock, err := stored(l.Stock)
		if err != nil {
			return err
		}
		if l.Stock == nil {
			stock = []byte("null") // what it takes is not known
		}
		rates, err := json.Marshal(append([]pricing.Rate{}, l.Rates...)) // none is [], for null is not known
		if err != nil {
			return fmt.Errorf("encoding an order line: %w", err)
		}
		items += l.Quantity
		lines.OrderIds = append(lines.OrderIds, o.ID)
		lines.Positions = append(lines.Positions, int32(i))
		lines.Ids = append(lines.Ids, l.ID)
		lines.VariantIds = append(lines.VariantIds, l.VariantID)
		lines.ProductIds = append(lines.ProductIds, l.ProductID)
		lines.Skus = append(lines.Skus, l.SKU)
		lines.Titles = append(lines.Titles, l.Title)
		lines.Options = append(lines.Options, string(options))
		lines.Quantities = append(lines.Quantities, l.Quantity)
		lines.UnitPrices = append(lines.UnitPrices, l.UnitPrice)
		lines.Subtotals = append(lines.Subtotals, l.Subtotal)
		lines.Discounts = append(lines.Discounts, l.Discount)
		lines.Taxes = append(lines.Taxes, l.Tax)
		lines.Totals = append(lines.Totals, l.Total)
		lines.Credits = append(lines.Credits, l.Credit)
		lines.Stock = append(lines.Stock, string(stock))
		lines.Rates = append(lines.Rates, string(rates))
	}
	orders.Ids = append(orders.Ids, o.ID)
	orders.Numbers = append(orders.Numbers, o.Number)
	orders.States = append(orders.States, string(o.State))
	orders.CustomerIds = append(orders.CustomerIds, o.CustomerID)
	orders.CartIds = append(orders.CartIds, o.CartID)
	orders.GuestCartIds = append(orders.GuestCartIds, o.GuestCartID)
	orders.Emails = append(orders.Emails, o.Email)
	orders.Currencies = append(orders.Currencies, o.Currency)
	orders.Subtotals = append(orders.Subtotals, o.Subtotal)
	orders.Discounts = append(orders.Discounts, o.Discount)
	orders.Shippings = append(orders.Shippings, o.Shipping)
	orders.Taxes = append(orders.Taxes, o.Tax)
	orders.Totals = append(orders.Totals, o.Total)
	orders.ItemCounts = append(orders.ItemCounts, items)
	orders.Details = append(orders.Details, string(details))
	orders.PaymentDueAt = append(orders.PaymentDueAt, o.PaymentDueAt)
	return nil
}

// EverOrdered reports whether one of the variants was ever bought.
func (s *Orders) EverOrdered(ctx context.Context, tx pgx.Tx, variantIDs []uuid.UUID) (bool, error) {
	return orderdb.New(tx).EverOrdered(ctx, variantIDs)
}

func notFound(id uuid.UUID) error {
	return problem.New(http.StatusNotFound, "order_not_found", "No order of yours has the id %s.", id)
}

func orderOf(r orderdb.Order) (*Order, error) {
	o := &Order{
		ID: r.ID, Number: r.Number, State: openapi.OrderState(r.State), CartID: r.CartID, Email: r.Email, Currency: r.Currency,
		Subtotal: r.Subtotal, Discount: r.Discount, Shipping: r.Shipping, Tax: r.Tax, Total: r.Total, ShippingRefunded: r.ShippingRefunded,
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
	if r.HeldFrom != nil {
		o.HeldFrom = openapi.OrderState(*r.HeldFrom)
	}
	if r.CustomerID != nil {
		o.CustomerID = *r.CustomerID
	}
	if r.GuestCartID != nil {
		o.GuestCartID = *r.GuestCartID
	}
	if r.PaymentDueAt != nil {
		o.PaymentDueAt = r.PaymentDueAt.UTC()
	}
	if err := json.Unmarshal(r.Details, &o.Details); err != nil {
		return nil, fmt.Errorf("details of order %s: %w", r.ID, err)
	}
	return o, nil
}

// complete reads the lines, payments and credit of orders.
func (s *Orders) complete(ctx context.Context, tx orderdb.DBTX, all ...*Order) error {
	ids, byID := make([]uuid.UUID, len(all)), make(map[uuid.UUID]*Order, len(all))
	for i, o := range all {
		o.Lines, o.Payments = nil, nil
		ids[i], byID[o.ID] = o.ID, o
	}
	rows, err := orderdb.New(tx).LinesOf(ctx, ids)
	if err != nil {
		return fmt.Errorf("reading order lines: %w", err)
	}
	for _, r := range rows {
		l, err := lineOf(r)
		if err != nil {
			return err
		}
		o := byID[r.OrderID]
		o.Credit, o.Exchanged, o.Lines = r.OrderCredit, r.OrderExchanged, append(o.Lines, l)
	}
	payments, err := s.payments.Of(ctx, tx, ids...)
	for _, p := range payments {
		o := byID[p.OrderID]
		o.Payments = append(o.Payments, p)
	}
	return err
}

func lineOf(r orderdb.LinesOfRow) (Line, error) {
	l := Line{
		ID: r.ID, VariantID: r.VariantID, ProductID: r.ProductID, SKU: r.Sku, Title: r.Title, Quantity: r.Quantity, UnitPrice: r.UnitPrice,
		Subtotal: r.Subtotal, Discount: r.Discount, Tax: r.Tax, Total: r.Total, Credit: r.Credit,
		Packed: r.Packed, Shipped: r.Shipped, Delivered: r.Delivered, ComingBack: r.ComingBack, Returned: r.Returned, Refunded: r.Refunded,
	}
	if err := json.Unmarshal(r.Options, &l.Options); err != nil {
		return l, fmt.Errorf("options of order line %s: %w", r.ID, err)
	}
	if r.Stock != nil {
		if err := json.Unmarshal(r.Stock, &l.Stock); err != nil {
			return l, fmt.Errorf("what order line %s takes from the stock: %w", r.ID, err)
		}
	}
	return l, nil
}

// Who asks for an order.
type Who struct {
	*identity.Principal
	// CartToken is the secret of the cart that the order was placed from, or the
	// one that it was placed in exchange for.
	CartToken string
}

// may reports whether somebody may see an order.
func (s *Orders) may(who Who, o *Order) bool { return who.Can("orders:read") || s.bought(who, o) }

// bought reports whether somebody is an order's buyer. Nobody is once that one
// was erased, which is when an order that has a cart has no address.
func (s *Orders) bought(who Who, o *Order) bool {
	if o.CustomerID != uuid.Nil {
		return who.CustomerID == o.CustomerID
	}
	return o.Email != "" && who.CartToken != "" && s.keys.CheckCartToken(o.tokenOf(), who.CartToken)
}

// tokenOf is the cart by whose token a guest is known as the order's buyer.
func (o *Order) tokenOf() uuid.UUID { return cmp.Or(o.GuestCartID, o.CartID) }

// Get reads an order for somebody who may see it; for others there is none.
func (s *Orders) Get(ctx context.Context, id uuid.UUID, who Who) (*Order, error) {
	o, err := s.Find(ctx, id)
	if err == nil && !s.may(who, o) {
		return nil, notFound(id)
	}
	return o, err
}

// MaySee returns an error where an order is not there for who shows credentials.
func (s *Orders) MaySee(ctx context.Context, id uuid.UUID, who *identity.Principal) error {
	return s.seen(ctx, id, Who{Principal: who})
}

// seen returns an error where an order is not there for somebody.
func (s *Orders) seen(ctx context.Context, id uuid.UUID, who Who) error {
	o, err := s.byID(ctx, id)
	if err == nil && !s.may(who, o) {
		return notFound(id)
	}
	return err
}

// Find reads an order for the store itself.
func (s *Orders) Find(ctx context.Context, id uuid.UUID) (*Order, error) {
	o, err := s.byID(ctx, id)
	if err != nil {
		return nil, err
	}
	return o, s.complete(ctx, s.pool, o)
}

// byID reads an order without its lines and payments.
func (s *Orders) byID(ctx context.Context, id uuid.UUID) (*Order, error) {
	r, err := orderdb.New(s.pool).OrderByID(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, notFound(id)
	}
	if err != nil {
		return nil, fmt.Errorf("reading an order: %w", err)
	}
	return orderOf(r)
}

// change is what an event of an order tells.
type change struct {
	Number string             `json:"number,omitempty"`
	From   openapi.OrderState `json:"from,omitempty"`
	To     openapi.OrderState `json:"to,omitempty"`
	// Text may be read by the buyer. Reason is why, in the words of who did it;
	// those of staff are for staff, see events.ForCustomer.
	Text   string         `json:"text,omitempty"`
	Reason string         `json:"reason,omitempty"`
	Total  *openapi.Money `json:"total,omitempty"`
}

// change completes what an event of the order tells by which one it is.
func (o *Order) change(c change) change {
	c.Number = strconv.FormatInt(o.Number, 10)
	c.Total = &openapi.Money{Amount: money.Amount{Minor: o.Total, Currency: o.Currency}.Decimal(), Currency: o.Currency}
	return c
}

// paid is what an event of a payment tells.
type paid struct {
	OrderID  uuid.UUID            `json:"orderId"`
	State    openapi.PaymentState `json:"state"`
	Amount   openapi.Money        `json:"amount"`
	Captured openapi.Money        `json:"captured"`
	Refunded openapi.Money        `json:"refunded"`
}

// paymentEvent tells what became of one of the order's payments.
func (o *Order) paymentEvent(p payment.Payment, actor string, at time.Time) events.Event {
	return o.changeEvent(payment.Change{Payment: p, Type: "payment." + string(p.State), Actor: actor}, at)
}

func (o *Order) changeEvent(c payment.Change, at time.Time) events.Event {
	p := c.Payment.Public()
	return events.Event{
		Type: c.Type, Topic: events.Payments, Subject: p.Id, Customer: o.CustomerID, Actor: c.Actor, Public: !c.Private, At: at,
		Data: paid{OrderID: o.ID, State: p.State, Amount: p.Amount, Captured: p.Captured, Refunded: p.Refunded},
	}
}

// move takes an order to a state, with all that this implies, in one
// transaction; then it asks the payment providers. One that is in the state
// stays as it is. mayMove is nil where its order may be moved.
func (s *Orders) move(ctx context.Context, id uuid.UUID, to openapi.OrderState, actor, reason string, mayMove func(*Order) error) (*Order, error) {
	var o *Order
	var asked []uuid.UUID
	err := db.WithTx(ctx, s.pool, func(tx pgx.Tx) (err error) {
		if o, err = s.hold(ctx, tx, id); err != nil {
			return err
		}
		if err := mayMove(o); err != nil {
			return err
		}
		if o.State == to {
			return s.complete(ctx, tx, o)
		}
		if asked, err = s.take(ctx, tx, o, to, actor, reason); err != nil {
			return err
		}
		return s.complete(ctx, tx, o)
	})
	if err != nil || len(asked) == 0 {
		return o, err
	}
	s.payments.Settle(ctx, asked...)
	if now, err := s.Find(ctx, id); err == nil { // else it is told as it was
		return now, nil
	}
	return o, nil
}

// hold reads an order, without its lines and payments, for a transaction that
// changes it.
func (s *Orders) hold(ctx context.Context, tx pgx.Tx, id uuid.UUID) (*Order, error) {
	r, err := orderdb.New(tx).LockOrder(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, notFound(id)
	}
	if err != nil {
		return nil, fmt.Errorf("locking an order: %w", err)
	}
	return orderOf(r)
}

// take takes an order that the transaction holds to a state, and returns what
// is to be asked of payment providers when it has committed.
func (s *Orders) take(ctx context.Context, tx pgx.Tx, o *Order, to openapi.OrderState, actor, reason string) ([]uuid.UUID, error) {
	if err := allowed(o.State, o.HeldFrom, to); err != nil {
		return nil, err
	}
	decided, err := s.effects(ctx, tx, o, to, actor, reason)
	if err != nil {
		return nil, err
	}
	if err := s.enter(ctx, tx, o, to, actor, reason, decided.Changes); err != nil {
		return nil, err
	}
	if to == openapi.OrderStateCancelled {
		m := o.message(mail.OrderCancelled)
		m.Unpaid = reason == paymentLate
		err = s.mailer.Enqueue(ctx, tx, m)
	}
	return decided.Asked, err
}

// enter stores a state that an order came to with these changes of its
// payments, and tells of it.
func (s *Orders) enter(ctx context.Context, tx pgx.Tx, o *Order, to openapi.OrderState, actor, reason string, paid []payment.Change) error {
	from := o.State
	o.State, o.HeldFrom, o.UpdatedAt = to, "", s.now().Truncate(time.Microsecond)
	o.PaymentDueAt = dueAfter(to, o.PaymentDueAt, o.UpdatedAt)
	if to == openapi.OrderStateOnHold || to == openapi.OrderStateRefunded {
		o.HeldFrom = from
	}
	if err := s.write(ctx, tx, o); err != nil {
		return err
	}
	happened := []events.Event{{
		Type: "order." + string(to), Topic: events.Orders, Subject: o.ID, Customer: o.CustomerID, Actor: actor, Public: true,
		Data: o.change(change{From: from, To: to, Reason: reason}), At: o.UpdatedAt,
	}}
	return s.events.Append(ctx, tx, append(happened, o.told(paid, o.UpdatedAt)...)...)
}

// write stores an order's state.
func (s *Orders) write(ctx context.Context, tx pgx.Tx, o *Order) error {
	err := orderdb.New(tx).SetState(ctx, orderdb.SetStateParams{
		ID: o.ID, State: string(o.State), HeldFrom: optional.Of(string(o.HeldFrom)), PaymentDueAt: optional.Of(o.PaymentDueAt), At: o.UpdatedAt,
	})
	if err != nil {
		return fmt.Errorf("storing an order's state: %w", err)
	}
	return nil
}

// dueAfter is until when an order waits for its payment in a state. On hold it
// waits without end, and afterwards for the usual time at least.
func dueAfter(to openapi.OrderState, due, now time.Time) time.Time {
	switch {
	case to == openapi.OrderStateOnHold:
		return due
	case to != openapi.OrderStatePending || due.IsZero():
		return time.Time{}
	case due.Before(now.Add(payment.HoldFor)):
		return now.Add(payment.HoldFor)
	}
	return due
}

// effects are what a state means for goods, money and promotions; it returns
// what it decided about the payments.
func (s *Orders) effects(ctx context.Context, tx pgx.Tx, o *Order, to openapi.OrderState, actor, reason string) (payment.Decision, error) {
	switch to {
	case openapi.OrderStateConfirmed:
		if o.State == openapi.OrderStatePending {
			return s.payments.Confirm(ctx, tx, o.ID, actor)
		}
	case openapi.OrderStateShipped:
		return s.dispatched(ctx, tx, o, actor, func(d *dispatch) error { return d.shipAll(ctx) })
	case openapi.OrderStateDelivered:
		return s.dispatched(ctx, tx, o, actor, func(d *dispatch) error { return d.deliverAll(ctx) })
	case openapi.OrderStateCancelled:
		if _, err := s.dispatched(ctx, tx, o, actor, func(d *dispatch) error { return d.unpackAll(ctx, reason) }); err != nil {
			return payment.Decision{}, err
		}
		if err := s.undoExchange(ctx, tx, o, actor); err != nil {
			return payment.Decision{}, err
		}
		if err := s.promotions.GiveBack(ctx, tx, o.ID); err != nil {
			return payment.Decision{}, err
		}
		locked, err := s.stock.Lock(ctx, tx, nil, o.ID)
		if err != nil {
			return payment.Decision{}, err
		}
		locked.Release(o.ID)
		if err := locked.Store(ctx, tx); err != nil {
			return payment.Decision{}, err
		}
		return s.payments.Undo(ctx, tx, o.ID, actor)
	case openapi.OrderStateRefunded:
		given, err := s.dispatched(ctx, tx, o, actor, func(d *dispatch) error { return d.refundRest(ctx, reason) })
		if err != nil {
			return payment.Decision{}, err
		}
		undone, err := s.payments.Undo(ctx, tx, o.ID, actor)
		undone.Asked = append(given.Asked, undone.Asked...)
		return undone, err
	case openapi.OrderStatePending, openapi.OrderStateProcessing, openapi.OrderStateCompleted, openapi.OrderStateOnHold:
	}
	return payment.Decision{}, nil
}

// dispatched does something to the goods of an order that the transaction
// holds, and stores it.
func (s *Orders) dispatched(ctx context.Context, tx pgx.Tx, o *Order, actor string, do func(*dispatch) error) (payment.Decision, error) {
	d, err := s.goods(ctx, tx, o, actor)
	if err != nil {
		return payment.Decision{}, err
	}
	if err := do(d); err != nil {
		return payment.Decision{}, err
	}
	err = d.store(ctx)
	return payment.Decision{Asked: d.asked}, err
}

// paymentLate is why the store itself cancels an order.
const paymentLate = "The payment did not come in time."

// ExpireUnpaid cancels orders whose payment did not come in time, and returns
// how many. Two at once do no harm.
func (s *Orders) ExpireUnpaid(ctx context.Context) (int, error) {
	const most = 100
	for total := 0; ; {
		now := s.now()
		ids, err := orderdb.New(s.pool).UnpaidOrders(ctx, orderdb.UnpaidOrdersParams{Now: now, Most: most})
		if err != nil {
			return total, fmt.Errorf("finding unpaid orders: %w", err)
		}
		for _, id := range ids {
			_, err := s.move(ctx, id, openapi.OrderStateCancelled, "store", paymentLate, func(o *Order) error {
				if o.State != openapi.OrderStatePending || !o.PaymentDueAt.Before(now) {
					return errPaid
				}
				return nil
			})
			if errors.Is(err, errPaid) {
				continue
			}
			if err != nil {
				return total, err
			}
			total++
		}
		if len(ids) < most {
			return total, nil
		}
	}
}

// errPaid says that an order no longer waits for its payment.
var errPaid = errors.New("no longer unpaid")
