-- name: NextNumbers :many
SELECT nextval('order_numbers') FROM generate_series(1, @n::integer);

-- name: InsertOrders :exec
INSERT INTO orders (id, number, state, customer_id, cart_id, email, currency, subtotal, discount, shipping, tax, total, item_count,
                    details, payment_due_at, guest_cart_id, created_at, updated_at)
SELECT unnest(@ids::uuid[]), unnest(@numbers::bigint[]), unnest(@states::text[]),
       nullif(unnest(@customer_ids::uuid[]), '00000000-0000-0000-0000-000000000000'), unnest(@cart_ids::uuid[]), unnest(@emails::text[]),
       unnest(@currencies::text[]), unnest(@subtotals::bigint[]), unnest(@discounts::bigint[]), unnest(@shippings::bigint[]),
       unnest(@taxes::bigint[]), unnest(@totals::bigint[]), unnest(@item_counts::bigint[]), unnest(@details::text[])::jsonb,
       nullif(unnest(@payment_due_at::timestamptz[]), '0001-01-01 00:00:00+00'),
       nullif(unnest(@guest_cart_ids::uuid[]), '00000000-0000-0000-0000-000000000000'), @at::timestamptz, @at::timestamptz;

-- name: InsertLines :exec
INSERT INTO order_lines (order_id, position, id, variant_id, product_id, sku, title, options, quantity, unit_price, subtotal, discount, tax, total, credit, stock, rates)
SELECT unnest(@order_ids::uuid[]), unnest(@positions::integer[]), unnest(@ids::uuid[]), unnest(@variant_ids::uuid[]),
       unnest(@product_ids::uuid[]), unnest(@skus::text[]), unnest(@titles::text[]), unnest(@options::text[])::jsonb,
       unnest(@quantities::bigint[]), unnest(@unit_prices::bigint[]), unnest(@subtotals::bigint[]), unnest(@discounts::bigint[]),
       unnest(@taxes::bigint[]), unnest(@totals::bigint[]), unnest(@credits::bigint[]), unnest(@stock::text[])::jsonb, unnest(@rates::text[])::jsonb;

-- name: OrderByID :one
SELECT id, number, state, held_from, customer_id, cart_id, email, currency, subtotal, discount, shipping, tax, total, item_count,
       details, payment_due_at, created_at, updated_at, shipping_refunded, guest_cart_id
FROM orders WHERE id = @id;

-- name: LockOrder :one
SELECT id, number, state, held_from, customer_id, cart_id, email, currency, subtotal, discount, shipping, tax, total, item_count,
       details, payment_due_at, created_at, updated_at, shipping_refunded, guest_cart_id
FROM orders WHERE id = @id FOR UPDATE;

-- With what CreditOf reads, for whoever reads an order.
-- name: LinesOf :many
SELECT l.order_id, l.id, variant_id, product_id, sku, title, options, quantity, unit_price, subtotal, discount, tax, total,
       packed, shipped, delivered, coming_back, returned, refunded, stock, l.credit, o.credit AS order_credit, o.exchanged AS order_exchanged
FROM (
    SELECT id, (SELECT coalesce(sum(r.credit), 0) FROM returns r WHERE r.exchange_id = i.id)::bigint AS credit,
           (SELECT coalesce(sum(r.credit), 0) FROM returns r WHERE r.order_id = i.id)::bigint AS exchanged
    FROM unnest(@order_ids::uuid[]) AS i (id) OFFSET 0
) o JOIN order_lines l ON l.order_id = o.id
ORDER BY l.order_id, l.position;

-- name: CountLines :exec
UPDATE order_lines l
SET packed = d.packed, shipped = d.shipped, delivered = d.delivered, coming_back = d.coming_back, returned = d.returned, refunded = d.refunded
FROM (
    SELECT unnest(@ids::uuid[]) AS id, unnest(@packed::bigint[]) AS packed, unnest(@shipped::bigint[]) AS shipped,
           unnest(@delivered::bigint[]) AS delivered, unnest(@coming_back::bigint[]) AS coming_back,
           unnest(@returned::bigint[]) AS returned, unnest(@refunded::bigint[]) AS refunded
) d
WHERE l.order_id = @order_id AND l.id = d.id;

-- name: ListOrders :many
SELECT id, number, state, customer_id, email, currency, total, item_count, created_at
FROM orders
WHERE id < @before::uuid
  AND (sqlc.narg('customer_id')::uuid IS NULL OR customer_id = sqlc.narg('customer_id')::uuid)
  AND (sqlc.narg('state')::text IS NULL OR state = sqlc.narg('state')::text)
  AND (sqlc.narg('email')::text IS NULL OR lower(email) = lower(sqlc.narg('email')::text))
  AND (sqlc.narg('number')::bigint IS NULL OR number = sqlc.narg('number')::bigint)
