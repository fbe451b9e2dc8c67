package api_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// relayed gives events their positions, as a process does.
func (s *store) relayed() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	s.t.Cleanup(func() { cancel(); running.Wait() })
	relay := events.NewRelay(s.Events, nil, s.log.Logger(), prometheus.NewRegistry())
	running.Go(func() { relay.Run(ctx) })
}

// positioned waits until all events have their positions.
func (s *store) positioned() {
	s.t.Helper()
	testbed.Eventually(s.t, "all events have positions", func() bool {
		var missing int
		s.scan(`SELECT count(*) FROM events WHERE position IS NULL AND topic <> ''`, &missing)
		return missing == 0
	})
}

// countStatistics has all that happened counted, by two at once.
func (s *store) countStatistics() {
	s.t.Helper()
	s.positioned()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if _, err := s.Statistics.CatchUp(s.t.Context()); err != nil {
				s.t.Error(err)
			}
		})
	}
	both.Wait()
}

// The world is what orders are placed in at random, and what statistics should
// be of them by plain sums.
type world struct {
	*store
	random *rand.Rand
	orders []*placed
	goods  [][2]uuid.UUID
	number int64
}

type placed struct {
	id        uuid.UUID
	at        time.Time
	currency  string
	customer  uuid.UUID
	email     string
	cancelled bool
	lines     []bit

	discount, shipping, tax, total int64
	discounts, taxes               map[[2]string]int64
	captured, refunded             int64
	payment                        uuid.UUID
	// exchanges is the return that the order was placed in exchange for, if any.
	exchanges uuid.UUID
}

type bit struct {
	product, variant                                uuid.UUID
	units, refunded, subtotal, discount, tax, total int64
}

func (p *placed) subtotal() (sum int64) {
	for _, l := range p.lines {
		sum += l.subtotal
	}
	return sum
}

func (p *placed) items() (sum int64) {
	for _, l := range p.lines {
		sum += l.units
	}
	return sum
}

// given is what was given back of the order as it is.
func (p *placed) given() int64 { return max(0, p.refunded-max(0, p.captured-p.total)) }

func (w *world) between(a, b int64) int64 { return a + w.random.Int64N(b-a+1) }

// some fills an order with random lines and amounts.
func (w *world) some(p *placed) {
	p.lines, p.discounts, p.taxes, p.discount, p.tax = nil, map[[2]string]int64{}, map[[2]string]int64{}, 0, 0
	p.shipping = w.between(0, 900)
	p.total = p.shipping
	for _, g := range w.random.Perm(len(w.goods))[:w.between(1, 4)] {
		l := bit{product: w.goods[g][0], variant: w.goods[g][1], units: w.between(1, 5)}
		l.subtotal = l.units * w.between(1, 9999)
		if w.random.IntN(3) == 0 {
			l.discount = w.between(0, l.subtotal)
			code := [][2]string{{"SUMMER", "Summer"}, {"", "For everyone"}, {"TEN", "Ten less"}}[w.random.IntN(3)]
			p.discounts[code] += l.discount
		}
		l.total = l.subtotal - l.discount
		l.tax = l.total * 19 / 119
		p.taxes[[][2]string{{"VAT", "19"}, {"VAT", "7"}}[w.random.IntN(2)]] += l.tax
		p.discount, p.tax, p.total = p.discount+l.discount, p.tax+l.tax, p.total+l.total
		p.lines = append(p.lines, l)
	}
}

// when is a random moment, mostly around those at which clocks are changed.
func (w *world) when() time.Time {
	changes := []string{"2031-03-09T07:00:00Z", "2031-03-30T01:00:00Z", "2031-04-05T15:00:00Z", "2031-10-04T15:30:00Z", "2031-10-26T01:00:00Z", "2031-11-02T06:00:00Z"}
	at, _ := time.Parse(time.RFC3339, changes[w.random.IntN(len(changes))])
	spread := 30 * time.Hour
	if w.random.IntN(3) == 0 {
		spread = 100 * 24 * time.Hour
	}
	at = at.Add(time.Duration(w.between(-int64(spread), int64(spread)))).Truncate(time.Microsecond)
	if w.random.IntN(4) == 0 {
		at = at.Truncate(15 * time.Minute) // where parts end
	}
	return at
}

func (w *world) place() *placed {
	p := &placed{id: uuid.Must(uuid.NewV7()), payment: uuid.Must(uuid.NewV7()), at: w.when(), currency: []string{"EUR", "EUR", "JPY"}[w.random.IntN(3)]}
	w.buys(p)
	if w.random.IntN(8) == 0 {
		p.exchanges = uuid.New()
	}
	w.some(p)
	p.captured = p.total
	w.orders = append(w.orders, p)
	return p
}

