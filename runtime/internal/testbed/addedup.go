package testbed

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// disagreements count what does not add up, by what it is.
var disagreements = map[string]string{ //nolint:gosec // credit is none
	"levels are not the sum of their movements": `
		SELECT count(*) FROM inventory_levels l FULL JOIN (
			SELECT variant_id, location_id, sum(on_hand) on_hand, sum(reserved) reserved, sum(incoming) incoming FROM stock_movements GROUP BY 1, 2
		) m USING (variant_id, location_id)
		WHERE (coalesce(l.on_hand, 0), coalesce(l.reserved, 0), coalesce(l.incoming, 0))
		   <> (coalesce(m.on_hand, 0), coalesce(m.reserved, 0), coalesce(m.incoming, 0))`,
	"levels have reserved what nobody holds, or not what somebody does": `
		SELECT count(*) FROM inventory_levels l LEFT JOIN (
			SELECT variant_id, location_id, sum(quantity) q FROM stock_reservations GROUP BY 1, 2
		) r USING (variant_id, location_id)
		WHERE l.reserved <> coalesce(r.q, 0)`,
	"orders are not the sum of their lines": `
		SELECT count(*) FROM orders o WHERE o.subtotal <> (SELECT sum(subtotal) FROM order_lines WHERE order_id = o.id)
		   OR o.item_count <> (SELECT sum(quantity) FROM order_lines WHERE order_id = o.id)`,
	"orders or lines have totals that do not add up": `
		SELECT count(*) FROM orders o WHERE total <> subtotal - discount + shipping + CASE WHEN (details->>'pricesIncludeTax')::boolean THEN 0 ELSE tax END
		   OR EXISTS (SELECT FROM order_lines l WHERE l.order_id = o.id
		              AND l.total <> l.subtotal - l.discount + CASE WHEN (o.details->>'pricesIncludeTax')::boolean THEN 0 ELSE l.tax END)
		   OR discount < (SELECT sum(discount) FROM order_lines WHERE order_id = o.id) OR tax < (SELECT sum(tax) FROM order_lines WHERE order_id = o.id)`,
	"orders have discounts or taxes other than their parts": `
		SELECT count(*) FROM orders o
		WHERE (coalesce((SELECT sum(replace(d->>'amount', '.', '')::bigint) FROM jsonb_array_elements(details->'discounts') d), 0) <> discount
		    OR coalesce((SELECT sum(replace(t->>'amount', '.', '')::bigint) FROM jsonb_array_elements(details->'taxes') t), 0) <> tax)
		  AND NOT EXISTS (SELECT FROM events WHERE subject_id = o.id AND type = 'order.imported')`,
	"orders hold more money than they come to": `
		SELECT count(*) FROM orders o JOIN LATERAL (
			SELECT sum(captured - refunded - refunding) held FROM payments WHERE order_id = o.id
		) p ON true
		WHERE p.held > o.total
		  AND NOT EXISTS (SELECT FROM payments m JOIN payment_operations x ON x.payment_id = m.id WHERE m.order_id = o.id AND x.state <> 'succeeded')`,
	"orders have no payment, no event or an open cart": `
		SELECT count(*) FROM orders o WHERE NOT EXISTS (SELECT FROM events WHERE subject_id = o.id AND type = 'order.imported') AND (
		   NOT EXISTS (SELECT FROM payments WHERE order_id = o.id)
		   OR NOT EXISTS (SELECT FROM events WHERE subject_id = o.id AND type = 'order.placed')
		   OR o.email <> '' AND NOT EXISTS (SELECT FROM carts WHERE order_id = o.id) AND NOT EXISTS (SELECT FROM payments WHERE order_id = o.id AND provider = 'exchange'))`,
	"carts or reservations are an order's that is not there": `
		SELECT (SELECT count(*) FROM carts WHERE order_id IS NOT NULL AND order_id NOT IN (SELECT id FROM orders))
		     + (SELECT count(*) FROM stock_reservations WHERE order_owned AND owner_id NOT IN (SELECT id FROM orders))`,
	"payments count other amounts than are asked of their providers": `
		SELECT count(*) FROM payments p JOIN LATERAL (
			SELECT coalesce(sum(amount) FILTER (WHERE kind = 'capture' AND state = 'requested'), 0) capturing,
			       coalesce(sum(amount) FILTER (WHERE kind = 'refund' AND state = 'requested'), 0) refunding,
			       coalesce(sum(amount) FILTER (WHERE kind = 'refund' AND state = 'succeeded'), 0) refunded,
			       coalesce(sum(surplus) FILTER (WHERE state <> 'failed'), 0) surplus
			FROM payment_operations WHERE payment_id = p.id
		) o ON true
		WHERE p.capturing <> o.capturing OR p.refunding <> o.refunding OR p.refunded < o.refunded OR p.surplus < o.surplus`,
	"orders are cancelled or refunded and may bring money, or are not and bring none": `
		SELECT count(*) FROM orders o JOIN payments p ON p.order_id = o.id
		WHERE p.amount > 0 AND p.undone <> (o.state IN ('cancelled', 'refunded'))`,
	"lines count other packages, returns or refunds than there are": `
		SELECT count(*) FROM order_lines l JOIN orders o ON o.id = l.order_id
		WHERE o.id IN (SELECT order_id FROM fulfillments UNION SELECT order_id FROM refunds)
		  AND NOT EXISTS (SELECT FROM events WHERE subject_id = o.id AND type = 'order.imported') AND (l.packed, l.shipped, l.delivered) <> (
			SELECT coalesce(sum(f.quantity) FILTER (WHERE p.state <> 'cancelled'), 0), coalesce(sum(f.quantity) FILTER (WHERE p.state IN ('shipped', 'delivered')), 0),
			       coalesce(sum(f.quantity) FILTER (WHERE p.state = 'delivered'), 0)
			FROM fulfillments p JOIN fulfillment_lines f ON f.fulfillment_id = p.id WHERE p.order_id = o.id AND f.line_id = l.id)
		OR (l.coming_back, l.returned) <> (
			SELECT coalesce(sum(CASE WHEN r.state IN ('requested', 'approved') THEN b.quantity ELSE b.restocked + b.written_off END), 0),
			       coalesce(sum(b.restocked + b.written_off), 0)
			FROM returns r JOIN return_lines b ON b.return_id = r.id WHERE r.order_id = o.id AND b.line_id = l.id)
		OR l.refunded <> (SELECT coalesce(sum(b.exchanged), 0) FROM returns r JOIN return_lines b ON b.return_id = r.id WHERE r.order_id = o.id AND b.line_id = l.id)
			+ (SELECT coalesce(sum(b.quantity), 0) FROM refunds r JOIN refund_lines b ON b.refund_id = r.id
			   WHERE r.order_id = o.id AND r.state <> 'failed' AND b.line_id = l.id)
		OR l.total + l.credit < (SELECT coalesce(sum(b.amount), 0) FROM refunds r JOIN refund_lines b ON b.refund_id = r.id
		              WHERE r.order_id = o.id AND r.state <> 'failed' AND b.line_id = l.id)`,
	"orders gave back more for shipping or in all than they brought, or other than their payments did": `
		SELECT count(*) FROM orders o JOIN LATERAL (
			SELECT coalesce(sum(CASE state WHEN 'partial' THEN given_back ELSE amount END), 0) amount, coalesce(sum(shipping), 0) shipping
			FROM refunds WHERE order_id = o.id AND state <> 'failed'
		) r ON true JOIN LATERAL (
			SELECT coalesce(sum(x.amount), 0) amount FROM payment_operations x JOIN payments p ON p.id = x.payment_id
			WHERE p.order_id = o.id AND x.refund_id IS NOT NULL AND x.state <> 'failed'
		) own ON true
		WHERE r.shipping <> o.shipping_refunded OR r.amount > o.total + (SELECT sum(credit) FROM order_lines WHERE order_id = o.id)
		   OR own.amount > (SELECT sum(captured + capturing) FROM payments WHERE order_id = o.id)
		   OR own.amount > (SELECT sum(refunded + refunding) FROM payments WHERE order_id = o.id)`,
	"refunds are not what became of their operations": `
		SELECT count(*) FROM refunds r JOIN LATERAL (
			SELECT count(*) n, coalesce(sum(amount), 0) amount, count(*) FILTER (WHERE state = 'requested') requested,
			       count(*) FILTER (WHERE state = 'succeeded') succeeded, count(*) FILTER (WHERE state = 'failed') failed,
			       coalesce(sum(amount) FILTER (WHERE state = 'succeeded'), 0) given
			FROM payment_operations WHERE refund_id = r.id
		) o ON true
		WHERE o.n = 0 OR o.amount <> r.amount OR r.given_back <> o.given OR r.state <> CASE
			WHEN o.requested > 0 THEN 'pending' WHEN o.failed = 0 THEN 'succeeded' WHEN o.succeeded = 0 THEN 'failed' ELSE 'partial' END`,
	"refunds are asked for on other payments than they are taken from": `
		SELECT count(*) FROM refunds r JOIN (
			SELECT x.refund_id, p.order_id, sum(x.amount) amount FROM payment_operations x JOIN payments p ON p.id = x.payment_id GROUP BY 1, 2
		) x ON x.refund_id = r.id LEFT JOIN refund_sources s ON s.refund_id = r.id AND s.order_id = x.order_id
		WHERE x.amount <> coalesce(s.amount, r.amount - (SELECT coalesce(sum(amount), 0) FROM refund_sources WHERE refund_id = r.id))
		   OR s.amount IS NULL AND x.order_id <> r.order_id`,
	"lines were given back or exchanged for more than was paid for so many of them": `
		SELECT count(*) FROM order_lines l JOIN LATERAL (
			SELECT coalesce(sum(amount), 0) amount FROM (
				SELECT b.amount FROM refunds r JOIN refund_lines b ON b.refund_id = r.id WHERE r.order_id = l.order_id AND b.line_id = l.id AND r.state <> 'failed'
				UNION ALL
				SELECT b.worth FROM returns r JOIN return_lines b ON b.return_id = r.id WHERE r.order_id = l.order_id AND b.line_id = l.id AND b.exchanged > 0
			) g
		) g ON true
		WHERE g.amount > l.total + l.credit
		   OR l.refunded = l.quantity AND g.amount <> l.total + l.credit
			AND NOT EXISTS (SELECT FROM events WHERE subject_id = l.order_id AND type IN ('order.imported', 'order.edited'))`,
	"orders are refunded and have kept money": `
		SELECT count(*) FROM orders o JOIN payments p ON p.order_id = o.id
		WHERE o.state = 'refunded' AND p.captured > p.refunded + p.refunding`,
	"orders have less than what of their money is in exchange": `
		SELECT count(*) FROM orders o WHERE (SELECT coalesce(sum(captured + capturing - refunded - refunding), 0) FROM payments WHERE order_id = o.id)
			+ (SELECT coalesce(sum(credit), 0) FROM returns WHERE exchange_id = o.id) < (SELECT coalesce(sum(credit), 0) FROM returns WHERE order_id = o.id)`,
	// What of an order's credit was given back is what refunds of it, and of what was placed in exchange for it in turn, took from before it.
	"returns have other credit than is in an order in exchange and was not given back": `
		WITH RECURSIVE placed AS (
			SELECT m.order_id AS id, r.order_id AS before FROM payments m JOIN returns r ON r.id::text = m.reference WHERE m.provider = 'exchange'
		), below AS (
			SELECT id AS top, id FROM placed
			UNION ALL
			SELECT b.top, p.id FROM below b JOIN placed p ON p.before = b.id
		)
		SELECT count(*) FROM returns r WHERE r.exchange_id IS NULL AND r.credit <> 0 OR r.exchange_id IS NOT NULL AND r.credit <>
			(SELECT sum(credit) FROM order_lines WHERE order_id = r.exchange_id)
			- (SELECT coalesce(sum(s.amount), 0) FROM refund_sources s JOIN refunds f ON f.id = s.refund_id JOIN below b ON b.id = f.order_id
			   WHERE b.top = r.exchange_id AND s.order_id NOT IN (SELECT id FROM below WHERE top = r.exchange_id))`,
	"promotions with a limit have another count than uses": `
		SELECT count(*) FROM promotions p WHERE p.usage_limit > 0 AND p.used <> (SELECT count(*) FROM promotion_uses WHERE promotion_id = p.id)`,
}

// AddedUp fails the test unless ledger, levels, reservations, orders and uses
// of promotions in a store's database agree with each other.
func AddedUp(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	for what, query := range disagreements {
		var n int
		if err := pool.QueryRow(context.WithoutCancel(t.Context()), query).Scan(&n); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
}
