-- name: InsertEvents :exec
INSERT INTO events (id, type, subject_id, actor, public, data, created_at, topic, customer_id)
SELECT unnest(@ids::uuid[]), unnest(@types::text[]), unnest(@subject_ids::uuid[]), unnest(@actors::text[]),
       unnest(@public::boolean[]), unnest(@data::text[])::jsonb, unnest(@created_at::timestamptz[]),
       unnest(@topics::text[]), nullif(unnest(@customer_ids::uuid[]), '00000000-0000-0000-0000-000000000000');

-- name: EventsOf :many
SELECT id, type, actor, public, data, created_at
FROM events
WHERE subject_id = @subject_id AND (public OR @everything::boolean)
ORDER BY sequence
LIMIT 1000;

-- name: AnyWithoutPosition :one
SELECT EXISTS (SELECT FROM events WHERE position IS NULL AND topic <> '');

-- The statement after this one sees all that was given a position before.
-- name: LockPosition :one
SELECT position, last_id FROM event_position FOR UPDATE;

-- name: GivePositions :many
WITH fresh AS (
    SELECT sequence, id, row_number() OVER (ORDER BY sequence) AS n
    FROM events
    WHERE position IS NULL AND topic <> ''
    ORDER BY sequence
    LIMIT @most::integer
), moved AS (
    UPDATE event_position
    SET position = position + (SELECT count(*) FROM fresh), last_id = coalesce((SELECT f.id FROM fresh f ORDER BY f.n DESC LIMIT 1), last_id)
    RETURNING position - (SELECT count(*) FROM fresh) AS before
)
UPDATE events e
SET position = moved.before + fresh.n
FROM fresh, moved
WHERE e.sequence = fresh.sequence
RETURNING e.position::bigint AS position, e.id, e.type, e.topic, e.subject_id, e.customer_id, e.public, e.actor, e.data, e.created_at;

-- name: Position :one
SELECT position FROM event_position;

-- The id is that of the event that has a position now.
-- name: Standing :one
SELECT p.position, p.forgotten, e.id
FROM event_position p LEFT JOIN events e ON e.position = @position::bigint;

-- Has positions go on after all that were ever told, so that none is told twice; what is before is to be read anew.
-- name: SkipPositions :exec
UPDATE event_position
SET position = greatest(position, @told::bigint) + 1, forgotten = greatest(position, @told::bigint) + 1
WHERE forgotten < @told::bigint;

-- name: EventsAfter :many
SELECT position::bigint AS position, id, type, topic, subject_id, customer_id, public, actor, data, created_at
FROM events
WHERE position > @after::bigint AND position IS NOT NULL
ORDER BY position
LIMIT @most::integer;

-- name: Forgotten :one
SELECT forgotten FROM event_position;

-- name: ForgetEvents :one
WITH gone AS (
    DELETE FROM events WHERE sequence IN (
        SELECT f.sequence FROM events f
        WHERE f.topic IN ('inventory', 'payments', 'jobs', 'catalog') AND f.created_at < @before
          AND f.position <= (SELECT min(r.position) FROM event_readers r)
        ORDER BY f.created_at
        LIMIT @most::integer
    )
    RETURNING position
), noted AS (
    UPDATE event_position SET forgotten = greatest(forgotten, (SELECT max(position) FROM gone))
    WHERE EXISTS (SELECT FROM gone)
)
SELECT count(*) FROM gone;

-- One process at a time reads for a reader.
-- name: LockReader :one
SELECT position FROM event_readers WHERE name = @name FOR UPDATE;

-- name: MoveReader :exec
UPDATE event_readers SET position = @position WHERE name = @name;

-- What there is and that nobody listens are of one moment: who comes to listen later is told of all that happens then.
-- name: SkipReader :exec
UPDATE event_readers r SET position = p.position
FROM event_position p
WHERE r.name = @name AND r.position < p.position AND (r.name <> 'webhooks' OR NOT EXISTS (SELECT FROM webhook_endpoints WHERE enabled));

-- When the first events happened that a reader has not read, with a position and before they have one.
-- name: FirstUnread :many
(SELECT e.created_at FROM events e, event_readers r WHERE r.name = @name AND e.position > r.position AND e.position IS NOT NULL ORDER BY e.position LIMIT 1)
UNION ALL
(SELECT e.created_at FROM events e WHERE e.position IS NULL AND e.topic <> '' ORDER BY e.sequence LIMIT 1);
