-- Takes the key, or a key so old that its answer has lapsed. A request that holds the same key makes this wait for
-- its end. No row means that the key is taken and answered.
-- name: Claim :execrows
INSERT INTO idempotency_keys (scope, key, request_hash)
VALUES (@scope, @key, @request_hash)
ON CONFLICT (scope, key) DO UPDATE
    SET request_hash = excluded.request_hash, status = 0, body = '', created_at = now()
    WHERE idempotency_keys.created_at < now() - @lifetime::interval;

-- name: Answer :one
SELECT request_hash, status, body FROM idempotency_keys WHERE scope = @scope AND key = @key;

-- name: Keep :exec
UPDATE idempotency_keys SET status = @status, body = @body WHERE scope = @scope AND key = @key;

-- name: Purge :execrows
DELETE FROM idempotency_keys WHERE created_at < now() - @lifetime::interval;

-- Claim for many requests at once, in the order of their keys, so that two transactions never wait for each other in a circle.
-- name: ClaimAll :many
INSERT INTO idempotency_keys (scope, key, request_hash)
SELECT d.scope, d.key, d.request_hash
FROM (SELECT unnest(@scopes::text[]) AS scope, unnest(@keys::text[]) AS key, unnest(@request_hashes::bytea[]) AS request_hash) d
ORDER BY d.scope, d.key
ON CONFLICT (scope, key) DO UPDATE
    SET request_hash = excluded.request_hash, status = 0, body = '', created_at = now()
    WHERE idempotency_keys.created_at < now() - @lifetime::interval
RETURNING scope, key;

-- name: KeepAll :exec
UPDATE idempotency_keys k SET status = d.status, body = d.body
FROM (SELECT unnest(@scopes::text[]) AS scope, unnest(@keys::text[]) AS key, unnest(@statuses::integer[]) AS status, unnest(@bodies::bytea[]) AS body) d
WHERE k.scope = d.scope AND k.key = d.key;

-- name: FreeAll :exec
DELETE FROM idempotency_keys k
USING (SELECT unnest(@scopes::text[]) AS scope, unnest(@keys::text[]) AS key) d
WHERE k.scope = d.scope AND k.key = d.key;

-- name: Find :one
SELECT request_hash, status, body FROM idempotency_keys
WHERE scope = @scope AND key = @key AND created_at >= now() - @lifetime::interval;
