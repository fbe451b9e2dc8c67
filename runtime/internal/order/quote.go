package order

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/internal/inventory"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/pricing"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Variants knows what variants are and cost.
type Variants interface {
	// Sellables reads variants; one that is not there has no entry.
	Sellables(ctx context.Context, variantIDs []uuid.UUID, currency string) (map[uuid.UUID]catalog.Sellable, error)
}

// Rules knows how the store taxes.
type Rules interface {
	Current(ctx context.Context) (*pricing.Rules, error)
}

// Wanted is so many of a variant that staff put into an order.
type Wanted struct {
	VariantID uuid.UUID
	Quantity  int64
	// UnitPrice is in minor units, with tax or without as the order's other unit
	// prices; nil for what the variant costs now.
	UnitPrice *int64
}

// Prices are what lines of orders in a currency are priced by at a moment. They
// are read before a transaction begins, for they are read through the pool.
type Prices struct {
	rules *pricing.Rules
	found map[uuid.UUID]catalog.Sellable
}

// Prices reads what variants are and cost, and how they are taxed.
func (s *Orders) Prices(ctx context.Context, currency string, variantIDs []uuid.UUID) (Prices, error) {
	var p Prices
	var err error
	if p.rules, err = s.rules.Current(ctx); err != nil {
		return p, err
	}
	p.found, err = s.variants.Sellables(ctx, variantIDs, currency)
	return p, err
}

// Quote makes a new order of what staff choose for somebody, without a cart:
// with its currency, its addresses and its VAT id set, it is given its lines,
// how it is taxed, and its totals, by the prices and rules of now, without
// promotions and with the shipping that it has (none, unless it was given some
// with its tax). It returns what of the stock the order needs. A variant that
// cannot be bought is a *problem.Problem with status 404 or 409, an amount above
// money.Max one with status 400. Nothing is stored.
func (s *Orders) Quote(ctx context.Context, o *Order, wanted []Wanted) ([]inventory.Demand, error) {
	ids := make([]uuid.UUID, len(wanted))
	for i, w := range wanted {
		ids[i] = w.VariantID
	}
	p, err := s.Prices(ctx, o.Currency, ids)
	if err != nil {
		return nil, err
	}
	return p.quote(o, wanted, 0)
}

// quote is Quote by prices that were read, with so much off the order's lines,
// and no more: where that is not to be had to the minor unit, a little less.
func (p Prices) quote(o *Order, wanted []Wanted, off int64) ([]inventory.Demand, error) {
	country, region := o.place()
	t := p.rules.Terms(pricing.Basket{Country: country, Region: region, VATID: o.Details.VATID})
	o.Details.PricesIncludeTax, o.Details.ReverseCharge = t.PricesIncludeTax, t.ReverseCharge
	var lines []Line
	var demands []inventory.Demand
	for _, w := range wanted {
		l, err := p.line(o, w)
		if err != nil {
			return nil, err
		}
		lines = append(lines, l)
		demands = p.demand(demands, l, w.Quantity)
	}
	if err := p.takeOff(o, lines, off); err != nil {
		return nil, err
	}
	return demands, o.setLines(lines)
}

// takeOff takes an amount off lines, with its tax, in proportion to what they
// come to.
func (p Prices) takeOff(o *Order, lines []Line, off int64) error {
	total := int64(0)
	for _, l := range lines {
		total += l.Total
	}
	if off = min(off, total); off == 0 {
		return nil
	}
	before := int64(0)
	for i := range lines {
		l := &lines[i]
		share := Share(off, total, before, l.Total)
		before += l.Total
		if l.Discount = share; !o.Details.PricesIncludeTax && l.Total > 0 {
			l.Discount = Share(l.Subtotal, l.Total, 0, share) // its tax falls with it
		}
		if err := l.charge(p.terms(o)); err != nil {
			return err
		}
	}
	return nil
}

// place is where an order goes, for its taxes.
func (o *Order) place() (country, region string) {
	a := o.Details.ShippingAddress
	if a == nil {
		a = o.Details.BillingAddress
	}
	if a == nil {
		return "", ""
	}
	return a.Country, optional.Value(a.Region)
}

