-- +goose Up
-- What of a payment the provider has taken and given back, and what it was asked to take and give back and has not
-- answered yet; minor units. Both count at once, so that no two ask for the same money.
ALTER TABLE payments
    ADD COLUMN captured    bigint NOT NULL DEFAULT 0,
    ADD COLUMN capturing   bigint NOT NULL DEFAULT 0,
    ADD COLUMN refunded    bigint NOT NULL DEFAULT 0,
    ADD COLUMN refunding   bigint NOT NULL DEFAULT 0,
    -- Its order is no more: whatever it brings, or brings later, is given back.
    ADD COLUMN undone      boolean NOT NULL DEFAULT false,
    -- What the buyer has left to do, while that is so.
    ADD COLUMN next_action jsonb,
    DROP CONSTRAINT payments_state_check,
    ADD CONSTRAINT payments_state_check CHECK (state IN ('pending', 'requires_action', 'authorized', 'captured', 'voided', 'failed', 'refunded'));
UPDATE payments SET captured = amount, refunded = CASE state WHEN 'refunded' THEN amount ELSE 0 END WHERE state IN ('captured', 'refunded');
UPDATE payments SET undone = true WHERE amount > 0 AND order_id IN (SELECT id FROM orders WHERE state IN ('cancelled', 'refunded'));
ALTER TABLE payments ADD CONSTRAINT payments_add_up
    CHECK (capturing >= 0 AND refunding >= 0 AND captured >= 0 AND refunded >= 0 AND captured + capturing <= amount AND refunded + refunding <= captured);
-- What was made in a time; that is near together in the table, which a few bytes tell.
CREATE INDEX payments_by_time ON payments USING brin (created_at) WITH (autosummarize = on);
CREATE INDEX payments_unbalanced ON payments (created_at) WHERE undone OR state IN ('voided', 'failed');

-- The version before writes states alone, and runs beside this one during an upgrade.
-- +goose StatementBegin
CREATE FUNCTION payment_amounts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.captured := CASE WHEN NEW.captured = 0 THEN NEW.amount ELSE NEW.captured END;
    NEW.refunded := CASE WHEN NEW.state = 'refunded' THEN NEW.captured ELSE NEW.refunded END;
    RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER payment_amounts BEFORE INSERT OR UPDATE OF state ON payments FOR EACH ROW
WHEN (NEW.amount > 0 AND (NEW.state IN ('captured', 'refunded') AND NEW.captured = 0 OR NEW.state = 'refunded' AND NEW.refunded = 0))
EXECUTE FUNCTION payment_amounts();

-- What providers are asked to do, written by the transaction that decides it. A job takes it there.
CREATE TABLE payment_operations (
    id         uuid PRIMARY KEY,
    payment_id uuid NOT NULL REFERENCES payments (id),
    kind       text NOT NULL CHECK (kind IN ('capture', 'void', 'refund')),
    amount     bigint NOT NULL CHECK (amount >= 0),
    state      text NOT NULL CHECK (state IN ('requested', 'succeeded', 'failed')),
    actor      text NOT NULL,
    reason     text NOT NULL,
    -- The provider's own name for it, and why it refused.
    reference  text NOT NULL DEFAULT '',
    failure    text NOT NULL DEFAULT '',
    -- How often the provider was asked.
    attempts   integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX payment_operations_by_payment ON payment_operations (payment_id, id);
CREATE INDEX payment_operations_open ON payment_operations (created_at) WHERE state = 'requested';
CREATE INDEX payment_operations_failed ON payment_operations (created_at) WHERE state = 'failed';
CREATE INDEX payment_operations_by_reference ON payment_operations (reference) WHERE reference <> '';

-- Payments for which a provider was asked, or is about to be, and whose orders are not stored: the transaction that
-- stores an order takes its row away. One that is still here when nobody can be storing the order any more is given up.
CREATE TABLE payment_attempts (
    id         uuid PRIMARY KEY,
    order_id   uuid NOT NULL,
    provider   text NOT NULL,
    amount     bigint NOT NULL,
    currency   text NOT NULL,
    given_up   boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL
);
CREATE INDEX payment_attempts_by_time ON payment_attempts (created_at);

-- What providers tell, as it came.
CREATE TABLE payment_events (
    id          uuid PRIMARY KEY,
    provider    text NOT NULL,
    event       text NOT NULL,
    type        text NOT NULL,
    -- The provider's own name for the payment that it is about, empty for none.
    reference   text NOT NULL,
    raw         bytea NOT NULL,
    -- received, applied, unknown (no payment of the store has the reference) or ignored (it is not about this store's payments).
    state       text NOT NULL CHECK (state IN ('received', 'applied', 'unknown', 'ignored')),
    received_at timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    UNIQUE (provider, event)
);
CREATE INDEX payment_events_by_time ON payment_events (received_at);
CREATE INDEX payment_events_open ON payment_events (received_at) WHERE state IN ('received', 'unknown');

-- What the store and its providers do not agree about.
CREATE TABLE payment_discrepancies (
    id          uuid PRIMARY KEY,
    kind        text NOT NULL,
    provider    text NOT NULL,
    reference   text NOT NULL,
    payment_id  uuid,
    order_id    uuid,
    detail      text NOT NULL,
    found_at    timestamptz NOT NULL,
    seen_at     timestamptz NOT NULL,
    resolved_at timestamptz
);
CREATE UNIQUE INDEX payment_discrepancies_open ON payment_discrepancies (kind, provider, reference) WHERE resolved_at IS NULL;

-- +goose Down
DROP TABLE payment_discrepancies;
DROP TABLE payment_events;
DROP TABLE payment_attempts;
DROP TABLE payment_operations;
DROP TRIGGER payment_amounts ON payments;
DROP FUNCTION payment_amounts;
DROP INDEX payments_unbalanced, payments_by_time;
UPDATE payments SET state = 'pending' WHERE state = 'requires_action';
ALTER TABLE payments
    DROP CONSTRAINT payments_add_up,
    DROP CONSTRAINT payments_state_check,
    ADD CONSTRAINT payments_state_check CHECK (state IN ('pending', 'authorized', 'captured', 'voided', 'failed', 'refunded')),
    DROP COLUMN next_action, DROP COLUMN undone, DROP COLUMN refunding, DROP COLUMN refunded, DROP COLUMN capturing, DROP COLUMN captured;