func (w *world) buys(p *placed) {
	n := w.random.IntN(25)
	p.customer, p.email = uuid.Nil, fmt.Sprintf("Buyer%d@Example.com", n)
	if n < 10 {
		p.customer = uuid.NewSHA1(uuid.NameSpaceDNS, []byte{byte(n)})
	}
}

// store writes orders as they are.
func (w *world) write(tx pgx.Tx, all ...*placed) error {
	var batch pgx.Batch
	for _, p := range all {
		decimal := func(minor int64) string { return money.Amount{Minor: minor, Currency: p.currency}.Decimal() }
		details := map[string]any{"pricesIncludeTax": true, "reverseCharge": false}
		discounts, taxes := []openapi.AppliedDiscount{}, []openapi.TaxAmount{}
		for d, minor := range p.discounts {
			one := openapi.AppliedDiscount{Title: d[1], Amount: decimal(minor)}
			if d[0] != "" {
				one.Code = &d[0]
			}
			discounts = append(discounts, one)
		}
		for d, minor := range p.taxes {
			taxes = append(taxes, openapi.TaxAmount{Name: d[0], Rate: d[1], Amount: decimal(minor)})
		}
		details["discounts"], details["taxes"] = discounts, taxes
		state := "confirmed"
		if p.cancelled {
			state = "cancelled"
		}
		var customer *uuid.UUID
		if p.customer != uuid.Nil {
			customer = &p.customer
		}
		w.number++
		batch.Queue(`INSERT INTO orders (id, number, state, customer_id, cart_id, email, currency, subtotal, discount, shipping, tax, total, item_count, details, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $1, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14)
			ON CONFLICT (id) DO UPDATE SET state = excluded.state, customer_id = excluded.customer_id, email = excluded.email, subtotal = excluded.subtotal,
				discount = excluded.discount, shipping = excluded.shipping, tax = excluded.tax, total = excluded.total, item_count = excluded.item_count, details = excluded.details`,
			p.id, w.number, state, customer, p.email, p.currency, p.subtotal(), p.discount, p.shipping, p.tax, p.total, p.items(), details, p.at)
		batch.Queue(`DELETE FROM order_lines WHERE order_id = $1`, p.id)
		for i, l := range p.lines {
			batch.Queue(`INSERT INTO order_lines (order_id, position, id, variant_id, product_id, sku, title, options, quantity, unit_price, subtotal, discount, tax, total, refunded)
				VALUES ($1, $2, gen_random_uuid(), $3, $4, 'SKU', 'Title', '{}', $5, 1, $6, $7, $8, $9, $10)`,
				p.id, i, l.variant, l.product, l.units, l.subtotal, l.discount, l.tax, l.total, l.refunded)
		}
		batch.Queue(`INSERT INTO payments (id, order_id, provider, state, amount, currency, reference, captured, refunded, created_at, updated_at)
			VALUES ($1, $2, 'test', 'captured', $3, $4, '', $3, $5, $6, $6) ON CONFLICT (id) DO UPDATE SET refunded = excluded.refunded`,
			p.payment, p.id, p.captured, p.currency, p.refunded, p.at)
		if p.exchanges != uuid.Nil {
			batch.Queue(`INSERT INTO returns (id, order_id, state, note, exchange_id, created_at, updated_at) VALUES ($1, $2, 'received', '', $2, $3, $3) ON CONFLICT (id) DO NOTHING`,
				p.exchanges, p.id, p.at)
		}
	}
	return tx.SendBatch(w.t.Context(), &batch).Close()
}

