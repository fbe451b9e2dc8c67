// Package pricing says what a basket costs: discounts, shipping, tax and
// totals, from rules that are plain values. It is pure: it reads no database
// and no clock, and the same input gives the same answer. Amounts are minor
// units of the basket's currency, rates are parts per million (19% is 190000).
// docs/concepts/pricing.md states every rule for people.
package pricing

import (
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// Bounds of a basket.
const (
	MaxLines    = 100
	MaxQuantity = 1000
	MaxCoupons  = 100
	// MaxWeightGrams is the most that one unit may weigh.
	MaxWeightGrams = 100_000_000
)

// Basket is what is to be priced.
type Basket struct {
	Currency string
	Lines    []Line
	// Coupons are codes as typed; they are compared in upper case, and a
	// repeated one counts once.
	Coupons []string
	// Country is where it goes, an ISO 3166-1 code; empty: not known yet.
	// Region is the part of ISO 3166-2 after the hyphen, such as CA.
	Country, Region string
	// ShippingMethodID is the method that was chosen, the zero UUID for none.
	ShippingMethodID uuid.UUID
	VATID            string
	// At is when the price is asked for; promotions begin and end by it.
	At time.Time
}

// Line is a number of one variant.
type Line struct {
	VariantID, ProductID uuid.UUID
	CollectionIDs        []uuid.UUID
	Quantity, UnitPrice  int64
	// TaxCategory is standard where it is empty.
	TaxCategory string
	// WeightGrams is of one unit; it counts where the line is Shippable.
	WeightGrams int64
	Shippable   bool
}

// Quote is what a basket costs. These hold, to the last minor unit:
//
//	Subtotal = sum of Lines' Subtotal
//	Discount = sum of Lines' Discount + ShippingDiscount = sum of Discounts
//	Tax      = sum of Lines' Tax + ShippingTax = sum of Taxes
//	Total    = Subtotal - Discount + Shipping, + Tax unless PricesIncludeTax
//	         = sum of Lines' Total + Shipping - ShippingDiscount, + ShippingTax unless PricesIncludeTax
//
// Nothing in it is negative.
type Quote struct {
	// Lines are in the basket's order.
	Lines                                    []LineQuote
	Subtotal, Discount, Shipping, Tax, Total int64
	// ShippingDiscount is the part of Discount that is off shipping,
	// ShippingTax the part of Tax that is on what is left of it.
	ShippingDiscount, ShippingTax int64
	// PricesIncludeTax says whether the amounts hold tax. Under reverse charge
	// they never do: what the prices held is taken out of every amount.
	PricesIncludeTax, ReverseCharge bool
	// NeedsShipping is set where any line is shippable.
	NeedsShipping bool
	Discounts     []Discount
	Taxes         []TaxAmount
	// Coupons has one entry for each code, in the basket's order.
	Coupons []CouponState
	// Method is the chosen one; nil where none is chosen, offered or needed.
	Method *ShippingQuote
}

// LineQuote is a line's part of a Quote: Total = Subtotal - Discount, + Tax
// unless prices include it.
type LineQuote struct{ Subtotal, Discount, Tax, Total int64 }

// Discount is what one promotion took off. Code is empty for a promotion that
// applies by itself.
type Discount struct {
	PromotionID uuid.UUID
	Code, Title string
	Amount      int64
}

// TaxAmount is the tax of one name and rate.
type TaxAmount struct {
	Name        string
	PPM, Amount int64
}

// CouponState says what became of a code, which is in upper case here.
type CouponState struct {
	Code    string
	Applies bool
	// Reason is why it does not apply, one of the Reason words; else empty.
	Reason string
}

// ShippingQuote is a way to ship, at the price that the store states: before
// free shipping, and with tax where the store's prices include it.
type ShippingQuote struct {
	ID    uuid.UUID
	Name  string
	Price int64
}

// Quote prices a basket. Its errors are *problem.Problem with status 400:
// amount_too_large where a line, the subtotal or the total is above money.Max,
// and invalid_basket for input out of the bounds.
func (r *Rules) Quote(b Basket) (Quote, error) {
	if err := b.check(); err != nil {
		return Quote{}, err
	}
	q := Quote{
		Lines: make([]LineQuote, len(b.Lines)), NeedsShipping: b.needsShipping(), ReverseCharge: r.reverseCharge(&b),
	}
	var method *ShippingMethod
	if q.NeedsShipping {
		method = r.chosen(&b)
	}
	var found candidates
	r.find(&b, &found)
	var one, other deal
	d := r.best(&b, method, &found, &one, &other)
	if d.offered {
		q.Method = &ShippingQuote{ID: method.ID, Name: method.Name, Price: d.shipping}
	}
	q.Coupons = found.coupons
	r.tax(&b, d, &q)
	for _, c := range d.applied {
		if c.amount > 0 {
			q.Discounts = append(q.Discounts, Discount{c.promotion.ID, c.promotion.Code, c.promotion.Title, c.amount})
		}
	}
	if q.ReverseCharge && r.Settings.PricesIncludeTax {
		q.discountsNet(d)
	}
	if q.Total > money.Max {
		return Quote{}, tooLarge()
	}
	return q, nil
}

// ShippingQuotes are the ways in which the basket can be shipped to its
// country, cheapest first, at the price that Quote has if it is chosen. There
// are none where nothing needs shipping or the country is not known.
func (r *Rules) ShippingQuotes(b Basket) []ShippingQuote {
	if b.check() != nil || !b.needsShipping() {
		return nil
	}
	var found candidates
	r.find(&b, &found)
	var one, other deal
	var quotes []ShippingQuote
	for _, m := range r.methodsFor(b.Country, b.Region) {
		if d := r.best(&b, m, &found, &one, &other); d.offered {
			quotes = append(quotes, ShippingQuote{ID: m.ID, Name: m.Name, Price: d.shipping})
		}
	}
	slices.SortStableFunc(quotes, func(a, b ShippingQuote) int { return int(min(max(a.Price-b.Price, -1), 1)) })
	return quotes
}

func (b *Basket) check() error {
	if len(b.Lines) > MaxLines || len(b.Coupons) > MaxCoupons {
		return problem.New(http.StatusBadRequest, "invalid_basket", "A basket has %d lines and %d coupons at most.", MaxLines, MaxCoupons)
	}
	var subtotal int64
	for i, l := range b.Lines {
		if l.Quantity < 1 || l.Quantity > MaxQuantity || l.UnitPrice < 0 || l.WeightGrams < 0 || l.WeightGrams > MaxWeightGrams {
			return problem.New(http.StatusBadRequest, "invalid_basket", "Line %d has a quantity, price or weight out of bounds.", i+1)
		}
		if l.UnitPrice > money.Max {
			return tooLarge()
		}
		if subtotal += l.UnitPrice * l.Quantity; subtotal > money.Max {
			return tooLarge()
		}
	}
	return nil
}

func tooLarge() error {
	return problem.New(http.StatusBadRequest, "amount_too_large", "The basket's amount is above the largest that a store takes.")
}

func (b *Basket) needsShipping() bool {
	return slices.ContainsFunc(b.Lines, func(l Line) bool { return l.Shippable })
}

// weight is of what is shipped, in grams.
func (b *Basket) weight() (grams int64) {
	for i := range b.Lines {
		if l := &b.Lines[i]; l.Shippable {
			grams += l.WeightGrams * l.Quantity
		}
	}
	return grams
}
