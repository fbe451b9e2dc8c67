-- +goose Up
-- What a socket can be opened with, once and soon: for who has credentials that a browser can not send with one.
CREATE TABLE socket_tickets (
    hash        bytea PRIMARY KEY,
    -- The session of a person, or the key of a program; neither for the store's first key.
    session_id  uuid,
    customer_id uuid,
    key_id      uuid,
    -- When the credentials themselves end, NULL for never.
    until       timestamptz,
    expires_at  timestamptz NOT NULL
);
CREATE INDEX socket_tickets_by_expiry ON socket_tickets (expires_at);

-- +goose Down
DROP TABLE socket_tickets;
