-- +goose Up
CREATE TABLE locations (
    id       uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name     text NOT NULL UNIQUE,
    priority integer NOT NULL,
    active   boolean NOT NULL
);
INSERT INTO locations (name, priority, active) VALUES ('Main', 0, true);

-- A level is the sum of its movements. Orders update it in place, so its pages have room.
CREATE TABLE inventory_levels (
    variant_id  uuid NOT NULL,
    location_id uuid NOT NULL REFERENCES locations (id),
    on_hand     bigint NOT NULL DEFAULT 0,
    reserved    bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    incoming    bigint NOT NULL DEFAULT 0 CHECK (incoming >= 0),
    PRIMARY KEY (variant_id, location_id)
) WITH (fillfactor = 50);

CREATE TABLE stock_movements (
    id          uuid PRIMARY KEY,
    variant_id  uuid NOT NULL,
    location_id uuid NOT NULL,
    reason      text NOT NULL CHECK (reason IN
        ('count', 'delivery', 'announce', 'loss', 'correction', 'reserve', 'release', 'ship', 'return')),
    on_hand     bigint NOT NULL,
    reserved    bigint NOT NULL,
    incoming    bigint NOT NULL,
    order_id    uuid,
    note        text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL
);
CREATE INDEX stock_movements_by_variant ON stock_movements (variant_id, id DESC);
CREATE INDEX stock_movements_by_order ON stock_movements (order_id) WHERE order_id IS NOT NULL;

-- What of a level belongs to whom: an order, or a cart until expires_at.
CREATE TABLE stock_reservations (
    owner_id    uuid NOT NULL,
    variant_id  uuid NOT NULL,
    location_id uuid NOT NULL,
    quantity    bigint NOT NULL CHECK (quantity > 0),
    order_owned boolean NOT NULL,
    expires_at  timestamptz,
    PRIMARY KEY (owner_id, variant_id, location_id)
);
CREATE INDEX stock_reservations_by_expiry ON stock_reservations (expires_at) WHERE expires_at IS NOT NULL;

-- +goose Down
DROP TABLE stock_reservations;
DROP TABLE stock_movements;
DROP TABLE inventory_levels;
DROP TABLE locations;
