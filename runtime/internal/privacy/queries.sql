-- A person is an account, an address in lower case, or both: none is '00000000-…' or ''. What was bought with the address
-- by who was not signed in is theirs; what others bought with it who were, only where everyones is said.

-- name: Account :one
SELECT id, email, email_verified, name, role, locked, created_at FROM customers WHERE id = @id OR email = @email;

-- name: LockAccount :one
SELECT id, email, email_verified, role FROM customers WHERE id = @id OR email = @email FOR UPDATE;

-- name: WasErased :one
SELECT EXISTS (SELECT FROM erasures WHERE customer_id = @customer_id);

-- Who places an order of a cart waits, and finds it gone.
-- name: LockCarts :many
SELECT id FROM carts
WHERE customer_id = @customer_id OR (@email::text <> '' AND lower(content->>'email') = @email AND (customer_id IS NULL OR @everyones::boolean))
ORDER BY id FOR UPDATE;

-- An order is open until it has arrived, or is not to; and while something of it is announced to come back. The newest is
-- locked first, as is an order that was placed in exchange before the one whose goods came back.
-- name: LockOrders :many
SELECT o.id, o.number, o.cart_id,
       (o.state NOT IN ('delivered', 'completed', 'cancelled', 'refunded')
        OR EXISTS (SELECT FROM order_lines l WHERE l.order_id = o.id AND l.coming_back > l.returned))::boolean AS open
FROM orders o
WHERE o.customer_id = @customer_id OR (@email::text <> '' AND lower(o.email) = @email AND (o.customer_id IS NULL OR @everyones::boolean))
ORDER BY o.id DESC FOR UPDATE OF o;

-- name: PaymentsOf :many
SELECT id, reference FROM payments WHERE order_id = ANY(@order_ids::uuid[]);

-- name: InsertErasure :exec
INSERT INTO erasures (id, customer_id, orders, actor, created_at) VALUES (@id, @customer_id, @orders, @actor, @at);

-- name: ListErasures :many
SELECT id, customer_id, orders, actor, created_at FROM erasures WHERE id < @before::uuid ORDER BY id DESC LIMIT @page_size::integer;

-- What orders keep of their details, and of an address, is what tax is reckoned by.
-- name: EraseOrders :exec
UPDATE orders o SET customer_id = NULL, email = '', details =
    o.details - '{note, vatId, shippingAddress, billingAddress}'::text[] || jsonb_strip_nulls(jsonb_build_object(
        'vatId', left(o.details->>'vatId', 2),
        'shippingAddress', CASE jsonb_typeof(o.details->'shippingAddress') WHEN 'object' THEN jsonb_build_object(
            'country', o.details->'shippingAddress'->>'country', 'region', o.details->'shippingAddress'->>'region',
            'postalCode', left(o.details->'shippingAddress'->>'postalCode', 2)) END,
        'billingAddress', CASE jsonb_typeof(o.details->'billingAddress') WHEN 'object' THEN jsonb_build_object(
            'country', o.details->'billingAddress'->>'country', 'region', o.details->'billingAddress'->>'region',
            'postalCode', left(o.details->'billingAddress'->>'postalCode', 2)) END))
WHERE o.id = ANY(@order_ids::uuid[]);

-- name: ErasePayments :exec
UPDATE payments SET next_action = NULL WHERE id = ANY(@payment_ids::uuid[]) AND next_action IS NOT NULL;

-- name: EraseOperations :exec
UPDATE payment_operations
SET reason = CASE reason WHEN '' THEN '' ELSE '[erased]' END, actor = CASE WHEN actor LIKE 'customer %' THEN 'customer' ELSE actor END
WHERE payment_id = ANY(@payment_ids::uuid[]);

-- What is yet to be read of what a provider told is erased once it was, by EraseLatePaymentEvents.
-- name: ErasePaymentEvents :exec
UPDATE payment_events SET raw = '' WHERE reference = ANY(@refs::text[]) AND reference <> '' AND state IN ('applied', 'ignored') AND raw <> '';

-- name: EraseTracking :exec
UPDATE fulfillments SET tracking = '[]' WHERE order_id = ANY(@order_ids::uuid[]);

