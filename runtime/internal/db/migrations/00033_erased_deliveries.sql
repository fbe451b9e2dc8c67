-- +goose Up
-- It is about somebody who was erased: what is answered to it is not kept. That is no act of staff upon the delivery.
ALTER TABLE webhook_deliveries ADD COLUMN erased boolean NOT NULL DEFAULT false;
DROP TRIGGER audit_insert ON webhook_deliveries;
DROP TRIGGER audit_update ON webhook_deliveries;
SELECT audit_table('webhook_deliveries', 'webhook_delivery', 'id', '{sequence, body, erased}', '{}', 'INSERT', 'NEW.type = ''webhook.test''');
SELECT audit_table('webhook_deliveries', 'webhook_delivery', 'id', '{sequence, body, erased}', '{}', 'UPDATE', 'NEW.state = ''pending''');

-- +goose Down
DROP TRIGGER audit_update ON webhook_deliveries;
DROP TRIGGER audit_insert ON webhook_deliveries;
SELECT audit_table('webhook_deliveries', 'webhook_delivery', 'id', '{sequence, body}', '{}', 'INSERT', 'NEW.type = ''webhook.test''');
SELECT audit_table('webhook_deliveries', 'webhook_delivery', 'id', '{sequence, body}', '{}', 'UPDATE', 'NEW.state = ''pending''');
ALTER TABLE webhook_deliveries DROP COLUMN erased;
