package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/commerce"
)

const (
	// ordered is how many orders there are, over a year; late how many come then.
	ordered = 1_000_000
	late    = 50_000
	part    = 100_000
)

// placing stores orders from a number on and before another, a year of them by
// their number, of two lines each: 2,000 products of 4 variants, of which few
// sell much, 300,000 buyers, of whom some buy often and half are guests, a
// discount in each fifth and a refund in each fiftieth.
const placing = `WITH numbered AS (
	SELECT n, at, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid AS id,
		floor(300000 * power(random(), 2))::bigint AS buyer, floor(8000 * power(random(), 2))::bigint AS a, floor(8000 * power(random(), 2))::bigint AS b,
		1 + n % 3 AS units, 500 + n % 9000 AS price, CASE WHEN n % 5 = 0 THEN 100 ELSE 0 END AS discount, n % 50 AS coupon
	FROM (SELECT n, $3::timestamptz + (n::double precision / $4) * interval '365 days' AS at FROM generate_series($1::bigint, $2::bigint - 1) n) s
), priced AS (
	SELECT *, units * price + price - discount AS paid, (units * price + price - discount) * 19 / 119 AS tax FROM numbered
), lines AS (
	INSERT INTO order_lines (order_id, position, id, variant_id, product_id, sku, title, options, quantity, unit_price, subtotal, discount, tax, total)
	SELECT p.id, l.position, gen_random_uuid(), md5('v' || l.variant)::uuid, md5('p' || l.variant / 4)::uuid, 'SKU-' || l.variant, 'Article number ' || l.variant / 4, '{}',
		l.quantity, p.price, l.quantity * p.price, l.discount, (l.quantity * p.price - l.discount) * 19 / 119, l.quantity * p.price - l.discount
	FROM priced p, LATERAL (VALUES (0, p.a, p.units, p.discount), (1, p.b + CASE WHEN p.a = p.b THEN 1 ELSE 0 END, 1, 0)) l (position, variant, quantity, discount)
), paid AS (
	INSERT INTO payments (id, order_id, provider, state, amount, currency, reference, captured, refunded, created_at, updated_at)
	SELECT p.id, p.id, 'test', 'captured', p.paid + 490, 'EUR', p.id::text, p.paid + 490, CASE WHEN p.n % 50 = 7 THEN 500 ELSE 0 END, p.at, p.at FROM priced p
)
INSERT INTO orders (id, number, state, customer_id, cart_id, email, currency, subtotal, discount, shipping, tax, total, item_count, details, created_at, updated_at)
SELECT id, n + 1, CASE WHEN n % 40 = 3 THEN 'cancelled' ELSE 'completed' END, CASE WHEN buyer % 2 = 0 THEN md5('b' || buyer)::uuid END, id, 'buyer' || buyer || '@example.com', 'EUR',
	paid + discount, discount, 490, tax, paid + 490, units + 1, jsonb_build_object('pricesIncludeTax', true, 'reverseCharge', false,
		'shippingAddress', jsonb_build_object('name', 'Buyer ' || buyer, 'line1', 'Street 1', 'city', 'Berlin', 'country', 'DE', 'postalCode', '10115'),
		'discounts', CASE WHEN discount > 0 THEN jsonb_build_array(jsonb_build_object('code', 'CODE' || coupon, 'title', 'Coupon ' || coupon, 'amount', '1.00')) ELSE '[]' END,
		'taxes', jsonb_build_array(jsonb_build_object('name', 'VAT', 'rate', '19', 'amount', to_char(tax / 100.0, 'FM999999990.00')))), at, at
FROM priced`

// telling makes the events of the orders from a number on, with positions.
const telling = `WITH told AS (
	INSERT INTO events (id, type, subject_id, actor, public, data, created_at, topic, position)
	SELECT gen_random_uuid(), 'order.placed', o.id, 'store', true, '{}', o.created_at, 'orders', p.position + row_number() OVER (ORDER BY o.number)
	FROM orders o, event_position p WHERE o.number > $1
	RETURNING position
)
UPDATE event_position SET position = (SELECT max(position) FROM told)`

// question is what is asked of statistics, and the same of the orders.
type question struct{ name, path, plain string }

const zone = "Europe/Berlin"

