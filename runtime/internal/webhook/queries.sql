-- name: InsertEndpoint :exec
INSERT INTO webhook_endpoints (id, url, description, events, enabled, disabled_reason, created_at, updated_at)
VALUES (@id, @url, @description, @events, @enabled, @disabled_reason, @created_at, @created_at);

-- Who makes endpoints at once waits, so that they can be counted.
-- name: CountEndpoints :one
WITH alone AS (SELECT pg_advisory_xact_lock(hashtextextended('webhook endpoints', 0)))
SELECT count(e.id) FROM alone LEFT JOIN webhook_endpoints e ON true;

-- name: InsertSecret :exec
INSERT INTO webhook_secrets (endpoint_id, secret, created_at) VALUES (@endpoint_id, @secret, @created_at);

-- name: RetireSecrets :exec
UPDATE webhook_secrets SET expires_at = @expires_at WHERE endpoint_id = @endpoint_id AND expires_at IS NULL;

-- Those that were replaced and still sign: how many they are, and when the first of them lapses.
-- name: Lapsing :one
SELECT count(*), coalesce(min(expires_at), @now)::timestamptz AS first FROM webhook_secrets WHERE endpoint_id = @endpoint_id AND expires_at > @now::timestamptz;

-- name: RevokeSecrets :exec
UPDATE webhook_secrets SET expires_at = @now::timestamptz WHERE endpoint_id = @endpoint_id AND expires_at > @now::timestamptz;

-- name: ForgetSecrets :exec
DELETE FROM webhook_secrets WHERE endpoint_id = @endpoint_id AND expires_at < @now;

-- name: Endpoint :one
SELECT * FROM webhook_endpoints WHERE id = @id;

-- name: LockEndpoint :one
SELECT * FROM webhook_endpoints WHERE id = @id FOR NO KEY UPDATE;

-- name: Endpoints :many
SELECT * FROM webhook_endpoints WHERE id < @before ORDER BY id DESC LIMIT @page_size::integer;

-- name: UpdateEndpoint :exec
UPDATE webhook_endpoints
SET url = @url, description = @description, events = @events, enabled = @enabled, disabled_reason = @disabled_reason,
    failing_since = @failing_since, updated_at = @updated_at
WHERE id = @id;

-- name: DeleteEndpoint :execrows
DELETE FROM webhook_endpoints WHERE id = @id;

-- Nothing is told to who is not enabled any more.
-- name: Abandon :execrows
UPDATE webhook_deliveries SET state = 'abandoned', due_at = NULL, finished_at = @now::timestamptz
WHERE sequence IN (
    SELECT d.sequence FROM webhook_deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id
    WHERE NOT e.enabled AND d.state = 'pending' AND d.type <> 'webhook.test'
    LIMIT @most::integer
);

-- name: AnyToAbandon :one
SELECT EXISTS (
    SELECT FROM webhook_endpoints e JOIN webhook_deliveries d ON d.endpoint_id = e.id
    WHERE NOT e.enabled AND d.state = 'pending' AND d.type <> 'webhook.test'
);

-- name: ForgetOf :execrows
DELETE FROM webhook_deliveries WHERE sequence IN (SELECT d.sequence FROM webhook_deliveries d WHERE d.endpoint_id = @endpoint_id LIMIT @most::integer);

-- name: AnyEnabled :one
SELECT EXISTS (SELECT FROM webhook_endpoints WHERE enabled);

-- name: Listeners :many
SELECT id, events FROM webhook_endpoints WHERE enabled ORDER BY id FOR KEY SHARE;

-- Who adds to lines is alone at it, and who takes from them waits; see LeaveLines.
-- name: JoinLines :exec
SELECT pg_advisory_xact_lock(hashtextextended('webhook lines', 0));

-- name: LeaveLines :exec
SELECT pg_advisory_xact_lock_shared(hashtextextended('webhook lines', 0));

