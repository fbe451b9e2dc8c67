package pricing_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/pricing"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// id is a UUID whose order is that of n.
func id(n byte) uuid.UUID { return uuid.UUID{15: n} }

func ptr[T any](v T) *T { return &v }

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// store is a shop in Germany whose prices include tax, and that ships.
func store() *pricing.Rules {
	return &pricing.Rules{
		Settings: pricing.Settings{Currency: "EUR", PricesIncludeTax: true, Country: "DE", ReverseCharge: true},
		Zones: []pricing.Zone{
			{ID: id(1), Areas: []string{"DE"}}, {ID: id(2), Areas: []string{"FR", "GR"}}, {ID: id(3), Areas: []string{"US"}},
			{ID: id(4), Areas: []string{"US-CA"}}, {ID: id(5), Areas: []string{"*"}},
		},
		TaxRates: []pricing.TaxRate{
			{ZoneID: id(1), Name: "MwSt", Category: "standard", PPM: 190_000}, {ZoneID: id(1), Name: "MwSt", Category: "reduced", PPM: 70_000},
			{ZoneID: id(2), Name: "TVA", Category: "standard", PPM: 200_000}, {ZoneID: id(2), Name: "TVA", Category: "shipping", PPM: 100_000},
			{ZoneID: id(4), Name: "State", Category: "standard", PPM: 72_500}, {ZoneID: id(4), Name: "County", Category: "standard", PPM: 12_500},
		},
		ShippingMethods: []pricing.ShippingMethod{
			{ID: id(10), ZoneID: id(1), Name: "Parcel", Active: true, Prices: []pricing.ShippingPrice{
				{Currency: "EUR", Price: 490, MaxWeightGrams: ptr(int64(5000)), FreeFrom: ptr(int64(10_000))},
				{Currency: "EUR", Price: 990, MaxWeightGrams: ptr(int64(30_000))},
			}},
			{ID: id(11), ZoneID: id(1), Name: "Letter", Active: true, Prices: []pricing.ShippingPrice{
				{Currency: "EUR", Price: 150, MaxWeightGrams: ptr(int64(500)), MaxSubtotal: ptr(int64(5000))},
			}},
			{ID: id(12), ZoneID: id(1), Name: "Off", Prices: []pricing.ShippingPrice{{Currency: "EUR"}}},
			{ID: id(13), ZoneID: id(5), Name: "World", Active: true, Prices: []pricing.ShippingPrice{{Currency: "EUR", Price: 1200}}},
		},
	}
}

func line(variant byte, quantity, price int64) pricing.Line {
	return pricing.Line{VariantID: id(variant), ProductID: id(variant + 100), Quantity: quantity, UnitPrice: price, WeightGrams: 200, Shippable: true}
}

func basket(country string, lines ...pricing.Line) pricing.Basket {
	return pricing.Basket{Currency: "EUR", Country: country, Lines: lines, At: noon}
}