// happens stores an order with an event, of itself or of its payment.
func (w *world) happens(p *placed, ofPayment bool) {
	w.t.Helper()
	err := db.WithTx(w.t.Context(), w.Pool, func(tx pgx.Tx) error {
		if err := w.write(tx, p); err != nil {
			return err
		}
		e := events.Event{Type: "order.note", Topic: events.Orders, Subject: p.id, Actor: "store", Data: map[string]string{"text": "It changed."}, At: p.at}
		if ofPayment {
			m := openapi.Money{Amount: money.Amount{Minor: p.captured, Currency: p.currency}.Decimal(), Currency: p.currency}
			e.Type, e.Topic, e.Subject = "payment.refunded", events.Payments, p.payment
			e.Data = map[string]any{"orderId": p.id, "state": "captured", "amount": m, "captured": m, "refunded": m}
		}
		return w.Events.Append(w.t.Context(), tx, e)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// something happens to one of the orders, or one more is placed.
func (w *world) something() {
	p := w.orders[w.random.IntN(len(w.orders))]
	switch w.random.IntN(8) {
	case 0, 1, 2:
		w.happens(w.place(), false)
	case 3:
		p.cancelled = !p.cancelled
		w.happens(p, false)
	case 4:
		w.some(p) // it is edited
		w.happens(p, false)
	case 5:
		w.buys(p)
		w.happens(p, false)
	default:
		p.refunded = w.between(p.refunded, p.captured)
		l := &p.lines[w.random.IntN(len(p.lines))]
		l.refunded = w.between(l.refunded, l.units)
		w.happens(p, true)
	}
}

// span is a period as a caller asks for it, and whether it has a moment.
type span struct {
	query url.Values
	zone  *time.Location
	has   func(time.Time) bool
}

// span picks one.
func (w *world) span() span {
	names := []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"}
	name := names[w.random.IntN(len(names))]
	zone, err := time.LoadLocation(name)
	if err != nil {
		w.t.Fatal(err)
	}
	from, to := w.when(), w.when()
	if to.Before(from) {
		from, to = to, from
	}
	to = to.Add(time.Microsecond)
	s := span{query: url.Values{"timeZone": {name}}, zone: zone}
	if w.random.IntN(2) == 0 {
		s.query.Set("from", from.Format(time.RFC3339Nano))
		s.query.Set("to", to.Format(time.RFC3339Nano))
		s.has = func(t time.Time) bool { return !t.Before(from) && t.Before(to) }
		return s
	}
	first, last := from.In(zone).Format(time.DateOnly), to.In(zone).Format(time.DateOnly)
	s.query.Set("from", first)
	s.query.Set("to", last)
	s.has = func(t time.Time) bool { on := t.In(zone).Format(time.DateOnly); return on >= first && on <= last }
	return s
}

// plain adds up the orders that match.
func (w *world) plain(currency string, has func(time.Time) bool) openapi.SalesFigures {
	var f openapi.SalesFigures
	var subtotal, discount, shipping, tax, total, refunded, exchanged int64
	for _, p := range w.orders {
		switch {
		case p.currency != currency || !has(p.at):
		case p.cancelled:
			f.Cancelled++
		default:
			f.Orders++
			f.Items += p.items()
			subtotal, shipping, tax = subtotal+p.subtotal(), shipping+p.shipping, tax+p.tax
			if p.exchanges == uuid.Nil {
				discount += p.discount
			} else {
				exchanged += p.discount
			}
			total, refunded = total+p.total, refunded+p.given()
		}
	}
	decimal := func(minor int64) string { return money.Amount{Minor: minor, Currency: currency}.Decimal() }
	f.Subtotal, f.Discount, f.Shipping, f.Tax = decimal(subtotal), decimal(discount), decimal(shipping), decimal(tax)
	f.Exchanged = decimal(exchanged)
	f.Total, f.Refunded, f.Net = decimal(total), decimal(refunded), decimal(total-refunded)
	if f.Orders > 0 {
		average := total / f.Orders
		if 2*(total%f.Orders) >= f.Orders {
			average++
		}
		f.AverageOrderValue = new(decimal(average))
	}
	return f
}

func (w *world) checkSales(s span, granularity string) {
	w.t.Helper()
	q := url.Values{"granularity": {granularity}}
	for k, v := range s.query {
		q[k] = v
	}
	answer := w.asAdmin("GET", "/statistics/sales?"+q.Encode(), "")
	if answer.Code == http.StatusBadRequest && granularity == "hour" {
		return // it would be too many
	}
	got := want[openapi.Sales](w.t, answer, http.StatusOK)
	if got.ComputedAt == nil {
		w.t.Fatalf("%v is not counted", q)
	}
	key := map[string]func(time.Time) string{
		"hour":  func(t time.Time) string { return t.In(s.zone).Format("2006-01-02T15 -07:00") },
		"day":   func(t time.Time) string { return t.In(s.zone).Format(time.DateOnly) },
		"week":  func(t time.Time) string { year, week := t.In(s.zone).ISOWeek(); return fmt.Sprint(year, week) },
		"month": func(t time.Time) string { return t.In(s.zone).Format("2006-01") },
		"year":  func(t time.Time) string { return t.In(s.zone).Format("2006") },
		"total": func(time.Time) string { return "" },
	}[granularity]
	seen := map[string]bool{}
	for _, in := range got.Currencies {
		seen[in.Currency] = true
		if diff := gocmp.Diff(w.plain(in.Currency, s.has), in.Sum); diff != "" {
			w.t.Fatalf("%v in %s: %s", q, in.Currency, diff)
		}
		told := map[string]bool{}
		for _, part := range in.Parts {
			name := key(part.From)
			told[name] = true
			plain := w.plain(in.Currency, func(t time.Time) bool { return s.has(t) && key(t) == name })
			if diff := gocmp.Diff(plain, part.Figures); diff != "" {
				w.t.Fatalf("%v in %s, %s (%s): %s", q, in.Currency, name, part.From, diff)
			}
		}
		for _, p := range w.orders {
			if s.has(p.at) && !told[key(p.at)] {
				w.t.Fatalf("%v has no part of %s", q, p.at)
			}
		}
	}
	for _, p := range w.orders {
		if s.has(p.at) && !seen[p.currency] {
			w.t.Fatalf("%v does not tell of %s", q, p.currency)
		}
	}
}

func (w *world) checkProducts(s span, currency, by, sort string) {
	w.t.Helper()
	q := url.Values{"by": {by}, "sort": {sort}, "currency": {currency}, "limit": {"100"}}
	for k, v := range s.query {
		q[k] = v
	}
	got := want[openapi.ProductStatistics](w.t, w.asAdmin("GET", "/statistics/products?"+q.Encode(), ""), http.StatusOK)
	sums := map[uuid.UUID]bit{}
	for _, p := range w.orders {
		if p.cancelled || p.currency != currency || !s.has(p.at) {
			continue
		}
		for _, l := range p.lines {
			id := l.variant
			if by == "product" {
				id = l.product
			}
			b := sums[id]
			if p.exchanges != uuid.Nil {
				l.discount = 0
			}
			sums[id] = bit{l.product, id, b.units + l.units, b.refunded + l.refunded, b.subtotal + l.subtotal, b.discount + l.discount, b.tax + l.tax, b.total + l.total}
		}
	}
	if len(sums) != len(got.Products) {
		w.t.Fatalf("%v: %d of %d", q, len(got.Products), len(sums))
	}
	decimal := func(minor int64) string { return money.Amount{Minor: minor, Currency: currency}.Decimal() }
	var rank []int64
	for _, p := range got.Products {
		id, is := p.ProductId, openapi.ProductSales{ProductId: p.ProductId, Title: "Title"}
		if by == "variant" {
			id, is.VariantId, is.Sku = *p.VariantId, p.VariantId, new("SKU")
		}
		b := sums[id]
		is.ProductId, is.Units, is.RefundedUnits, is.Subtotal, is.Discount, is.Tax, is.Total = b.product, b.units, b.refunded, decimal(b.subtotal), decimal(b.discount), decimal(b.tax), decimal(b.total)
		if diff := gocmp.Diff(is, p); diff != "" {
			w.t.Fatalf("%v: %s", q, diff)
		}
		value := map[string]int64{"revenue": b.total, "units": b.units}[sort]
		rank = append(rank, -value)
	}
	if !slices.IsSorted(rank) {
		w.t.Fatalf("%v: %v", q, rank)
	}
}

func (w *world) checkLabels(s span, currency string) {
	w.t.Helper()
	q := url.Values{"currency": {currency}}
	for k, v := range s.query {
		q[k] = v
	}
	taxes := want[openapi.TaxStatistics](w.t, w.asAdmin("GET", "/statistics/taxes?"+q.Encode(), ""), http.StatusOK)
	coupons := want[openapi.CouponStatistics](w.t, w.asAdmin("GET", "/statistics/coupons?"+q.Encode(), ""), http.StatusOK)
	decimal := func(minor int64) string { return money.Amount{Minor: minor, Currency: currency}.Decimal() }
	type sum struct{ orders, amount, total int64 }
	taxed, discounted := map[[2]string]sum{}, map[[2]string]sum{}
	for _, p := range w.orders {
		if p.cancelled || p.currency != currency || !s.has(p.at) {
			continue
		}
		add := func(sums map[[2]string]sum, amounts map[[2]string]int64) {
			for k, amount := range amounts {
				sums[k] = sum{sums[k].orders + 1, sums[k].amount + amount, sums[k].total + p.total}
			}
		}
		add(taxed, p.taxes)
		if p.exchanges == uuid.Nil {
			add(discounted, p.discounts)
		}
	}
	if len(taxed) != len(taxes.Taxes) || len(discounted) != len(coupons.Coupons) {
		w.t.Fatalf("%v: %d taxes, want %d, %d coupons, want %d", q, len(taxes.Taxes), len(taxed), len(coupons.Coupons), len(discounted))
	}
	for _, got := range taxes.Taxes {
		is := taxed[[2]string{got.Name, got.Rate}]
		if diff := gocmp.Diff(openapi.TaxSales{Name: got.Name, Rate: got.Rate, Orders: is.orders, Amount: decimal(is.amount), Total: decimal(is.total)}, got); diff != "" {
			w.t.Fatalf("%v: %s", q, diff)
		}
	}
	for _, got := range coupons.Coupons {
		code := ""
		if got.Code != nil {
			code = *got.Code
		}
		is := discounted[[2]string{code, got.Title}]
		if diff := gocmp.Diff(openapi.CouponSales{Code: got.Code, Title: got.Title, Orders: is.orders, Discount: decimal(is.amount), Total: decimal(is.total)}, got); diff != "" {
			w.t.Fatalf("%v: %s", q, diff)
		}
	}
}

func (w *world) checkCustomers(s span, currency string) {
	w.t.Helper()
	most := []int{1, 2, 100}[w.random.IntN(3)]
	q := url.Values{"currency": {currency}, "limit": {fmt.Sprint(most)}}
	for k, v := range s.query {
		q[k] = v
	}
	got := want[openapi.CustomerStatistics](w.t, w.asAdmin("GET", "/statistics/customers?"+q.Encode(), ""), http.StatusOK)
	who := func(p *placed) string {
		if p.customer != uuid.Nil {
			return p.customer.String()
		}
		return p.email
	}
	first, within := map[string]time.Time{}, map[string]bool{}
	spent := map[string]openapi.CustomerSales{}
	net := map[string]int64{}
	sums := map[string][2]int64{}
	for _, p := range w.orders {
		if p.cancelled {
			continue
		}
		if at, ok := first[who(p)]; !ok || p.at.Before(at) {
			first[who(p)] = p.at
		}
		if !s.has(p.at) {
			continue
		}
		within[who(p)] = true
		if p.currency == currency {
			c := spent[who(p)]
			c.Orders++
			spent[who(p)] = c
			sums[who(p)] = [2]int64{sums[who(p)][0] + p.total, sums[who(p)][1] + p.given()}
			net[who(p)] += p.total - p.given()
		}
	}
	var fresh, returning int64
	for buyer := range within {
		if s.has(first[buyer]) {
			fresh++
		} else {
			returning++
		}
	}
	if got.NewBuyers != fresh || got.ReturningBuyers != returning || got.Buyers != fresh+returning {
		w.t.Fatalf("%v: %d new and %d returning buyers, want %d and %d", q, got.NewBuyers, got.ReturningBuyers, fresh, returning)
	}
	if len(got.Customers) != min(most, len(spent)) {
		w.t.Fatalf("%v: %d spent, want %d of %d", q, len(got.Customers), most, len(spent))
	}
	decimal := func(minor int64) string { return money.Amount{Minor: minor, Currency: currency}.Decimal() }
	var rank []int64
	for _, c := range got.Customers {
		var buyer string
		for _, p := range w.orders {
			if c.CustomerId != nil && p.customer == *c.CustomerId || c.CustomerId == nil && p.customer == uuid.Nil && c.Email == strings.ToLower(p.email) {
				buyer = who(p)
			}
		}
		sum := sums[buyer]
		is := openapi.CustomerSales{
			CustomerId: c.CustomerId, Email: c.Email, Orders: spent[buyer].Orders, Total: decimal(sum[0]), Refunded: decimal(sum[1]), Net: decimal(sum[0] - sum[1]),
			FirstOrderAt: first[buyer].UTC(),
		}
		if diff := gocmp.Diff(is, c); diff != "" {
			w.t.Fatalf("%v: %s", q, diff)
		}
		rank = append(rank, net[buyer])
	}
	best := slices.SortedFunc(maps.Values(net), func(a, b int64) int { return cmp.Compare(b, a) })
	if !slices.Equal(rank, best[:len(rank)]) {
		w.t.Fatalf("%v: %v, want the first of %v", q, rank, best)
	}
}

func (w *world) check(spans int) {
	w.t.Helper()
	for range spans {
		s := w.span()
		for _, granularity := range []string{"hour", "day", "week", "month", "year", "total"} {
			w.checkSales(s, granularity)
		}
		currency := []string{"EUR", "JPY"}[w.random.IntN(2)]
		w.checkProducts(s, currency, []string{"product", "variant"}[w.random.IntN(2)], []string{"revenue", "units"}[w.random.IntN(2)])
		w.checkLabels(s, currency)
		w.checkCustomers(s, currency)
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{store: newStore(t)}
	w.relayed()
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed is %d", seed)
	w.random = rand.New(rand.NewPCG(seed, 0))
	for range 6 {
		product := uuid.New()
		for range 3 {
			w.goods = append(w.goods, [2]uuid.UUID{product, uuid.New()})
		}
	}
	return w
}

// before places orders of which no event tells any more.
func (w *world) before(n int) {
	w.t.Helper()
	old := make([]*placed, n)
	for i := range old {
		old[i] = w.place()
	}
	if err := db.WithTx(w.t.Context(), w.Pool, func(tx pgx.Tx) error { return w.write(tx, old...) }); err != nil {
		w.t.Fatal(err)
	}
}

// sums is all that is stored of statistics but what has come to nothing.
func (w *world) sums() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for table, some := range map[string]string{
		"statistics_orders": "true", "statistics_sales": "orders <> 0 OR cancelled <> 0", "statistics_products": "units <> 0",
		"statistics_labels": "orders <> 0", "statistics_returns": "orders <> 0", "statistics_buyers": "net <> 0",
	} {
		var sum string
		w.scan(`SELECT count(*) || ' rows, ' || coalesce(sum(hashtextextended(t::text, 0)), 0) FROM `+table+` t WHERE `+some, &sum)
		all[table] = sum
	}
	return all
}

func TestEveryStatisticIsThePlainSumOverTheOrdersAsTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.before(300)
	for range 6 {
		for range 60 {
			w.something()
		}
		w.countStatistics()
		w.check(6)
	}
	live := w.sums()

	// What is counted anew, from the orders alone, is the same.
	if _, err := w.Pool.Exec(t.Context(), `TRUNCATE statistics_orders, statistics_sales, statistics_products, statistics_labels, statistics_returns, statistics_buyers`); err != nil {
		t.Fatal(err)
	}
	w.exec(`UPDATE statistics_progress SET counted_to = '00000000-0000-0000-0000-000000000000'`)
	w.countStatistics()
	if diff := gocmp.Diff(live, w.sums()); diff != "" {
		t.Error(diff)
	}
	w.check(2)
}

func TestStatisticsCountNothingTwiceWhereverAProcessIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.before(2200) // so many that they are counted in three parts
	kill := func(arm func(kill func())) {
		t.Helper()
		for range 40 {
			w.something()
		}
		w.positioned()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		killed := false
		arm(func() { killed = true; cancel() })
		if _, err := w.Statistics.CatchUp(ctx); !killed || err == nil {
			t.Errorf("killed: %t, %v", killed, err)
		}
	}
	for _, statement := range []string{"AddSales", "AddProducts", "AddLabels", "AddReturns", "AddBuyers", "SetPrevious", "MoveReader", "SetProgress"} {
		kill(func(kill func()) { w.statements.meanwhile(statement, kill) })
	}
	kill(func(kill func()) { // in the second part
		w.statements.meanwhile("SetProgress", func() { w.statements.meanwhile("SetProgress", kill) })
	})
	w.countStatistics()
	w.check(4)
}

func TestStatisticsSayHowFarTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock.stopAt(time.Date(2031, 6, 1, 12, 0, 0, 0, time.UTC))
	w.before(1)
	computed := func() *time.Time {
		return admin[openapi.Sales](w.store, "GET", "/statistics/sales?from=2031-01-01&to=2031-12-31", "", http.StatusOK).ComputedAt
	}
	if at := computed(); at != nil {
		t.Errorf("before anything is counted: %s", at)
	}
	w.countStatistics()
	if at := computed(); at == nil || !at.Equal(w.clock.now()) {
		t.Errorf("after it: %v", at)
	}
	p := w.place()
	p.at = time.Date(2031, 6, 1, 11, 0, 0, 0, time.UTC)
	w.happens(p, false)
	if at := computed(); at == nil || !at.Equal(p.at) {
		t.Errorf("before a change is counted: %v", at)
	}
	w.countStatistics()
	if at := computed(); at == nil || !at.Equal(w.clock.now()) {
		t.Errorf("after it: %v", at)
	}
}

