-- name: ListLocations :many
SELECT id, name, priority, active FROM locations ORDER BY priority, name;

-- name: InsertLocation :exec
INSERT INTO locations (id, name, priority, active) VALUES (@id, @name, @priority, @active);

-- name: ReplaceLocation :execrows
UPDATE locations SET name = @name, priority = @priority, active = @active WHERE id = @id;

-- name: DeleteLocation :execrows
DELETE FROM locations l
WHERE l.id = @id AND NOT EXISTS (SELECT FROM inventory_levels v WHERE v.location_id = l.id);

-- name: LocationExists :one
SELECT EXISTS (SELECT FROM locations WHERE id = @id);

-- Levels of variants, and of those that the owners hold, locked in the order in which everybody locks them.
-- name: LockLevels :many
SELECT l.variant_id, l.location_id, l.on_hand, l.reserved, l.incoming, p.priority, p.active
FROM inventory_levels l
JOIN locations p ON p.id = l.location_id
WHERE l.variant_id = ANY(ARRAY(
    SELECT unnest(@variant_ids::uuid[])
    UNION
    SELECT r.variant_id FROM stock_reservations r WHERE r.owner_id = ANY(@owner_ids::uuid[])
))
ORDER BY l.variant_id, l.location_id
FOR UPDATE OF l;

-- Makes levels that are not there yet, so that they can be locked.
-- name: EnsureLevels :exec
INSERT INTO inventory_levels (variant_id, location_id)
SELECT unnest(@variant_ids::uuid[]), unnest(@location_ids::uuid[])
ORDER BY 1, 2
ON CONFLICT DO NOTHING;

-- Gives variants that lack a level which orders take from one at the first location.
-- name: EnsureFirstLevels :exec
INSERT INTO inventory_levels (variant_id, location_id)
SELECT d.variant_id, f.id
FROM (SELECT DISTINCT unnest(@variant_ids::uuid[]) AS variant_id) d
CROSS JOIN (SELECT p.id FROM locations p WHERE p.active ORDER BY p.priority, p.id LIMIT 1) f
WHERE NOT EXISTS (SELECT FROM inventory_levels l JOIN locations p ON p.id = l.location_id WHERE l.variant_id = d.variant_id AND p.active)
ORDER BY 1
ON CONFLICT DO NOTHING;

-- name: FirstLocation :one
SELECT id FROM locations WHERE active ORDER BY priority, id LIMIT 1;

-- The one statement that moves stock. A level from which more is taken than is available stays as it is, unless it may
-- run below zero; the caller counts the rows.
-- name: MoveLevels :execrows
UPDATE inventory_levels l
SET on_hand = l.on_hand + d.on_hand, reserved = l.reserved + d.reserved, incoming = l.incoming + d.incoming
FROM (
    SELECT unnest(@variant_ids::uuid[]) AS variant_id, unnest(@location_ids::uuid[]) AS location_id,
           unnest(@on_hand::bigint[]) AS on_hand, unnest(@reserved::bigint[]) AS reserved,
           unnest(@incoming::bigint[]) AS incoming, unnest(@unbounded::boolean[]) AS unbounded
) d
WHERE l.variant_id = d.variant_id AND l.location_id = d.location_id
  AND (d.unbounded OR d.reserved - d.on_hand <= 0 OR l.on_hand - l.reserved >= d.reserved - d.on_hand);

-- name: InsertMovements :exec
INSERT INTO stock_movements (id, variant_id, location_id, reason, on_hand, reserved, incoming, order_id, note, created_at)
SELECT unnest(@ids::uuid[]), unnest(@variant_ids::uuid[]), unnest(@location_ids::uuid[]), unnest(@reasons::text[]),
       unnest(@on_hand::bigint[]), unnest(@reserved::bigint[]), unnest(@incoming::bigint[]),
       nullif(unnest(@order_ids::uuid[]), '00000000-0000-0000-0000-000000000000'), @note::text, @created_at::timestamptz;

-- name: LockReservations :many
SELECT owner_id, variant_id, location_id, quantity, order_owned, expires_at
FROM stock_reservations
WHERE owner_id = ANY(@owner_ids::uuid[])
ORDER BY owner_id, variant_id, location_id
FOR UPDATE;

