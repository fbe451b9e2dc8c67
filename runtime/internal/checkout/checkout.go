// Package checkout turns a cart into an order. What the order implies (its
// lines, stock, coupons, payment, events and the answer to its
// Idempotency-Key) is stored in one transaction, or nothing is.
//
// Orders that are placed at the same moment share a transaction: a process
// stores those that came in while the one before was being written, all at
// once. That is what lets a flash sale of one SKU go faster than its row can
// be locked and flushed order by order. In a shared transaction each order is
// still admitted or refused for itself.
package checkout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/cart"
	"gitee.com/captainjez/gocart/runtime/internal/idempotency"
	"gitee.com/captainjez/gocart/runtime/internal/inventory"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/order"
	"gitee.com/captainjez/gocart/runtime/internal/payment"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/internal/rules"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Customers knows the e-mail addresses of customers.
type Customers interface {
	Email(ctx context.Context, id uuid.UUID) (string, error)
}

// Checkout places orders.
type Checkout struct {
	pool      *pgxpool.Pool
	carts     *cart.Carts
	orders    *order.Orders
	stock     *inventory.Stock
	rules     *rules.Book
	payments  *payment.Payments
	customers Customers
	log       *slog.Logger
	now       func() time.Time
	together  *batch.Batch[*placement, idempotency.Answer]
}

// Dependencies are what placing an order takes.
type Dependencies struct {
	Carts     *cart.Carts
	Orders    *order.Orders
	Stock     *inventory.Stock
	Rules     *rules.Book
	Payments  *payment.Payments
	Customers Customers
}

// New makes a checkout in the database.
func New(pool *pgxpool.Pool, d Dependencies, log *slog.Logger, now func() time.Time) *Checkout {
	s := &Checkout{
		pool: pool, carts: d.Carts, orders: d.Orders, stock: d.Stock, rules: d.Rules, payments: d.Payments, customers: d.Customers, log: log, now: now,
	}
	s.together = batch.New(batch.Options[*placement]{Apart: apart, Singly: s.singly}, s.store)
	return s
}

// Handlers is the checkout's part of openapi.ServerInterface.
type Handlers struct{ Checkout *Checkout }

// PlaceOrder answers POST /orders.
func (h Handlers) PlaceOrder(c *gin.Context, params openapi.PlaceOrderParams) {
	in, request, ok := rest.ReadOnce[openapi.OrderInput](c, params.IdempotencyKey)
	if !ok {
		return
	}
	answer, err := h.Checkout.Place(c.Request.Context(), in, cart.WhoOf(c), request)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	var placed struct{ ID string }
	if err := json.Unmarshal(answer.Body, &placed); err != nil {
		rest.Fail(c, err)
		return
	}
	c.Header("Location", "/api/v1/orders/"+placed.ID)
	rest.Answer(c, answer)
}

// maxAttempts bounds how often an order is tried whose cart changes meanwhile.
const maxAttempts = 3

// Place stores the order that a cart describes, once for the request's key.
// What stands against it is a *problem.Problem, and nothing is stored.
func (s *Checkout) Place(ctx context.Context, in openapi.OrderInput, who cart.Who, request idempotency.Request) (idempotency.Answer, error) {
	if err := check(in); err != nil {
		return idempotency.Answer{}, err
	}
	for attempt := 1; ; attempt++ {
		if answer, found, err := idempotency.Find(ctx, s.pool, request); err != nil || found {
			return answer, err
		}
		p, err := s.prepare(ctx, in, who)
		if err != nil {
			// What stands against it may be that it was done meanwhile.
			if answer, found, _ := idempotency.Find(ctx, s.pool, request); found {
				return answer, nil
			}
			return idempotency.Answer{}, err
		}
		p.request = request
		if err := s.authorize(ctx, p, in.Payment); err != nil {
			return idempotency.Answer{}, err
		}
		answer, err := s.together.Do(context.WithoutCancel(ctx), p) // nobody leaves before it is decided
		if err == nil {
			return answer, nil
		}
		if !errors.Is(err, errUnknown) { // else the payment may be a stored order's
			if err := s.payments.Abandon(ctx, p.order.Payments[0]); err != nil {
				s.log.ErrorContext(ctx, "a payment without an order could not be given up", "payment", p.order.Payments[0].ID, "error", err)
			}
		}
		retry := errors.Is(err, errAnswered) || errors.Is(err, errChanged)
		if !retry {
			return idempotency.Answer{}, err
		}
		if attempt == maxAttempts {
			return idempotency.Answer{}, cart.Changed()
		}
	}
}

// check wants what is wrong whatever is in the cart.
func check(in openapi.OrderInput) error {
	var f problem.Findings
	f.Text("/payment/provider", in.Payment.Provider, 1, 40)
	for _, optional := range []struct {
		pointer string
		text    *string
		most    int
	}{{"/payment/token", in.Payment.Token, 500}, {"/expectedTotal", in.ExpectedTotal, 20}, {"/note", in.Note, 1000}} {
		if optional.text != nil {
			f.Text(optional.pointer, *optional.text, 0, optional.most)
		}
	}
	return f.Err()
}

