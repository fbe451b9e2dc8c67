package pricing_test

import (
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"gitee.com/captainjez/gocart/runtime/internal/pricing"
)

// reporter is what tests and properties fail with.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
}

// invariants are those that Quote's documentation promises.
func invariants(t reporter, b pricing.Basket, q pricing.Quote) {
	t.Helper()
	var subtotal, discount, tax, total, discounts, taxes int64
	least := min(q.Shipping-q.ShippingDiscount, q.Total, q.ShippingTax, q.ShippingDiscount)
	for i, l := range q.Lines {
		subtotal += l.Subtotal
		discount += l.Discount
		tax += l.Tax
		total += l.Total
		least = min(least, l.Subtotal-l.Discount, l.Discount, l.Tax, l.Total)
		want := l.Subtotal - l.Discount
		if !q.PricesIncludeTax {
			want += l.Tax
		}
		if l.Total != want || q.PricesIncludeTax && l.Tax > l.Total {
			t.Errorf("line %d does not add up: %+v", i, l)
		}
		if !q.ReverseCharge && l.Subtotal != b.Lines[i].Quantity*b.Lines[i].UnitPrice {
			t.Errorf("line %d: subtotal %d", i, l.Subtotal)
		}
	}
	for _, d := range q.Discounts {
		discounts += d.Amount
		least = min(least, d.Amount)
	}
	for _, a := range q.Taxes {
		taxes += a.Amount
		least = min(least, a.Amount)
	}
	whole := q.Subtotal - q.Discount + q.Shipping
	total += q.Shipping - q.ShippingDiscount
	if !q.PricesIncludeTax {
		whole += q.Tax
		total += q.ShippingTax
	}
	if subtotal != q.Subtotal || discount+q.ShippingDiscount != q.Discount || discounts != q.Discount ||
		tax+q.ShippingTax != q.Tax || taxes != q.Tax || total != q.Total || whole != q.Total || least < 0 {
		t.Errorf("does not add up: %+v of %+v", q, b)
	}
}

func anyRules(t *rapid.T) *pricing.Rules {
	r := store()
	r.Settings.PricesIncludeTax = rapid.Bool().Draw(t, "inclusive")
	for i := range r.TaxRates {
		r.TaxRates[i].PPM = rapid.Int64Range(0, 1_000_000).Draw(t, "ppm")
	}
	for i := range rapid.IntRange(0, 5).Draw(t, "promotions") {
		p := pricing.Promotion{
			ID: id(byte(50 + i)), Active: true, Combinable: rapid.Bool().Draw(t, "combinable"),
			Kind:        rapid.SampledFrom([]pricing.Kind{pricing.BuyXGetY, pricing.Percentage, pricing.FixedAmount, pricing.FreeShipping}).Draw(t, "kind"),
			PPM:         rapid.Int64Range(1, 1_000_000).Draw(t, "percent"),
			BuyQuantity: rapid.Int64Range(1, 4).Draw(t, "buy"), GetQuantity: rapid.Int64Range(1, 4).Draw(t, "get"),
			Amount: rapid.Int64Range(1, 100_000).Draw(t, "amount"), Currency: "EUR",
			Cap: rapid.Int64Range(0, 5000).Draw(t, "cap"),
		}
		if rapid.Bool().Draw(t, "coupon") {
			p.Code = string(rune('A' + i))
		}
		if rapid.Bool().Draw(t, "some products") {
			p.ProductIDs = []uuid.UUID{id(101), id(103)}
		}
		r.Promotions = append(r.Promotions, p)
	}
	return r
}

func anyBasket(t *rapid.T) pricing.Basket {
	b := basket(rapid.SampledFrom([]string{"", "DE", "FR", "US"}).Draw(t, "country"))
	b.Region = rapid.SampledFrom([]string{"", "ca"}).Draw(t, "region")
	b.VATID = rapid.SampledFrom([]string{"", "FR40303265045"}).Draw(t, "VAT id")
	b.ShippingMethodID = rapid.SampledFrom([]uuid.UUID{{}, id(10), id(11), id(13)}).Draw(t, "method")
	b.Coupons = []string{"a", "b", "C", "D", "E", "F"}
	for i := range rapid.IntRange(0, 6).Draw(t, "lines") {
		l := line(byte(i+1), rapid.Int64Range(1, 1000).Draw(t, "quantity"), rapid.OneOf(
			rapid.Int64Range(0, 5000), rapid.Int64Range(0, 100_000_000_000)).Draw(t, "price"))
		l.TaxCategory = rapid.SampledFrom([]string{"", "reduced", "none"}).Draw(t, "category")
		l.Shippable = rapid.Bool().Draw(t, "shippable")
		l.WeightGrams = rapid.Int64Range(0, 1000).Draw(t, "weight")
		b.Lines = append(b.Lines, l)
	}
	return b
}

