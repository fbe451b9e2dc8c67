package commerce

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/internal/mail"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/order"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// facts are what mails tell of commerce.
type facts struct{ *Commerce }

// missing is an error for what is not there, and err otherwise.
func missing(err, instead error) error {
	if p, ok := errors.AsType[*problem.Problem](err); ok && p.Status == http.StatusNotFound {
		return fmt.Errorf("%w: %s", instead, p.Detail)
	}
	return err
}

// Order tells of an order to the address that it was placed with: a job that
// somebody asks for must not carry it to another.
func (k facts) Order(ctx context.Context, m mail.Message) (*mail.Order, error) {
	o, err := k.Orders.Find(ctx, m.OrderID)
	if err != nil {
		return nil, missing(err, mail.ErrGone)
	}
	if !strings.EqualFold(o.Email, m.To) {
		return nil, fmt.Errorf("%w: the order is not of this address", mail.ErrGone)
	}
	amount := func(minor int64) money.Amount { return money.Amount{Minor: minor, Currency: o.Currency} }
	told := &mail.Order{
		Number: fmt.Sprint(o.Number), PlacedAt: o.CreatedAt,
		AwaitsPayment: o.State == openapi.OrderStatePending, PaymentDueAt: o.PaymentDueAt, Due: amount(o.Due()),
		Subtotal: amount(o.Subtotal), Discount: amount(o.Discount), Shipping: amount(o.Shipping), Tax: amount(o.Tax), Total: amount(o.Total),
		PricesIncludeTax: o.Details.PricesIncludeTax, ShippingMethod: o.Details.ShippingMethod,
		ShipTo: addressLines(o.Details.ShippingAddress), BillTo: addressLines(o.Details.BillingAddress), Refund: amount(o.Total),
	}
	for _, l := range o.Lines {
		told.Lines = append(told.Lines, lineOf(o, l, l.Quantity))
	}
	if m.RefundID != uuid.Nil {
		r, err := k.Orders.Refund(ctx, m.OrderID, m.RefundID)
		if err != nil {
			return nil, missing(err, mail.ErrGone)
		}
		if r.State == openapi.RefundStateFailed {
			return nil, mail.ErrNeedless
		}
		told.Refund = amount(r.GivenBack)
	}
	if m.ReturnID != uuid.Nil {
		r, err := k.Orders.Return(ctx, m.ReturnID)
		if err != nil {
			return nil, missing(err, mail.ErrGone)
		}
		told.Return = returnOf(o, r)
	}
	if m.FulfillmentID != uuid.Nil {
		f, err := k.Orders.Fulfillment(ctx, m.FulfillmentID)
		if err != nil {
			return nil, missing(err, mail.ErrGone)
		}
		if told.Package = packageOf(o, f); told.Package == nil {
			return nil, fmt.Errorf("%w: the package was cancelled", mail.ErrNeedless)
		}
	}
	return told, nil
}

func lineOf(o *order.Order, l order.Line, quantity int64) mail.Line {
	return mail.Line{
		Title: l.Title, SKU: l.SKU, Options: optionsOf(l.Options), Quantity: quantity,
		Total: money.Amount{Minor: order.Share(l.Subtotal, l.Quantity, 0, quantity), Currency: o.Currency},
	}
}

func returnOf(o *order.Order, r *order.Return) *mail.Return {
	told := &mail.Return{Answer: r.Answer}
	for _, back := range r.Lines {
		for _, l := range o.Lines {
			if l.ID == back.LineID {
				told.Lines = append(told.Lines, lineOf(o, l, back.Quantity))
			}
		}
	}
	return told
}

