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