func questions(from, to time.Time) []question {
	span := fmt.Sprintf("from=%s&to=%s&timeZone=%s", from.Format(time.DateOnly), to.Format(time.DateOnly), zone)
	within := fmt.Sprintf("o.created_at >= timestamp '%s' AT TIME ZONE '%s' AND o.created_at < (date '%s' + 1)::timestamp AT TIME ZONE '%s'",
		from.Format(time.DateOnly), zone, to.Format(time.DateOnly), zone)
	kept := within + " AND o.state <> 'cancelled'"
	sums := "count(*), sum(o.item_count), sum(o.subtotal), sum(o.discount), sum(o.shipping), sum(o.tax), sum(o.total)"
	refunds := "LEFT JOIN LATERAL (SELECT sum(p.refunded) AS refunded FROM payments p WHERE p.order_id = o.id) r ON true"
	return []question{
		{"sales by day", "sales?granularity=day&" + span, "SELECT date_trunc('day', o.created_at, '" + zone + "'), " + sums + ", sum(r.refunded) FROM orders o " + refunds + " WHERE " + kept + " GROUP BY 1"},
		{"sales by day, compared", "sales?granularity=day&compare=previous&" + span, ""},
		{"sales by month", "sales?granularity=month&" + span, "SELECT date_trunc('month', o.created_at, '" + zone + "'), " + sums + ", sum(r.refunded) FROM orders o " + refunds + " WHERE " + kept + " GROUP BY 1"},
		{"products by revenue", "products?" + span, "SELECT l.product_id, sum(l.quantity), sum(l.total) FROM orders o JOIN order_lines l ON l.order_id = o.id WHERE " + kept + " GROUP BY 1 ORDER BY 3 DESC LIMIT 20"},
		{"variants by units", "products?by=variant&sort=units&" + span, "SELECT l.variant_id, sum(l.quantity), sum(l.total) FROM orders o JOIN order_lines l ON l.order_id = o.id WHERE " + kept + " GROUP BY 1 ORDER BY 2 DESC LIMIT 20"},
		{"customers", "customers?" + span, "SELECT coalesce(o.customer_id::text, lower(o.email)), count(*), sum(o.total - r.refunded) FROM orders o " + refunds + " WHERE " + kept + " GROUP BY 1 ORDER BY 3 DESC LIMIT 20"},
		{"taxes", "taxes?" + span, "SELECT t->>'name', t->>'rate', count(*), sum((t->>'amount')::numeric) FROM orders o, jsonb_array_elements(o.details->'taxes') t WHERE " + kept + " GROUP BY 1, 2"},
		{"coupons", "coupons?" + span, "SELECT d->>'code', count(*), sum((d->>'amount')::numeric) FROM orders o, jsonb_array_elements(o.details->'discounts') d WHERE " + kept + " GROUP BY 1"},
	}
}

// statistics measures how fast orders are counted, and statistics of 1,000,000
// of them are read, beside the same by plain SQL over the orders.
func (b *bench) statistics(ctx context.Context) error {
	store, err := b.store(ctx, "statistics", 0)
	if err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, store.url)
	if err != nil {
		return err
	}
	defer pool.Close()
	k, err := commerce.New(store.config, pool, nil, slog.New(slog.DiscardHandler), commerce.Now)
	if err != nil {
		return err
	}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	fill := func(from, before int) error {
		for ; from < before; from += part {
			if _, err := pool.Exec(ctx, placing, from, min(from+part, before), today.AddDate(0, 0, -365), ordered); err != nil {
				return fmt.Errorf("storing orders: %w", err)
			}
		}
		return nil
	}
	begun := time.Now()
	if err := fill(0, ordered); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d orders are stored after %.0f s\n", ordered, time.Since(begun).Seconds())
	if _, err := pool.Exec(ctx, "VACUUM ANALYZE"); err != nil {
		return err
	}
	count := func(want int64) (perSecond float64, err error) {
		begun := time.Now()
		n, err := k.Statistics.CatchUp(ctx)
		if err == nil && n != want {
			err = fmt.Errorf("%d orders were counted, want %d", n, want)
		}
		return float64(n) / time.Since(begun).Seconds(), err
	}
	before, err := count(ordered)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%-34s %10.0f/s\n", "orders that were there, counted", before)
	if err := fill(ordered, ordered+late); err != nil {
		return err
	}
	if _, err := pool.Exec(ctx, telling, ordered); err != nil {
		return fmt.Errorf("telling of orders: %w", err)
	}
	followed, err := count(late)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%-34s %10.0f/s\n", "orders of the outbox, counted", followed)
	if _, err := pool.Exec(ctx, "VACUUM ANALYZE"); err != nil {
		return err
	}
	server, err := store.serve(ctx, false)
	if err != nil {
		return err
	}
	defer server.stop()
	fmt.Printf("%d orders in a year, 8,000 variants, 300,000 buyers:\n%-34s %9s %9s %14s\n", ordered, "", "p50", "p99", "plain SQL")
	figures := map[string]any{}
	for _, q := range questions(today.AddDate(-1, 0, 1), today.AddDate(0, 0, -1)) {
		const times = 50
		all := make([]time.Duration, times)
		for i := range all {
			begun := time.Now()
			if _, _, err := server.ask(ctx, "GET", "/api/v1/statistics/"+q.path, nil, nil); err != nil {
				return err
			}
			all[i] = time.Since(begun)
		}
		slices.Sort(all)
		plain := "" // there is none
		if q.plain != "" {
			begun := time.Now()
			if _, err := pool.Exec(ctx, q.plain); err != nil {
				return fmt.Errorf("%s by plain SQL: %w", q.name, err)
			}
			plain = ms(time.Since(begun))
		}
		fmt.Printf("%-34s %9s %9s %14s\n", q.name, ms(all[times/2]), ms(all[times-1]), plain)
		figures[q.name] = round(float64(all[times/2].Microseconds()) / 1000)
	}
	var kept, orders int64
	if err := pool.QueryRow(ctx, `SELECT sum(pg_total_relation_size(oid)) FILTER (WHERE relname LIKE 'statistics%'), sum(pg_total_relation_size(oid)) FILTER (WHERE relname IN ('orders', 'order_lines', 'payments'))
		FROM pg_class WHERE relkind = 'r'`).Scan(&kept, &orders); err != nil {
		return err
	}
	fmt.Printf("%-34s %5d MiB, of the orders %d MiB\n", "statistics take", kept>>20, orders>>20)
	line, err := json.Marshal(map[string]any{
		"name": "statistics", "machine": fmt.Sprintf("%d processors, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()),
		"orders": ordered, "counted_per_second": round(before), "followed_per_second": round(followed), "p50_ms": figures,
	})
	if err != nil {
		return err
	}
	fmt.Printf("\n%s\n", line)
	return nil
}
