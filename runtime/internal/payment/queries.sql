-- name: InsertPayments :exec
INSERT INTO payments (id, order_id, provider, state, amount, currency, reference, captured, refunded, next_action, created_at, updated_at)
SELECT unnest(@ids::uuid[]), unnest(@order_ids::uuid[]), unnest(@providers::text[]), unnest(@states::text[]), unnest(@amounts::bigint[]),
       unnest(@currencies::text[]), unnest(@refs::text[]), unnest(@captured::bigint[]), unnest(@refunded::bigint[]),
       nullif(unnest(@next_actions::text[]), '')::jsonb, @at::timestamptz, @at::timestamptz;

-- name: PaymentsOf :many
SELECT * FROM payments WHERE order_id = ANY(@order_ids::uuid[]) ORDER BY id;

-- name: LockPaymentsOf :many
SELECT * FROM payments WHERE order_id = @order_id ORDER BY id FOR UPDATE;

-- name: PaymentByID :one
SELECT * FROM payments WHERE id = @id;

-- name: LockPayment :one
SELECT * FROM payments WHERE id = @id FOR UPDATE;

-- name: PaymentByReference :one
SELECT * FROM payments WHERE provider = @provider AND reference = @reference AND reference <> '';

-- Of a provider, that it should know: made before a moment, and made or changed from another on, or not at their end.
-- name: PaymentsToCompare :many
SELECT id FROM payments
WHERE provider = @provider AND created_at < @before::timestamptz AND reference <> '' AND id > @after
  AND (created_at >= @since::timestamptz OR updated_at >= @since::timestamptz OR state IN ('pending', 'requires_action', 'authorized'))
ORDER BY id LIMIT @most::integer;

-- name: UpdatePayment :exec
UPDATE payments
SET state = @state, amount = @amount, captured = @captured, capturing = @capturing, refunded = @refunded, refunding = @refunding,
    refunded_outside = @refunded_outside, surplus = @surplus, undone = @undone, next_action = @next_action, updated_at = @at
WHERE id = @id;

-- name: InsertOperation :exec
INSERT INTO payment_operations (id, payment_id, refund_id, kind, amount, surplus, state, actor, reason, created_at, updated_at)
VALUES (@id, @payment_id, @refund_id, @kind, @amount, @surplus, @state, @actor, @reason, @at, @at);

-- name: OperationByID :one
SELECT * FROM payment_operations WHERE id = @id;

-- name: OperationByReference :one
SELECT * FROM payment_operations WHERE reference = @reference AND reference <> '';

-- name: OperationsOf :many
SELECT * FROM payment_operations WHERE payment_id = @payment_id ORDER BY id DESC LIMIT @most::integer;

-- What became of the operations of an order's refund, by whose payments they are of.
-- name: OutcomeOf :many
SELECT p.order_id, coalesce(sum(o.amount) FILTER (WHERE o.state = 'requested'), 0)::bigint AS requested,
       coalesce(sum(o.amount) FILTER (WHERE o.state = 'succeeded'), 0)::bigint AS succeeded,
       coalesce(sum(o.amount) FILTER (WHERE o.state = 'failed'), 0)::bigint AS failed
FROM payment_operations o JOIN payments p ON p.id = o.payment_id
WHERE o.refund_id = @refund_id::uuid
GROUP BY p.order_id;

-- name: OpenOf :many
SELECT id FROM payment_operations WHERE refund_id = @refund_id::uuid AND state = 'requested' ORDER BY id;

-- name: RefusedRefunds :one
SELECT coalesce(sum(amount), 0)::bigint FROM payment_operations WHERE payment_id = @payment_id AND kind = 'refund' AND state = 'failed';

-- name: AskingFor :one
SELECT EXISTS (SELECT FROM payment_operations WHERE payment_id = @payment_id AND kind = @kind AND state = 'requested');

-- name: CountAttempt :one
UPDATE payment_operations SET attempts = attempts + 1, updated_at = @at WHERE id = @id AND state = 'requested' RETURNING attempts;

-- name: ConcludeOperation :exec
UPDATE payment_operations SET state = @state, reference = @reference, failure = @failure, updated_at = @at WHERE id = @id;

-- name: StuckOperations :many
SELECT o.id, o.kind, o.attempts, o.payment_id, p.provider, p.reference, p.order_id
FROM payment_operations o JOIN payments p ON p.id = o.payment_id
WHERE o.state = 'requested' AND o.created_at < @before::timestamptz AND o.id > @after ORDER BY o.id LIMIT @most::integer;

-- name: InsertAttempt :exec
INSERT INTO payment_attempts (id, order_id, provider, amount, currency, created_at) VALUES (@id, @order_id, @provider, @amount, @currency, @at);

-- name: TakeAttempts :execrows
DELETE FROM payment_attempts WHERE id = ANY(@ids::uuid[]) AND NOT given_up;

-- name: ForgetAttempt :exec
DELETE FROM payment_attempts WHERE id = @id;

-- name: GiveUpAttempt :exec
UPDATE payment_attempts SET given_up = true WHERE id = @id;

-- name: GiveUpAttempts :many
UPDATE payment_attempts SET given_up = true, tried_at = @at
WHERE id IN (
    SELECT a.id FROM payment_attempts a WHERE a.given_up OR a.created_at < @before::timestamptz
    ORDER BY a.tried_at NULLS FIRST, a.created_at LIMIT @most::integer
)
RETURNING *;

