-- name: InsertCustomer :execrows
INSERT INTO customers (id, email, name, password_hash) VALUES (@id, @email, @name, @password_hash)
ON CONFLICT (email) DO NOTHING;

-- name: CustomerByEmail :one
SELECT id, email, password_hash, role, locked FROM customers WHERE email = @email;

-- name: Credentials :one
SELECT email, password_hash FROM customers WHERE id = @id;

-- name: CustomerByID :one
SELECT id, email, email_verified, name, role, locked, created_at FROM customers WHERE id = @id;

-- name: CustomerForUpdate :one
SELECT id, email, email_verified, name, role, locked, created_at FROM customers WHERE id = @id FOR UPDATE;

-- name: Emails :many
SELECT id, email FROM customers WHERE id = ANY(@ids::uuid[]) AND NOT locked;

-- name: ListCustomers :many
SELECT id, email, email_verified, name, role, locked, created_at
FROM customers
WHERE id < @before AND (sqlc.narg('email')::text IS NULL OR email = sqlc.narg('email'))
ORDER BY id DESC
LIMIT @page_size;

-- name: UpdateCustomer :exec
UPDATE customers SET role = @role, locked = @locked WHERE id = @id;

-- name: RenameCustomer :one
UPDATE customers SET name = coalesce(sqlc.narg('name'), name) WHERE id = @id
RETURNING id, email, email_verified, name, role, locked, created_at;

-- name: VerifyEmail :exec
UPDATE customers SET email_verified = true WHERE id = @id;

-- name: ReplacePassword :execrows
-- Only where the password is still the one that was checked.
UPDATE customers SET password_hash = @password_hash WHERE id = @id AND password_hash = @old_hash;

-- name: ResetPassword :one
-- Whoever has the token reads the address's mail, so the address is confirmed.
UPDATE customers SET password_hash = @password_hash, email_verified = true WHERE id = @id
RETURNING email;

-- name: InsertSession :execrows
-- Waits for whoever locks the account or changes its password right now, and
-- then finds nobody.
INSERT INTO sessions (id, customer_id, refresh_hash, created_at, expires_at)
SELECT @id::uuid, c.id, @refresh_hash::bytea, @now::timestamptz, @expires_at::timestamptz
FROM customers c
WHERE c.id = @customer_id AND c.password_hash = @password_hash AND NOT c.locked
FOR SHARE;

-- name: RotateSession :one
-- Of two at once with the same token, the second finds nothing.
UPDATE sessions s
SET refresh_hash = @new_hash, expires_at = least(@expires_at::timestamptz, s.created_at + @longest::interval)
FROM customers c
WHERE s.id = @id AND s.refresh_hash = @old_hash AND s.expires_at > @now::timestamptz AND c.id = s.customer_id AND NOT c.locked
RETURNING c.id, c.role;

-- name: EndSession :execrows
DELETE FROM sessions WHERE id = @id;

-- name: EndSessions :exec
DELETE FROM sessions WHERE customer_id = @customer_id;

-- name: EndOtherSessions :exec
DELETE FROM sessions WHERE customer_id = @customer_id AND id <> @kept;

-- name: InsertToken :execrows
-- Nothing where the customer has another address.
INSERT INTO one_time_tokens (hash, customer_id, purpose, expires_at)
SELECT @hash, c.id, @purpose, @expires_at FROM customers c WHERE c.id = @customer_id AND c.email = @email;

-- name: TakeToken :one
DELETE FROM one_time_tokens WHERE hash = @hash AND purpose = @purpose AND expires_at > @now::timestamptz
RETURNING customer_id;

-- name: ForgetTokens :exec
DELETE FROM one_time_tokens WHERE customer_id = @customer_id AND purpose = @purpose;

-- name: CountAttempt :one
-- Counts one more since the window began; a new window begins where the last
-- one is over.
INSERT INTO attempts AS a (key, count, since) VALUES (@key, 1, @now::timestamptz)
ON CONFLICT (key) DO UPDATE SET
    count = CASE WHEN a.since <= @over::timestamptz THEN 1 ELSE least(a.count + 1, 1000000) END,
    since = CASE WHEN a.since <= @over THEN excluded.since ELSE a.since END