-- Behind one of the same endpoint and subject a delivery waits without a time.
-- name: InsertDeliveries :exec
INSERT INTO webhook_deliveries (id, endpoint_id, message_id, position, type, subject_id, body, state, due_at, created_at)
SELECT d.id, d.endpoint_id, d.message_id, d.position, d.type, d.subject_id, d.body, 'pending',
       CASE WHEN NOT d.behind AND NOT EXISTS (
           SELECT FROM webhook_deliveries e WHERE e.endpoint_id = d.endpoint_id AND e.subject_id = d.subject_id AND e.state = 'pending'
       ) THEN @now::timestamptz END,
       @now
FROM (
    SELECT unnest(@ids::uuid[]) AS id, unnest(@endpoint_ids::uuid[]) AS endpoint_id, unnest(@message_ids::uuid[]) AS message_id,
           unnest(@positions::bigint[]) AS position, unnest(@types::text[]) AS type, unnest(@subject_ids::uuid[]) AS subject_id,
           unnest(@bodies::text[]) AS body, unnest(@behind::boolean[]) AS behind
) d;

-- A few of each endpoint, and first of those of which least is in hand, so that who answers is not kept waiting by who does
-- not. What is taken is due again when who took it must have lost it.
-- name: Claim :many
WITH busy AS (
    SELECT unnest(@busy_ids::uuid[]) AS id, unnest(@in_hand::integer[]) AS in_hand
), room AS (
    SELECT e.id, e.enabled, coalesce(b.in_hand, 0) AS in_hand,
           least(@per_endpoint::integer, CASE WHEN e.failing_since IS NULL THEN 2 * @per_endpoint ELSE @per_failing::integer END - coalesce(b.in_hand, 0)) AS free
    FROM webhook_endpoints e LEFT JOIN busy b ON b.id = e.id
), due AS (
    SELECT d.sequence
    FROM room e CROSS JOIN LATERAL (
        SELECT w.sequence, w.due_at FROM webhook_deliveries w
        WHERE w.endpoint_id = e.id AND w.state = 'pending' AND w.due_at <= @now::timestamptz AND (e.enabled OR w.type = 'webhook.test')
        ORDER BY w.due_at
        LIMIT greatest(e.free, 0)
        FOR UPDATE SKIP LOCKED
    ) d
    WHERE e.free > 0
    ORDER BY e.in_hand + row_number() OVER (PARTITION BY e.id ORDER BY d.due_at), d.due_at
    LIMIT @most::integer
)
UPDATE webhook_deliveries d
SET attempts = d.attempts + 1, due_at = @lapses::timestamptz, first_attempt_at = coalesce(d.first_attempt_at, @now)
FROM due, webhook_endpoints e
WHERE d.sequence = due.sequence AND e.id = d.endpoint_id
RETURNING d.sequence, d.id, d.endpoint_id, d.message_id, d.type, d.subject_id, d.body, d.attempts, d.first_attempt_at::timestamptz AS first_attempt_at,
          d.created_at, e.url,
          ARRAY(SELECT s.secret FROM webhook_secrets s WHERE s.endpoint_id = e.id AND (s.expires_at IS NULL OR s.expires_at > @now) ORDER BY s.created_at DESC)::text[] AS secrets;

-- An attempt counts where nobody else has taken the delivery meanwhile.
-- name: Finish :exec
UPDATE webhook_deliveries d
SET state = f.state, due_at = f.due_at, finished_at = CASE WHEN f.state <> 'pending' THEN @now::timestamptz END
FROM (
    SELECT unnest(@sequences::bigint[]) AS sequence, unnest(@attempts::integer[]) AS attempt, unnest(@states::text[]) AS state,
           nullif(unnest(@due_at::timestamptz[]), 'epoch') AS due_at
) f
WHERE d.sequence = f.sequence AND d.attempts = f.attempt AND d.state = 'pending';

