package pricing_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"gitee.com/captainjez/gocart/runtime/internal/pricing"
)

// charged are the lines of a quote with what they are taxed by.
func charged(r *pricing.Rules, b pricing.Basket, q pricing.Quote) []pricing.Charged {
	all := make([]pricing.Charged, len(q.Lines))
	for i, l := range q.Lines {
		all[i] = pricing.Charged{LineQuote: l, Rates: r.Rates(b.Country, b.Region, b.Lines[i].TaxCategory)}
	}
	return all
}

func TestWhateverLinesItGetsAnAmendedQuoteAddsUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, b := anyRules(t).Prepare(), anyBasket(t)
		q := mustQuote(t, r, b)
		terms, was := r.Terms(b), charged(r, b, q)
		same, err := pricing.Amend(q, was, was)
		if err != nil || same.Total != q.Total || same.Tax != q.Tax || !slices.Equal(same.Discounts, q.Discounts) || len(same.Taxes) != len(q.Taxes) {
			t.Fatalf("with the lines that it has it is %+v, %v, and was %+v", same, err, q)
		}
		for range rapid.IntRange(1, 3).Draw(t, "edits") {
			other := b
			other.Lines = nil
			var is []pricing.Charged
			add := func(l pricing.Line, c pricing.Charged) {
				other.Lines, is = append(other.Lines, l), append(is, c)
			}
			for i, l := range b.Lines {
				switch rapid.SampledFrom([]string{"keep", "change", "remove"}).Draw(t, "what") {
				case "keep":
					add(l, was[i])
				case "change":
					sold := pricing.Sold{Quantity: l.Quantity, UnitPrice: l.UnitPrice, Discount: was[i].Discount, Rates: was[i].Rates}
					sold = sold.With(rapid.Int64Range(1, 1000).Draw(t, "quantity"))
					l.Quantity = sold.Quantity
					c, err := terms.Charge(sold)
					if err != nil {
						t.Fatal(err)
					}
					add(l, pricing.Charged{LineQuote: c, Rates: sold.Rates})
				}
			}
			if rapid.Bool().Draw(t, "add") {
				l := line(99, rapid.Int64Range(1, 1000).Draw(t, "quantity"), rapid.Int64Range(0, 100_000).Draw(t, "price"))
				rates := r.Rates(b.Country, b.Region, "")
				c, err := terms.Charge(pricing.Sold{Quantity: l.Quantity, UnitPrice: l.UnitPrice, Rates: rates})
				if err != nil {
					t.Fatal(err)
				}
				add(l, pricing.Charged{LineQuote: c, Rates: rates})
			}
			amended, err := pricing.Amend(q, was, is)
			if err != nil {
				t.Fatal(err)
			}
			invariants(t, other, amended)
			if amended.Shipping != q.Shipping || amended.ShippingDiscount != q.ShippingDiscount || amended.ShippingTax != q.ShippingTax {
				t.Fatalf("shipping is %+v, and was %+v", amended, q)
			}
			b, q, was = other, amended, is
		}
	})
}

func TestALineKeepsWhatItWasSoldAt(t *testing.T) {
	t.Parallel()
	vat := []pricing.Rate{{Name: "VAT", PPM: 190_000}}
	sold := pricing.Sold{Quantity: 3, UnitPrice: 1000, Discount: 100, Rates: vat}
	for name, c := range map[string]struct {
		terms    pricing.Terms
		quantity int64
		want     pricing.LineQuote
	}{
		"fewer, with tax in the price":                {pricing.Terms{PricesIncludeTax: true, StatedWithTax: true}, 2, pricing.LineQuote{Subtotal: 2000, Discount: 67, Tax: 309, Total: 1933}},
		"more, with tax in the price":                 {pricing.Terms{PricesIncludeTax: true, StatedWithTax: true}, 6, pricing.LineQuote{Subtotal: 6000, Discount: 200, Tax: 926, Total: 5800}},
		"fewer, with tax beside the price":            {pricing.Terms{}, 1, pricing.LineQuote{Subtotal: 1000, Discount: 33, Tax: 184, Total: 1151}},
		"under reverse charge":                        {pricing.Terms{ReverseCharge: true}, 1, pricing.LineQuote{Subtotal: 1000, Discount: 33, Total: 967}},
		"under reverse charge, with tax in the price": {pricing.Terms{ReverseCharge: true, StatedWithTax: true}, 1, pricing.LineQuote{Subtotal: 840, Discount: 33, Total: 807}},
	} {
		got, err := c.terms.Charge(sold.With(c.quantity))
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	if _, err := (pricing.Terms{}).Charge(pricing.Sold{Quantity: 1000, UnitPrice: 1_000_000_000_001}); err == nil {
		t.Error("a line above every amount is charged")
	}
	if got := (pricing.Terms{}).Restate(1190, true, vat); got != 1000 {
		t.Errorf("1190 with tax are %d without", got)
	}
	if got := (pricing.Terms{PricesIncludeTax: true, StatedWithTax: true}).Restate(1000, false, vat); got != 1190 {
		t.Errorf("1000 without tax are %d with", got)
	}
}
