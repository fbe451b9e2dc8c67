-- +goose Up
-- No index has these columns, so that a cart is still changed without writing one: those that were left are found by
-- the days on which they expire.
ALTER TABLE carts
    ADD COLUMN touched_at  timestamptz NOT NULL DEFAULT now(),
    -- When its buyer was reminded of it, which happens once.
    ADD COLUMN reminded_at timestamptz;

-- +goose Down
ALTER TABLE carts DROP COLUMN reminded_at, DROP COLUMN touched_at;