// terms are how an order's amounts stand to tax. Under reverse charge its unit
// prices hold tax as the store's do now.
func (p Prices) terms(o *Order) pricing.Terms {
	t := pricing.Terms{PricesIncludeTax: o.Details.PricesIncludeTax, ReverseCharge: o.Details.ReverseCharge, StatedWithTax: o.Details.PricesIncludeTax}
	if t.ReverseCharge {
		t.StatedWithTax = p.rules.Settings.PricesIncludeTax
	}
	return t
}

// line is a new line of an order.
func (p Prices) line(o *Order, w Wanted) (Line, error) {
	v, ok := p.found[w.VariantID]
	switch {
	case !ok || !v.Active:
		return Line{}, problem.New(http.StatusNotFound, "variant_not_found", "No variant for sale has the id %s.", w.VariantID)
	case !v.HasPrice && w.UnitPrice == nil:
		return Line{}, problem.New(http.StatusConflict, "no_price", "%s has no price in %s; say one.", v.SKU, o.Currency)
	case v.Shippable && o.Details.ShippingAddress == nil:
		return Line{}, problem.New(http.StatusConflict, "shipping_address_missing", "%s is to be shipped, and the order has no shipping address.", v.SKU)
	}
	country, region := o.place()
	l := Line{
		ID: uuid.Must(uuid.NewV7()), VariantID: w.VariantID, ProductID: v.ProductID, SKU: v.SKU, Title: v.Title, Options: v.Options,
		Quantity: w.Quantity, Rates: p.rules.Rates(country, region, v.TaxCategory), Stock: partsOf(v.Takes()),
	}
	t := p.terms(o)
	if w.UnitPrice != nil {
		l.UnitPrice = *w.UnitPrice
	} else {
		l.UnitPrice = t.Restate(v.Price, p.rules.Settings.PricesIncludeTax, l.Rates)
	}
	return l, l.charge(t)
}

func (l *Line) sold() pricing.Sold {
	return pricing.Sold{Quantity: l.Quantity, UnitPrice: l.UnitPrice, Discount: l.Discount, Rates: l.Rates}
}

func (l *Line) charge(t pricing.Terms) error {
	q, err := t.Charge(l.sold())
	l.Subtotal, l.Discount, l.Tax, l.Total = q.Subtotal, q.Discount, q.Tax, q.Total
	return err
}

// resize gives a line that was sold another quantity.
func (p Prices) resize(o *Order, l *Line, quantity int64) error {
	t := p.terms(o)
	if t.ReverseCharge {
		t.StatedWithTax = l.Subtotal != l.UnitPrice*l.Quantity
	}
	sold := l.sold().With(quantity)
	l.Quantity, l.Discount = sold.Quantity, sold.Discount
	return l.charge(t)
}

// ratesOf are what a line is likely taxed by of which that was not kept: the
// only rate that the order has, or that of its category now.
func (p Prices) ratesOf(o *Order, l Line) []pricing.Rate {
	if l.Tax == 0 && !o.Details.ReverseCharge {
		return nil
	}
	country, region := o.place()
	rates := p.rules.Rates(country, region, p.found[l.VariantID].TaxCategory)
	if l.Tax > 0 && (len(o.Details.Taxes) == 1 || len(rates) == 0) {
		rates = nil
		for _, t := range o.Details.Taxes {
			if ppm, err := pricing.ParsePercent(t.Rate); err == nil {
				rates = append(rates, pricing.Rate{Name: t.Name, PPM: ppm})
			}
		}
	}
	return rates
}

