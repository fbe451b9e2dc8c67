package pricing

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Rules are a store's, all of them. Prepare them before the first Quote and
// leave them alone afterwards; then any number of goroutines may use them.
type Rules struct {
	Settings        Settings
	Zones           []Zone
	TaxRates        []TaxRate
	ShippingMethods []ShippingMethod
	Promotions      []Promotion

	taxes     map[area]rates
	methods   map[area][]*ShippingMethod
	automatic []*Promotion
	codes     map[string]*Promotion
}

// Settings hold for the whole store.
type Settings struct {
	Currency         string
	PricesIncludeTax bool
	// Country is where the merchant is established; empty: not said.
	Country       string
	ReverseCharge bool
}

// Zone is a part of the world. An area is a country such as DE, a region such
// as US-CA, or * for everywhere.
type Zone struct {
	ID    uuid.UUID
	Areas []string
}

// TaxRate taxes the products of a category in a zone; rates of the same zone
// and category add up.
type TaxRate struct {
	ZoneID         uuid.UUID
	Name, Category string
	PPM            int64
}

// ShippingMethod is a way to ship to a zone.
type ShippingMethod struct {
	ID, ZoneID uuid.UUID
	Name       string
	Active     bool
	// Prices are looked through in order; the first that fits holds, and with
	// none the method is not offered.
	Prices []ShippingPrice
}

// ShippingPrice fits a basket in its currency that is neither heavier nor, by
// the subtotal after discounts, dearer than it says.
type ShippingPrice struct {
	Currency       string `json:"currency"`
	Price          int64  `json:"price"`
	MaxWeightGrams *int64 `json:"maxWeightGrams,omitempty"`
	MaxSubtotal    *int64 `json:"maxSubtotal,omitempty"`
	// FreeFrom makes the price zero from this subtotal after discounts on.
	FreeFrom *int64 `json:"freeFrom,omitempty"`
}

// Kind is what a promotion does.
type Kind string

// The kinds, in the order in which promotions apply.
const (
	BuyXGetY     Kind = "buy_x_get_y"
	Percentage   Kind = "percentage"
	FixedAmount  Kind = "fixed_amount"
	FreeShipping Kind = "free_shipping"
)

var kinds = []Kind{BuyXGetY, Percentage, FixedAmount, FreeShipping}

// Promotion lowers a price. In all of its numbers zero means that there is none.
type Promotion struct {
	ID uuid.UUID
	// Code is in upper case; empty: the promotion applies by itself.
	Code, Title string
	Kind        Kind
	// PPM is the rate of a percentage and of what buy_x_get_y reduces.
	PPM int64
	// Currency is that of Amount, Cap and MinimumSubtotal; a promotion with one
	// holds for no other. Empty: any.
	Currency        string
	Amount, Cap     int64
	MinimumSubtotal int64
	MinimumQuantity int64
	// For each BuyQuantity bought, GetQuantity more are reduced.
	BuyQuantity, GetQuantity int64
	// Lines of these products or collections are eligible; all lines where
	// there are neither.
	ProductIDs, CollectionIDs []uuid.UUID
	// It holds from StartsAt on and until before EndsAt; zero: no bound.
	StartsAt, EndsAt time.Time
	// UsageLimit is how many orders may use it, Used how many are known to.
	UsageLimit, Used   int64
	Combinable, Active bool

	targets map[uuid.UUID]struct{}
	// order is the place in the order in which promotions apply.
	order int
}

// area is a country and a region in it, a country, or "*".
type area struct{ country, region string }

func areaOf(s string) area {
	country, region, _ := strings.Cut(s, "-")
	return area{country, region}
}

// areas are those that an address is in, the most specific first.
func areas(country, region string) [3]area {
	country, region = strings.ToUpper(country), strings.ToUpper(region)
	return [3]area{{country, region}, {country: country}, {country: "*"}}
}

// Prepare builds what makes a Quote quick and returns r. It sorts the
// promotions into the order in which they apply.
func (r *Rules) Prepare() *Rules {
	r.preparePromotions()
	r.prepareTaxes()
	r.prepareMethods()
	return r
}

