-- +goose Up
-- What is counted of an order: so that what changes of it can be taken back where it was counted, and so that a period
-- that begins within a day can be added up exactly. Amounts are minor units of the currency. Of a cancelled order nothing
-- is counted but that there is one.
CREATE TABLE statistics_orders (
    order_id      uuid PRIMARY KEY,
    -- When it was placed.
    at            timestamptz NOT NULL,
    currency      text NOT NULL,
    -- The customer, or a digest of a guest's address.
    buyer         uuid NOT NULL,
    cancelled     boolean NOT NULL,
    -- When the buyer's order before was placed that is not cancelled; null where this is the first.
    previous_at   timestamptz,
    items         bigint NOT NULL,
    subtotal      bigint NOT NULL,
    discount      bigint NOT NULL,
    shipping      bigint NOT NULL,
    tax           bigint NOT NULL,
    total         bigint NOT NULL,
    refunded      bigint NOT NULL,
    -- Its lines, added up by variant, and for each of them six numbers: units, units whose money was given back,
    -- subtotal, discount, tax, total.
    product_ids   uuid[] NOT NULL,
    variant_ids   uuid[] NOT NULL,
    line_sums     bigint[] NOT NULL,
    -- Its taxes and discounts: tax, name, rate; or discount, code, title. And the amount of each.
    labels        text[] NOT NULL,
    label_amounts bigint[] NOT NULL
);
CREATE INDEX statistics_orders_by_time ON statistics_orders (at) INCLUDE (currency, buyer, cancelled, previous_at, total, refunded);
CREATE INDEX statistics_orders_by_buyer ON statistics_orders (buyer, at, order_id) INCLUDE (currency, total, refunded) WHERE NOT cancelled;

-- What orders come to that were placed in a time. The levels: 0 for quarters of an hour, 1 for days, 2 for months,
-- 3 for years, in UTC; every level has every order.
CREATE TABLE statistics_sales (
    level     smallint NOT NULL,
    start     timestamptz NOT NULL,
    currency  text NOT NULL,
    orders    bigint NOT NULL,
    items     bigint NOT NULL,
    subtotal  bigint NOT NULL,
    discount  bigint NOT NULL,
    shipping  bigint NOT NULL,
    tax       bigint NOT NULL,
    total     bigint NOT NULL,
    refunded  bigint NOT NULL,
    cancelled bigint NOT NULL,
    -- Orders that are their buyer's first.
    firsts    bigint NOT NULL,
    PRIMARY KEY (level, start, currency)
) WITH (fillfactor = 80);

-- The same for what was bought; the levels are 1 to 3.
CREATE TABLE statistics_products (
    level          smallint NOT NULL,
    start          timestamptz NOT NULL,
    currency       text NOT NULL,
    product_id     uuid NOT NULL,
    variant_id     uuid NOT NULL,
    units          bigint NOT NULL,
    refunded_units bigint NOT NULL,
    subtotal       bigint NOT NULL,
    discount       bigint NOT NULL,
    tax            bigint NOT NULL,
    total          bigint NOT NULL,
    PRIMARY KEY (level, start, currency, product_id, variant_id)
) WITH (fillfactor = 80);
CREATE INDEX statistics_products_variant ON statistics_products (product_id) WHERE level = 3;

-- The same for taxes (name and rate) and discounts (code and title).
CREATE TABLE statistics_labels (
    level    smallint NOT NULL,
    start    timestamptz NOT NULL,
    kind     text NOT NULL,
    currency text NOT NULL,
    name     text NOT NULL,
    detail   text NOT NULL,
    orders   bigint NOT NULL,
    amount   bigint NOT NULL,
    -- What the orders with it come to.
    total    bigint NOT NULL,
    PRIMARY KEY (level, start, kind, currency, name, detail)
) WITH (fillfactor = 80);

-- What buyers spent in the years in which they ordered, in UTC: who spent most in a long time is found among those who
-- spent most in its years.
CREATE TABLE statistics_buyers (
    year     smallint NOT NULL,
    currency text NOT NULL,
    buyer    uuid NOT NULL,
    net      bigint NOT NULL,
    PRIMARY KEY (year, currency, buyer)
);
CREATE INDEX statistics_buyers_by_net ON statistics_buyers (year, currency, net DESC, buyer);

-- How many times a buyer who had ordered on a day ordered again on another, with nothing between: days in UTC. A buyer
-- who comes back after a moment does so exactly once over it.
CREATE TABLE statistics_returns (
    previous_day date NOT NULL,
    day          date NOT NULL,
    orders       bigint NOT NULL,
    PRIMARY KEY (day, previous_day)
) WITH (fillfactor = 80);

-- One row, which whoever counts holds. Orders that were there before anything was counted are counted in parts, by id;
-- null where all of them are.
CREATE TABLE statistics_progress (
    id         boolean PRIMARY KEY DEFAULT true CHECK (id),
    counted_to uuid DEFAULT '00000000-0000-0000-0000-000000000000'
);
INSERT INTO statistics_progress DEFAULT VALUES;
INSERT INTO event_readers SELECT 'statistics', position FROM event_position;

-- The version before writes sales_daily and sales_rollup, and may run beside this one during an upgrade; nothing reads
-- them any more.

-- +goose Down
DELETE FROM event_readers WHERE name = 'statistics';
DROP TABLE statistics_progress, statistics_returns, statistics_buyers, statistics_labels, statistics_products, statistics_sales, statistics_orders;