RETURNING count, since;

-- name: ForgetAttempts :exec
DELETE FROM attempts WHERE key = @key;

-- name: LockCustomer :exec
SELECT FROM customers WHERE id = @id FOR UPDATE;

-- name: ListAddresses :many
SELECT id, address, is_default FROM addresses WHERE customer_id = @customer_id ORDER BY id;

-- name: InsertAddress :execrows
-- A new default takes the place of the old one; nothing is stored beyond most.
WITH unset AS (
    UPDATE addresses SET is_default = false WHERE customer_id = @customer_id AND is_default AND @is_default::boolean
)
INSERT INTO addresses (id, customer_id, address, is_default)
SELECT @id::uuid, @customer_id::uuid, @address::jsonb, @is_default
WHERE (SELECT count(*) FROM addresses WHERE customer_id = @customer_id) < @most::bigint;

-- name: ReplaceAddress :execrows
-- A new default takes the place of the old one. No row where the address is
-- not the customer's.
UPDATE addresses a
SET address = CASE WHEN a.id = @id THEN @address::jsonb ELSE a.address END, is_default = a.id = @id AND @is_default::boolean
WHERE a.customer_id = @customer_id AND (a.id = @id OR a.is_default AND @is_default)
    AND EXISTS (SELECT FROM addresses own WHERE own.id = @id AND own.customer_id = @customer_id);

-- name: DeleteAddress :execrows
DELETE FROM addresses WHERE id = @id AND customer_id = @customer_id;

-- name: PurgeSessions :execrows
DELETE FROM sessions WHERE expires_at <= now();

-- name: PurgeTokens :execrows
DELETE FROM one_time_tokens WHERE expires_at <= now();

-- name: PurgeAttempts :execrows
DELETE FROM attempts WHERE since <= now() - @window_size::interval;

-- name: CustomersFrom :many
SELECT id, email, email_verified, name, role, locked, created_at
FROM customers
WHERE id > @after
ORDER BY id
LIMIT @most;

-- Those who have one of the addresses or ids.
-- name: KnownCustomers :many
SELECT id, email, email_verified, name, role, locked, created_at FROM customers
WHERE email = ANY(@emails::text[]) OR id = ANY(@ids::uuid[])
ORDER BY id FOR UPDATE;

-- name: AddressesOf :many
SELECT customer_id, address, is_default FROM addresses WHERE customer_id = ANY(@customer_ids::uuid[]) ORDER BY customer_id, id;

-- Without a password nobody logs in.
-- name: InsertCustomers :exec
INSERT INTO customers (id, email, email_verified, name, password_hash, locked, created_at)
SELECT unnest(@ids::uuid[]), unnest(@emails::text[]), unnest(@email_verified::boolean[]), unnest(@names::text[]), '', unnest(@locked::boolean[]),
       unnest(@created_at::timestamptz[]);

-- name: UpdateCustomers :exec
UPDATE customers c SET email_verified = d.email_verified, name = d.name, locked = d.locked
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@email_verified::boolean[]) AS email_verified, unnest(@names::text[]) AS name,
             unnest(@locked::boolean[]) AS locked) d
WHERE c.id = d.id;

-- name: EndSessionsOf :exec
DELETE FROM sessions WHERE customer_id = ANY(@customer_ids::uuid[]);

-- name: DeleteAddressesOf :exec
DELETE FROM addresses WHERE customer_id = ANY(@customer_ids::uuid[]);

-- name: InsertAddresses :exec
INSERT INTO addresses (id, customer_id, address, is_default)
SELECT unnest(@ids::uuid[]), unnest(@customer_ids::uuid[]), unnest(@addresses::text[])::jsonb, unnest(@defaults::boolean[]);

-- name: Accounts :many
SELECT id, email, email_verified FROM customers WHERE id = ANY(@ids::uuid[]) OR email = ANY(@emails::text[]) AND email_verified;
