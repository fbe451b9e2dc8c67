-- +goose Up
CREATE TABLE customers (
    id             uuid PRIMARY KEY,
    -- In lower case.
    email          text NOT NULL UNIQUE,
    email_verified boolean NOT NULL DEFAULT false,
    name           text NOT NULL,
    -- Argon2id, as a PHC string.
    password_hash  text NOT NULL,
    role           text NOT NULL DEFAULT 'customer' CHECK (role IN ('customer', 'manager', 'admin')),
    locked         boolean NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT now()
);

-- A session that has ended has no row.
CREATE TABLE sessions (
    id           uuid PRIMARY KEY,
    customer_id  uuid NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    -- SHA-256 of the only refresh token that works.
    refresh_hash bytea NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL
);
CREATE INDEX sessions_by_customer ON sessions (customer_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- A token that was used has no row.
CREATE TABLE one_time_tokens (
    hash        bytea PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    purpose     text NOT NULL CHECK (purpose IN ('verify_email', 'password_reset')),
    expires_at  timestamptz NOT NULL
);
CREATE INDEX one_time_tokens_by_customer ON one_time_tokens (customer_id);
CREATE INDEX one_time_tokens_by_expiry ON one_time_tokens (expires_at);

-- How often something was tried since a time, by a hash of what and for whom.
CREATE TABLE attempts (
    key   bytea PRIMARY KEY,
    count integer NOT NULL,
    since timestamptz NOT NULL
);
CREATE INDEX attempts_by_age ON attempts (since);

CREATE TABLE addresses (
    id          uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    address     jsonb NOT NULL,
    is_default  boolean NOT NULL
);
CREATE INDEX addresses_by_customer ON addresses (customer_id, id);

CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    name         text NOT NULL,
    -- SHA-256 of the key, which has 160 random bits.
    hash         bytea NOT NULL UNIQUE,
    hint         text NOT NULL,
    scopes       text[] NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);

-- +goose Down
DROP TABLE api_keys;
DROP TABLE addresses;
DROP TABLE attempts;
DROP TABLE one_time_tokens;
DROP TABLE sessions;
DROP TABLE customers;