-- name: EraseReturns :exec
UPDATE returns SET note = CASE note WHEN '' THEN '' ELSE '[erased]' END, answer = CASE answer WHEN '' THEN '' ELSE '[erased]' END
WHERE order_id = ANY(@order_ids::uuid[]);

-- name: EraseRefunds :exec
UPDATE refunds SET reason = CASE reason WHEN '' THEN '' ELSE '[erased]' END WHERE order_id = ANY(@order_ids::uuid[]);

-- Whoever counts statistics holds it.
-- name: LockStatistics :exec
SELECT FROM statistics_progress FOR UPDATE;

-- Statistics go on to count buyers, and by a name that leads to nobody.
-- name: EraseBuyers :exec
WITH renamed AS MATERIALIZED (
    SELECT b.buyer, gen_random_uuid() AS fresh FROM (SELECT DISTINCT buyer FROM statistics_orders WHERE order_id = ANY(@order_ids::uuid[])) b
), orders AS (
    UPDATE statistics_orders o SET buyer = r.fresh FROM renamed r WHERE o.buyer = r.buyer
)
UPDATE statistics_buyers b SET buyer = r.fresh FROM renamed r WHERE b.buyer = r.buyer;

-- name: EraseUses :exec
UPDATE promotion_uses SET customer_key = '' WHERE order_id = ANY(@order_ids::uuid[]);

-- Whoever makes deliveries of events holds it, from before they are read.
-- name: LockWebhooks :exec
SELECT FROM event_readers WHERE name = 'webhooks' FOR UPDATE;

-- Deliveries before events, for it is their events that they are found by.
-- name: EraseDeliveries :exec
UPDATE webhook_deliveries d
SET erased = true, body = CASE WHEN v.actor <> 'store' AND without_words(v.data) <> v.data
    THEN jsonb_set(d.body::jsonb, '{data}', without_words(d.body::jsonb->'data'))::text ELSE d.body END
FROM events v, webhook_endpoints e
WHERE v.subject_id = ANY(@subject_ids::uuid[]) AND v.position > 0 AND d.endpoint_id = e.id AND d.position = v.position;

-- After deliveries: who stores an answer holds its delivery, and finds it erased.
-- name: EraseAnswers :exec
UPDATE webhook_attempts a SET answer = ''
FROM events v, webhook_endpoints e, webhook_deliveries d
WHERE v.subject_id = ANY(@subject_ids::uuid[]) AND v.position > 0 AND d.endpoint_id = e.id AND d.position = v.position
  AND a.delivery_id = d.id AND a.answer <> '';

-- The store's own words tell of nobody.
-- name: EraseEvents :exec
UPDATE events
SET data = CASE actor WHEN 'store' THEN data ELSE without_words(data) END, customer_id = NULL, actor = CASE WHEN actor LIKE 'customer %' THEN 'customer' ELSE actor END
WHERE subject_id = ANY(@subject_ids::uuid[]);

-- The database takes words out of the entries, and does nothing else, whatever is set here: see audit_keep.
-- name: EraseAudit :exec
UPDATE audit SET before = before 
WHERE object = 'order' AND object_id = ANY(@order_ids::text[])
  AND (audit_without_words(before) IS DISTINCT FROM before OR audit_without_words(after) IS DISTINCT FROM after);

-- name: DeleteCarts :exec
DELETE FROM carts WHERE id = ANY(@cart_ids::uuid[]);

-- name: DeleteTickets :exec
DELETE FROM socket_tickets WHERE customer_id = @customer_id;

-- Mails to the account's address about no order and no cart are the account's.
-- name: DeleteMails :many
DELETE FROM river_job
WHERE kind = 'email' AND state <> 'running' AND (
    args->>'customerId' = @customer_id::text OR args->>'orderId' = ANY(@order_ids::text[]) OR args->>'cartId' = ANY(@cart_ids::text[])
    OR @email::text <> '' AND lower(args->>'to') = @email
    OR @own_email::text <> '' AND lower(args->>'to') = @own_email AND NOT args ?| '{orderId, cartId}')
RETURNING id;

