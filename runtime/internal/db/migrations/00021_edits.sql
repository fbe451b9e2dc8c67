-- +goose Up
-- The taxes that a line was sold with, as [{"name", "ppm"}]; null for those of the version before, which keeps none.
ALTER TABLE order_lines ADD COLUMN rates jsonb;

-- What of a payment its order does not need, minor units: what was not taken of it because the order came to less, and
-- what was given back for that reason. The rest of the amount counts as paid, also where it was given back for another.
ALTER TABLE payments ADD COLUMN surplus bigint NOT NULL DEFAULT 0 CHECK (surplus BETWEEN 0 AND amount);
-- How much of a refund is for that reason.
ALTER TABLE payment_operations ADD COLUMN surplus bigint NOT NULL DEFAULT 0 CHECK (surplus BETWEEN 0 AND amount);

-- +goose Down
ALTER TABLE payment_operations DROP COLUMN surplus;
ALTER TABLE payments DROP COLUMN surplus;
ALTER TABLE order_lines DROP COLUMN rates;
