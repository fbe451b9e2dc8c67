-- +goose Up
-- What became of a refund: its operations say so, and the refund follows in their transaction. Of one that was written
-- before, or by the version before, which runs beside this one during an upgrade, it is not known: it is taken for done.
ALTER TABLE refunds
    ADD COLUMN state      text NOT NULL DEFAULT 'succeeded' CHECK (state IN ('pending', 'succeeded', 'partial', 'failed')),
    -- What of the amount was given back by now, where that is neither nothing nor all.
    ADD COLUMN given_back bigint NOT NULL DEFAULT 0 CHECK (given_back BETWEEN 0 AND amount),
    -- It was given back by hand, and no provider is asked.
    ADD COLUMN outside    boolean NOT NULL DEFAULT false;
-- The refund of the order that a provider is asked for; null for other operations, and for what gives a payment back alone.
ALTER TABLE payment_operations ADD COLUMN refund_id uuid;
CREATE INDEX payment_operations_by_refund ON payment_operations (refund_id) WHERE refund_id IS NOT NULL;
-- What of refunded was given back by hand, of which the provider knows nothing.
ALTER TABLE payments ADD COLUMN refunded_outside bigint NOT NULL DEFAULT 0 CHECK (refunded_outside BETWEEN 0 AND refunded);
-- What was paid for what was exchanged of the line; null where the version before exchanged it.
ALTER TABLE return_lines ADD COLUMN worth bigint CHECK (worth >= 0);

-- +goose Down
ALTER TABLE return_lines DROP COLUMN worth;
ALTER TABLE payments DROP COLUMN refunded_outside;
ALTER TABLE payment_operations DROP COLUMN refund_id;
ALTER TABLE refunds DROP COLUMN outside, DROP COLUMN given_back, DROP COLUMN state;
