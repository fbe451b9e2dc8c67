-- +goose Up
-- What buyers send back.
CREATE TABLE returns (
    id          uuid PRIMARY KEY,
    order_id    uuid NOT NULL REFERENCES orders (id),
    state       text NOT NULL CHECK (state IN ('requested', 'approved', 'rejected', 'cancelled', 'received')),
    -- Why, in its buyer's words, and what the store answered.
    note        text NOT NULL,
    answer      text NOT NULL DEFAULT '',
    -- The order that was placed in exchange.
    exchange_id uuid REFERENCES orders (id),
    -- How much of the money for what comes back is in that order; minor units.
    credit      bigint NOT NULL DEFAULT 0 CHECK (credit >= 0),
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);
CREATE INDEX returns_by_order ON returns (order_id, id);
CREATE INDEX returns_by_exchange ON returns (exchange_id) WHERE exchange_id IS NOT NULL;
CREATE INDEX returns_open ON returns (id) WHERE state IN ('requested', 'approved');

CREATE TABLE return_lines (
    return_id   uuid NOT NULL REFERENCES returns (id),
    line_id     uuid NOT NULL,
    quantity    bigint NOT NULL CHECK (quantity > 0),
    reason      text NOT NULL,
    -- What became of it when it was received.
    restocked   bigint NOT NULL DEFAULT 0 CHECK (restocked >= 0),
    written_off bigint NOT NULL DEFAULT 0 CHECK (written_off >= 0),
    -- For how much of it other goods were sent.
    exchanged   bigint NOT NULL DEFAULT 0 CHECK (exchanged BETWEEN 0 AND quantity),
    PRIMARY KEY (return_id, line_id),
    CHECK (restocked + written_off <= quantity)
);

-- What the store gave back of an order, and for what. The payments' operations take it there.
CREATE TABLE refunds (
    id         uuid PRIMARY KEY,
    order_id   uuid NOT NULL REFERENCES orders (id),
    return_id  uuid REFERENCES returns (id),
    -- In minor units of the order's currency: shipping, and what is for no line, are among it.
    amount     bigint NOT NULL CHECK (amount > 0),
    shipping   bigint NOT NULL CHECK (shipping >= 0),
    other      bigint NOT NULL CHECK (other >= 0),
    reason     text NOT NULL,
    actor      text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX refunds_by_order ON refunds (order_id, id);

CREATE TABLE refund_lines (
    refund_id uuid NOT NULL REFERENCES refunds (id),
    line_id   uuid NOT NULL,
    quantity  bigint NOT NULL CHECK (quantity > 0),
    amount    bigint NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (refund_id, line_id)
);

-- What people write may name somebody.
SELECT audit_table('returns', 'return', 'id', '{updated_at}', '{note, answer}');
SELECT audit_table('refunds', 'refund', 'id', '{}', '{reason}');

-- +goose Down
DROP TABLE refund_lines;
DROP TABLE refunds;
DROP TABLE return_lines;
DROP TABLE returns;