func mustQuote(t *rapid.T, r *pricing.Rules, b pricing.Basket) pricing.Quote {
	q, err := r.Quote(b)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestEveryQuoteAddsUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, b := anyRules(t).Prepare(), anyBasket(t)
		q := mustQuote(t, r, b)
		invariants(t, b, q)
		for _, way := range r.ShippingQuotes(b) {
			b.ShippingMethodID = way.ID
			if chosen := mustQuote(t, r, b); chosen.Method == nil || *chosen.Method != way {
				t.Errorf("offered %+v, chosen %+v", way, chosen.Method)
			}
		}
	})
}

func TestTheOrderOfCouponsDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, b := anyRules(t).Prepare(), anyBasket(t)
		before := mustQuote(t, r, b)
		b.Coupons = rapid.Permutation(b.Coupons).Draw(t, "coupons")
		after := mustQuote(t, r, b)
		byCode := func(x, y pricing.CouponState) int { return strings.Compare(x.Code, y.Code) }
		slices.SortFunc(before.Coupons, byCode)
		slices.SortFunc(after.Coupons, byCode)
		if before.Total != after.Total || !slices.Equal(before.Lines, after.Lines) || !slices.Equal(before.Coupons, after.Coupons) {
			t.Errorf("%+v, and then %+v", before, after)
		}
	})
}

func TestTheOrderOfLinesDoesNotChangeAPercentage(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r, b := store(), anyBasket(t)
		r.Promotions = []pricing.Promotion{{ID: id(50), Kind: pricing.Percentage, PPM: rapid.Int64Range(1, 1_000_000).Draw(t, "percent"), Active: true}}
		r.Prepare()
		for i := range b.Lines {
			b.Lines[i].TaxCategory = ""
		}
		before := mustQuote(t, r, b)
		b.Lines = rapid.Permutation(b.Lines).Draw(t, "lines again")
		after := mustQuote(t, r, b)
		if before.Total != after.Total || before.Tax != after.Tax {
			t.Errorf("%+v, and then %+v", before, after)
		}
	})
}

func TestAHigherCapNeverTakesOffLess(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := anyBasket(t)
		p := pricing.Promotion{ID: id(50), Kind: pricing.Percentage, PPM: rapid.Int64Range(1, 1_000_000).Draw(t, "percent"), Currency: "EUR", Active: true}
		last := int64(0)
		for _, limit := range []int64{1, 10, 1000, 100_000, 0} {
			r := store()
			p.Cap = limit
			r.Promotions = []pricing.Promotion{p}
			q := mustQuote(t, r.Prepare(), b)
			off := q.Discount
			if off < last && !q.ReverseCharge || limit > 0 && off > limit {
				t.Errorf("cap %d takes off %d, a lower one %d", limit, off, last)
			}
			last = off
		}
	})
}

func TestATaxedNetPriceHoldsItsTax(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := store()
		r.TaxRates[0].PPM = rapid.Int64Range(0, 1_000_000).Draw(t, "ppm")
		b := basket("DE", line(1, 1, rapid.Int64Range(0, 400_000_000_000_000).Draw(t, "net")))
		r.Settings.PricesIncludeTax = false
		net := mustQuote(t, r.Prepare(), b)
		b.Lines[0].UnitPrice = net.Total
		r.Settings.PricesIncludeTax = true
		if gross := mustQuote(t, r.Prepare(), b); gross.Total != net.Total || gross.Tax != net.Tax {
			t.Errorf("%d of %d, and then %d of %d", net.Tax, net.Total, gross.Tax, gross.Total)
		}
	})
}

func TestTaxIsTheExactProductRoundedHalfUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := store()
		r.Settings.PricesIncludeTax = false
		r.TaxRates[0].PPM = rapid.Int64Range(0, 1_000_000).Draw(t, "ppm")
		price := rapid.Int64Range(0, 400_000_000_000_000).Draw(t, "price")
		exact := new(big.Int).Mul(big.NewInt(price), big.NewInt(r.TaxRates[0].PPM))
		want := exact.Add(exact, big.NewInt(500_000)).Div(exact, big.NewInt(1_000_000)).Int64()
		if got := mustQuote(t, r.Prepare(), basket("DE", line(1, 1, price))).Tax; got != want {
			t.Errorf("%d at %d: %d, want %d", price, r.TaxRates[0].PPM, got, want)
		}
	})
}