// prepare prices the cart and says everything that stands against ordering it.
func (s *Checkout) prepare(ctx context.Context, in openapi.OrderInput, who cart.Who) (*placement, error) {
	found, err := s.carts.Get(ctx, in.CartId, who)
	if err != nil {
		return nil, err
	}
	if found.OrderID != uuid.Nil {
		return nil, cart.Ordered(found.OrderID)
	}
	priced, err := s.carts.Price(ctx, found)
	if err != nil {
		return nil, err
	}
	email := found.Content.Email
	if email == "" && found.CustomerID != uuid.Nil {
		if email, err = s.customers.Email(ctx, found.CustomerID); err != nil {
			return nil, err
		}
	}
	if err := complete(priced, email, in); err != nil {
		return nil, err
	}
	p := &placement{cart: priced, order: newOrder(priced, email, in), actor: who.Actor()}
	p.customerKey = strings.ToLower(email)
	if found.CustomerID != uuid.Nil {
		p.customerKey = found.CustomerID.String()
	}
	for _, d := range priced.Quote.Discounts {
		if d.PromotionID != uuid.Nil {
			p.promotions = append(p.promotions, d.PromotionID)
		}
	}
	return p, nil
}

// complete wants everything that an order needs.
func complete(p *cart.Priced, email string, in openapi.OrderInput) error {
	if len(p.Lines) == 0 {
		return problem.New(http.StatusConflict, "cart_empty", "The cart is empty.")
	}
	var lines problem.Findings
	for i, l := range p.Lines {
		lines.Require(l.Problem == "", fmt.Sprintf("/lines/%d", i), "%s", l.Problem)
	}
	if len(lines) > 0 {
		conflict := problem.New(http.StatusConflict, lines[0].Detail, "Some of the cart cannot be bought now; read the cart to see what.")
		conflict.Errors = lines
		return conflict
	}
	var f problem.Findings
	content := p.Content
	f.Require(email != "", "/email", "is missing: set it with PATCH /carts/{id}")
	f.Require(!p.Quote.NeedsShipping || content.ShippingAddress != nil, "/shippingAddress", "is missing: set it with PATCH /carts/{id}")
	f.Require(!p.Quote.NeedsShipping || p.Quote.Method != nil, "/shippingMethodId",
		"is missing or not offered for the address: choose one of GET /carts/{id}/shipping-methods")
	if len(f) > 0 {
		incomplete := problem.New(http.StatusConflict, "cart_incomplete", "The cart lacks something that an order needs.")
		incomplete.Errors = f
		return incomplete
	}
	if in.ExpectedTotal != nil {
		expected := f.Amount("/expectedTotal", *in.ExpectedTotal, p.Currency)
		if len(f) == 0 && expected != p.Quote.Total {
			return problem.New(http.StatusConflict, "total_changed", "The total is %s now, not %s.",
				money.Amount{Minor: p.Quote.Total, Currency: p.Currency}, money.Amount{Minor: expected, Currency: p.Currency})
		}
	}
	return f.Err()
}

func newOrder(p *cart.Priced, email string, in openapi.OrderInput) *order.Order {
	totals := cart.Totals(p.Currency, p.Quote)
	o := &order.Order{
		ID: uuid.Must(uuid.NewV7()), CartID: p.ID, CustomerID: p.CustomerID, Email: email, Currency: p.Currency,
		Subtotal: p.Quote.Subtotal, Discount: p.Quote.Discount, Shipping: p.Quote.Shipping, Tax: p.Quote.Tax, Total: p.Quote.Total,
		Details: order.Details{
			ShippingAddress: p.Content.ShippingAddress, BillingAddress: p.Content.BillingAddress, VATID: p.Content.VATID, Locale: p.Content.Locale,
			PricesIncludeTax: p.Quote.PricesIncludeTax, ReverseCharge: p.Quote.ReverseCharge, Discounts: totals.Discounts, Taxes: totals.Taxes,
		},
		Lines: make([]order.Line, len(p.Lines)),
	}
	if p.Quote.NeedsShipping && p.Quote.Method != nil {
		o.Details.ShippingMethod = p.Quote.Method.Name
	}
	if in.Note != nil {
		o.Details.Note = *in.Note
	}
	for i, l := range p.Lines {
		o.Lines[i] = order.Line{
			ID: uuid.Must(uuid.NewV7()), VariantID: l.Line.VariantID, ProductID: l.ProductID, SKU: l.SKU, Title: l.Title, Options: l.Options,
			Quantity: l.Quantity, UnitPrice: l.Price, Subtotal: l.Subtotal, Discount: l.Discount, Tax: l.Tax, Total: l.Total,
			Stock: []inventory.Part{}, Rates: p.Rates(l),
		}
		for _, part := range l.Takes() {
			o.Lines[i].Stock = append(o.Lines[i].Stock, inventory.Part{VariantID: part.VariantID, Quantity: part.Quantity})
		}
	}
	return o
}

// authorize sets the order's total aside, and gives the order the state that
// goes with it.
func (s *Checkout) authorize(ctx context.Context, p *placement, in openapi.PaymentInput) error {
	token := ""
	if in.Token != nil {
		token = *in.Token
	}
	paid, err := s.payments.Authorize(ctx, in.Provider, token, p.order.ID, money.Amount{Minor: p.order.Total, Currency: p.order.Currency})
	if err != nil {
		return err
	}
	p.order.Payments = []payment.Payment{paid}
	p.order.State = openapi.OrderStateConfirmed
	if paid.Waits() {
		p.order.State = openapi.OrderStatePending
		if paid.Expires {
			p.order.PaymentDueAt = s.now().Add(payment.HoldFor).Truncate(time.Microsecond)
		}
	}
	return nil
}
