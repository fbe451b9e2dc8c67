-- name: InsertCart :exec
INSERT INTO carts (id, customer_id, currency, content, expires_at)
VALUES (@id, @customer_id, @currency, @content, @expires_at);

-- name: CartByID :one
SELECT id, customer_id, currency, content, version, order_id, reserved_until, expires_at FROM carts WHERE id = @id;

-- name: LockCart :one
SELECT id, customer_id, currency, content, version, order_id, reserved_until, expires_at FROM carts WHERE id = @id FOR UPDATE;

-- name: OpenCartOf :one
SELECT id, customer_id, currency, content, version, order_id, reserved_until, expires_at
FROM carts WHERE customer_id = @customer_id AND order_id IS NULL;

-- name: LockOpenCartOf :one
SELECT id, customer_id, currency, content, version, order_id, reserved_until, expires_at
FROM carts WHERE customer_id = @customer_id AND order_id IS NULL FOR UPDATE;

-- name: LockCarts :many
SELECT id, version, order_id FROM carts WHERE id = ANY(@ids::uuid[]) ORDER BY id FOR UPDATE;

-- name: StoreCart :exec
UPDATE carts
SET content = @content, customer_id = @customer_id, version = version + 1, expires_at = @expires_at, reserved_until = @reserved_until
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
