-- +goose Up
-- What a buyer has left to do holds the secret by which a browser may do it: it is nobody's to read in the audit log.
DROP TRIGGER audit_update ON payments;
SELECT audit_table('payments', 'payment', 'id', '{updated_at}', '{reference, next_action}', 'UPDATE');
ALTER TABLE audit DISABLE TRIGGER audit_keep;
UPDATE audit SET before = before - 'next_action', after = after - 'next_action'
WHERE object = 'payment' AND (before ? 'next_action' OR after ? 'next_action');
ALTER TABLE audit ENABLE TRIGGER audit_keep;

CREATE INDEX audit_by_object_id ON audit (object_id, sequence);
CREATE INDEX webhook_deliveries_by_subject ON webhook_deliveries (subject_id, sequence);
CREATE INDEX webhook_deliveries_by_type ON webhook_deliveries (type, sequence);

-- +goose Down
DROP INDEX webhook_deliveries_by_type, webhook_deliveries_by_subject, audit_by_object_id;
DROP TRIGGER audit_update ON payments;
SELECT audit_table('payments', 'payment', 'id', '{updated_at}', '{reference}', 'UPDATE');