// figures of the one part that has orders.
func (s *store) figures(query string) openapi.SalesFigures {
	s.t.Helper()
	got := admin[openapi.Sales](s, "GET", "/statistics/sales"+query, "", http.StatusOK)
	if len(got.Currencies) != 1 {
		s.t.Fatalf("%+v", got)
	}
	return got.Currencies[0].Sum
}

func TestAnExchangeIsNoCouponAndNoDiscount(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.relayed()
	mug := s.stocked("MUG", "10.00", 10)
	p := s.ordered(s.shipping(), line(mug, 2))
	admin[openapi.Order](s, "POST", p.path+"/transitions", `{"to":"processing"}`, http.StatusOK)
	admin[openapi.Order](s, "POST", p.path+"/transitions", `{"to":"shipped"}`, http.StatusOK)
	r := admin[openapi.Return](s, "POST", p.path+"/returns", openapi.ReturnInput{Lines: []openapi.ReturnLineInput{{LineId: p.order().Lines[0].Id, Quantity: 1}}}, http.StatusCreated)
	admin[openapi.Return](s, "POST", "/returns/"+r.Id.String()+"/approve", `{}`, http.StatusOK)
	admin[openapi.Order](s, "POST", "/returns/"+r.Id.String()+"/exchange", openapi.ExchangeInput{Lines: []openapi.ExchangeLine{{VariantId: mug.Id, Quantity: 2}}}, http.StatusCreated)
	s.countStatistics()
	f := s.figures("?currency=EUR")
	if f.Orders != 2 || f.Discount != "0.00" || f.Exchanged != "10.00" || f.Subtotal != "40.00" || f.Total != "34.90" {
		t.Errorf("%+v", f)
	}
	if c := admin[openapi.CouponStatistics](s, "GET", "/statistics/coupons?currency=EUR", "", http.StatusOK); len(c.Coupons) != 0 {
		t.Errorf("%+v", c.Coupons)
	}
	if b := admin[openapi.ProductStatistics](s, "GET", "/statistics/products?currency=EUR", "", http.StatusOK).Products; len(b) != 1 || b[0].Discount != "0.00" || b[0].Total != "30.00" {
		t.Errorf("%+v", b)
	}
}