ORDER BY id DESC
LIMIT @page_size::integer;

-- name: SetState :exec
UPDATE orders SET state = @state, held_from = @held_from, payment_due_at = @payment_due_at, updated_at = @at WHERE id = @id;

-- name: UnpaidOrders :many
SELECT id FROM orders WHERE payment_due_at < @now::timestamptz AND state = 'pending' ORDER BY payment_due_at LIMIT @most::integer;

-- name: EverOrdered :one
SELECT EXISTS (SELECT FROM order_lines WHERE variant_id = ANY(@variant_ids::uuid[]));

-- name: SalesOfDays :many
SELECT d.day::date AS day, o.currency,
       count(*) FILTER (WHERE o.state <> 'cancelled') AS orders,
       coalesce(sum(o.item_count) FILTER (WHERE o.state <> 'cancelled'), 0)::bigint AS items,
       coalesce(sum(o.subtotal) FILTER (WHERE o.state <> 'cancelled'), 0)::bigint AS subtotal,
       coalesce(sum(o.discount) FILTER (WHERE o.state <> 'cancelled' AND NOT x.in_exchange), 0)::bigint AS discount,
       coalesce(sum(o.shipping) FILTER (WHERE o.state <> 'cancelled'), 0)::bigint AS shipping,
       coalesce(sum(o.tax) FILTER (WHERE o.state <> 'cancelled'), 0)::bigint AS tax,
       coalesce(sum(o.total) FILTER (WHERE o.state <> 'cancelled'), 0)::bigint AS total,
       count(*) FILTER (WHERE o.state = 'cancelled') AS cancelled,
       count(*) FILTER (WHERE o.state = 'refunded') AS refunded,
       coalesce(sum(o.total) FILTER (WHERE o.state = 'refunded'), 0)::bigint AS refunded_total,
       coalesce(sum(o.discount) FILTER (WHERE o.state <> 'cancelled' AND x.in_exchange), 0)::bigint AS exchanged
FROM (SELECT unnest(@days::date[]) AS day) d
JOIN orders o ON o.created_at >= d.day::timestamp AT TIME ZONE 'UTC' AND o.created_at < (d.day + 1)::timestamp AT TIME ZONE 'UTC'
CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM returns b WHERE b.exchange_id = o.id) AS in_exchange) x
GROUP BY d.day, o.currency
ORDER BY d.day, o.currency;

-- Orders placed before a moment, from after one on.
-- name: OrdersAfter :many
SELECT id, number, state, customer_id, email, coalesce(details->'shippingAddress'->>'country', '')::text AS country, currency,
       subtotal, discount, shipping, tax, total, item_count, created_at, updated_at
FROM orders
WHERE (created_at, id) > (@after::timestamptz, @after_id::uuid) AND created_at < @before::timestamptz
ORDER BY created_at, id
LIMIT @most;

-- name: OrdersFrom :many
SELECT id FROM orders WHERE id > @after::uuid ORDER BY id LIMIT @most::integer;

-- name: NextOrders :many
SELECT id, number, state, held_from, customer_id, cart_id, email, currency, subtotal, discount, shipping, tax, total, item_count,
       details, payment_due_at, created_at, updated_at, shipping_refunded, guest_cart_id
FROM orders WHERE id > @after::uuid ORDER BY id LIMIT @most::integer;

-- name: InsertFulfillment :exec
INSERT INTO fulfillments (id, order_id, location_id, state, tracking, stock, created_at, updated_at)
VALUES (@id, @order_id, @location_id, 'pending', @tracking, @stock, @at, @at);

-- name: InsertFulfillmentLines :exec
INSERT INTO fulfillment_lines (fulfillment_id, line_id, quantity)
SELECT @fulfillment_id, unnest(@line_ids::uuid[]), unnest(@quantities::bigint[]);

-- name: UpdateFulfillment :exec
UPDATE fulfillments
SET state = @state, tracking = @tracking, shipped_at = @shipped_at, delivered_at = @delivered_at, updated_at = @at
WHERE id = @id;

-- name: FulfillmentByID :one
SELECT id, order_id, location_id, state, tracking, stock, shipped_at, delivered_at, created_at, updated_at FROM fulfillments WHERE id = @id;