// packageOf is what of an order was shipped with a fulfilment, nil for nothing.
func packageOf(o *order.Order, f *order.Fulfillment) *mail.Package {
	if f.State == openapi.FulfillmentStateCancelled {
		return nil
	}
	p := &mail.Package{}
	for _, t := range f.Tracking {
		p.Tracking = append(p.Tracking, mail.Tracking{Carrier: optional.Value(t.Carrier), Number: t.Number, URL: optional.Value(t.Url)})
	}
	packed := make(map[uuid.UUID]int64, len(f.Lines))
	for _, l := range f.Lines {
		packed[l.LineID] = l.Quantity
	}
	for _, l := range o.Lines {
		p.Rest = p.Rest || l.Shipped < l.Quantity
		if n := packed[l.ID]; n > 0 {
			p.Lines = append(p.Lines, lineOf(o, l, n))
		}
	}
	return p
}

// Cart tells of a cart that is not ordered yet and has something to order in
// it, to its buyer's address; of another there is nothing to say.
func (k facts) Cart(ctx context.Context, id uuid.UUID, address string) (*mail.Cart, error) {
	c, err := k.Carts.Find(ctx, id)
	if err != nil {
		return nil, missing(err, mail.ErrNeedless)
	}
	own := c.Content.Email
	if own == "" && c.CustomerID != uuid.Nil {
		if own, err = k.Customers.Email(ctx, c.CustomerID); err != nil {
			return nil, missing(err, mail.ErrNeedless)
		}
	}
	if !strings.EqualFold(own, address) {
		return nil, fmt.Errorf("%w: the cart is not of this address", mail.ErrGone)
	}
	priced, err := k.Carts.Price(ctx, c)
	if err != nil {
		return nil, err
	}
	told := &mail.Cart{Total: money.Amount{Minor: priced.Quote.Total, Currency: c.Currency}}
	for _, l := range priced.Lines {
		if l.Problem == "" {
			told.Lines = append(told.Lines, mail.Line{
				Title: l.Title, SKU: l.SKU, Options: optionsOf(l.Options), Quantity: l.Quantity, Total: money.Amount{Minor: l.Subtotal, Currency: c.Currency},
			})
		}
	}
	if len(told.Lines) == 0 {
		return nil, mail.ErrNeedless
	}
	if c.CustomerID != uuid.Nil {
		if told.Name, err = k.Customers.Name(ctx, c.CustomerID); err != nil {
			return nil, missing(err, mail.ErrNeedless)
		}
	}
	return told, nil
}

// Stock tells how many of some variants can be sold; those without an end to
// that, or that are no more, are left out, and of none there is nothing to say.
func (k facts) Stock(ctx context.Context, variantIDs []uuid.UUID) ([]mail.Stock, error) {
	current, err := k.Rules.Current(ctx)
	if err != nil {
		return nil, err
	}
	found, err := k.Catalog.Sellables(ctx, variantIDs, current.Settings.Currency)
	if err != nil {
		return nil, err
	}
	queries := make([]catalog.StockQuery, len(variantIDs))
	for i, id := range variantIDs {
		queries[i] = catalog.StockQuery{VariantID: id, Track: true}
	}
	states, err := k.Commerce.Stock.States(ctx, queries)
	if err != nil {
		return nil, err
	}
	var told []mail.Stock
	for _, id := range variantIDs {
		v, ok := found[id]
		if available := states[id].Available; ok && available != nil {
			told = append(told, mail.Stock{Title: v.Title, SKU: v.SKU, Available: *available})
		}
	}
	if len(told) == 0 {
		return nil, mail.ErrNeedless
	}
	return told, nil
}

// optionsOf are a variant's options in the order of their names.
func optionsOf(options map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(options)) {
		all = append(all, options[name])
	}
	return strings.Join(all, ", ")
}

// addressLines is an address as on a letter, without its phone number.
func addressLines(a *openapi.Address) []string {
	if a == nil {
		return nil
	}
	town := strings.TrimSpace(optional.Value(a.PostalCode) + " " + a.City)
	if region := optional.Value(a.Region); region != "" {
		town += ", " + region
	}
	lines := []string{a.Name, optional.Value(a.Company), a.Line1, optional.Value(a.Line2), town, a.Country}
	return slices.DeleteFunc(lines, func(line string) bool { return line == "" })
}
