-- One at a time counts.
-- name: LockProgress :one
SELECT counted_to FROM statistics_progress FOR UPDATE;

-- name: SetProgress :exec
UPDATE statistics_progress SET counted_to = @counted_to;

-- name: Progress :one
SELECT counted_to FROM statistics_progress;

-- name: CountedOrders :many
SELECT * FROM statistics_orders WHERE order_id = ANY(@ids::uuid[]);

-- name: StoreOrders :batchexec
INSERT INTO statistics_orders (order_id, at, currency, buyer, cancelled, previous_at, items, subtotal, discount, shipping, tax, total, refunded,
    product_ids, variant_ids, line_sums, labels, label_amounts, exchanged)
VALUES (@order_id, @at, @currency, @buyer, @cancelled, @previous_at, @items, @subtotal, @discount, @shipping, @tax, @total, @refunded,
    @product_ids, @variant_ids, @line_sums, @labels, @label_amounts, @exchanged)
ON CONFLICT (order_id) DO UPDATE
SET at = excluded.at, currency = excluded.currency, buyer = excluded.buyer, cancelled = excluded.cancelled, previous_at = excluded.previous_at,
    items = excluded.items, subtotal = excluded.subtotal, discount = excluded.discount, shipping = excluded.shipping, tax = excluded.tax,
    total = excluded.total, refunded = excluded.refunded, product_ids = excluded.product_ids, variant_ids = excluded.variant_ids,
    line_sums = excluded.line_sums, labels = excluded.labels, label_amounts = excluded.label_amounts,
    exchanged = excluded.exchanged;

-- name: SetPrevious :exec
UPDATE statistics_orders s SET previous_at = nullif(n.previous_at, '0001-01-01 00:00:00+00')
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@previous_at::timestamptz[]) AS previous_at) n
WHERE s.order_id = n.id;

-- The buyers' orders that are next to the given ones, on either side, and are none of the batch.
-- name: Neighbours :many
SELECT DISTINCT n.order_id, n.at, n.currency, n.buyer, n.previous_at
FROM (SELECT unnest(@buyers::uuid[]) AS buyer, unnest(@ats::timestamptz[]) AS at, unnest(@ids::uuid[]) AS id) g
CROSS JOIN LATERAL (
    (SELECT s.order_id, s.at, s.currency, s.buyer, s.previous_at FROM statistics_orders s
     WHERE s.buyer = g.buyer AND NOT s.cancelled AND (s.at, s.order_id) < (g.at, g.id) AND s.order_id <> ALL(@batch::uuid[])
     ORDER BY s.at DESC, s.order_id DESC LIMIT 1)
    UNION ALL
    (SELECT s.order_id, s.at, s.currency, s.buyer, s.previous_at FROM statistics_orders s
     WHERE s.buyer = g.buyer AND NOT s.cancelled AND (s.at, s.order_id) > (g.at, g.id) AND s.order_id <> ALL(@batch::uuid[])
     ORDER BY s.at, s.order_id LIMIT 1)
) n;

-- name: AddSales :exec
INSERT INTO statistics_sales AS s (level, start, currency, orders, items, subtotal, discount, shipping, tax, total, refunded, cancelled, firsts, exchanged)
SELECT unnest(@levels::smallint[]), unnest(@starts::timestamptz[]), unnest(@currencies::text[]), unnest(@orders::bigint[]), unnest(@items::bigint[]),
       unnest(@subtotals::bigint[]), unnest(@discounts::bigint[]), unnest(@shippings::bigint[]), unnest(@taxes::bigint[]), unnest(@totals::bigint[]),
       unnest(@refunded::bigint[]), unnest(@cancelled::bigint[]), unnest(@firsts::bigint[]),
       unnest(@exchanged::bigint[])
ON CONFLICT (level, start, currency) DO UPDATE
SET orders = s.orders + excluded.orders, items = s.items + excluded.items, subtotal = s.subtotal + excluded.subtotal,
    discount = s.discount + excluded.discount, shipping = s.shipping + excluded.shipping, tax = s.tax + excluded.tax,
    total = s.total + excluded.total, refunded = s.refunded + excluded.refunded, cancelled = s.cancelled + excluded.cancelled,
    firsts = s.firsts + excluded.firsts, exchanged = s.exchanged + excluded.exchanged;

