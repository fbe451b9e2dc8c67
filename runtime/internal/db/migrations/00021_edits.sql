-- +goose Up
-- The taxes that a line was sold with, as [{"name", "ppm"}]; null for those of the version before, which keeps none.
ALTER TABLE order_lines ADD COLUMN rates jsonb;

-- What of a payment its order does not need, minor units: what was not taken of it because the order came to less, and
-- what was given back for that reason. The rest of the amount counts as paid, also where it was given back for another.
ALTER TABLE payments ADD COLUMN surplus bigint NOT NULL DEFAULT 0 CHECK (surplus BETWEEN 0 AND amount);
-- How much of a refund is for that reason.
ALTER TABLE payment_operations ADD COLUMN surplus bigint NOT NULL DEFAULT 0 CHECK (surplus BETWEEN 0 AND amount);

-- Who edited an order, and who had it paid.
CREATE TRIGGER audit_edits AFTER INSERT ON events FOR EACH ROW
WHEN (current_setting('gocart.act', true) <> '' AND NEW.type = 'order.edited')
EXECUTE FUNCTION audit_row('order', 'subject_id', '{sequence, position, topic, customer_id, actor}', '{}');
SELECT audit_table('payments', 'payment', 'id', '{updated_at}', '{reference, next_action}', 'INSERT');
-- What a buyer has left to do is nobody else's to read, in the log neither.
DROP TRIGGER audit_update ON payments;
SELECT audit_table('payments', 'payment', 'id', '{updated_at}', '{reference, next_action}', 'UPDATE');

-- +goose Down
DROP TRIGGER audit_update ON payments;
SELECT audit_table('payments', 'payment', 'id', '{updated_at}', '{reference}', 'UPDATE');
DROP TRIGGER audit_insert ON payments;
DROP TRIGGER audit_edits ON events;
ALTER TABLE payment_operations DROP COLUMN surplus;
ALTER TABLE payments DROP COLUMN surplus;
ALTER TABLE order_lines DROP COLUMN rates;
