-- +goose Up
-- That secrets which were to lapse sign no more at once leaves an entry; that one is to lapse follows from the new one's.
SELECT audit_table('webhook_secrets', 'webhook_secret', 'endpoint_id', '{}', '{secret}', 'UPDATE', 'OLD.expires_at IS NOT NULL');

-- What of orders was paid with what came back of others. It is no discount.
ALTER TABLE statistics_orders ADD COLUMN exchanged bigint NOT NULL DEFAULT 0;
ALTER TABLE statistics_sales ADD COLUMN exchanged bigint NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE statistics_sales DROP COLUMN exchanged;
ALTER TABLE statistics_orders DROP COLUMN exchanged;
DROP TRIGGER audit_update ON webhook_secrets;