func TestOrdersCountAsTheyAreForTheDayOnWhichTheyWerePlaced(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.relayed()
	s.clock.stopAt(time.Date(2031, 3, 1, 23, 0, 0, 0, time.UTC))
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 100)
	place := func() openapi.Order {
		return want[openapi.Order](t, s.cartOf(method, line(mug, 2)).order(), http.StatusCreated)
	}
	kept, dropped, partly := place(), place(), place()
	s.countStatistics()
	check := func(query string, orders, cancelled, refunded int64) {
		t.Helper()
		of := func(minor int64) string { return money.Amount{Minor: minor, Currency: "EUR"}.Decimal() }
		is := openapi.SalesFigures{
			Orders: orders, Items: 2 * orders, Subtotal: of(2000 * orders), Discount: "0.00", Exchanged: "0.00", Shipping: of(490 * orders), Tax: of(397 * orders), Total: of(2490 * orders),
			Refunded: of(refunded), Net: of(2490*orders - refunded), Cancelled: cancelled,
		}
		if orders > 0 {
			is.AverageOrderValue = new("24.90")
		}
		if diff := gocmp.Diff(is, s.figures(query)); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	check("", 3, 0, 0)
	check("?from=2031-03-02&to=2031-03-02&timeZone=Europe/Berlin", 3, 0, 0) // there it was midnight
	check("?from=2031-03-01&to=2031-03-01&timeZone=Europe/Berlin&currency=EUR", 0, 0, 0)

	s.clock.stopAt(time.Date(2031, 3, 9, 12, 0, 0, 0, time.UTC))
	admin[openapi.Order](s, "POST", "/orders/"+dropped.Id.String()+"/cancel", `{}`, http.StatusOK)
	for _, to := range []string{"processing", "shipped", "refunded"} {
		admin[openapi.Order](s, "POST", "/orders/"+kept.Id.String()+"/transitions", `{"to":"`+to+`"}`, http.StatusOK)
	}
	admin[openapi.PaymentOperation](s, "POST", "/payments/"+partly.Payments[0].Id.String()+"/capture", `{}`, http.StatusCreated)
	admin[openapi.PaymentOperation](s, "POST", "/payments/"+partly.Payments[0].Id.String()+"/refunds", `{"amount":"5.01"}`, http.StatusCreated)
	s.countStatistics()
	check("?from=2031-03-01&to=2031-03-01", 2, 1, 2490+501)
	check("?from=2031-03-02&to=2031-03-09&currency=EUR", 0, 0, 0)

	customers := admin[openapi.CustomerStatistics](s, "GET", "/statistics/customers", "", http.StatusOK)
	if c := customers.Customers; customers.NewBuyers != 1 || customers.ReturningBuyers != 0 || len(c) != 1 || c[0].Email != "ada@example.com" || c[0].Net != "19.89" || c[0].CustomerId != nil {
		t.Errorf("%+v", customers)
	}
	products := admin[openapi.ProductStatistics](s, "GET", "/statistics/products?by=variant", "", http.StatusOK)
	if p := products.Products; len(p) != 1 || *p[0].Sku != "MUG" || p[0].Title != "MUG" || p[0].Units != 4 || p[0].Total != "40.00" {
		t.Errorf("%+v", products)
	}
}

