-- Tells whether the rules changed: used_up changes when a promotion reaches its limit or leaves it.
-- name: Version :one
SELECT s.version, coalesce((
    SELECT bit_xor(hashtextextended(p.id::text, 0)) FROM promotions p
    WHERE p.usage_limit > 0 AND p.used >= p.usage_limit AND p.deleted_at IS NULL
), 0)::bigint AS used_up
FROM settings s;

-- name: RaiseVersion :exec
UPDATE settings SET version = version + 1;

-- name: Settings :one
SELECT currency, prices_include_tax, country, reverse_charge, low_stock_threshold FROM settings;

-- name: ReplaceSettings :exec
UPDATE settings
SET currency = @currency, prices_include_tax = @prices_include_tax, country = @country, reverse_charge = @reverse_charge,
    low_stock_threshold = @low_stock_threshold;

-- name: Zones :many
SELECT id, name, areas FROM zones ORDER BY id DESC;

-- name: InsertZone :exec
INSERT INTO zones (id, name, areas) VALUES (@id, @name, @areas);

-- name: ReplaceZone :execrows
UPDATE zones SET name = @name, areas = @areas WHERE id = @id;

-- name: DeleteZone :execrows
DELETE FROM zones WHERE id = @id;

-- name: TaxRates :many
SELECT id, name, zone_id, category, ppm FROM tax_rates ORDER BY id DESC;

-- name: InsertTaxRate :exec
INSERT INTO tax_rates (id, name, zone_id, category, ppm) VALUES (@id, @name, @zone_id, @category, @ppm);

-- name: ReplaceTaxRate :execrows
UPDATE tax_rates SET name = @name, zone_id = @zone_id, category = @category, ppm = @ppm WHERE id = @id;

-- name: DeleteTaxRate :execrows
DELETE FROM tax_rates WHERE id = @id;

-- name: ShippingMethods :many
SELECT id, name, zone_id, prices, active FROM shipping_methods ORDER BY id DESC;

-- name: InsertShippingMethod :exec
INSERT INTO shipping_methods (id, name, zone_id, prices, active) VALUES (@id, @name, @zone_id, @prices, @active);

-- name: ReplaceShippingMethod :execrows
UPDATE shipping_methods SET name = @name, zone_id = @zone_id, prices = @prices, active = @active WHERE id = @id;

-- name: DeleteShippingMethod :execrows
DELETE FROM shipping_methods WHERE id = @id;

-- What a basket may be priced with. Of those that do not apply any more the codes are kept for a while, so that a
-- buyer is told why.
-- name: CurrentPromotions :many
SELECT * FROM promotions
WHERE deleted_at IS NULL AND (active OR code <> '') AND (ends_at IS NULL OR ends_at > @ended_after::timestamptz);

-- name: ListPromotions :many
SELECT sqlc.embed(p), (CASE WHEN p.usage_limit > 0 OR p.usage_limit_per_customer > 0 THEN p.used
    ELSE (SELECT count(*) FROM promotion_uses u WHERE u.promotion_id = p.id) END)::bigint AS orders
FROM promotions p
WHERE p.id < @before AND p.deleted_at IS NULL
ORDER BY p.id DESC
LIMIT @page_size::integer;

-- name: Promotion :one
SELECT sqlc.embed(p), (CASE WHEN p.usage_limit > 0 OR p.usage_limit_per_customer > 0 THEN p.used
    ELSE (SELECT count(*) FROM promotion_uses u WHERE u.promotion_id = p.id) END)::bigint AS orders
FROM promotions p
WHERE p.id = @id AND p.deleted_at IS NULL;

-- name: StorePromotion :exec
INSERT INTO promotions (id, title, code, kind, ppm, currency, amount, cap, minimum_subtotal, minimum_quantity, buy_quantity,
    get_quantity, product_ids, collection_ids, starts_at, ends_at, usage_limit, usage_limit_per_customer, combinable, active)