// HasCoupon reports whether there is a promotion with the code, in any case.
func (r *Rules) HasCoupon(code string) bool {
	_, ok := r.codes[strings.ToUpper(code)]
	return ok
}

func compareIDs(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }

func (r *Rules) preparePromotions() {
	slices.SortFunc(r.Promotions, func(a, b Promotion) int {
		return cmp.Or(slices.Index(kinds, a.Kind)-slices.Index(kinds, b.Kind), compareIDs(a.ID, b.ID))
	})
	r.automatic, r.codes = nil, make(map[string]*Promotion, len(r.Promotions))
	for i := range r.Promotions {
		p := &r.Promotions[i]
		p.order = i
		if n := len(p.ProductIDs) + len(p.CollectionIDs); n > 0 {
			p.targets = make(map[uuid.UUID]struct{}, n)
			for _, id := range p.ProductIDs {
				p.targets[id] = struct{}{}
			}
			for _, id := range p.CollectionIDs {
				p.targets[id] = struct{}{}
			}
		}
		if p.Code == "" {
			r.automatic = append(r.automatic, p)
		} else {
			r.codes[p.Code] = p
		}
	}
}

// prepareTaxes finds the rates of each area: of the zones that have rates the
// one with the lowest id.
func (r *Rules) prepareTaxes() {
	zones := map[uuid.UUID]rates{}
	for _, t := range r.TaxRates {
		zone := zones[t.ZoneID]
		if zone == nil {
			zone = rates{}
			zones[t.ZoneID] = zone
		}
		set := zone[t.Category]
		if set == nil {
			set = &rateSet{}
			zone[t.Category] = set
		}
		set.add(t)
	}
	r.taxes = map[area]rates{}
	for _, z := range r.zonesByID() {
		for _, s := range z.Areas {
			if _, taken := r.taxes[areaOf(s)]; !taken && zones[z.ID] != nil {
				r.taxes[areaOf(s)] = zones[z.ID]
			}
		}
	}
}

func (r *Rules) prepareMethods() {
	zones := map[uuid.UUID][]string{}
	for _, z := range r.Zones {
		zones[z.ID] = z.Areas
	}
	slices.SortFunc(r.ShippingMethods, func(a, b ShippingMethod) int { return compareIDs(a.ID, b.ID) })
	r.methods = map[area][]*ShippingMethod{}
	for i := range r.ShippingMethods {
		m := &r.ShippingMethods[i]
		if !m.Active {
			continue
		}
		for _, s := range zones[m.ZoneID] {
			r.methods[areaOf(s)] = append(r.methods[areaOf(s)], m)
		}
	}
}

func (r *Rules) zonesByID() []Zone {
	return slices.SortedFunc(slices.Values(r.Zones), func(a, b Zone) int { return compareIDs(a.ID, b.ID) })
}

// methodsFor are all whose zone holds for the address at the most specific
// level that has any; none where the country is not known.
func (r *Rules) methodsFor(country, region string) []*ShippingMethod {
	if country == "" {
		return nil
	}
	for _, a := range areas(country, region) {
		if found := r.methods[a]; len(found) > 0 {
			return found
		}
	}
	return nil
}

// chosen is the method that the basket names, nil where its country has not.
func (r *Rules) chosen(b *Basket) *ShippingMethod {
	for _, m := range r.methodsFor(b.Country, b.Region) {
		if m.ID == b.ShippingMethodID {
			return m
		}
	}
	return nil
}

// price is what the method costs for a basket with this subtotal after
// discounts; ok is false where no price fits.
func (m *ShippingMethod) price(b *Basket, subtotal int64) (price int64, ok bool) {
	weight := b.weight()
	for _, p := range m.Prices {
		switch {
		case p.Currency != b.Currency,
			p.MaxWeightGrams != nil && weight > *p.MaxWeightGrams,
			p.MaxSubtotal != nil && subtotal > *p.MaxSubtotal:
			continue
		case p.FreeFrom != nil && subtotal >= *p.FreeFrom:
			return 0, true
		}
		return p.Price, true
	}
	return 0, false
}