func quote(t testing.TB, r *pricing.Rules, b pricing.Basket) pricing.Quote {
	t.Helper()
	q, err := r.Prepare().Quote(b)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func expect[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

func TestPricesWithTaxHoldIt(t *testing.T) {
	t.Parallel()
	reduced := line(2, 3, 333)
	reduced.TaxCategory = "reduced"
	b := basket("DE", line(1, 1, 1999), reduced)
	b.ShippingMethodID = id(10)
	q := quote(t, store(), b)
	expect(t, "lines", q.Lines, []pricing.LineQuote{
		{Subtotal: 1999, Tax: 319, Total: 1999}, // 1999/1.19 = 1679.83
		{Subtotal: 999, Tax: 65, Total: 999},    // 999/1.07 = 933.64
	})
	expect(t, "shipping", []int64{q.Shipping, q.ShippingTax}, []int64{490, 78})
	expect(t, "totals", []int64{q.Subtotal, q.Tax, q.Total}, []int64{2998, 462, 3488})
	expect(t, "taxes", q.Taxes, []pricing.TaxAmount{{"MwSt", 190_000, 397}, {"MwSt", 70_000, 65}})
	expect(t, "method", q.Method, &pricing.ShippingQuote{ID: id(10), Name: "Parcel", Price: 490})
}

func TestRatesOfOneZoneAddUpAndAreSplitExactly(t *testing.T) {
	t.Parallel()
	r := store()
	r.Settings.PricesIncludeTax = false
	b := basket("US", line(1, 1, 1999), line(2, 1, 1050))
	b.Region = "CA"
	q := quote(t, r, b)
	expect(t, "lines", q.Lines, []pricing.LineQuote{
		{Subtotal: 1999, Tax: 170, Total: 2169}, // 8.5%: 169.915
		{Subtotal: 1050, Tax: 89, Total: 1139},  // 89.25
	})
	expect(t, "taxes", q.Taxes, []pricing.TaxAmount{{"State", 72_500, 145 + 76}, {"County", 12_500, 25 + 13}})
	expect(t, "total", q.Total, 3049+259)
	b.Region = ""
	expect(t, "a state without a zone that has rates", quote(t, r, b).Tax, 0)
}

func TestPlacesAreAlikeWhereTheSameZonesHoldForThem(t *testing.T) {
	t.Parallel()
	r := (&pricing.Rules{
		Settings: pricing.Settings{Country: "DE", PricesIncludeTax: true},
		Zones: []pricing.Zone{
			{ID: id(1), Areas: []string{"DE", "US"}}, {ID: id(2), Areas: []string{"DE-BY"}}, {ID: id(3), Areas: []string{"US-AK"}},
		},
		TaxRates:        []pricing.TaxRate{{ZoneID: id(1), Name: "tax", Category: "standard", PPM: 100_000}, {ZoneID: id(2), Name: "tax", Category: "standard", PPM: 1}},
		ShippingMethods: []pricing.ShippingMethod{{ID: id(10), ZoneID: id(1), Active: true}, {ID: id(11), ZoneID: id(3), Active: true}},
	}).Prepare()
	expect(t, "two regions of no zone", r.Alike("DE", "", "DE", "BE", true), true)
	expect(t, "one with taxes of its own", r.Alike("DE", "BE", "DE", "BY", false), false)
	expect(t, "one with shipping of its own", r.Alike("US", "CA", "US", "AK", true), false)
	expect(t, "where nothing is sent", r.Alike("US", "CA", "US", "AK", false), true)
	expect(t, "another country of the zone", r.Alike("DE", "", "US", "", false), false)
	expect(t, "the store's own country, for none", r.Alike("", "", "DE", "", false), true)
	expect(t, "another country, for none", r.Alike("", "", "US", "", false), false)
	r.Settings.PricesIncludeTax = false
	expect(t, "a country, for none without tax", r.Alike("", "", "DE", "", false), false)
}

func TestEveryCurrencyIsRoundedToItsOwnUnit(t *testing.T) {
	t.Parallel()
	r := &pricing.Rules{
		Zones: []pricing.Zone{{ID: id(1), Areas: []string{"*"}}},
		TaxRates: []pricing.TaxRate{
			{ZoneID: id(1), Name: "tax", Category: "standard", PPM: 100_000}, {ZoneID: id(1), Name: "vat", Category: "gulf", PPM: 50_000},
		},
	}
	yen, dinar := line(1, 3, 1985), line(1, 1, 12_345) // 12.345 KWD
	dinar.TaxCategory = "gulf"
	expect(t, "JPY", quote(t, r, pricing.Basket{Currency: "JPY", Country: "JP", Lines: []pricing.Line{yen}}).Tax, 596)   // 595.5
	expect(t, "KWD", quote(t, r, pricing.Basket{Currency: "KWD", Country: "KW", Lines: []pricing.Line{dinar}}).Tax, 617) // 617.25
}

func TestAnUnknownDestinationIsTheMerchantsWherePricesIncludeTax(t *testing.T) {
	t.Parallel()
	r := store()
	expect(t, "inclusive", quote(t, r, basket("", line(1, 1, 1190))).Tax, 190)
	r.Settings.PricesIncludeTax = false
	expect(t, "exclusive", quote(t, r, basket("", line(1, 1, 1190))).Tax, 0)
	expect(t, "ways to ship", len(r.ShippingQuotes(basket("", line(1, 1, 1190)))), 0)
}

func TestReverseChargeTakesTheTaxOutOfThePrice(t *testing.T) {
	t.Parallel()
	r := store()
	r.ShippingMethods[3].Prices[0].Price = 1100
	r.Promotions = []pricing.Promotion{
		{ID: id(50), Kind: pricing.Percentage, PPM: 100_000, Active: true, Combinable: true},
		{ID: id(51), Kind: pricing.FixedAmount, Amount: 100, Currency: "EUR", Active: true, Combinable: true},
		{ID: id(52), Kind: pricing.FreeShipping, Active: true, Combinable: true},
	}
	b := basket("FR", line(1, 1, 1200), line(2, 2, 600))
	b.ShippingMethodID, b.VATID = id(13), "fr 40 303 265 045"
	q := quote(t, r, b)
	expect(t, "reverse charge", []bool{q.ReverseCharge, q.PricesIncludeTax}, []bool{true, false})
	expect(t, "lines", q.Lines, []pricing.LineQuote{{Subtotal: 1000, Discount: 142, Total: 858}, {Subtotal: 1000, Discount: 142, Total: 858}})
	expect(t, "shipping at its own rate of 10%", []int64{q.Shipping, q.ShippingDiscount}, []int64{1000, 1000})
	expect(t, "discounts", []int64{q.Discounts[0].Amount, q.Discounts[1].Amount, q.Discounts[2].Amount}, []int64{200, 84, 1000})
	expect(t, "total", []int64{q.Tax, q.Total}, []int64{0, 1716})
	invariants(t, b, q)

	for what, change := range map[string]func(*pricing.Basket){
		"no VAT id":                   func(b *pricing.Basket) { b.VATID = "" },
		"a VAT id of another country": func(b *pricing.Basket) { b.VATID = "DE123456789" },
		"the merchant's country":      func(b *pricing.Basket) { b.Country, b.VATID = "DE", "DE123456789" },
		"outside of the EU":           func(b *pricing.Basket) { b.Country = "US" },
	} {
		other := b
		change(&other)
		expect(t, what, quote(t, r, other).ReverseCharge, false)
	}
	b.Country, b.VATID = "GR", "EL123456789"
	expect(t, "Greece is EL", quote(t, r, b).ReverseCharge, true)
}

func TestShippingIsOfferedAtTheMostSpecificLevelThatHasAny(t *testing.T) {
	t.Parallel()
	r := store()
	names := func(b pricing.Basket) (names []string) {
		for _, q := range r.Prepare().ShippingQuotes(b) {
			names = append(names, q.Name)
		}
		return names
	}
	expect(t, "cheapest first", names(basket("DE", line(1, 1, 1000))), []string{"Letter", "Parcel"})
	expect(t, "too heavy for a letter", names(basket("DE", line(1, 3, 1000))), []string{"Parcel"})
	expect(t, "too heavy for everything", names(basket("DE", line(1, 200, 1000))), nil)
	expect(t, "a zone with no method of its own", names(basket("FR", line(1, 1, 1000))), []string{"World"})
	virtual := line(1, 1, 1000)
	virtual.Shippable = false
	expect(t, "nothing to ship", names(basket("DE", virtual)), nil)
	dollars := basket("DE", line(1, 1, 1000))
	dollars.Currency = "USD"
	expect(t, "another currency", names(dollars), nil)

	free := basket("DE", line(1, 1, 10_000))
	expect(t, "free from 100", r.ShippingQuotes(free)[0].Price, 0)
	r.Promotions = []pricing.Promotion{{ID: id(50), Kind: pricing.FixedAmount, Amount: 1, Currency: "EUR", Active: true}}
	expect(t, "the threshold is after discounts", r.Prepare().ShippingQuotes(free)[0].Price, 490)
	heavy := basket("DE", line(1, 200, 10))
	heavy.ShippingMethodID = id(10)
	expect(t, "a method that is not offered", quote(t, r, heavy).Method, nil)
}

func TestBuyXGetYReducesTheCheapestUnits(t *testing.T) {
	t.Parallel()
	r := store()
	r.Promotions = []pricing.Promotion{{ID: id(50), Kind: pricing.BuyXGetY, BuyQuantity: 2, GetQuantity: 1, PPM: 1_000_000, Active: true, Code: "3FOR2"}}
	b := basket("DE", line(1, 2, 500), line(2, 4, 1000), line(3, 1, 700)) // 1000 1000 1000 1000 700 500 500
	b.Coupons = []string{"3for2"}
	q := quote(t, r, b)
	expect(t, "off", []int64{q.Lines[0].Discount, q.Lines[1].Discount, q.Lines[2].Discount}, []int64{1000, 0, 0})
	r.Promotions[0].PPM = 500_000
	b.Lines = []pricing.Line{line(1, 1, 999), line(2, 1, 999), line(3, 1, 1500)}
	q = quote(t, r, b)
	expect(t, "half of the last of equals, half up", []int64{q.Lines[0].Discount, q.Lines[1].Discount}, []int64{0, 500})
	b.Lines = b.Lines[:2]
	expect(t, "too few", quote(t, r, b).Coupons[0].Reason, pricing.ReasonMinimumNotMet)
}

func TestDiscountsAreAllocatedExactly(t *testing.T) {
	t.Parallel()
	r := store()
	r.Promotions = []pricing.Promotion{{ID: id(50), Kind: pricing.FixedAmount, Amount: 1000, Currency: "EUR", Active: true}}
	b := basket("DE", line(1, 1, 1000), line(2, 1, 1000), line(3, 1, 1000))
	q := quote(t, r, b)
	expect(t, "thirds", []int64{q.Lines[0].Discount, q.Lines[1].Discount, q.Lines[2].Discount}, []int64{334, 333, 333})
	r.Promotions[0].Amount = 1_000_000
	expect(t, "no more than there is", quote(t, r, b).Total, 0)
	r.Promotions[0] = pricing.Promotion{ID: id(50), Kind: pricing.Percentage, PPM: 150_000, Cap: 333, Currency: "EUR", Active: true, ProductIDs: []uuid.UUID{id(102)}, CollectionIDs: []uuid.UUID{id(9)}}
	b.Lines[2].CollectionIDs = []uuid.UUID{id(9)}
	q = quote(t, r, b)
	expect(t, "eligible lines, capped", []int64{q.Lines[0].Discount, q.Lines[1].Discount, q.Lines[2].Discount}, []int64{0, 150, 150})
	r.Promotions[0].Cap = 99
	q = quote(t, r, b)
	expect(t, "eligible lines, capped", []int64{q.Lines[0].Discount, q.Lines[1].Discount, q.Lines[2].Discount}, []int64{0, 50, 49})
}

func TestOfPromotionsThatDoNotCombineTheBestAppliesAlone(t *testing.T) {
	t.Parallel()
	r := store()
	r.Promotions = []pricing.Promotion{
		{ID: id(50), Code: "A10", Kind: pricing.Percentage, PPM: 100_000, Active: true, Combinable: true},
		{ID: id(51), Code: "B5", Kind: pricing.FixedAmount, Amount: 500, Currency: "EUR", Active: true, Combinable: true},
		{ID: id(52), Code: "C14", Kind: pricing.FixedAmount, Amount: 1400, Currency: "EUR", Active: true},
		{ID: id(53), Code: "D16", Kind: pricing.FixedAmount, Amount: 1600, Currency: "EUR", Active: true},
	}
	off := func(coupons ...string) (int64, []pricing.CouponState) {
		b := basket("DE", line(1, 1, 10_000))
		b.Coupons = coupons
		q := quote(t, r, b)
		return q.Discount, q.Coupons
	}
	got, states := off("c14", "B5", "a10", "A10")
	expect(t, "combined", got, 1500)
	expect(t, "states", states, []pricing.CouponState{{"C14", false, pricing.ReasonNotCombinable}, {"B5", true, ""}, {"A10", true, ""}})
	got, states = off("C14", "D16", "B5", "A10")
	expect(t, "single", got, 1600)
	expect(t, "states", states, []pricing.CouponState{
		{"C14", false, pricing.ReasonNotCombinable}, {"D16", true, ""}, {"B5", false, pricing.ReasonNotCombinable}, {"A10", false, pricing.ReasonNotCombinable},
	})
}

func TestFreeShippingTakesTheShippingPriceOff(t *testing.T) {
	t.Parallel()
	r := store()
	r.Promotions = []pricing.Promotion{
		{ID: id(50), Code: "SHIP", Kind: pricing.FreeShipping, Active: true, Combinable: true},
		{ID: id(51), Code: "SHIP2", Kind: pricing.FreeShipping, Active: true, Combinable: true},
	}
	b := basket("", line(1, 1, 1000))
	b.Coupons = []string{"ship"}
	expect(t, "before the price is known", quote(t, r, b).Coupons, []pricing.CouponState{{"SHIP", true, ""}})
	b.Country, b.ShippingMethodID, b.Coupons = "DE", id(10), []string{"ship", "ship2"}
	q := quote(t, r, b)
	expect(t, "amounts", []int64{q.Shipping, q.ShippingDiscount, q.ShippingTax, q.Discount, q.Total}, []int64{490, 490, 0, 490, 1000})
	expect(t, "only one took it", q.Coupons[1].Reason, pricing.ReasonNothingEligible)
	b.Lines[0].Shippable = false
	expect(t, "nothing to ship", quote(t, r, b).Coupons[0].Reason, pricing.ReasonNothingEligible)
}

func TestACouponThatDoesNotApplySaysWhy(t *testing.T) {
	t.Parallel()
	for reason, change := range map[string]func(*pricing.Promotion){
		"":                            func(*pricing.Promotion) {},
		pricing.ReasonUnknown:         func(p *pricing.Promotion) { p.Code = "OTHER" },
		pricing.ReasonInactive:        func(p *pricing.Promotion) { p.Active = false },
		pricing.ReasonNotStarted:      func(p *pricing.Promotion) { p.StartsAt = noon.Add(1) },
		pricing.ReasonExpired:         func(p *pricing.Promotion) { p.EndsAt = noon },
		pricing.ReasonUsedUp:          func(p *pricing.Promotion) { p.UsageLimit, p.Used = 3, 3 },
		pricing.ReasonWrongCurrency:   func(p *pricing.Promotion) { p.Cap, p.Currency = 1, "USD" },
		pricing.ReasonNothingEligible: func(p *pricing.Promotion) { p.ProductIDs = []uuid.UUID{id(200)} },
		pricing.ReasonMinimumNotMet:   func(p *pricing.Promotion) { p.MinimumSubtotal = 1001 },
	} {
		r := store()
		p := pricing.Promotion{ID: id(50), Code: "TEN", Kind: pricing.Percentage, PPM: 100_000, Active: true, StartsAt: noon, EndsAt: noon.Add(1)}
		change(&p)
		r.Promotions = []pricing.Promotion{p}
		b := basket("DE", line(1, 1, 1000))
		b.Coupons = []string{" ten"}
		expect(t, reason, quote(t, r, b).Coupons, []pricing.CouponState{{"TEN", reason == "", reason}})
	}
}

func TestAnAmountAboveTheLargestIsAProblemAndNotAnOverflow(t *testing.T) {
	t.Parallel()
	r := store()
	r.Settings.PricesIncludeTax = false
	for what, c := range map[string]struct {
		code string
		b    pricing.Basket
	}{
		"unit price":        {"amount_too_large", basket("DE", line(1, 1, money.Max+1))},
		"line":              {"amount_too_large", basket("DE", line(1, 1000, money.Max))},
		"subtotal":          {"amount_too_large", basket("DE", line(1, 1, money.Max), line(2, 1, 1))},
		"total with tax":    {"amount_too_large", basket("DE", line(1, 1, money.Max))},
		"largest quantity":  {"invalid_basket", basket("DE", line(1, 1001, 1))},
		"negative quantity": {"invalid_basket", basket("DE", line(1, -1, 1))},
		"negative price":    {"invalid_basket", basket("DE", line(1, 1, -1))},
		"lines":             {"invalid_basket", basket("DE", make([]pricing.Line, 101)...)},
	} {
		_, err := r.Prepare().Quote(c.b)
		if p, ok := errors.AsType[*problem.Problem](err); !ok || p.Code != c.code || p.Status != 400 {
			t.Errorf("%s: %v, want %s", what, err, c.code)
		}
	}
	if q, err := r.Quote(basket("US", line(1, 1, money.Max))); err != nil || q.Total != money.Max {
		t.Errorf("the largest: %+v %v", q, err)
	}
}

func TestOfEquallySpecificZonesTheLowestIDTaxes(t *testing.T) {
	t.Parallel()
	r := &pricing.Rules{
		Zones: []pricing.Zone{{ID: id(3), Areas: []string{"DE"}}, {ID: id(2), Areas: []string{"DE"}}, {ID: id(1), Areas: []string{"DE"}}},
		TaxRates: []pricing.TaxRate{
			{ZoneID: id(3), Name: "c", Category: "standard", PPM: 300_000}, {ZoneID: id(2), Name: "b", Category: "standard", PPM: 200_000},
		},
	}
	expect(t, "tax", quote(t, r, basket("DE", line(1, 1, 100))).Tax, 20)
	expect(t, "note", r.PPMByCategory("DE"), map[string]int64{"standard": 200_000})
}

func BenchmarkQuote(b *testing.B) {
	r := store()
	r.Promotions = []pricing.Promotion{
		{ID: id(50), Code: "TEN", Kind: pricing.Percentage, PPM: 100_000, Active: true, Combinable: true},
		{ID: id(51), Kind: pricing.BuyXGetY, BuyQuantity: 2, GetQuantity: 1, PPM: 1_000_000, Active: true, Combinable: true},
		{ID: id(52), Kind: pricing.FreeShipping, MinimumSubtotal: 5000, Currency: "EUR", Active: true},
	}
	r.Prepare()
	in := basket("DE", line(1, 2, 1999), line(2, 1, 2499), line(3, 3, 999))
	in.Coupons, in.ShippingMethodID = []string{"TEN"}, id(10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Quote(in); err != nil {
			b.Fatal(err)
		}
	}
}