// sells places an order of one thing.
func (w *world) sells(at, email string, total int64) {
	w.t.Helper()
	p := w.place()
	var err error
	if p.at, err = time.Parse(time.RFC3339, at); err != nil {
		w.t.Fatal(err)
	}
	p.currency, p.customer, p.email = "EUR", uuid.Nil, email
	p.lines = []bit{{product: w.goods[0][0], variant: w.goods[0][1], units: 1, subtotal: total, total: total}}
	p.discounts, p.taxes, p.discount, p.tax, p.shipping, p.total, p.captured = nil, nil, 0, 0, 0, total, total
	w.happens(p, false)
}

func TestWhoSpentMostIsFoundAlsoWhereManySpentMoreInTheYearBeside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for n := range 60 {
		whale := fmt.Sprintf("whale%d@example.com", n)
		w.sells("2031-01-10T10:00:00Z", whale, 100_00)
		w.sells("2031-07-10T10:00:00Z", whale, 1_00)
	}
	w.sells("2031-07-11T10:00:00Z", "minnow@example.com", 5_00)
	w.countStatistics()
	got := admin[openapi.CustomerStatistics](w.store, "GET", "/statistics/customers?from=2031-02-01&to=2031-12-31&currency=EUR&limit=1", "", http.StatusOK)
	if len(got.Customers) != 1 || got.Customers[0].Email != "minnow@example.com" || got.Customers[0].Net != "5.00" || got.NewBuyers != 1 || got.ReturningBuyers != 60 {
		t.Errorf("%+v", got)
	}
}

