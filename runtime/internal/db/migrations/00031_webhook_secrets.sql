-- +goose Up
-- That secrets which were to lapse sign no more at once leaves an entry; that one is to lapse follows from the new one's.
SELECT audit_table('webhook_secrets', 'webhook_secret', 'endpoint_id', '{}', '{secret}', 'UPDATE', 'OLD.expires_at IS NOT NULL');

-- +goose Down
DROP TRIGGER audit_update ON webhook_secrets;
