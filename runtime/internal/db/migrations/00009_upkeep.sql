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

-- What was ordered from a moment on, in that order.
CREATE INDEX orders_by_time ON orders (created_at, id);
-- What changed since a moment; that is where the table was written last, which a few bytes tell.
CREATE INDEX orders_by_change ON orders USING brin (updated_at) WITH (autosummarize = on);

-- Orders by the day, in UTC, on which they were placed, as they are now. Cancelled ones are in the column cancelled alone.
-- Amounts are minor units of the currency.
CREATE TABLE sales_daily (
    day            date NOT NULL,
    currency       text NOT NULL,
    orders         bigint NOT NULL,
    items          bigint NOT NULL,
    subtotal       bigint NOT NULL,
    discount       bigint NOT NULL,
    shipping       bigint NOT NULL,
    tax            bigint NOT NULL,
    total          bigint NOT NULL,
    cancelled      bigint NOT NULL,
    refunded       bigint NOT NULL,
    refunded_total bigint NOT NULL,
    PRIMARY KEY (day, currency)
);

-- One row: changes of orders before this moment are in sales_daily.
CREATE TABLE sales_rollup (
    id     boolean PRIMARY KEY DEFAULT true CHECK (id),
    before timestamptz NOT NULL DEFAULT 'epoch'
);
INSERT INTO sales_rollup DEFAULT VALUES;

-- +goose Down
DROP TABLE sales_rollup;
DROP TABLE sales_daily;
DROP INDEX orders_by_change;
DROP INDEX orders_by_time;
DROP TABLE low_stock_alerts;
ALTER TABLE settings DROP COLUMN low_stock_threshold;
ALTER TABLE carts DROP COLUMN reminded_at, DROP COLUMN touched_at;
