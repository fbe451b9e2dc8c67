-- name: InsertPayments :exec
INSERT INTO payments (id, order_id, provider, state, amount, currency, reference, created_at, updated_at)
SELECT unnest(@ids::uuid[]), unnest(@order_ids::uuid[]), unnest(@providers::text[]), unnest(@states::text[]), unnest(@amounts::bigint[]),
       unnest(@currencies::text[]), unnest(@refs::text[]), @at::timestamptz, @at::timestamptz;

-- name: PaymentsOf :many
SELECT id, order_id, provider, state, amount, currency, reference FROM payments WHERE order_id = @order_id ORDER BY id;

-- name: SetState :exec
UPDATE payments SET state = @state, updated_at = @at WHERE id = @id;