-- name: AddProducts :exec
INSERT INTO statistics_products AS s (level, start, currency, product_id, variant_id, units, refunded_units, subtotal, discount, tax, total)
SELECT unnest(@levels::smallint[]), unnest(@starts::timestamptz[]), unnest(@currencies::text[]), unnest(@product_ids::uuid[]),
       unnest(@variant_ids::uuid[]), unnest(@units::bigint[]), unnest(@refunded_units::bigint[]), unnest(@subtotals::bigint[]),
       unnest(@discounts::bigint[]), unnest(@taxes::bigint[]), unnest(@totals::bigint[])
ON CONFLICT (level, start, currency, product_id, variant_id) DO UPDATE
SET units = s.units + excluded.units, refunded_units = s.refunded_units + excluded.refunded_units, subtotal = s.subtotal + excluded.subtotal,
    discount = s.discount + excluded.discount, tax = s.tax + excluded.tax, total = s.total + excluded.total;

-- name: AddLabels :exec
INSERT INTO statistics_labels AS s (level, start, kind, currency, name, detail, orders, amount, total)
SELECT unnest(@levels::smallint[]), unnest(@starts::timestamptz[]), unnest(@kinds::text[]), unnest(@currencies::text[]), unnest(@names::text[]),
       unnest(@details::text[]), unnest(@orders::bigint[]), unnest(@amounts::bigint[]), unnest(@totals::bigint[])
ON CONFLICT (level, start, kind, currency, name, detail) DO UPDATE
SET orders = s.orders + excluded.orders, amount = s.amount + excluded.amount, total = s.total + excluded.total;

-- name: AddBuyers :exec
INSERT INTO statistics_buyers AS s (year, currency, buyer, net)
SELECT unnest(@years::smallint[]), unnest(@currencies::text[]), unnest(@buyers::uuid[]), unnest(@nets::bigint[])
ON CONFLICT (year, currency, buyer) DO UPDATE SET net = s.net + excluded.net;

-- name: AddReturns :exec
INSERT INTO statistics_returns AS s (previous_day, day, orders)
SELECT unnest(@previous_days::date[]), unnest(@days::date[]), unnest(@orders::bigint[])
ON CONFLICT (day, previous_day) DO UPDATE SET orders = s.orders + excluded.orders;

-- Pieces are of a level, or of the orders themselves where that is negative; the sign is -1 for what is taken off. Each is looked for by itself (OFFSET 0), and not
-- each row in each piece.
-- name: SalesIn :many
WITH pieces AS (
    SELECT unnest(@buckets::integer[]) AS bucket, unnest(@levels::smallint[]) AS level, unnest(@firsts::timestamptz[]) AS first,
           unnest(@befores::timestamptz[]) AS before, unnest(@signs::bigint[]) AS sign
)
SELECT f.bucket::integer AS bucket, f.currency::text AS currency, sum(f.sign * f.orders)::bigint AS orders, sum(f.sign * f.items)::bigint AS items, sum(f.sign * f.subtotal)::bigint AS subtotal,
       sum(f.sign * f.discount)::bigint AS discount, sum(f.sign * f.shipping)::bigint AS shipping, sum(f.sign * f.tax)::bigint AS tax, sum(f.sign * f.total)::bigint AS total,
       sum(f.sign * f.refunded)::bigint AS refunded, sum(f.sign * f.cancelled)::bigint AS cancelled, sum(f.sign * f.firsts)::bigint AS firsts, sum(f.sign * f.exchanged)::bigint AS exchanged
FROM (
    SELECT p.bucket, p.sign, s.currency, s.orders, s.items, s.subtotal, s.discount, s.shipping, s.tax, s.total, s.refunded, s.cancelled, s.firsts, s.exchanged
    FROM pieces p
    CROSS JOIN LATERAL (
        SELECT s.currency, s.orders, s.items, s.subtotal, s.discount, s.shipping, s.tax, s.total, s.refunded, s.cancelled, s.firsts, s.exchanged
        FROM statistics_sales s
        WHERE s.level = p.level AND s.start >= p.first AND s.start < p.before OFFSET 0
    ) s
    WHERE p.level >= 0
    UNION ALL
    SELECT p.bucket, p.sign, o.currency, o.orders, o.items, o.subtotal, o.discount, o.shipping, o.tax, o.total, o.refunded, o.cancelled, o.firsts, o.exchanged
    FROM pieces p
    CROSS JOIN LATERAL (
        SELECT o.currency, (NOT o.cancelled)::integer AS orders, o.items, o.subtotal, o.discount, o.shipping, o.tax, o.total, o.refunded,
               o.cancelled::integer AS cancelled, (NOT o.cancelled AND o.previous_at IS NULL)::integer AS firsts, o.exchanged
        FROM statistics_orders o
        WHERE o.at >= p.first AND o.at < p.before OFFSET 0
    ) o
    WHERE p.level < 0
) f
WHERE @currency::text = '' OR f.currency = @currency::text
GROUP BY 1, 2
HAVING sum(f.sign * f.orders) <> 0 OR sum(f.sign * f.cancelled) <> 0;