-- Whoever stands first in these lines now is due.
-- name: Advance :exec
UPDATE webhook_deliveries d SET due_at = @now::timestamptz
FROM (SELECT unnest(@endpoint_ids::uuid[]) AS endpoint_id, unnest(@subject_ids::uuid[]) AS subject_id) l
WHERE d.sequence = (
    SELECT w.sequence FROM webhook_deliveries w
    WHERE w.endpoint_id = l.endpoint_id AND w.subject_id = l.subject_id AND w.state = 'pending'
    ORDER BY w.sequence LIMIT 1
) AND d.due_at IS NULL;

-- An erasure waits for it, or it for the erasure.
-- name: InsertAttempts :exec
INSERT INTO webhook_attempts (delivery_id, attempt, at, url, request_headers, remote_address, duration_ms, status, answer, error)
SELECT a.delivery_id, a.attempt, a.at, a.url, a.request_headers::jsonb, a.remote_address, a.duration_ms, a.status,
       CASE WHEN d.erased THEN '' ELSE a.answer END, a.error
FROM (
    SELECT unnest(@delivery_ids::uuid[]) AS delivery_id, unnest(@attempts::integer[]) AS attempt, unnest(@at::timestamptz[]) AS at,
           unnest(@urls::text[]) AS url, unnest(@request_headers::text[]) AS request_headers, unnest(@remote_addresses::text[]) AS remote_address,
           unnest(@durations::integer[]) AS duration_ms, unnest(@statuses::integer[]) AS status, unnest(@answers::text[]) AS answer,
           unnest(@errors::text[]) AS error
) a JOIN webhook_deliveries d ON d.id = a.delivery_id
FOR SHARE OF d
ON CONFLICT DO NOTHING;

-- name: Recover :exec
UPDATE webhook_endpoints SET failing_since = NULL WHERE id = ANY(@ids::uuid[]) AND failing_since IS NOT NULL;

-- name: Fail :exec
UPDATE webhook_endpoints SET failing_since = @now::timestamptz WHERE id = ANY(@ids::uuid[]) AND failing_since IS NULL;

-- name: Hopeless :many
SELECT id FROM webhook_endpoints WHERE id = ANY(@ids::uuid[]) AND enabled AND failing_since <= @before::timestamptz;

-- name: Deliveries :many
SELECT sequence, id, endpoint_id, message_id, position, type, subject_id, state, attempts, due_at, created_at, finished_at
FROM webhook_deliveries
WHERE sequence < @before::bigint
  AND (@any_endpoint::boolean OR endpoint_id = @endpoint_id) AND (@state::text = '' OR state = @state)
  AND (@type::text = '' OR type = @type) AND (@any_subject::boolean OR subject_id = @subject_id)
ORDER BY sequence DESC
LIMIT @page_size::integer;

-- name: Delivery :one
SELECT * FROM webhook_deliveries WHERE id = @id;

-- name: LockDelivery :one
SELECT d.*, e.enabled FROM webhook_deliveries d JOIN webhook_endpoints e ON e.id = d.endpoint_id WHERE d.id = @id FOR NO KEY UPDATE OF d;

-- name: AttemptsOf :many
SELECT * FROM webhook_attempts WHERE delivery_id = @delivery_id ORDER BY attempt LIMIT 1000;

-- name: Redeliver :exec
UPDATE webhook_deliveries d SET state = 'pending', finished_at = NULL, first_attempt_at = NULL,
    due_at = CASE WHEN NOT EXISTS (
        SELECT FROM webhook_deliveries e WHERE e.endpoint_id = d.endpoint_id AND e.subject_id = d.subject_id AND e.state = 'pending' AND e.sequence < d.sequence
    ) THEN @now::timestamptz END
WHERE d.id = @id;

-- name: Forget :execrows
DELETE FROM webhook_deliveries WHERE sequence IN (
    SELECT f.sequence FROM webhook_deliveries f WHERE f.created_at < @before AND f.state <> 'pending' ORDER BY f.created_at LIMIT @most::integer
);
