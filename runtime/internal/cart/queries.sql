-- Stores new carts and returns those that were stored: a customer has one open cart, which makes room when it lapsed.
-- name: InsertCarts :many
INSERT INTO carts (id, customer_id, currency, content, touched_at, expires_at)
SELECT unnest(@ids::uuid[]), nullif(unnest(@customer_ids::uuid[]), '00000000-0000-0000-0000-000000000000'), unnest(@currencies::text[]),
       unnest(@contents::text[])::jsonb, @now::timestamptz, unnest(@expires_at::timestamptz[])
ON CONFLICT (customer_id) WHERE order_id IS NULL AND customer_id IS NOT NULL DO UPDATE
    SET id = excluded.id, currency = excluded.currency, content = excluded.content, version = 1, reserved_until = NULL,
        touched_at = excluded.touched_at, reminded_at = NULL, expires_at = excluded.expires_at
    WHERE carts.expires_at < @now
RETURNING id;

-- The subquery hides how many carts there are, so that PostgreSQL keeps a plan: planning takes longer than reading.
-- name: CartsByID :many
SELECT *
FROM carts WHERE id = ANY(ARRAY(SELECT unnest(@ids::uuid[])));

-- name: LockWholeCarts :many
SELECT *
FROM carts WHERE id = ANY(@ids::uuid[]) ORDER BY id FOR UPDATE;

-- name: StoreContents :exec
UPDATE carts c SET content = d.content::jsonb, version = c.version + 1, touched_at = @touched_at, expires_at = d.expires_at
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@contents::text[]) AS content, unnest(@expires_at::timestamptz[]) AS expires_at) d
WHERE c.id = d.id;

-- name: LockCart :one
SELECT * FROM carts WHERE id = @id FOR UPDATE;

-- name: OpenCartOf :one
SELECT *
FROM carts WHERE customer_id = @customer_id AND order_id IS NULL;

-- Of two at once for a customer without a cart, the second finds what the first brought.
-- name: MergeAlone :exec
SELECT pg_advisory_xact_lock(hashtextextended(@customer_id::text, 7203111));

-- The cart that is brought along and the open one of the customer, in the order in which everybody locks carts.
-- name: LockForMerge :many
SELECT *
FROM carts WHERE id = @id OR (customer_id = @customer_id AND order_id IS NULL) ORDER BY id FOR UPDATE;

-- name: LockCarts :many
SELECT id, version, order_id FROM carts WHERE id = ANY(@ids::uuid[]) ORDER BY id FOR UPDATE;

-- name: StoreCart :exec
UPDATE carts
SET content = @content, customer_id = @customer_id, version = version + 1, touched_at = @touched_at, expires_at = @expires_at, reserved_until = @reserved_until
WHERE id = @id;

-- name: CloseCarts :exec
UPDATE carts c SET order_id = d.order_id, reserved_until = NULL, version = c.version + 1
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@order_ids::uuid[]) AS order_id) d
WHERE c.id = d.id;

-- name: DeleteCart :exec
DELETE FROM carts WHERE id = @id;

-- Carts with stock that is still held are left until it is given back.
-- name: DeleteExpired :execrows
WITH old AS (
    SELECT id FROM carts
    WHERE expires_at < @now::timestamptz AND coalesce(reserved_until, 'epoch') < @now::timestamptz
    LIMIT @most::integer
    FOR UPDATE SKIP LOCKED
)
DELETE FROM carts USING old WHERE carts.id = old.id;

-- Locks carts that were left, from after an id on. They are found by the days on which they expire, and a day's are at most two.
-- name: LockLeftCarts :many
SELECT id, customer_id, coalesce(content->>'email', '')::text AS email, coalesce(content->>'locale', '')::text AS locale
FROM carts
WHERE id > @after
  AND expires_at BETWEEN @expires_from AND @expires_to
  AND touched_at BETWEEN @touched_from AND @touched_to
  AND order_id IS NULL AND reminded_at IS NULL
  AND jsonb_array_length(content->'lines') > 0
  AND (customer_id IS NOT NULL OR content->>'email' <> '')
ORDER BY id
LIMIT @most
FOR UPDATE SKIP LOCKED;

-- name: MarkReminded :exec
UPDATE carts SET reminded_at = @now::timestamptz WHERE id = ANY(@ids::uuid[]);