-- name: DeleteReservations :exec
DELETE FROM stock_reservations WHERE owner_id = ANY(@owner_ids::uuid[]);

-- name: InsertReservations :exec
INSERT INTO stock_reservations (owner_id, variant_id, location_id, quantity, order_owned, expires_at)
SELECT unnest(@owner_ids::uuid[]), unnest(@variant_ids::uuid[]), unnest(@location_ids::uuid[]), unnest(@quantities::bigint[]),
       unnest(@order_owned::boolean[]), nullif(unnest(@expires_at::timestamptz[]), '0001-01-01 00:00:00+00');

-- name: ExpiredOwners :many
SELECT DISTINCT owner_id FROM stock_reservations WHERE expires_at < @now::timestamptz LIMIT @most::integer;

-- The subquery hides how many variants there are, so that PostgreSQL keeps a plan: planning takes longer than reading.
-- name: Available :many
SELECT l.variant_id, sum(l.on_hand - l.reserved)::bigint AS available
FROM inventory_levels l
JOIN locations p ON p.id = l.location_id AND p.active
WHERE l.variant_id = ANY(ARRAY(SELECT unnest(@variant_ids::uuid[])))
GROUP BY l.variant_id;

-- name: HeldVariants :many
SELECT DISTINCT variant_id FROM inventory_levels WHERE variant_id = ANY(@variant_ids::uuid[]) AND reserved > 0;

-- name: ListLevels :many
SELECT l.variant_id, l.location_id, l.on_hand, l.reserved, l.incoming
FROM inventory_levels l
WHERE (l.variant_id, l.location_id) > (@after_variant::uuid, @after_location::uuid)
  AND (sqlc.narg('variant_ids')::uuid[] IS NULL OR l.variant_id = ANY(sqlc.narg('variant_ids')::uuid[]))
  AND (sqlc.narg('location_id')::uuid IS NULL OR l.location_id = sqlc.narg('location_id')::uuid)
  AND (sqlc.narg('at_most')::bigint IS NULL OR l.on_hand - l.reserved <= sqlc.narg('at_most')::bigint)
ORDER BY l.variant_id, l.location_id
LIMIT @page_size::integer;

-- name: ListMovements :many
SELECT id, variant_id, location_id, reason, on_hand, reserved, incoming, order_id, note, created_at
FROM stock_movements
WHERE id < @before::uuid
  AND (sqlc.narg('variant_id')::uuid IS NULL OR variant_id = sqlc.narg('variant_id')::uuid)
  AND (sqlc.narg('order_id')::uuid IS NULL OR order_id = sqlc.narg('order_id')::uuid)
  AND (sqlc.narg('location_id')::uuid IS NULL OR location_id = sqlc.narg('location_id')::uuid)
ORDER BY id DESC
LIMIT @page_size::integer;

-- name: HeldBy :many
SELECT variant_id, sum(quantity)::bigint AS quantity FROM stock_reservations WHERE owner_id = @owner_id GROUP BY variant_id;

-- Variants of which as many as the threshold or fewer are available and nobody was told, from after an id on.
-- name: LowVariants :many
SELECT l.variant_id, sum(l.on_hand - l.reserved)::bigint AS available
FROM inventory_levels l
JOIN locations p ON p.id = l.location_id AND p.active
WHERE l.variant_id > @after AND NOT EXISTS (SELECT FROM low_stock_alerts a WHERE a.variant_id = l.variant_id)
GROUP BY l.variant_id
HAVING sum(l.on_hand - l.reserved) <= @threshold::bigint
ORDER BY l.variant_id
LIMIT @most;

-- Of two at once, one gets a variant.
-- name: InsertAlerts :many
INSERT INTO low_stock_alerts (variant_id, alerted_at)
SELECT unnest(@variant_ids::uuid[]), @now::timestamptz
ORDER BY 1
ON CONFLICT DO NOTHING
RETURNING variant_id;

-- name: ForgetAlerts :exec
DELETE FROM low_stock_alerts a
WHERE (SELECT sum(l.on_hand - l.reserved) FROM inventory_levels l JOIN locations p ON p.id = l.location_id AND p.active WHERE l.variant_id = a.variant_id)
    > @threshold::bigint;
