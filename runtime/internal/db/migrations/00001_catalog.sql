-- +goose Up
CREATE TABLE products (
    id           uuid PRIMARY KEY,
    slug         text NOT NULL UNIQUE,
    title        text NOT NULL,
    description  text NOT NULL,
    type         text NOT NULL CHECK (type IN ('simple', 'variable')),
    status       text NOT NULL CHECK (status IN ('draft', 'active', 'archived')),
    option_names text[] NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    search       tsvector NOT NULL GENERATED ALWAYS AS (
        setweight(to_tsvector('simple', title), 'A') || setweight(to_tsvector('simple', description), 'C')
    ) STORED
);
-- Identifiers are UUIDv7, so descending id is newest first.
CREATE INDEX products_by_status ON products (status, id DESC);
CREATE INDEX products_by_search ON products USING gin (search);

CREATE TABLE variants (
    id         uuid PRIMARY KEY,
    product_id uuid NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    position   integer NOT NULL,
    sku        text NOT NULL UNIQUE,
    options    jsonb NOT NULL,
    -- Minor units of the currency: 1999 is 19.99 EUR and 1999 JPY.
    price      bigint NOT NULL CHECK (price >= 0),
    currency   text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    UNIQUE (product_id, position),
    UNIQUE (product_id, options)
);

-- +goose Down
DROP TABLE variants;
DROP TABLE products;
