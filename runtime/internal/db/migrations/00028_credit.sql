-- +goose Up
-- What of a line was paid with what came back in exchange, with tax, in minor units: with total it is what can be given back.
ALTER TABLE order_lines ADD COLUMN credit bigint NOT NULL DEFAULT 0 CHECK (credit >= 0);
-- That was taken off as a discount, in proportion to which it was paid.
WITH off AS (
    SELECT l.order_id, l.id, r.credit::numeric AS credit, l.discount::numeric AS discount,
           sum(l.discount) OVER (PARTITION BY l.order_id ORDER BY l.position)::numeric AS so_far, sum(l.discount) OVER (PARTITION BY l.order_id)::numeric AS whole
    FROM returns r JOIN order_lines l ON l.order_id = r.exchange_id WHERE r.credit > 0
)
UPDATE order_lines l SET credit = div(o.credit * o.so_far, o.whole) - div(o.credit * (o.so_far - o.discount), o.whole)
FROM off o WHERE o.whole > 0 AND l.order_id = o.order_id AND l.id = o.id;

-- What of a refund is given back on the payments of orders that its order was placed in exchange for; the rest is on its own.
CREATE TABLE refund_sources (
    refund_id uuid NOT NULL REFERENCES refunds (id),
    order_id  uuid NOT NULL REFERENCES orders (id),
    amount    bigint NOT NULL CHECK (amount > 0),
    PRIMARY KEY (refund_id, order_id)
);
CREATE INDEX refund_sources_by_order ON refund_sources (order_id);

-- +goose Down
DROP TABLE refund_sources;
ALTER TABLE order_lines DROP COLUMN credit;