-- name: TopProducts :many
WITH pieces AS (
    SELECT unnest(@levels::smallint[]) AS level, unnest(@firsts::timestamptz[]) AS first, unnest(@befores::timestamptz[]) AS before,
           unnest(@signs::bigint[]) AS sign
), found AS (
    SELECT p.sign, s.product_id, s.variant_id, s.units, s.refunded_units, s.subtotal, s.discount, s.tax, s.total
    FROM pieces p
    CROSS JOIN LATERAL (
        SELECT s.product_id, s.variant_id, s.units, s.refunded_units, s.subtotal, s.discount, s.tax, s.total
        FROM statistics_products s
        WHERE s.level = p.level AND s.start >= p.first AND s.start < p.before AND s.currency = @currency::text OFFSET 0
    ) s
    WHERE p.level >= 0
    UNION ALL
    SELECT p.sign, o.product_ids[i], o.variant_ids[i], o.line_sums[6*i-5], o.line_sums[6*i-4], o.line_sums[6*i-3], o.line_sums[6*i-2],
           o.line_sums[6*i-1], o.line_sums[6*i]
    FROM pieces p
    CROSS JOIN LATERAL (
        SELECT o.product_ids, o.variant_ids, o.line_sums FROM statistics_orders o
        WHERE o.at >= p.first AND o.at < p.before AND o.currency = @currency::text OFFSET 0
    ) o
    CROSS JOIN generate_subscripts(o.product_ids, 1) i
    WHERE p.level < 0
)
SELECT f.product_id::uuid AS product_id, CASE WHEN @by_variant::boolean THEN f.variant_id ELSE f.product_id END::uuid AS id,
       sum(f.sign * f.units)::bigint AS units, sum(f.sign * f.refunded_units)::bigint AS refunded_units, sum(f.sign * f.subtotal)::bigint AS subtotal,
       sum(f.sign * f.discount)::bigint AS discount, sum(f.sign * f.tax)::bigint AS tax, sum(f.sign * f.total)::bigint AS total
FROM found f
GROUP BY 1, 2
HAVING sum(f.sign * f.units) > 0
ORDER BY CASE WHEN @by_units::boolean THEN sum(f.sign * f.units) ELSE sum(f.sign * f.total) END DESC, sum(f.sign * f.units) DESC, 2
LIMIT @most::integer;

-- A variant of each product, to know its title by.
-- name: AnyVariants :many
SELECT DISTINCT ON (product_id) product_id, variant_id FROM statistics_products WHERE level = 3 AND product_id = ANY(@ids::uuid[]);

-- name: TopLabels :many
WITH pieces AS (
    SELECT unnest(@levels::smallint[]) AS level, unnest(@firsts::timestamptz[]) AS first, unnest(@befores::timestamptz[]) AS before,
           unnest(@signs::bigint[]) AS sign
), found AS (
    SELECT p.sign, s.name, s.detail, s.orders, s.amount, s.total
    FROM pieces p
    CROSS JOIN LATERAL (
        SELECT s.name, s.detail, s.orders, s.amount, s.total
        FROM statistics_labels s
        WHERE s.level = p.level AND s.start >= p.first AND s.start < p.before AND s.kind = @kind::text AND s.currency = @currency::text OFFSET 0
    ) s
    WHERE p.level >= 0
    UNION ALL
    SELECT p.sign, o.labels[3*i-1], o.labels[3*i], 1, o.label_amounts[i], o.total
    FROM pieces p
    CROSS JOIN LATERAL (
        SELECT o.labels, o.label_amounts, o.total FROM statistics_orders o
        WHERE o.at >= p.first AND o.at < p.before AND o.currency = @currency::text OFFSET 0
    ) o
    CROSS JOIN generate_subscripts(o.label_amounts, 1) i
    WHERE p.level < 0 AND o.labels[3*i-2] = @kind::text
)
SELECT f.name::text AS name, f.detail::text AS detail, sum(f.sign * f.orders)::bigint AS orders, sum(f.sign * f.amount)::bigint AS amount, sum(f.sign * f.total)::bigint AS total
FROM found f
GROUP BY 1, 2
HAVING sum(f.sign * f.orders) > 0
ORDER BY sum(f.sign * f.amount) DESC, 1, 2
LIMIT @most::integer;