VALUES (@id, @title, @code, @kind, @ppm, @currency, @amount, @cap, @minimum_subtotal, @minimum_quantity, @buy_quantity,
    @get_quantity, @product_ids, @collection_ids, @starts_at, @ends_at, @usage_limit, @usage_limit_per_customer, @combinable, @active)
ON CONFLICT (id) DO UPDATE SET title = excluded.title, code = excluded.code, kind = excluded.kind, ppm = excluded.ppm,
    currency = excluded.currency, amount = excluded.amount, cap = excluded.cap, minimum_subtotal = excluded.minimum_subtotal,
    minimum_quantity = excluded.minimum_quantity, buy_quantity = excluded.buy_quantity, get_quantity = excluded.get_quantity,
    product_ids = excluded.product_ids, collection_ids = excluded.collection_ids, starts_at = excluded.starts_at,
    ends_at = excluded.ends_at, usage_limit = excluded.usage_limit, usage_limit_per_customer = excluded.usage_limit_per_customer,
    combinable = excluded.combinable, active = excluded.active;

-- name: LockPromotion :one
SELECT (usage_limit > 0 OR usage_limit_per_customer > 0)::boolean AS limited
FROM promotions WHERE id = @id AND deleted_at IS NULL FOR UPDATE;

-- name: CountUses :exec
UPDATE promotions p SET used = (SELECT count(*) FROM promotion_uses u WHERE u.promotion_id = p.id) WHERE p.id = @id;

-- name: DeletePromotion :execrows
UPDATE promotions SET deleted_at = now() WHERE id = @id AND deleted_at IS NULL;

-- The promotions that may still be used; those with a limit are locked, in the order of their ids.
-- name: LockUses :many
WITH limited AS (
    SELECT l.id, l.used, l.usage_limit, l.usage_limit_per_customer FROM promotions l
    WHERE l.id = ANY(@ids::uuid[]) AND l.active AND l.deleted_at IS NULL AND (l.usage_limit > 0 OR l.usage_limit_per_customer > 0)
    ORDER BY l.id
    FOR UPDATE
)
SELECT id, used, usage_limit, usage_limit_per_customer FROM limited
UNION ALL
SELECT p.id, 0, 0, 0 FROM promotions p
WHERE p.id = ANY(@ids::uuid[]) AND p.active AND p.deleted_at IS NULL AND p.usage_limit = 0 AND p.usage_limit_per_customer = 0;

-- Of the promotions that have a limit per customer.
-- name: UsesByCustomer :many
SELECT u.promotion_id, u.customer_key, count(*) AS uses
FROM promotions p
JOIN promotion_uses u ON u.promotion_id = p.id
WHERE p.id = ANY(@promotion_ids::uuid[]) AND p.usage_limit_per_customer > 0 AND u.customer_key = ANY(@customer_keys::text[])
GROUP BY u.promotion_id, u.customer_key;

-- name: InsertUses :exec
INSERT INTO promotion_uses (promotion_id, order_id, customer_key)
SELECT unnest(@promotion_ids::uuid[]), unnest(@order_ids::uuid[]), unnest(@customer_keys::text[]);

-- Counts uses that were inserted, where there is a limit by now.
-- name: AddUsed :exec
UPDATE promotions p SET used = p.used + n.uses
FROM (SELECT unnest(@promotion_ids::uuid[]) AS id, unnest(@uses::bigint[]) AS uses) n
WHERE p.id = n.id AND (p.usage_limit > 0 OR p.usage_limit_per_customer > 0);

-- The same locks as LockUses.
-- name: LockUsesOfOrder :exec
SELECT p.id FROM promotions p
WHERE p.id IN (SELECT u.promotion_id FROM promotion_uses u WHERE u.order_id = @order_id)
  AND (p.usage_limit > 0 OR p.usage_limit_per_customer > 0)
ORDER BY p.id
FOR UPDATE;

-- name: DeleteUsesOfOrder :many
DELETE FROM promotion_uses WHERE order_id = @order_id RETURNING promotion_id;