// demand adds to what is needed of the stock what so many more of a line take,
// or so many less give back. Stock that is not counted is not needed, and given
// back where it was.
func (p Prices) demand(all []inventory.Demand, l Line, quantity int64) []inventory.Demand {
	v := p.found[l.VariantID]
	now := v.Takes()
	parts := l.Stock
	if parts == nil {
		parts = partsOf(now)
	}
	if len(parts) == 0 && quantity < 0 {
		parts = l.takes()
	}
	for _, part := range parts {
		counted := slices.IndexFunc(now, func(c catalog.Component) bool { return c.VariantID == part.VariantID })
		if counted < 0 && quantity > 0 {
			continue
		}
		i := slices.IndexFunc(all, func(d inventory.Demand) bool { return d.VariantID == part.VariantID })
		if i < 0 {
			all = append(all, inventory.Demand{VariantID: part.VariantID, SKU: l.SKU})
			i = len(all) - 1
		}
		all[i].Quantity += quantity * part.Quantity
		all[i].Continue = all[i].Continue || counted >= 0 && now[counted].Continue
	}
	return all
}

// partsOf are components as an order line keeps them.
func partsOf(all []catalog.Component) []inventory.Part {
	parts := []inventory.Part{}
	for _, c := range all {
		parts = append(parts, inventory.Part{VariantID: c.VariantID, Quantity: c.Quantity})
	}
	return parts
}

// charged are lines as pricing has them.
func charged(lines []Line) []pricing.Charged {
	all := make([]pricing.Charged, len(lines))
	for i, l := range lines {
		all[i] = pricing.Charged{LineQuote: pricing.LineQuote{Subtotal: l.Subtotal, Discount: l.Discount, Tax: l.Tax, Total: l.Total}, Rates: l.Rates}
	}
	return all
}

// setLines gives an order other lines, and the totals that go with them.
// Shipping stays.
func (o *Order) setLines(lines []Line) error {
	before, err := o.quote()
	if err != nil {
		return err
	}
	q, err := pricing.Amend(before, charged(o.Lines), charged(lines))
	if err != nil {
		return err
	}
	o.Lines = lines
	o.Subtotal, o.Discount, o.Tax, o.Total = q.Subtotal, q.Discount, q.Tax, q.Total
	o.Details.Discounts, o.Details.Taxes = []openapi.AppliedDiscount{}, []openapi.TaxAmount{}
	for _, d := range q.Discounts {
		o.Details.Discounts = append(o.Details.Discounts, openapi.AppliedDiscount{
			PromotionId: optional.Of(d.PromotionID), Code: optional.Of(d.Code), Title: d.Title, Amount: o.amount(d.Amount).Decimal(),
		})
	}
	for _, t := range q.Taxes {
		o.Details.Taxes = append(o.Details.Taxes, openapi.TaxAmount{Name: t.Name, Rate: pricing.FormatPercent(t.PPM), Amount: o.amount(t.Amount).Decimal()})
	}
	return nil
}

// quote is an order as it was priced.
func (o *Order) quote() (pricing.Quote, error) {
	q := pricing.Quote{
		Subtotal: o.Subtotal, Discount: o.Discount, Shipping: o.Shipping, Tax: o.Tax, Total: o.Total,
		PricesIncludeTax: o.Details.PricesIncludeTax, ReverseCharge: o.Details.ReverseCharge,
	}
	for _, d := range o.Details.Discounts {
		a, err := money.Parse(d.Amount, o.Currency)
		if err != nil {
			return q, fmt.Errorf("discounts of order %s: %w", o.ID, err)
		}
		q.Discounts = append(q.Discounts, pricing.Discount{
			PromotionID: optional.Value(d.PromotionId), Code: optional.Value(d.Code), Title: d.Title, Amount: a.Minor,
		})
	}
	for _, t := range o.Details.Taxes {
		a, err := money.Parse(t.Amount, o.Currency)
		if err != nil {
			return q, fmt.Errorf("taxes of order %s: %w", o.ID, err)
		}
		ppm, err := pricing.ParsePercent(t.Rate)
		if err != nil {
			return q, fmt.Errorf("taxes of order %s: %w", o.ID, err)
		}
		q.Taxes = append(q.Taxes, pricing.TaxAmount{Name: t.Name, PPM: ppm, Amount: a.Minor})
	}
	return q, nil
}