-- A mail that is being sent has its words already; it is not sent again.
-- name: EraseMails :exec
UPDATE river_job SET args = jsonb_build_object('template', args->'template', 'to', ''), errors = NULL
WHERE kind = 'email' AND state = 'running' AND (
    args->>'customerId' = @customer_id::text OR args->>'orderId' = ANY(@order_ids::text[]) OR args->>'cartId' = ANY(@cart_ids::text[])
    OR @email::text <> '' AND lower(args->>'to') = @email
    OR @own_email::text <> '' AND lower(args->>'to') = @own_email AND NOT args ?| '{orderId, cartId}');

-- name: DeleteHandovers :exec
DELETE FROM mail_handovers WHERE job_id = ANY(@job_ids::bigint[]);

-- Answers in which one of the names, of the person's things or address, is a JSON string: what is between two quotes.
-- name: DeleteAnswers :exec
DELETE FROM idempotency_keys k
WHERE k.scope LIKE @own_scope || '%' OR right(k.scope, 36) = ANY(@names::text[])
   OR EXISTS (SELECT FROM unnest(string_to_array(lower(convert_from(k.body, 'UTF8')), '"')) s WHERE s = ANY(@names::text[]));

-- name: EraseRefusals :exec
UPDATE import_refusals r SET detail = '[erased]', errors = '[]'
WHERE EXISTS (SELECT FROM unnest(@addresses::text[]) a WHERE position(a IN lower(r.detail || ' ' || r.errors::text)) > 0);

-- name: DeleteAttempts :exec
DELETE FROM attempts WHERE key = ANY(@keys::bytea[]);

-- Sessions, tokens and addresses go with it.
-- name: DeleteAccount :exec
DELETE FROM customers WHERE id = @id;

-- What a provider tells of the payments of erased orders.
-- name: EraseLatePaymentEvents :execrows
UPDATE payment_events e SET raw = ''
FROM payments p, orders o
WHERE lower(o.email) = '' AND p.order_id = o.id AND e.reference = p.reference AND e.reference <> ''
  AND e.received_at > @since::timestamptz AND e.state IN ('applied', 'ignored') AND e.raw <> '';

-- Carts of requests that were on their way as their account was erased.
-- name: DeleteLateCarts :execrows
DELETE FROM carts c USING erasures e
WHERE e.created_at > @since::timestamptz AND c.customer_id = e.customer_id;

-- name: Addresses :many
SELECT id, address, is_default FROM addresses WHERE customer_id = @customer_id ORDER BY id;

-- name: Sessions :many
SELECT id, created_at, expires_at FROM sessions WHERE customer_id = @customer_id AND id > @after ORDER BY id LIMIT @most::integer;

-- name: Carts :many
SELECT id, currency, content, order_id, touched_at, expires_at FROM carts
WHERE id > @after AND (customer_id = @customer_id
    OR (@email::text <> '' AND lower(content->>'email') = @email AND (customer_id IS NULL OR @everyones::boolean)))
ORDER BY id LIMIT @most::integer;

-- name: Orders :many
SELECT id FROM orders
WHERE id > @after AND (customer_id = @customer_id
    OR (@email::text <> '' AND lower(email) = @email AND (customer_id IS NULL OR @everyones::boolean)))
ORDER BY id LIMIT @most::integer;

-- name: Uses :many
SELECT u.order_id, u.promotion_id, coalesce(p.code, '')::text AS code, coalesce(p.title, '')::text AS title
FROM promotion_uses u LEFT JOIN promotions p ON p.id = u.promotion_id
WHERE u.order_id = ANY(@order_ids::uuid[])
ORDER BY u.order_id, u.promotion_id;

-- name: Mails :many
SELECT id, coalesce(args->>'template', '')::text AS template, state::text AS state, created_at, finalized_at FROM river_job
WHERE id > @after AND kind = 'email' AND (
    args->>'customerId' = @customer_id::text
    OR @email::text <> '' AND lower(args->>'to') = @email
    OR @own_email::text <> '' AND lower(args->>'to') = @own_email AND NOT args ?| '{orderId, cartId}')
ORDER BY id LIMIT @most::integer;

-- name: Entries :many
SELECT sequence, at, action, change, before, after FROM audit
WHERE object = 'customer' AND object_id = @customer_id::text AND sequence > @after
ORDER BY sequence LIMIT @most::integer;
