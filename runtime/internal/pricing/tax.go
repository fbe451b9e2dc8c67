package pricing

import (
	"maps"
	"slices"
)

// Categories with a meaning of their own.
const (
	// Standard is the category of what has none.
	Standard = "standard"
	// ShippingCategory is that of shipping, which is taxed as Standard where a
	// zone has no rate for it.
	ShippingCategory = "shipping"
)

// rates are a zone's, by category.
type rates map[string]*rateSet

// rateSet is the rates of one zone and category, which add up.
type rateSet struct {
	ppm   int64
	names []string
	parts []int64
}

func (s *rateSet) add(t TaxRate) {
	s.ppm += t.PPM
	s.names, s.parts = append(s.names, t.Name), append(s.parts, t.PPM)
}

// of is nil where the zone has no rate for the category.
func (r rates) of(category string) *rateSet {
	if category == "" {
		category = Standard
	}
	return r[category]
}

func (r rates) ofShipping() *rateSet {
	if set := r[ShippingCategory]; set != nil {
		return set
	}
	return r[Standard]
}

// taxed are the rates of the most specific area of the address that has any.
// An address that is not known is taken for the merchant's own country where
// prices include tax, and is not taxed where they do not.
func (r *Rules) taxed(country, region string) rates {
	if country == "" {
		if !r.Settings.PricesIncludeTax || r.Settings.Country == "" {
			return nil
		}
		country, region = r.Settings.Country, ""
	}
	for _, a := range areas(country, region) {
		if found := r.taxes[a]; found != nil {
			return found
		}
	}
	return nil
}

// Alike reports whether two regions of a country are taxed by the same zones and,
// where something is sent there, sent to. No country is the store's own, where
// prices hold its tax.
func (r *Rules) Alike(from, a, to, b string, sent bool) bool {
	if from == "" && r.Settings.PricesIncludeTax {
		from = r.Settings.Country
	}
	return from == to && maps.Equal(r.taxed(from, a), r.taxed(to, b)) && (!sent || slices.Equal(r.methodsFor(from, a), r.methodsFor(to, b)))
}

// PPMByCategory are the summed rates of each category that is taxed in a
// country.
func (r *Rules) PPMByCategory(country string) map[string]int64 {
	all := map[string]int64{}
	for category, set := range r.taxed(country, "") {
		all[category] = set.ppm
	}
	return all
}

// reverseCharge reports whether the buyer accounts for the tax: the merchant
// wants it so, both are in different member states of the EU, and the buyer's
// VAT id has the form of the state that the goods go to.
func (r *Rules) reverseCharge(b *Basket) bool {
	s := &r.Settings
	return s.ReverseCharge && b.VATID != "" && b.Country != "" && b.Country != s.Country &&
		InEU(s.Country) && InEU(b.Country) && ValidVATID(b.Country, b.VATID)
}

// tax fills in every amount of the quote but Discounts.
func (r *Rules) tax(b *Basket, d *deal, q *Quote) {
	zone := r.taxed(b.Country, b.Region)
	q.PricesIncludeTax = r.Settings.PricesIncludeTax && !q.ReverseCharge
	for i := range b.Lines {
		line := &b.Lines[i]
		l := r.charge(q, zone.of(line.TaxCategory), line.UnitPrice*line.Quantity, d.rest[i])
		q.Lines[i] = l
		q.Subtotal += l.Subtotal
		q.Discount += l.Discount
		q.Tax += l.Tax
		q.Total += l.Total
	}
	if !d.offered {
		return
	}
	s := r.charge(q, zone.ofShipping(), d.shipping, d.shipping-d.shippingOff)
	q.Shipping, q.ShippingDiscount, q.ShippingTax = s.Subtotal, s.Discount, s.Tax
	q.Discount += s.Discount
	q.Tax += s.Tax
	q.Total += s.Total
}

// charge is what one component costs, which was before and is after discounts.
// The sum of its rates is rounded once, half up, and split over the rates by
// largest remainder. Tax that the price includes is what is left of it beside
// the rounded net price. Under reverse charge that net price is all there is.
func (r *Rules) charge(q *Quote, set *rateSet, before, after int64) LineQuote {
	t := Terms{PricesIncludeTax: q.PricesIncludeTax, ReverseCharge: q.ReverseCharge, StatedWithTax: r.Settings.PricesIncludeTax}
	l := t.charge(set, before, after)
	if l.Tax > 0 {
		q.addTax(set, l.Tax)
	}
	return l
}

func (t Terms) charge(set *rateSet, before, after int64) LineQuote {
	l := LineQuote{Subtotal: before, Discount: before - after, Total: after}
	switch {
	case set == nil:
	case t.PricesIncludeTax:
		l.Tax = after - set.net(after)
	case !t.ReverseCharge:
		l.Tax = scaled(after, set.ppm, million)
		l.Total += l.Tax
	case t.StatedWithTax:
		l.Subtotal, l.Total = set.net(before), set.net(after)
		l.Discount = l.Subtotal - l.Total
	}
	return l
}

// net is what a price that includes the tax is without it.
func (s *rateSet) net(gross int64) int64 { return scaled(gross, million, million+s.ppm) }

// addTax splits a component's tax over its rates.
func (q *Quote) addTax(set *rateSet, tax int64) {
	if len(set.parts) == 1 {
		q.addRate(set.names[0], set.parts[0], tax)
		return
	}
	split := make([]int64, len(set.parts))
	allocate(tax, set.parts, split)
	for i, part := range split {
		q.addRate(set.names[i], set.parts[i], part)
	}
}

func (q *Quote) addRate(name string, ppm, amount int64) {
	if amount == 0 {
		return
	}
	for i := range q.Taxes {
		if t := &q.Taxes[i]; t.PPM == ppm && t.Name == name {
			t.Amount += amount
			return
		}
	}
	q.Taxes = append(q.Taxes, TaxAmount{Name: name, PPM: ppm, Amount: amount})
}

// discountsNet restates Discounts, which are with the tax that prices include,
// without it: they share what is off the lines, and what is off shipping is
// that of free shipping.
func (q *Quote) discountsNet(d *deal) {
	weights, parts := make([]int64, len(q.Discounts)), make([]int64, len(q.Discounts))
	at := 0
	for _, c := range d.applied {
		if c.amount == 0 {
			continue
		}
		if c.promotion.Kind != FreeShipping {
			weights[at] = c.amount
		}
		at++
	}
	allocate(q.Discount-q.ShippingDiscount, weights, parts)
	for i := range parts {
		if weights[i] == 0 {
			parts[i] = q.ShippingDiscount
		}
		q.Discounts[i].Amount = parts[i]
	}
}