-- name: FulfillmentsOf :many
SELECT id, order_id, location_id, state, tracking, stock, shipped_at, delivered_at, created_at, updated_at
FROM fulfillments WHERE order_id = @order_id ORDER BY id;

-- name: FulfillmentLines :many
SELECT fulfillment_id, line_id, quantity
FROM fulfillment_lines WHERE fulfillment_id = ANY(@fulfillment_ids::uuid[]) ORDER BY fulfillment_id, line_id;

-- name: InsertReturn :exec
INSERT INTO returns (id, order_id, state, note, created_at, updated_at) VALUES (@id, @order_id, 'requested', @note, @at, @at);

-- name: InsertReturnLines :exec
INSERT INTO return_lines (return_id, line_id, quantity, reason)
SELECT @return_id, unnest(@line_ids::uuid[]), unnest(@quantities::bigint[]), unnest(@reasons::text[]);

-- name: UpdateReturn :exec
UPDATE returns SET state = @state, answer = @answer, exchange_id = @exchange_id, credit = @credit, updated_at = @at WHERE id = @id;

-- name: ReceiveLines :exec
UPDATE return_lines l SET restocked = d.restocked, written_off = d.written_off
FROM (
    SELECT unnest(@line_ids::uuid[]) AS line_id, unnest(@restocked::bigint[]) AS restocked, unnest(@written_off::bigint[]) AS written_off
) d
WHERE l.return_id = @return_id AND l.line_id = d.line_id;

-- name: ExchangeLines :exec
UPDATE return_lines l SET exchanged = d.exchanged, worth = d.worth
FROM (SELECT unnest(@line_ids::uuid[]) AS line_id, unnest(@exchanged::bigint[]) AS exchanged, unnest(@worth::bigint[]) AS worth) d
WHERE l.return_id = @return_id AND l.line_id = d.line_id;

-- name: ReturnByID :one
SELECT id, order_id, state, note, answer, exchange_id, credit, created_at, updated_at FROM returns WHERE id = @id;

-- name: ReturnsOf :many
SELECT id, order_id, state, note, answer, exchange_id, credit, created_at, updated_at FROM returns WHERE order_id = @order_id ORDER BY id;

-- name: ListReturns :many
SELECT id, order_id, state, note, answer, exchange_id, credit, created_at, updated_at
FROM returns
WHERE id < @before::uuid AND (sqlc.narg('state')::text IS NULL OR state = sqlc.narg('state')::text)
ORDER BY id DESC
LIMIT @page_size::integer;

-- name: ReturnLines :many
SELECT return_id, line_id, quantity, reason, restocked, written_off, exchanged
FROM return_lines WHERE return_id = ANY(@return_ids::uuid[]) ORDER BY return_id, line_id;

-- name: InsertRefund :exec
INSERT INTO refunds (id, order_id, return_id, state, outside, amount, shipping, other, reason, actor, created_at)
VALUES (@id, @order_id, @return_id, @state, @outside, @amount, @shipping, @other, @reason, @actor, @at);

-- name: SetRefundState :exec
UPDATE refunds SET state = @state, given_back = @given_back WHERE id = @id;

-- What a refund was for that failed can be given back again.
-- name: FreeRefundLines :exec
UPDATE order_lines l SET refunded = l.refunded - b.quantity
FROM refund_lines b WHERE b.refund_id = @refund_id AND l.order_id = @order_id AND l.id = b.line_id;

-- name: InsertRefundLines :exec
INSERT INTO refund_lines (refund_id, line_id, quantity, amount)
SELECT @refund_id, unnest(@line_ids::uuid[]), unnest(@quantities::bigint[]), unnest(@amounts::bigint[]);

-- name: InsertRefundSources :exec
INSERT INTO refund_sources (refund_id, order_id, amount)
SELECT @refund_id, unnest(@order_ids::uuid[]), unnest(@amounts::bigint[]);

-- name: RefundShipping :exec
UPDATE orders SET shipping_refunded = shipping_refunded + @amount WHERE id = @id;

-- name: RefundsOf :many
SELECT id, order_id, return_id, amount, shipping, other, reason, actor, created_at, state, given_back, outside
FROM refunds WHERE order_id = @order_id ORDER BY id;

-- name: RefundLines :many
SELECT refund_id, line_id, quantity, amount
FROM refund_lines WHERE refund_id = ANY(@refund_ids::uuid[]) ORDER BY refund_id, line_id;

-- The nearest first.
-- name: RefundSources :many
SELECT refund_id, order_id, amount
FROM refund_sources WHERE refund_id = ANY(@refund_ids::uuid[]) ORDER BY refund_id, order_id DESC;

