-- +goose Up
-- content is what the buyer chose, as JSON: it is read and written whole.
CREATE TABLE carts (
    id             uuid PRIMARY KEY,
    customer_id    uuid,
    currency       text NOT NULL,
    content        jsonb NOT NULL,
    version        bigint NOT NULL DEFAULT 1,
    -- Set once the cart's order is placed; the cart is closed then.
    order_id       uuid,
    reserved_until timestamptz,
    expires_at     timestamptz NOT NULL
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX carts_open_by_customer ON carts (customer_id) WHERE order_id IS NULL AND customer_id IS NOT NULL;
CREATE INDEX carts_by_expiry ON carts (expires_at);

CREATE SEQUENCE order_numbers START 1001;

CREATE TABLE orders (
    id              uuid PRIMARY KEY,
    number          bigint NOT NULL UNIQUE,
    state           text NOT NULL CHECK (state IN
        ('pending', 'confirmed', 'processing', 'shipped', 'delivered', 'completed', 'on_hold', 'cancelled', 'refunded')),
    -- The state to go back to from on_hold.
    held_from       text,
    customer_id     uuid,
    cart_id         uuid NOT NULL UNIQUE,
    email           text NOT NULL,
    currency        text NOT NULL,
    -- Minor units of the currency.
    subtotal        bigint NOT NULL CHECK (subtotal >= 0),
    discount        bigint NOT NULL CHECK (discount >= 0),
    shipping        bigint NOT NULL CHECK (shipping >= 0),
    tax             bigint NOT NULL CHECK (tax >= 0),
    total           bigint NOT NULL CHECK (total >= 0),
    item_count      bigint NOT NULL CHECK (item_count > 0),
    -- Addresses, shipping method, discounts, taxes: what only people read.
    details         jsonb NOT NULL,
    payment_due_at  timestamptz,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);
CREATE INDEX orders_by_customer ON orders (customer_id, id DESC) WHERE customer_id IS NOT NULL;
CREATE INDEX orders_by_email ON orders (lower(email), id DESC);
CREATE INDEX orders_by_due ON orders (payment_due_at) WHERE payment_due_at IS NOT NULL;

CREATE TABLE order_lines (
    order_id   uuid NOT NULL REFERENCES orders (id),
    position   integer NOT NULL,
    id         uuid NOT NULL,
    variant_id uuid NOT NULL,
    product_id uuid NOT NULL,
    sku        text NOT NULL,
    title      text NOT NULL,
    options    jsonb NOT NULL,
    quantity   bigint NOT NULL CHECK (quantity > 0),
    unit_price bigint NOT NULL CHECK (unit_price >= 0),
    subtotal   bigint NOT NULL CHECK (subtotal >= 0),
    discount   bigint NOT NULL CHECK (discount >= 0 AND discount <= subtotal),
    tax        bigint NOT NULL CHECK (tax >= 0),
    total      bigint NOT NULL CHECK (total >= 0),
    PRIMARY KEY (order_id, position)
);
CREATE INDEX order_lines_by_variant ON order_lines (variant_id);

CREATE TABLE payments (
    id         uuid PRIMARY KEY,
    order_id   uuid NOT NULL REFERENCES orders (id),
    provider   text NOT NULL,
    state      text NOT NULL CHECK (state IN ('pending', 'authorized', 'captured', 'voided', 'failed', 'refunded')),
    amount     bigint NOT NULL CHECK (amount >= 0),
    currency   text NOT NULL,
    -- The provider's own name for it.
    reference  text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX payments_by_order ON payments (order_id);

-- What happened, in the transaction in which it happened.
CREATE TABLE events (
    sequence   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         uuid NOT NULL,
    type       text NOT NULL,
    -- What it happened to, such as an order.
    subject_id uuid NOT NULL,
    actor      text NOT NULL,
    -- Whether the customer may see it.
    public     boolean NOT NULL,
    data       jsonb NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX events_by_subject ON events (subject_id, sequence);

-- +goose Down
DROP TABLE events;
DROP TABLE payments;
DROP TABLE order_lines;
DROP TABLE orders;
DROP SEQUENCE order_numbers;
DROP TABLE carts;
