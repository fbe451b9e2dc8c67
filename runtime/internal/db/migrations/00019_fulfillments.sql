-- +goose Up
-- How much of a line is in packages, has been handed to a carrier, has arrived, is announced to come back, has come
-- back, and was given its money back. What is in packages is never more than was bought, and nothing comes back that
-- did not leave.
ALTER TABLE order_lines
    ADD COLUMN packed      bigint NOT NULL DEFAULT 0,
    ADD COLUMN shipped     bigint NOT NULL DEFAULT 0,
    ADD COLUMN delivered   bigint NOT NULL DEFAULT 0,
    ADD COLUMN coming_back bigint NOT NULL DEFAULT 0,
    ADD COLUMN returned    bigint NOT NULL DEFAULT 0,
    ADD COLUMN refunded    bigint NOT NULL DEFAULT 0,
    -- What one of it takes from the stock, which for a bundle is what it is made of; as JSON, it is read and written
    -- whole. Of lines from before it is not known.
    ADD COLUMN stock       jsonb;
UPDATE order_lines l SET packed = quantity, shipped = quantity, delivered = CASE o.state WHEN 'shipped' THEN 0 ELSE quantity END
FROM orders o WHERE o.id = l.order_id AND o.state IN ('shipped', 'delivered', 'completed', 'refunded');
ALTER TABLE order_lines ADD CONSTRAINT order_lines_add_up
    CHECK (packed <= quantity AND refunded <= quantity AND shipped <= packed AND delivered <= shipped AND coming_back <= shipped
        AND returned <= coming_back AND delivered >= 0 AND returned >= 0 AND refunded >= 0);

-- The version before knows no packages, and runs beside this one during an upgrade.
-- +goose StatementBegin
CREATE FUNCTION order_lines_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE order_lines SET packed = quantity, shipped = quantity, delivered = CASE NEW.state WHEN 'shipped' THEN delivered ELSE quantity END
    WHERE order_id = NEW.id AND (shipped < quantity OR NEW.state <> 'shipped' AND delivered < quantity);
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER order_lines_follow AFTER UPDATE OF state ON orders FOR EACH ROW
WHEN (NEW.state <> OLD.state AND NEW.state IN ('shipped', 'delivered'))
EXECUTE FUNCTION order_lines_follow();

-- What of the shipping, with its tax, was given back.
ALTER TABLE orders ADD COLUMN shipping_refunded bigint NOT NULL DEFAULT 0 CHECK (shipping_refunded BETWEEN 0 AND total);

-- A package, or what is to become one.
CREATE TABLE fulfillments (
    id           uuid PRIMARY KEY,
    order_id     uuid NOT NULL REFERENCES orders (id),
    location_id  uuid NOT NULL REFERENCES locations (id),
    state        text NOT NULL CHECK (state IN ('pending', 'shipped', 'delivered', 'cancelled')),
    -- Where a carrier says where it is; as JSON, it is read and written whole.
    tracking     jsonb NOT NULL,
    -- What of the stock is in it, and from where.
    stock        jsonb NOT NULL,
    shipped_at   timestamptz,
    delivered_at timestamptz,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);
CREATE INDEX fulfillments_by_order ON fulfillments (order_id, id);

CREATE TABLE fulfillment_lines (
    fulfillment_id uuid NOT NULL REFERENCES fulfillments (id),
    line_id        uuid NOT NULL,
    quantity       bigint NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (fulfillment_id, line_id)
);

-- By its number a carrier tells where somebody lives.
SELECT audit_table('fulfillments', 'fulfillment', 'id', '{updated_at}', '{tracking}');

-- +goose Down
DROP TABLE fulfillment_lines;
DROP TABLE fulfillments;
ALTER TABLE orders DROP COLUMN shipping_refunded;
DROP TRIGGER order_lines_follow ON orders;
DROP FUNCTION order_lines_follow;
ALTER TABLE order_lines
    DROP CONSTRAINT order_lines_add_up,
    DROP COLUMN stock, DROP COLUMN refunded, DROP COLUMN returned, DROP COLUMN coming_back, DROP COLUMN delivered, DROP COLUMN shipped, DROP COLUMN packed;