-- What an edit has to know of lines beside what everybody reads.
-- name: BoundLines :many
SELECT id, position, rates, greatest(packed, refunded)::bigint AS least FROM order_lines WHERE order_id = @order_id;

-- name: ChangeLines :exec
UPDATE order_lines l
SET quantity = d.quantity, subtotal = d.subtotal, discount = d.discount, tax = d.tax, total = d.total
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@quantities::bigint[]) AS quantity, unnest(@subtotals::bigint[]) AS subtotal,
             unnest(@discounts::bigint[]) AS discount, unnest(@taxes::bigint[]) AS tax, unnest(@totals::bigint[]) AS total) d
WHERE l.order_id = @order_id AND l.id = d.id;

-- name: RemoveLines :exec
DELETE FROM order_lines WHERE order_id = @order_id AND id = ANY(@ids::uuid[]);

-- name: SetTotals :exec
UPDATE orders
SET subtotal = @subtotal, discount = @discount, shipping = @shipping, tax = @tax, total = @total, item_count = @item_count, details = @details, updated_at = @at
WHERE id = @id;

-- name: TotalOf :one
SELECT total FROM orders WHERE id = @id;
-- Orders with one of the numbers, and which of the ids are an order's or a payment's; those have no number.
-- name: Taken :many
SELECT id, number FROM orders WHERE number = ANY(@numbers::bigint[])
UNION ALL SELECT id, 0 FROM orders WHERE id = ANY(@order_ids::uuid[])
UNION ALL SELECT id, 0 FROM payments WHERE id = ANY(@payment_ids::uuid[]);

-- name: InsertPastOrders :exec
INSERT INTO orders (id, number, state, customer_id, cart_id, email, currency, subtotal, discount, shipping, tax, total, item_count,
                    details, created_at, updated_at)
SELECT unnest(@ids::uuid[]), unnest(@numbers::bigint[]), unnest(@states::text[]),
       nullif(unnest(@customer_ids::uuid[]), '00000000-0000-0000-0000-000000000000'), unnest(@cart_ids::uuid[]), unnest(@emails::text[]),
       unnest(@currencies::text[]), unnest(@subtotals::bigint[]), unnest(@discounts::bigint[]), unnest(@shippings::bigint[]),
       unnest(@taxes::bigint[]), unnest(@totals::bigint[]), unnest(@item_counts::bigint[]), unnest(@details::text[])::jsonb,
       unnest(@created_at::timestamptz[]), unnest(@updated_at::timestamptz[]);

-- name: LinesHaveArrived :exec
UPDATE order_lines SET packed = quantity, shipped = quantity, delivered = quantity WHERE order_id = ANY(@order_ids::uuid[]);

-- The last number that was taken; the first is 1001.
-- name: LastNumber :one
SELECT coalesce(pg_sequence_last_value('order_numbers'), 1000)::bigint;

-- Whoever calls it holds the sequence.
-- name: NumbersAfter :exec
SELECT setval('order_numbers', greatest(coalesce(pg_sequence_last_value('order_numbers'), 1000), @number::bigint));
-- What statistics count of orders.
-- name: FactsOf :many
SELECT id, state, customer_id, email, currency, subtotal, discount, shipping, tax, total, item_count, created_at,
       coalesce(details->'discounts', '[]')::jsonb AS discounts, coalesce(details->'taxes', '[]')::jsonb AS taxes,
       EXISTS (SELECT FROM returns b WHERE b.exchange_id = orders.id) AS in_exchange
FROM orders WHERE id = ANY(@ids::uuid[]) ORDER BY id;

-- name: BoughtIn :many
SELECT order_id, product_id, variant_id, sum(quantity)::bigint AS quantity, sum(refunded)::bigint AS refunded, sum(subtotal)::bigint AS subtotal,
       sum(discount)::bigint AS discount, sum(tax)::bigint AS tax, sum(total)::bigint AS total
FROM order_lines WHERE order_id = ANY(@ids::uuid[])
GROUP BY order_id, product_id, variant_id
ORDER BY order_id, product_id, variant_id;

-- What variants were called in an order of theirs.
-- name: Called :many
SELECT v.id::uuid AS id, l.product_id, l.sku, l.title
FROM unnest(@ids::uuid[]) AS v (id)
CROSS JOIN LATERAL (SELECT o.product_id, o.sku, o.title FROM order_lines o WHERE o.variant_id = v.id LIMIT 1) l;

-- name: BuyersOf :many
SELECT id, customer_id, email FROM orders WHERE id = ANY(@ids::uuid[]);