func TestTheSalesOfAPeriodAreComparedWithThoseOfTheOneBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sells("2031-02-01T10:00:00Z", "ada@example.com", 30_00)
	w.sells("2031-03-01T10:00:00Z", "ada@example.com", 20_00)
	w.sells("2031-03-31T10:00:00Z", "ada@example.com", 25_00)
	w.countStatistics()
	got := admin[openapi.Sales](w.store, "GET", "/statistics/sales?from=2031-03-01&to=2031-03-31&compare=previous", "", http.StatusOK)
	if len(got.Currencies) != 1 || got.Previous == nil || !got.Previous.From.Equal(time.Date(2031, 2, 1, 0, 0, 0, 0, time.UTC)) || !got.Previous.Before.Equal(got.From) {
		t.Fatalf("%+v", got)
	}
	c := got.Currencies[0]
	if len(c.Parts) != 31 || len(*c.PreviousParts) != 28 || c.Sum.Total != "45.00" || c.PreviousSum.Total != "30.00" || (*c.PreviousParts)[0].Figures.Total != "30.00" {
		t.Errorf("%+v", c)
	}
	if diff := gocmp.Diff(openapi.SalesChange{
		Orders: new("100.0"), Items: new("100.0"), AverageOrderValue: new("-25.0"), Subtotal: new("50.0"), Total: new("50.0"), Net: new("50.0"),
	}, *c.Change); diff != "" {
		t.Error(diff)
	}
}

