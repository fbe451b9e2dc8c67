-- +goose Up
CREATE TABLE zones (
    id    uuid PRIMARY KEY,
    name  text NOT NULL,
    -- Countries such as DE, regions such as US-CA, or *.
    areas text[] NOT NULL
);

CREATE TABLE tax_rates (
    id       uuid PRIMARY KEY,
    name     text NOT NULL,
    zone_id  uuid NOT NULL CONSTRAINT tax_rates_zone REFERENCES zones (id),
    category text NOT NULL,
    -- Parts per million: 190000 is 19%.
    ppm      bigint NOT NULL CHECK (ppm BETWEEN 0 AND 1000000)
);

CREATE TABLE shipping_methods (
    id      uuid PRIMARY KEY,
    name    text NOT NULL,
    zone_id uuid NOT NULL CONSTRAINT shipping_methods_zone REFERENCES zones (id),
    -- pricing.ShippingPrice in order; amounts in minor units.
    prices  jsonb NOT NULL,
    active  boolean NOT NULL
);

CREATE TABLE promotions (
    id                       uuid PRIMARY KEY,
    title                    text NOT NULL,
    -- In upper case; empty: it applies by itself.
    code                     text NOT NULL,
    kind                     text NOT NULL CHECK (kind IN ('percentage', 'fixed_amount', 'free_shipping', 'buy_x_get_y')),
    -- In the numbers that follow zero means that there is none. Amounts are minor units of the currency.
    ppm                      bigint NOT NULL CHECK (ppm BETWEEN 0 AND 1000000),
    currency                 text NOT NULL,
    amount                   bigint NOT NULL CHECK (amount >= 0),
    cap                      bigint NOT NULL CHECK (cap >= 0),
    minimum_subtotal         bigint NOT NULL CHECK (minimum_subtotal >= 0),
    minimum_quantity         bigint NOT NULL CHECK (minimum_quantity >= 0),
    buy_quantity             bigint NOT NULL CHECK (buy_quantity >= 0),
    get_quantity             bigint NOT NULL CHECK (get_quantity >= 0),
    product_ids              uuid[] NOT NULL,
    collection_ids           uuid[] NOT NULL,
    starts_at                timestamptz,
    ends_at                  timestamptz,
    usage_limit              bigint NOT NULL CHECK (usage_limit >= 0),
    usage_limit_per_customer bigint NOT NULL CHECK (usage_limit_per_customer >= 0),
    combinable               boolean NOT NULL,
    active                   boolean NOT NULL,
    -- Orders that use it; kept only where there is a limit, else promotion_uses are counted.
    used                     bigint NOT NULL DEFAULT 0 CHECK (used >= 0),
    created_at               timestamptz NOT NULL DEFAULT now(),
    deleted_at               timestamptz
);
CREATE UNIQUE INDEX promotions_code ON promotions (code) WHERE code <> '' AND deleted_at IS NULL;

-- No foreign key: promotions are never deleted, and its check would lock the row of one that every order uses.
CREATE TABLE promotion_uses (
    promotion_id uuid NOT NULL,
    order_id     uuid NOT NULL,
    -- The customer's id, or the e-mail address in lower case.
    customer_key text NOT NULL,
    PRIMARY KEY (order_id, promotion_id)
);
CREATE INDEX promotion_uses_by_customer ON promotion_uses (promotion_id, customer_key);

-- One row.
CREATE TABLE settings (
    id                 boolean PRIMARY KEY DEFAULT true CHECK (id),
    currency           text NOT NULL DEFAULT 'EUR' CHECK (currency ~ '^[A-Z]{3}$'),
    prices_include_tax boolean NOT NULL DEFAULT true,
    country            text NOT NULL DEFAULT '',
    reverse_charge     boolean NOT NULL DEFAULT false,
    -- Rises with every change of any rule in this file, so that a process knows when to read them again.
    version            bigint NOT NULL DEFAULT 1
);
INSERT INTO settings DEFAULT VALUES;

-- +goose Down
DROP TABLE settings;
DROP TABLE promotion_uses;
DROP TABLE promotions;
DROP TABLE shipping_methods;
DROP TABLE tax_rates;
DROP TABLE zones;
