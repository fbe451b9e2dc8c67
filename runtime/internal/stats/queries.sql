-- One at a time rolls up.
-- name: LockRollup :one
SELECT before FROM sales_rollup FOR UPDATE;

-- name: Rollup :one
SELECT before FROM sales_rollup;

-- name: SetRollup :exec
UPDATE sales_rollup SET before = greatest(before, @before);

-- name: StoreSales :exec
INSERT INTO sales_daily (day, currency, orders, items, subtotal, discount, shipping, tax, total, cancelled, refunded, refunded_total)
SELECT unnest(@days::date[]), unnest(@currencies::text[]), unnest(@orders::bigint[]), unnest(@items::bigint[]), unnest(@subtotals::bigint[]),
       unnest(@discounts::bigint[]), unnest(@shippings::bigint[]), unnest(@taxes::bigint[]), unnest(@totals::bigint[]),
       unnest(@cancelled::bigint[]), unnest(@refunded::bigint[]), unnest(@refunded_totals::bigint[])
ON CONFLICT (day, currency) DO UPDATE
SET orders = excluded.orders, items = excluded.items, subtotal = excluded.subtotal, discount = excluded.discount, shipping = excluded.shipping,
    tax = excluded.tax, total = excluded.total, cancelled = excluded.cancelled, refunded = excluded.refunded, refunded_total = excluded.refunded_total;

-- name: SalesBetween :many
SELECT * FROM sales_daily WHERE day BETWEEN @first AND @last ORDER BY day, currency;
