package stats

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/stats/statsdb"
)

// level is how long the times are that are added up.
type level int16

const (
	// orders are no time: each is for itself.
	orders level = iota - 1
	quarters
	days
	months
	years
)

// begin is when a moment's time began.
func (l level) begin(t time.Time) time.Time {
	t = t.UTC()
	switch l {
	case quarters:
		return t.Truncate(15 * time.Minute)
	case days:
		return t.Truncate(day)
	case months:
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	case years:
		return time.Date(t.Year(), time.January, 1, 0, 0, 0, 0, time.UTC)
	}
	return t
}

// next is when the time ends that begins at a moment.
func (l level) next(t time.Time) time.Time {
	switch l {
	case quarters:
		return t.Add(15 * time.Minute)
	case days:
		return t.Add(day)
	case months:
		return t.AddDate(0, 1, 0)
	case years:
		return t.AddDate(1, 0, 0)
	}
	return t
}

// nearest is when the time begins or ends in which a moment is, whichever is
// nearer.
func (l level) nearest(t time.Time) time.Time {
	begin := l.begin(t)
	if end := l.next(begin); end.Sub(t) < t.Sub(begin) {
		return end
	}
	return begin
}

// The sums, and what they are of.
type (
	slot struct {
		level    level
		start    int64 // Unix seconds
		currency string
	}
	label   struct{ kind, name, detail string }
	product struct{ product, variant uuid.UUID }
	pair    struct{ previous, day int64 }
	spent   struct {
		year     int
		currency string
		buyer    uuid.UUID
	}

	productSlot struct {
		slot
		product
	}
	labelSlot struct {
		slot
		label
	}
	figures struct {
		orders, items, subtotal, discount, shipping, tax, total, refunded, cancelled, firsts, exchanged int64
	}
	labelSums struct{ orders, amount, total int64 }
)

func (s slot) compare(o slot) int {
	return cmp.Or(cmp.Compare(s.level, o.level), cmp.Compare(s.start, o.start), cmp.Compare(s.currency, o.currency))
}

func (l label) compare(o label) int {
	return cmp.Or(cmp.Compare(l.kind, o.kind), cmp.Compare(l.name, o.name), cmp.Compare(l.detail, o.detail))
}

func (p product) compare(o product) int {
	return cmp.Or(slices.Compare(p.product[:], o.product[:]), slices.Compare(p.variant[:], o.variant[:]))
}

// sums are differences that are yet to be added to what is stored.
type sums struct {
	sales    map[slot]figures
	products map[productSlot][perLine]int64
	labels   map[labelSlot]labelSums
	returns  map[pair]int64
	buyers   map[spent]int64
}

func newSums() sums {
	return sums{map[slot]figures{}, map[productSlot][perLine]int64{}, map[labelSlot]labelSums{}, map[pair]int64{}, map[spent]int64{}}
}

// sorted are a map's keys in order, so that rows are written near each other.
func sorted[K comparable, V any](m map[K]V, compare func(K, K) int) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compare)
	return keys
}

// add counts an order so many times: once, or less by once.
func (s sums) add(o statsdb.StatisticsOrder, times int64) {
	for l := quarters; l <= years; l++ {
		at := slot{l, l.begin(o.At).Unix(), o.Currency}
		f := s.sales[at]
		if o.Cancelled {
			f.cancelled += times
			s.sales[at] = f
			continue
		}
		f.orders += times
		f.items += times * o.Items
		f.subtotal += times * o.Subtotal
		f.discount += times * o.Discount
		f.shipping += times * o.Shipping
		f.tax += times * o.Tax
		f.total += times * o.Total
		f.refunded += times * o.Refunded
		f.exchanged += times * o.Exchanged
		s.sales[at] = f
		if l == quarters {
			continue
		}
		for i := range o.ProductIds {
			of := productSlot{at, product{o.ProductIds[i], o.VariantIds[i]}}
			p := s.products[of]
			for n := range p {
				p[n] += times * o.LineSums[perLine*i+n]
			}
			s.products[of] = p
		}
		for i, amount := range o.LabelAmounts {
			text := o.Labels[perLabel*i:]
			of := labelSlot{at, label{text[0], text[1], text[2]}}
			p := s.labels[of]
			p.orders += times
			p.amount += times * amount
			p.total += times * o.Total
			s.labels[of] = p
		}
	}
	if !o.Cancelled {
		s.buyers[spent{o.At.UTC().Year(), o.Currency, o.Buyer}] += times * (o.Total - o.Refunded)
		s.follow(o.Currency, o.At, o.PreviousAt, times)
	}
}

// follow counts, so many times, that a buyer ordered after their order before,
// or for the first time.
func (s sums) follow(currency string, at time.Time, previous *time.Time, times int64) {
	if previous != nil {
		s.returns[pair{days.begin(*previous).Unix(), days.begin(at).Unix()}] += times
		return
	}
	for l := quarters; l <= years; l++ {
		at := slot{l, l.begin(at).Unix(), currency}
		f := s.sales[at]
		f.firsts += times
		s.sales[at] = f
	}
}