-- name: AttemptIsOpen :one
SELECT EXISTS (SELECT FROM payment_attempts WHERE id = @id);

-- name: InsertEvent :one
INSERT INTO payment_events (id, provider, event, type, reference, raw, state, received_at, updated_at)
VALUES (@id, @provider, @event, @type, @reference, @raw, @state, @at, @at)
ON CONFLICT (provider, event) DO UPDATE SET updated_at = payment_events.updated_at
RETURNING id, state, (id = @id)::boolean AS inserted;

-- name: EventByID :one
SELECT * FROM payment_events WHERE id = @id;

-- name: SetEventState :exec
UPDATE payment_events SET state = @state, updated_at = @at WHERE id = @id AND state <> 'applied';

-- name: UnknownEvents :many
SELECT id, provider, event, type, reference, received_at FROM payment_events
WHERE state IN ('unknown', 'received') AND received_at < @before::timestamptz AND id > @after ORDER BY id LIMIT @most::integer;

-- name: ForgetEvents :execrows
DELETE FROM payment_events WHERE id IN (SELECT e.id FROM payment_events e WHERE e.received_at < @before::timestamptz LIMIT @most::integer);

-- name: ForgetDiscrepancies :exec
DELETE FROM payment_discrepancies WHERE resolved_at < @before::timestamptz;

-- name: FindDiscrepancy :one
INSERT INTO payment_discrepancies (id, kind, provider, reference, payment_id, order_id, detail, found_at, seen_at)
VALUES (@id, @kind, @provider, @reference, @payment_id, @order_id, @detail, @at, @at)
ON CONFLICT (kind, provider, reference) WHERE resolved_at IS NULL DO UPDATE SET seen_at = excluded.seen_at, detail = excluded.detail
RETURNING (id = @id)::boolean AS is_new;

-- name: DiscrepancyByReference :one
SELECT (resolved_at IS NOT NULL)::boolean AS resolved FROM payment_discrepancies
WHERE kind = @kind AND provider = @provider AND reference = @reference ORDER BY id DESC LIMIT 1;

-- name: ResolveByReference :exec
UPDATE payment_discrepancies SET resolved_at = @at WHERE kind = @kind AND provider = @provider AND reference = @reference AND resolved_at IS NULL;

-- name: ResolveDiscrepancies :many
UPDATE payment_discrepancies SET resolved_at = @at
WHERE resolved_at IS NULL AND seen_at < @before::timestamptz AND kind = ANY(@kinds::text[])
RETURNING id, kind;

-- name: ResolveDiscrepancy :execrows
UPDATE payment_discrepancies SET resolved_at = @at WHERE id = @id AND resolved_at IS NULL AND seen_at < @before::timestamptz;

-- Those of a provider that were not seen since a moment.
-- name: DiscrepanciesToLookAt :many
SELECT id, kind, reference, payment_id FROM payment_discrepancies
WHERE resolved_at IS NULL AND provider = @provider AND kind = ANY(@kinds::text[]) AND seen_at < @before::timestamptz AND id > @after
ORDER BY id LIMIT @most::integer;

-- name: OpenDiscrepancies :many
SELECT kind, count(*) FROM payment_discrepancies WHERE resolved_at IS NULL GROUP BY kind;

-- name: ListDiscrepancies :many
SELECT * FROM payment_discrepancies
WHERE id < @before::uuid AND (sqlc.narg('resolved')::boolean IS NULL OR (resolved_at IS NOT NULL) = sqlc.narg('resolved')::boolean)
ORDER BY id DESC LIMIT @page_size::integer;

-- Those after which nothing of the kind succeeded.
-- name: FailedOperations :many
SELECT sqlc.embed(o), sqlc.embed(p) FROM payment_operations o JOIN payments p ON p.id = o.payment_id
WHERE o.state = 'failed' AND o.id > @after
  AND (o.created_at >= @since::timestamptz OR EXISTS (SELECT FROM payment_discrepancies d WHERE d.payment_id = p.id AND d.resolved_at IS NULL))
  AND NOT EXISTS (SELECT FROM payment_operations l WHERE l.payment_id = o.payment_id AND l.kind = o.kind AND l.state = 'succeeded' AND l.id > o.id)
ORDER BY o.id LIMIT @most::integer;

-- Payments that are not undone and will bring nothing, and those that are and still hold money, while nothing is asked.
-- name: Unbalanced :many
SELECT p.* FROM payments p
WHERE p.updated_at < @before::timestamptz AND p.amount > 0 AND p.id > @after
  AND (p.created_at >= @since::timestamptz OR EXISTS (SELECT FROM payment_discrepancies d WHERE d.payment_id = p.id AND d.resolved_at IS NULL))
  AND (NOT p.undone AND p.state IN ('voided', 'failed')
       OR p.undone AND (p.state IN ('pending', 'requires_action', 'authorized') OR p.captured > p.refunded))
  AND NOT EXISTS (SELECT FROM payment_operations o WHERE o.payment_id = p.id AND o.state = 'requested')
ORDER BY p.id LIMIT @most::integer;

-- name: MarkUndone :exec
UPDATE payments SET undone = true WHERE id = ANY(@ids::uuid[]);

-- name: Redo :exec
UPDATE payments SET undone = false, updated_at = @at WHERE order_id = @order_id AND undone;
-- name: SumsOf :many
SELECT order_id, sum(captured)::bigint AS captured, sum(refunded)::bigint AS refunded
FROM payments WHERE order_id = ANY(@order_ids::uuid[])
GROUP BY order_id;