func TestStatisticsRefuseWhatTheyCannotTellAndSayWhy(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for _, list := range []string{"sales", "products", "customers", "taxes", "coupons"} {
		for query, pointer := range map[string]string{
			"from=2031-03-02&to=2031-03-01": "to", "from=2031-03-02T10:00:00Z&to=2031-03-02T10:00:00Z": "to", "from=2020-01-01&to=2031-01-01": "from",
			"to=9999-12-31": "to", "from=0001-01-01": "from", "from=2031-02-30": "from", "to=yesterday": "to", "from=": "from",
			"timeZone=Mars/Olympus": "timeZone", "timeZone=": "timeZone", "timeZone=Local": "timeZone", "timeZone=../../etc/passwd": "timeZone",
			"currency=XXQ": "currency", "currency=eur": "currency",
		} {
			p := wantProblem(t, s.asAdmin("GET", "/statistics/"+list+"?"+query, ""), http.StatusBadRequest, "invalid_request")
			if !slices.ContainsFunc(*p.Errors, func(e openapi.FieldError) bool { return e.Pointer == pointer }) {
				t.Errorf("%s?%s: %+v", list, query, *p.Errors)
			}
		}
	}
	for path, pointer := range map[string]string{
		"sales?granularity=hour&from=2031-01-01&to=2031-02-01": "granularity", "sales?granularity=day&from=2031-01-01&to=2033-01-20": "granularity",
		"sales?granularity=minute": "granularity", "sales?compare=next": "compare",
		"products?by=colour": "by", "products?sort=size": "sort", "products?limit=101": "limit", "customers?limit=0": "limit", "taxes?limit=-1": "limit",
	} {
		p := wantProblem(t, s.asAdmin("GET", "/statistics/"+path, ""), http.StatusBadRequest, "invalid_request")
		if (*p.Errors)[0].Pointer != pointer {
			t.Errorf("%s: %+v", path, *p.Errors)
		}
	}
	for _, query := range []string{"granularity=hour&from=2031-01-01&to=2031-01-31", "granularity=day&from=2031-01-01&to=2033-01-19", "granularity=month&from=2022-01-01&to=2031-12-31"} {
		var all openapi.Sales
		if err := json.Unmarshal(s.asAdmin("GET", "/statistics/sales?currency=EUR&"+query, "").Body.Bytes(), &all); err != nil || len(all.Currencies) != 1 || len(all.Currencies[0].Parts) == 0 {
			t.Errorf("%s: %+v %v", query, all, err)
		}
	}
}
