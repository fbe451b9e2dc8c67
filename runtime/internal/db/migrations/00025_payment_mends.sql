-- +goose Up
-- By the provider's own name, which is all that an event or a refund has of a payment.
CREATE INDEX payments_by_reference ON payments (reference) WHERE reference <> '';

-- When a provider was last asked about it, null for never: what does not work lets others go first.
ALTER TABLE payment_attempts ADD COLUMN tried_at timestamptz;

-- Of an event no more is kept than what is applied. What was applied is not read again, and held the buyer's details.
UPDATE payment_events SET raw = '{}' WHERE provider = 'stripe' AND state IN ('applied', 'ignored');

-- +goose Down
ALTER TABLE payment_attempts DROP COLUMN tried_at;
DROP INDEX payments_by_reference;
