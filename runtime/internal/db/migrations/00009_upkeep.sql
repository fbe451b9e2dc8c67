-- +goose Up
-- No index has these columns, so that a cart is still changed without writing one: those that were left are found by
-- the days on which they expire.
ALTER TABLE carts
    ADD COLUMN touched_at  timestamptz NOT NULL DEFAULT now(),
    -- When its buyer was reminded of it, which happens once.
    ADD COLUMN reminded_at timestamptz;

-- A variant is low where no more than so many are available; 0 where nobody is to be told.
ALTER TABLE settings ADD COLUMN low_stock_threshold bigint NOT NULL DEFAULT 5 CHECK (low_stock_threshold >= 0);

-- Variants of which the staff were told that they are low, until they are not any more.
CREATE TABLE low_stock_alerts (
    variant_id uuid PRIMARY KEY,
    alerted_at timestamptz NOT NULL
);

-- +goose Down
DROP TABLE low_stock_alerts;
ALTER TABLE settings DROP COLUMN low_stock_threshold;
ALTER TABLE carts DROP COLUMN reminded_at, DROP COLUMN touched_at;