-- Buyers who ordered in a time and had ordered before it. Of the days within, the pairs of days tell; on its first and
-- last day, and of those who ordered last on the first day before it began, the orders do.
-- name: ReturningBuyers :one
SELECT ((SELECT coalesce(sum(r.orders), 0) FROM statistics_returns r
         WHERE r.day > @first_day::date AND r.day < @last_day::date AND r.previous_day < @first_day::date)
      + (SELECT count(*) FROM statistics_orders o
         WHERE NOT o.cancelled AND o.previous_at < @first::timestamptz AND o.at >= @first::timestamptz
           AND o.at < least(@before::timestamptz, @first_day_ends::timestamptz))
      + (SELECT count(*) FROM statistics_orders o
         WHERE NOT o.cancelled AND o.previous_at < @first::timestamptz AND o.at >= greatest(@last_day_begins::timestamptz, @first_day_ends::timestamptz)
           AND o.at < @before::timestamptz)
      + (SELECT count(*) FROM statistics_orders o
         CROSS JOIN LATERAL (
             SELECT s.at FROM statistics_orders s
             WHERE s.buyer = o.buyer AND NOT s.cancelled AND (s.at, s.order_id) > (o.at, o.order_id) ORDER BY s.at, s.order_id LIMIT 1
         ) n
         WHERE NOT o.cancelled AND o.at >= @first_day_begins::timestamptz AND o.at < @first::timestamptz
           AND n.at >= @first_day_ends::timestamptz AND n.at < @last_day_begins::timestamptz))::bigint;

-- name: TopBuyers :many
SELECT o.buyer, count(*) AS orders, sum(o.total)::bigint AS total, sum(o.refunded)::bigint AS refunded
FROM statistics_orders o
WHERE o.at >= @first::timestamptz AND o.at < @before::timestamptz AND NOT o.cancelled AND o.currency = @currency::text
GROUP BY o.buyer
ORDER BY sum(o.total - o.refunded) DESC, o.buyer
LIMIT @most::integer;

-- name: BuyersOfYear :many
SELECT buyer, net FROM statistics_buyers WHERE year = @year AND currency = @currency ORDER BY net DESC, buyer LIMIT @most::integer;

-- What some buyers spent.
-- name: Spent :many
SELECT b.buyer::uuid AS buyer, s.orders, s.total, s.refunded
FROM unnest(@buyers::uuid[]) AS b (buyer)
CROSS JOIN LATERAL (
    SELECT count(*) AS orders, coalesce(sum(o.total), 0)::bigint AS total, coalesce(sum(o.refunded), 0)::bigint AS refunded
    FROM statistics_orders o
    WHERE o.buyer = b.buyer AND NOT o.cancelled AND o.at >= @first::timestamptz AND o.at < @before::timestamptz AND o.currency = @currency::text
) s
WHERE s.orders > 0
ORDER BY s.total - s.refunded DESC, b.buyer
LIMIT @most::integer;

-- Each buyer's last order, and the first of all.
-- name: BuyersOrders :many
SELECT b.buyer::uuid AS buyer, l.order_id, f.at AS first_at
FROM unnest(@buyers::uuid[]) AS b (buyer)
CROSS JOIN LATERAL (SELECT s.order_id FROM statistics_orders s WHERE s.buyer = b.buyer AND NOT s.cancelled ORDER BY s.at DESC, s.order_id DESC LIMIT 1) l
CROSS JOIN LATERAL (SELECT s.at FROM statistics_orders s WHERE s.buyer = b.buyer AND NOT s.cancelled ORDER BY s.at, s.order_id LIMIT 1) f;
