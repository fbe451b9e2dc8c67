-- name: NextNumbers :many
SELECT nextval('order_numbers') FROM generate_series(1, @n::integer);

-- name: InsertOrders :exec
INSERT INTO orders (id, number, state, customer_id, cart_id, email, currency, subtotal, discount, shipping, tax, total, item_count,
                    details, payment_due_at, created_at, updated_at)
SELECT unnest(@ids::uuid[]), unnest(@numbers::bigint[]), unnest(@states::text[]),
       nullif(unnest(@customer_ids::uuid[]), '00000000-0000-0000-0000-000000000000'), unnest(@cart_ids::uuid[]), unnest(@emails::text[]),
       unnest(@currencies::text[]), unnest(@subtotals::bigint[]), unnest(@discounts::bigint[]), unnest(@shippings::bigint[]),
       unnest(@taxes::bigint[]), unnest(@totals::bigint[]), unnest(@item_counts::bigint[]), unnest(@details::text[])::jsonb,
       nullif(unnest(@payment_due_at::timestamptz[]), '0001-01-01 00:00:00+00'), @at::timestamptz, @at::timestamptz;

-- name: InsertLines :exec
INSERT INTO order_lines (order_id, position, id, variant_id, product_id, sku, title, options, quantity, unit_price, subtotal, discount, tax, total)
SELECT unnest(@order_ids::uuid[]), unnest(@positions::integer[]), unnest(@ids::uuid[]), unnest(@variant_ids::uuid[]),
       unnest(@product_ids::uuid[]), unnest(@skus::text[]), unnest(@titles::text[]), unnest(@options::text[])::jsonb,
       unnest(@quantities::bigint[]), unnest(@unit_prices::bigint[]), unnest(@subtotals::bigint[]), unnest(@discounts::bigint[]),
       unnest(@taxes::bigint[]), unnest(@totals::bigint[]);

-- name: OrderByID :one
SELECT id, number, state, held_from, customer_id, cart_id, email, currency, subtotal, discount, shipping, tax, total, item_count,
       details, payment_due_at, created_at, updated_at, shipping_refunded
FROM orders WHERE id = @id;

-- name: LockOrder :one
SELECT id, number, state, held_from, customer_id, cart_id, email, currency, subtotal, discount, shipping, tax, total, item_count,
       details, payment_due_at, created_at, updated_at, shipping_refunded
FROM orders WHERE id = @id FOR UPDATE;

-- name: LinesOf :many
SELECT id, variant_id, product_id, sku, title, options, quantity, unit_price, subtotal, discount, tax, total
FROM order_lines WHERE order_id = @order_id ORDER BY position;

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

-- name: ChangedDays :many
SELECT DISTINCT (created_at AT TIME ZONE 'UTC')::date AS day FROM orders WHERE updated_at >= @since ORDER BY 1;

-- name: SalesOfDays :many
SELECT d.day::date AS day, o.currency,
       count(*) FILTER (WHERE o.state <> 'cancelled') AS orders,
       coalesce(sum(o.item_count) FILTER (WHERE o.state <> 'cancelled'), 0)::bigint AS items,
       coalesce(sum(o.subtotal) FILTER (WHERE o.state <> 'cancelled'), 0)::bigint AS subtotal,
       coalesce(sum(o.discount) FILTER (WHERE o.state <> 'cancelled'), 0)::bigint AS discount,
       coalesce(sum(o.shipping) FILTER (WHERE o.state <> 'cancelled'), 0)::bigint AS shipping,
       coalesce(sum(o.tax) FILTER (WHERE o.state <> 'cancelled'), 0)::bigint AS tax,
       coalesce(sum(o.total) FILTER (WHERE o.state <> 'cancelled'), 0)::bigint AS total,
       count(*) FILTER (WHERE o.state = 'cancelled') AS cancelled,
       count(*) FILTER (WHERE o.state = 'refunded') AS refunded,
       coalesce(sum(o.total) FILTER (WHERE o.state = 'refunded'), 0)::bigint AS refunded_total
FROM (SELECT unnest(@days::date[]) AS day) d
JOIN orders o ON o.created_at >= d.day::timestamp AT TIME ZONE 'UTC' AND o.created_at < (d.day + 1)::timestamp AT TIME ZONE 'UTC'
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
