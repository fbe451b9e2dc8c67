-- +goose Up
-- The hash of the first key that a ticket was made for: a replaced one opens nothing.
ALTER TABLE socket_tickets ADD COLUMN first_key bytea;

-- +goose Down
ALTER TABLE socket_tickets DROP COLUMN first_key;
