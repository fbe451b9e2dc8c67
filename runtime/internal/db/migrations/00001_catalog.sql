-- +goose Up
CREATE TABLE products (
    id           uuid PRIMARY KEY,
    version      bigint NOT NULL,
    slug         text NOT NULL UNIQUE,
    title        text NOT NULL,
    -- The title's beginning without case and accents, to sort by.
    title_key    text COLLATE "C" NOT NULL,
    type         text NOT NULL CHECK (type IN ('simple', 'variable', 'digital', 'bundle')),
    status       text NOT NULL CHECK (status IN ('draft', 'active', 'archived')),
    tax_category text NOT NULL,
    -- What the product itself says of type:T, tag:T and attribute:NAME:VALUE.
    marks        text[] NOT NULL,
    -- marks, with category:C of its categories and all above them and collection:C, each by id and by slug.
    labels       text[] NOT NULL DEFAULT '{}',
    search       tsvector NOT NULL,
    -- The product as the API shows it, so that a read encodes nothing.
    document     text NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
) WITH (toast_tuple_target = 8160); -- documents stay in the row, uncompressed, while it fits a page
-- Identifiers are UUIDv7, so descending id is newest first.
CREATE INDEX products_by_status ON products (status, id DESC);
CREATE INDEX products_by_title ON products (title_key, id);
CREATE INDEX products_by_label ON products USING gin (labels);
CREATE INDEX products_by_search ON products USING gin (search);

CREATE TABLE variants (
    id           uuid PRIMARY KEY,
    product_id   uuid NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    position     integer NOT NULL,
    sku          text NOT NULL UNIQUE,
    options      jsonb NOT NULL,
    weight_grams bigint NOT NULL CHECK (weight_grams >= 0),
    track_stock  boolean NOT NULL,
    stock_policy text NOT NULL CHECK (stock_policy IN ('deny', 'continue'))
);
CREATE INDEX variants_by_product ON variants (product_id, position);

-- Amounts are minor units of the currency: 1999 is 19.99 EUR and 1999 JPY.
CREATE TABLE prices (
    variant_id uuid NOT NULL REFERENCES variants (id) ON DELETE CASCADE,
    currency   text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    position   integer NOT NULL,
    amount     bigint NOT NULL CHECK (amount >= 0),
    compare_at bigint CHECK (compare_at > amount),
    cost       bigint CHECK (cost >= 0),
    PRIMARY KEY (variant_id, currency)
);

-- The lowest price of a product's variants.
CREATE TABLE product_prices (
    product_id uuid NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    currency   text NOT NULL,
    lowest     bigint NOT NULL,
    PRIMARY KEY (product_id, currency)
);
CREATE INDEX product_prices_by_price ON product_prices (currency, lowest, product_id);

-- What a bundle's variant is made of. A variant that a bundle needs cannot be deleted.
CREATE TABLE bundle_items (
    bundle_id    uuid NOT NULL REFERENCES variants (id) ON DELETE CASCADE,
    component_id uuid NOT NULL REFERENCES variants (id),
    position     integer NOT NULL,
    quantity     bigint NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (bundle_id, component_id)
);
CREATE INDEX bundle_items_by_component ON bundle_items (component_id);

CREATE TABLE categories (
    id          uuid PRIMARY KEY,
    slug        text NOT NULL UNIQUE,
    name        text NOT NULL,
    description text NOT NULL,
    parent_id   uuid REFERENCES categories (id),
    -- From the top of the tree to the category itself.
    path        uuid[] NOT NULL,
    position    integer NOT NULL,
    seo         jsonb NOT NULL
);
CREATE INDEX categories_by_parent ON categories (parent_id);
CREATE INDEX categories_by_path ON categories USING gin (path);

CREATE TABLE product_categories (
    product_id  uuid NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    category_id uuid NOT NULL REFERENCES categories (id) ON DELETE CASCADE,
    PRIMARY KEY (product_id, category_id)
);
CREATE INDEX product_categories_by_category ON product_categories (category_id);

CREATE TABLE collections (
    id          uuid PRIMARY KEY,
    slug        text NOT NULL UNIQUE,
    name        text NOT NULL,
    description text NOT NULL,
    seo         jsonb NOT NULL
);

CREATE TABLE collection_products (
    collection_id uuid NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    product_id    uuid NOT NULL REFERENCES products (id) ON DELETE CASCADE,
    PRIMARY KEY (collection_id, product_id)
);
CREATE INDEX collection_products_by_product ON collection_products (product_id);

-- +goose Down
DROP TABLE collection_products;
DROP TABLE collections;
DROP TABLE product_categories;
DROP TABLE categories;
DROP TABLE bundle_items;
DROP TABLE product_prices;
DROP TABLE prices;
DROP TABLE variants;
DROP TABLE products;