-- What of others' money is in an order that was placed in exchange, and what of an order's is in others.
-- name: CreditOf :one
SELECT coalesce(sum(credit) FILTER (WHERE exchange_id = @order_id::uuid), 0)::bigint AS credit,
       coalesce(sum(credit) FILTER (WHERE order_id = @order_id::uuid), 0)::bigint AS exchanged
FROM returns WHERE order_id = @order_id::uuid OR exchange_id = @order_id::uuid;

-- The return that an order was placed in exchange for.
-- name: ExchangedBy :many
SELECT id, order_id, credit FROM returns WHERE exchange_id = @exchange_id;

-- name: LowerCredit :exec
UPDATE returns SET credit = credit - @amount::bigint, updated_at = @at WHERE id = @id;

-- name: UndoExchangedLines :exec
UPDATE order_lines l SET refunded = l.refunded - b.exchanged
FROM return_lines b WHERE b.return_id = @return_id AND l.order_id = @order_id AND l.id = b.line_id;

-- name: UndoExchange :exec
WITH lines AS (UPDATE return_lines SET exchanged = 0, worth = NULL WHERE return_id = @return_id)
UPDATE returns SET exchange_id = NULL, credit = 0, updated_at = @at WHERE id = @return_id;

-- What of the lines of an order was given back, or is to be, and what of them was exchanged: where the version before did
-- that, to the minor unit below.
-- name: SettledOf :many
SELECT line_id, sum(amount)::bigint AS amount
FROM (
    SELECT b.line_id, b.amount FROM refunds r JOIN refund_lines b ON b.refund_id = r.id WHERE r.order_id = @order_id AND r.state <> 'failed'
    UNION ALL
    SELECT b.line_id, coalesce(b.worth, div((l.total + l.credit)::numeric * b.exchanged, l.quantity)::bigint)
    FROM returns r JOIN return_lines b ON b.return_id = r.id JOIN order_lines l ON l.order_id = r.order_id AND l.id = b.line_id
    WHERE r.order_id = @order_id AND b.exchanged > 0
) s
GROUP BY line_id;

-- name: OrderOfRefund :one
SELECT order_id FROM refunds WHERE id = @id;

-- The orders that were placed in exchange for a part of one, or for a part of one of those, and those whose refunds were
-- taken from its payments: an order before the ones that it was placed for.
-- name: PlacedFor :many
WITH RECURSIVE placed AS (
    SELECT @order_id::uuid AS id, 0 AS depth
    UNION
    SELECT n.id, b.depth + 1 FROM placed b CROSS JOIN LATERAL (
        SELECT r.exchange_id AS id FROM returns r WHERE r.order_id = b.id AND r.exchange_id IS NOT NULL
        UNION
        SELECT f.order_id FROM refund_sources s JOIN refunds f ON f.id = s.refund_id WHERE s.order_id = b.id
    ) n
)
SELECT id::uuid AS id FROM placed WHERE depth > 0 GROUP BY id ORDER BY max(depth) DESC, id DESC;

-- Refunds that are not what became of their operations: a replica of the version before does not know that they would be.
-- name: UnconcludedRefunds :many
SELECT r.id, r.order_id
FROM refunds r CROSS JOIN LATERAL (
    SELECT count(*) AS n, count(*) FILTER (WHERE o.state = 'requested') AS requested, count(*) FILTER (WHERE o.state = 'failed') AS failed,
           coalesce(sum(o.amount) FILTER (WHERE o.state = 'succeeded'), 0) AS given
    FROM payment_operations o WHERE o.refund_id = r.id
) o
WHERE r.created_at > @since AND r.state <> 'failed' AND o.n > 0 AND o.requested = 0
  AND (r.state = 'pending' OR r.state = 'succeeded' AND o.failed > 0 OR r.state = 'partial' AND r.given_back <> o.given)
ORDER BY r.id LIMIT @most::integer;

-- Whether what was to be given back by way of an order's credit, by a refund of it or of one that was placed in exchange for
-- a part of it, was not, or not yet.
-- name: OwesCredit :one
WITH RECURSIVE placed AS (
    SELECT @order_id::uuid AS id
    UNION
    SELECT r.exchange_id FROM placed b JOIN returns r ON r.order_id = b.id WHERE r.exchange_id IS NOT NULL
)
SELECT EXISTS (
    SELECT FROM placed b JOIN refunds f ON f.order_id = b.id JOIN payment_operations x ON x.refund_id = f.id JOIN payments p ON p.id = x.payment_id
    WHERE x.state <> 'succeeded' AND p.order_id NOT IN (SELECT id FROM placed)
);