func (s sums) store(ctx context.Context, q *statsdb.Queries) error {
	for _, add := range []func(context.Context, *statsdb.Queries) error{s.storeSales, s.storeProducts, s.storeLabels, s.storeReturns, s.storeBuyers} {
		if err := add(ctx, q); err != nil {
			return fmt.Errorf("adding to statistics: %w", err)
		}
	}
	return nil
}

func (s sums) storeSales(ctx context.Context, q *statsdb.Queries) error {
	var r statsdb.AddSalesParams
	for _, at := range sorted(s.sales, slot.compare) {
		f := s.sales[at]
		if f == (figures{}) {
			continue
		}
		r.Levels, r.Starts, r.Currencies = append(r.Levels, int16(at.level)), append(r.Starts, time.Unix(at.start, 0)), append(r.Currencies, at.currency)
		r.Orders, r.Items, r.Subtotals = append(r.Orders, f.orders), append(r.Items, f.items), append(r.Subtotals, f.subtotal)
		r.Discounts, r.Shippings, r.Taxes = append(r.Discounts, f.discount), append(r.Shippings, f.shipping), append(r.Taxes, f.tax)
		r.Totals, r.Refunded = append(r.Totals, f.total), append(r.Refunded, f.refunded)
		r.Cancelled, r.Firsts = append(r.Cancelled, f.cancelled), append(r.Firsts, f.firsts)
		r.Exchanged = append(r.Exchanged, f.exchanged)
	}
	if len(r.Levels) == 0 {
		return nil
	}
	return q.AddSales(ctx, r)
}

func (s sums) storeProducts(ctx context.Context, q *statsdb.Queries) error {
	var r statsdb.AddProductsParams
	compare := func(a, b productSlot) int { return cmp.Or(a.slot.compare(b.slot), a.product.compare(b.product)) }
	for _, of := range sorted(s.products, compare) {
		p := s.products[of]
		if p == ([perLine]int64{}) {
			continue
		}
		r.Levels, r.Starts, r.Currencies = append(r.Levels, int16(of.level)), append(r.Starts, time.Unix(of.start, 0)), append(r.Currencies, of.currency)
		r.ProductIds, r.VariantIds = append(r.ProductIds, of.product.product), append(r.VariantIds, of.variant)
		r.Units, r.RefundedUnits, r.Subtotals = append(r.Units, p[0]), append(r.RefundedUnits, p[1]), append(r.Subtotals, p[2])
		r.Discounts, r.Taxes, r.Totals = append(r.Discounts, p[3]), append(r.Taxes, p[4]), append(r.Totals, p[5])
	}
	if len(r.Levels) == 0 {
		return nil
	}
	return q.AddProducts(ctx, r)
}

func (s sums) storeLabels(ctx context.Context, q *statsdb.Queries) error {
	var r statsdb.AddLabelsParams
	compare := func(a, b labelSlot) int { return cmp.Or(a.slot.compare(b.slot), a.label.compare(b.label)) }
	for _, of := range sorted(s.labels, compare) {
		l := s.labels[of]
		if l == (labelSums{}) {
			continue
		}
		r.Levels, r.Starts, r.Currencies = append(r.Levels, int16(of.level)), append(r.Starts, time.Unix(of.start, 0)), append(r.Currencies, of.currency)
		r.Kinds, r.Names, r.Details = append(r.Kinds, of.kind), append(r.Names, of.name), append(r.Details, of.detail)
		r.Orders, r.Amounts, r.Totals = append(r.Orders, l.orders), append(r.Amounts, l.amount), append(r.Totals, l.total)
	}
	if len(r.Levels) == 0 {
		return nil
	}
	return q.AddLabels(ctx, r)
}

func (s sums) storeReturns(ctx context.Context, q *statsdb.Queries) error {
	var r statsdb.AddReturnsParams
	compare := func(a, b pair) int { return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.previous, b.previous)) }
	for _, p := range sorted(s.returns, compare) {
		if n := s.returns[p]; n != 0 {
			r.PreviousDays, r.Days = append(r.PreviousDays, time.Unix(p.previous, 0).UTC()), append(r.Days, time.Unix(p.day, 0).UTC())
			r.Orders = append(r.Orders, n)
		}
	}
	if len(r.Orders) == 0 {
		return nil
	}
	return q.AddReturns(ctx, r)
}

func (s sums) storeBuyers(ctx context.Context, q *statsdb.Queries) error {
	var r statsdb.AddBuyersParams
	compare := func(a, b spent) int {
		return cmp.Or(cmp.Compare(a.year, b.year), cmp.Compare(a.currency, b.currency), slices.Compare(a.buyer[:], b.buyer[:]))
	}
	for _, of := range sorted(s.buyers, compare) {
		if net := s.buyers[of]; net != 0 {
			r.Years, r.Currencies = append(r.Years, int16(of.year)), append(r.Currencies, of.currency)
			r.Buyers, r.Nets = append(r.Buyers, of.buyer), append(r.Nets, net)
		}
	}
	if len(r.Years) == 0 {
		return nil
	}
	return q.AddBuyers(ctx, r)
}
