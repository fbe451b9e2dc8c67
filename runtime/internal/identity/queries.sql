-- name: SignedInAs :one
-- The role of who holds a session that has not ended.
SELECT c.role
FROM sessions s JOIN customers c ON c.id = s.customer_id
WHERE s.id = @session_id AND s.customer_id = @customer_id AND s.expires_at > @now AND NOT c.locked;

-- name: APIKeyByHash :one
SELECT id, name, scopes, last_used_at, expires_at
FROM api_keys
WHERE hash = @hash AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > @now::timestamptz);

-- name: TouchAPIKey :exec
UPDATE api_keys SET last_used_at = @now::timestamptz
WHERE id = @id AND (last_used_at IS NULL OR last_used_at <= @before::timestamptz);

-- name: InsertAPIKey :exec
INSERT INTO api_keys (id, name, hash, hint, scopes, created_at, expires_at)
VALUES (@id, @name, @hash, @hint, @scopes::text[], @created_at, sqlc.narg('expires_at'));

-- name: ListAPIKeys :many
SELECT id, name, hint, scopes, created_at, expires_at, revoked_at, last_used_at
FROM api_keys
WHERE id < @before
ORDER BY id DESC
LIMIT @page_size;

-- name: RevokeAPIKey :execrows
UPDATE api_keys SET revoked_at = coalesce(revoked_at, @now::timestamptz) WHERE id = @id;

-- name: APIKeyByID :one
SELECT id, name, scopes
FROM api_keys
WHERE id = @id AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > @now::timestamptz);

-- Of sessions and keys, those that have not ended, and whose sessions they are.
-- name: Holding :many
SELECT s.id, c.role
FROM sessions s JOIN customers c ON c.id = s.customer_id
WHERE s.id = ANY(@session_ids::uuid[]) AND s.expires_at > @now::timestamptz AND NOT c.locked
UNION ALL
SELECT k.id, ''
FROM api_keys k
WHERE k.id = ANY(@key_ids::uuid[]) AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > @now::timestamptz);

-- name: InsertTicket :exec
INSERT INTO socket_tickets (hash, session_id, customer_id, key_id, first_key, until, expires_at)
VALUES (@hash, sqlc.narg('session_id'), sqlc.narg('customer_id'), sqlc.narg('key_id'), sqlc.narg('first_key'), sqlc.narg('until'), @expires_at);

-- name: TakeTicket :one
DELETE FROM socket_tickets WHERE hash = @hash
RETURNING session_id, customer_id, key_id, first_key, until, expires_at;

-- name: ForgetTickets :execrows
DELETE FROM socket_tickets WHERE expires_at < @now;
