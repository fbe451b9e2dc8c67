package pricing

import (
	"slices"

	"gitee.com/captainjez/gocart/runtime/internal/money"
)

// Rate is a tax on a line; those of a line add up. It is stored with what was
// sold, so it keeps its form.
type Rate struct {
	Name string `json:"name"`
	PPM  int64  `json:"ppm"`
}

// Terms are how amounts stand to tax.
type Terms struct {
	// PricesIncludeTax and ReverseCharge are as in a Quote.
	PricesIncludeTax, ReverseCharge bool
	// StatedWithTax says that unit prices hold tax, which under reverse charge
	// is taken out of every amount.
	StatedWithTax bool
}

// Terms are how a basket is taxed now.
func (r *Rules) Terms(b Basket) Terms {
	reverse := r.reverseCharge(&b)
	return Terms{PricesIncludeTax: r.Settings.PricesIncludeTax && !reverse, ReverseCharge: reverse, StatedWithTax: r.Settings.PricesIncludeTax}
}

// Rates are what a category is taxed by where it goes, none where it is not.
func (r *Rules) Rates(country, region, category string) []Rate {
	set := r.taxed(country, region).of(category)
	if set == nil {
		return nil
	}
	rates := make([]Rate, len(set.names))
	for i, name := range set.names {
		rates[i] = Rate{name, set.parts[i]}
	}
	return rates
}

func setOf(rates []Rate) *rateSet {
	if len(rates) == 0 {
		return nil
	}
	set := &rateSet{}
	for _, r := range rates {
		set.add(TaxRate{Name: r.Name, PPM: r.PPM})
	}
	return set
}

// Restate turns a unit price that holds tax, or does not, into one that stands
// to tax as the terms do.
func (t Terms) Restate(unitPrice int64, withTax bool, rates []Rate) int64 {
	set := setOf(rates)
	switch {
	case set == nil, withTax == t.StatedWithTax:
		return unitPrice
	case withTax:
		return set.net(unitPrice)
	}
	return min(unitPrice+scaled(unitPrice, set.ppm, million), tooMuch)
}

// Sold is a line of an order.
type Sold struct {
	Quantity, UnitPrice int64
	// Discount is off all of the line, in amounts as a LineQuote has them.
	Discount int64
	Rates    []Rate
}

// With is another quantity of the line: each piece costs what it did, and the
// discount changes in proportion, rounded half up.
func (l Sold) With(quantity int64) Sold {
	if quantity != l.Quantity {
		l.Discount, l.Quantity = scaled(l.Discount, quantity, l.Quantity), quantity
	}
	return l
}

// Charge is what a line costs, by the rules of Quote. A line above money.Max is
// a *problem.Problem with status 400.
func (t Terms) Charge(l Sold) (LineQuote, error) {
	if l.UnitPrice > money.Max || l.UnitPrice*l.Quantity > money.Max {
		return LineQuote{}, tooLarge()
	}
	set, before := setOf(l.Rates), l.UnitPrice*l.Quantity
	if t.ReverseCharge {
		q := t.charge(set, before, before)
		q.Discount = min(l.Discount, q.Subtotal)
		q.Total = q.Subtotal - q.Discount
		return q, nil
	}
	return t.charge(set, before, before-min(l.Discount, before)), nil
}

// Charged is what a line costs, and what it is taxed by.
type Charged struct {
	LineQuote
	Rates []Rate
}

// Amend is the quote of an order whose lines become others. All that is not of
// the lines stays: shipping, what is off it, and its tax. What is off the lines
// is shared by the discounts in proportion to what they took off before; a free
// shipping is the last of them. What holds of a Quote holds of it if it did
// before. A total above money.Max is a *problem.Problem with status 400.
func Amend(before Quote, was, is []Charged) (Quote, error) {
	q := Quote{
		PricesIncludeTax: before.PricesIncludeTax, ReverseCharge: before.ReverseCharge, NeedsShipping: before.NeedsShipping, Method: before.Method,
		Coupons: before.Coupons, Shipping: before.Shipping, ShippingDiscount: before.Discount, ShippingTax: before.Tax,
	}
	rest := Quote{Taxes: slices.Clone(before.Taxes)} // of what was charged, less what the lines were
	for _, l := range was {
		q.ShippingDiscount -= l.Discount
		q.ShippingTax -= l.Tax
		of := Quote{}
		if set := setOf(l.Rates); set != nil && l.Tax > 0 {
			of.addTax(set, l.Tax)
		}
		for _, t := range of.Taxes {
			rest.takeTax(t)
		}
	}
	for _, l := range is {
		q.Lines = append(q.Lines, l.LineQuote)
		q.Subtotal += l.Subtotal
		q.Discount += l.Discount
		q.Tax += l.Tax
		if l.Tax > 0 {
			q.addTax(setOf(l.Rates), l.Tax)
		}
	}
	q.Discounts = shared(before.Discounts, q.Discount, q.ShippingDiscount)
	q.Discount += q.ShippingDiscount
	q.Tax += q.ShippingTax
	for _, t := range rest.Taxes {
		q.addRate(t.Name, t.PPM, t.Amount)
	}
	q.Total = q.Subtotal - q.Discount + q.Shipping
	if !q.PricesIncludeTax {
		q.Total += q.Tax
	}
	if q.Subtotal > money.Max || q.Total > money.Max {
		return Quote{}, tooLarge()
	}
	return q, nil
}

// takeTax takes an amount out of the taxes: of the one that it is of, and where
// that has less, of the others.
func (q *Quote) takeTax(t TaxAmount) {
	for _, same := range []bool{true, false} {
		for i := range q.Taxes {
			one := &q.Taxes[i]
			if is := one.Name == t.Name && one.PPM == t.PPM; is == same {
				part := min(t.Amount, one.Amount)
				one.Amount -= part
				t.Amount -= part
			}
		}
	}
}

// shared are discounts that come to other amounts off lines and shipping.
func shared(before []Discount, lines, shipping int64) (all []Discount) {
	weights, parts := make([]int64, len(before)), make([]int64, len(before))
	for i, d := range before {
		weights[i] = d.Amount
	}
	last := len(before) - 1
	if last >= 0 {
		weights[last] -= min(weights[last], shipping)
	}
	allocate(lines, weights, parts)
	if last >= 0 {
		parts[last] += shipping
	}
	for i, d := range before {
		if d.Amount = parts[i]; d.Amount > 0 {
			all = append(all, d)
		}
	}
	return all
}
