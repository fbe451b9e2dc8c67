package cart

import (
	"context"
	"errors"
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

// Why a line cannot be bought as it is.
const (
	problemGone    = "not_for_sale"
	problemNoPrice = "no_price"
	problemStock   = "out_of_stock"
)

// Priced is a cart with what it costs at this moment. Where a line has a
// problem other than its stock, it has no part in the quote.
type Priced struct {
	Cart
	Lines []PricedLine
	Quote pricing.Quote
	// Demands are what of the stock it needs, each variant once.
	Demands []inventory.Demand
	basket  pricing.Basket
	rules   *pricing.Rules
}

// PricedLine is a line with what it is of.
type PricedLine struct {
	Line
	catalog.Sellable
	pricing.LineQuote
	// Problem is empty where the line can be bought.
	Problem string
}

// Price reads what the cart costs now: prices, promotions, tax, shipping,
// stock. It costs the same number of statements whatever its length.
func (s *Carts) Price(ctx context.Context, c Cart) (*Priced, error) {
	ids := make([]uuid.UUID, len(c.Content.Lines))
	for i, l := range c.Content.Lines {
		ids[i] = l.VariantID
	}
	var found map[uuid.UUID]catalog.Sellable
	if len(ids) > 0 {
		var err error
		if found, err = s.catalog.Sellables(ctx, ids, c.Currency); err != nil {
			return nil, err
		}
	}
	return s.price(ctx, c, found)
}

// price is Price with what was just found of the cart's variants.
func (s *Carts) price(ctx context.Context, c Cart, found map[uuid.UUID]catalog.Sellable) (*Priced, error) {
	p := &Priced{Cart: c, Lines: make([]PricedLine, len(c.Content.Lines))}
	var err error
	if p.rules, err = s.rules.Current(ctx); err != nil {
		return nil, err
	}
	p.basket = pricing.Basket{
		Currency: c.Currency, Coupons: c.Content.Coupons, ShippingMethodID: c.Content.ShippingMethodID, VATID: c.Content.VATID, At: s.now(),
	}
	if a := orElse(c.Content.ShippingAddress, c.Content.BillingAddress); a != nil {
		p.basket.Country = a.Country
		if a.Region != nil {
			p.basket.Region = *a.Region
		}
	}
	var quoted []int
	for i, l := range c.Content.Lines {
		line := &p.Lines[i]
		line.Line = l
		v, ok := found[l.VariantID]
		line.Sellable = v
		line.Sellable.VariantID = l.VariantID
		switch {
		case !ok || !v.Active:
			line.Problem = problemGone
			continue
		case !v.HasPrice:
			line.Problem = problemNoPrice
			continue
		}
		quoted = append(quoted, i)
		p.basket.Lines = append(p.basket.Lines, pricing.Line{
			VariantID: l.VariantID, ProductID: v.ProductID, CollectionIDs: v.CollectionIDs, Quantity: l.Quantity, UnitPrice: v.Price,
			TaxCategory: v.TaxCategory, WeightGrams: v.WeightGrams, Shippable: v.Shippable,
		})
	}
	p.Quote, err = p.rules.Quote(p.basket)
	if refused, ok := errors.AsType[*problem.Problem](err); ok { // such as amount_too_large: the cart can be read, and mended
		for _, at := range quoted {
			p.Lines[at].Problem = refused.Code
		}
		p.basket.Lines, quoted = nil, nil
		p.Quote, err = p.rules.Quote(p.basket)
	}
	if err != nil {
		return nil, err
	}
	for i, at := range quoted {
		p.Lines[at].LineQuote = p.Quote.Lines[i]
	}
	p.demand()
	return p, s.checkStock(ctx, p)
}

// Rates are what a line is taxed by.
func (p *Priced) Rates(l PricedLine) []pricing.Rate {
	return p.rules.Rates(p.basket.Country, p.basket.Region, l.TaxCategory)
}

func orElse[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

// demand adds up what of the stock the cart needs; a bundle needs what it is
// made of.
func (p *Priced) demand() {
	add := func(variant uuid.UUID, sku string, quantity int64, unbounded bool) {
		i := slices.IndexFunc(p.Demands, func(d inventory.Demand) bool { return d.VariantID == variant })
		if i < 0 {
			p.Demands = append(p.Demands, inventory.Demand{VariantID: variant, SKU: sku, Continue: unbounded})
			i = len(p.Demands) - 1
		}
		p.Demands[i].Quantity += quantity
	}
	for _, l := range p.Lines {
		if l.Problem != "" {
			continue
		}
		for _, part := range l.Takes() {
			add(part.VariantID, l.SKU, l.Quantity*part.Quantity, part.Continue)
		}
	}
}

// checkStock marks the lines of which there is too little, beyond what the
// cart holds already.
func (s *Carts) checkStock(ctx context.Context, p *Priced) error {
	if len(p.Demands) == 0 {
		return nil
	}
	queries := make([]catalog.StockQuery, len(p.Demands))
	for i, d := range p.Demands {
		queries[i] = catalog.StockQuery{VariantID: d.VariantID, Track: true, Continue: d.Continue}
	}
	states, err := s.stock.States(ctx, queries)
	if err != nil {
		return err
	}
	held := map[uuid.UUID]int64{}
	if p.ReservedUntil.After(s.now()) {
		if held, err = s.stock.HeldBy(ctx, p.ID); err != nil {
			return err
		}
	}
	short := map[uuid.UUID]bool{}
	for _, d := range p.Demands {
		available := states[d.VariantID].Available
		short[d.VariantID] = available != nil && *available+held[d.VariantID] < d.Quantity
	}
	for i := range p.Lines {
		l := &p.Lines[i]
		lacking := short[l.Line.VariantID]
		for _, part := range l.Bundle {
			lacking = lacking || short[part.VariantID]
		}
		if lacking && l.Problem == "" {
			l.Problem = problemStock
		}
	}
	return nil
}

// Public is a cart as callers see it, priced now.
func (s *Carts) Public(ctx context.Context, c Cart) (openapi.Cart, error) {
	p, err := s.Price(ctx, c)
	if err != nil {
		return openapi.Cart{}, err
	}
	return s.public(p), nil
}

func (s *Carts) public(p *Priced) openapi.Cart {
	c := p.Cart
	decimal := func(minor int64) string { return money.Amount{Minor: minor, Currency: c.Currency}.Decimal() }
	public := openapi.Cart{
		Id: c.ID, CustomerId: optional.Of(c.CustomerID), Currency: c.Currency, Email: optional.Of(c.Content.Email),
		ShippingAddress: c.Content.ShippingAddress, BillingAddress: c.Content.BillingAddress,
		ShippingMethodId: optional.Of(c.Content.ShippingMethodID), VatId: optional.Of(c.Content.VATID),
		Locale: optional.Of(c.Content.Locale),
		Totals: Totals(c.Currency, p.Quote), ExpiresAt: c.ExpiresAt, OrderId: optional.Of(c.OrderID),
		Lines: make([]openapi.CartLine, len(p.Lines)), Coupons: make([]openapi.CouponState, len(p.Quote.Coupons)),
	}
	if c.ReservedUntil.After(s.now()) {
		public.ReservedUntil = &c.ReservedUntil
	}
	for i, l := range p.Lines {
		options := l.Options
		if options == nil {
			options = map[string]string{}
		}
		public.Lines[i] = openapi.CartLine{
			VariantId: l.Line.VariantID, ProductId: l.ProductID, Sku: l.SKU, Title: l.Title, Options: options, Quantity: l.Quantity,
			UnitPrice: openapi.Money{Amount: decimal(l.Price), Currency: c.Currency},
			Subtotal:  decimal(l.Subtotal), Discount: decimal(l.Discount), Tax: decimal(l.Tax), Total: decimal(l.Total), Problem: optional.Of(l.Problem),
		}
	}
	for i, state := range p.Quote.Coupons {
		public.Coupons[i] = openapi.CouponState{Code: state.Code, Applies: state.Applies, Reason: optional.Of(state.Reason)}
	}
	return public
}

// Totals is a quote as callers see it.
func Totals(currency string, q pricing.Quote) openapi.Totals {
	decimal := func(minor int64) string { return money.Amount{Minor: minor, Currency: currency}.Decimal() }
	t := openapi.Totals{
		Currency: currency, Subtotal: decimal(q.Subtotal), Discount: decimal(q.Discount), Shipping: decimal(q.Shipping), Tax: decimal(q.Tax),
		Total: decimal(q.Total), PricesIncludeTax: q.PricesIncludeTax, ReverseCharge: q.ReverseCharge,
		Discounts: make([]openapi.AppliedDiscount, len(q.Discounts)), Taxes: make([]openapi.TaxAmount, len(q.Taxes)),
	}
	for i, d := range q.Discounts {
		t.Discounts[i] = openapi.AppliedDiscount{PromotionId: optional.Of(d.PromotionID), Code: optional.Of(d.Code), Title: d.Title, Amount: decimal(d.Amount)}
	}
	for i, a := range q.Taxes {
		t.Taxes[i] = openapi.TaxAmount{Name: a.Name, Rate: pricing.FormatPercent(a.PPM), Amount: decimal(a.Amount)}
	}
	return t
}
