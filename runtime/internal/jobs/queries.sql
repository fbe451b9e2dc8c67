-- name: Insert :exec
INSERT INTO river_job (kind, queue, args, metadata, max_attempts, scheduled_at, state)
SELECT unnest(@kinds::text[]), unnest(@queues::text[]), unnest(@args::text[])::jsonb, unnest(@metadata::text[])::jsonb,
       unnest(@max_attempts::smallint[]), unnest(@scheduled_at::timestamptz[]), unnest(@states::text[])::river_job_state;

-- name: OneAtATime :exec
SELECT pg_advisory_xact_lock(hashtextextended(@lock_name, 0));

-- name: WithMetadata :one
-- The newest job whose metadata has all of the given.
SELECT * FROM river_job WHERE metadata @> sqlc.arg(wanted)::jsonb ORDER BY id DESC LIMIT 1;

-- name: FinishedWithMetadata :one
SELECT * FROM river_job
WHERE metadata @> sqlc.arg(wanted)::jsonb AND finalized_at IS NOT NULL
ORDER BY finalized_at DESC, id DESC LIMIT 1;

-- name: CountDead :one
SELECT count(*) FROM river_job WHERE metadata @> sqlc.arg(wanted)::jsonb AND state IN ('discarded', 'cancelled');

-- name: Job :one
SELECT * FROM river_job WHERE id = @id;

-- name: Jobs :many
-- The newest first. An empty list of states or names is every one.
SELECT * FROM river_job
WHERE id < @before
  AND (cardinality(@states::text[]) = 0 OR state = ANY(CAST(@states::text[] AS river_job_state[])))
  AND (@kind::text = '' OR kind = @kind)
  AND (@queue::text = '' OR queue = @queue)
ORDER BY id DESC
LIMIT @most;

-- name: Retry :many
-- Has the job @id or, where that is 0, the first @most dead ones of a kind or
-- of all worked again. By hand, so however often the kind may run; one whose
-- queue was its own goes to another.
UPDATE river_job
SET state = 'available', finalized_at = NULL, scheduled_at = @now::timestamptz,
    max_attempts = GREATEST(max_attempts, attempt + 1), unique_key = NULL, unique_states = NULL,
    queue = CASE WHEN queue = ANY(@queues::text[]) THEN queue ELSE @otherwise::text END
WHERE id IN (
    SELECT j.id FROM river_job j
    WHERE (@id::bigint = 0 OR j.id = @id)
      AND (j.state IN ('discarded', 'cancelled') OR @id <> 0 AND j.state IN ('retryable', 'scheduled'))
      AND (@id <> 0 OR j.finalized_at <= @now)
      AND (@kind::text = '' OR j.kind = @kind)
    ORDER BY j.id LIMIT @most FOR UPDATE SKIP LOCKED)
RETURNING id;

-- name: Purge :execrows
DELETE FROM river_job WHERE id IN (
    SELECT j.id FROM river_job j
    WHERE j.state IN ('discarded', 'cancelled') AND (@kind::text = '' OR j.kind = @kind)
    ORDER BY j.id LIMIT @most FOR UPDATE SKIP LOCKED);

-- name: Remove :one
-- A job that is not being worked; whether it was.
WITH found AS (SELECT j.id, j.state FROM river_job j WHERE j.id = @id FOR UPDATE),
     gone AS (DELETE FROM river_job d USING found WHERE d.id = found.id AND found.state <> 'running')
SELECT (found.state = 'running')::boolean AS running FROM found;

-- name: Close :exec
UPDATE river_job
SET state = 'discarded', finalized_at = now(), queue = @otherwise,
    errors = array_append(errors, jsonb_build_object('at', now(), 'attempt', attempt, 'error', @error::text, 'trace', ''))
WHERE id = @id AND finalized_at IS NULL;

-- name: Adopt :exec
-- Puts a dead job into a queue that has workers, should somebody retry it.
UPDATE river_job SET queue = @queue WHERE id = @id AND state IN ('discarded', 'cancelled');

-- name: Waiting :many
-- By queue, how many could be worked now, counted up to @most, and since when
-- the first could be: @now where there is none.
SELECT q.name::text AS queue,
       (SELECT count(*) FROM (
            SELECT FROM river_job j WHERE j.state = 'available' AND j.queue = q.name AND j.scheduled_at <= @now LIMIT @most) counted)::bigint AS waiting,
       (SELECT count(*) FROM river_job j WHERE j.state = 'running' AND j.queue = q.name)::bigint AS running,
       coalesce((SELECT min(first.at) FROM generate_series(1, 4) AS p (priority), LATERAL (
            SELECT j.scheduled_at AS at FROM river_job j
            WHERE j.state = 'available' AND j.queue = q.name AND j.priority = p.priority AND j.scheduled_at <= @now
            ORDER BY j.scheduled_at LIMIT 1) first), @now)::timestamptz AS oldest
FROM unnest(@queues::text[]) WITH ORDINALITY AS q (name, position)
ORDER BY q.position;

-- name: Dead :one
SELECT count(*) FROM river_job WHERE state IN ('discarded', 'cancelled');

-- name: Arrive :exec
INSERT INTO job_workers (id, seen_at) VALUES (@id, now());

-- name: Beat :execrows
UPDATE job_workers SET seen_at = now() WHERE id = @id;

-- name: Leave :exec
DELETE FROM job_workers WHERE id = @id;

-- name: ForgetSilent :exec
DELETE FROM job_workers WHERE seen_at < now() - @silence::interval;

-- name: Rescue :many
-- Gives others the jobs of workers that are not there any more. The attempt
-- counts, for it may have been what ended the worker. A job in a queue of its
-- own has no other worker: it is dead, also where it waits for an attempt, and
-- in a queue that has workers, should somebody retry it.
UPDATE river_job
SET state = CASE WHEN attempt >= max_attempts OR NOT queue = ANY(@queues::text[]) THEN 'discarded'::river_job_state ELSE 'available'::river_job_state END,
    finalized_at = CASE WHEN attempt >= max_attempts OR NOT queue = ANY(@queues::text[]) THEN now() END,
    scheduled_at = CASE WHEN attempt >= max_attempts OR NOT queue = ANY(@queues::text[]) THEN scheduled_at ELSE now() END,
    queue = CASE WHEN queue = ANY(@queues::text[]) THEN queue ELSE @otherwise::text END,
    errors = array_append(errors, jsonb_build_object('at', now(), 'attempt', attempt, 'error', @error::text, 'trace', ''))
WHERE id IN (
    SELECT j.id FROM river_job j
    WHERE j.state = 'running'
          AND NOT EXISTS (SELECT FROM job_workers w WHERE w.id = j.attempted_by[array_upper(j.attempted_by, 1)])
       OR j.state IN ('available', 'retryable', 'scheduled') AND NOT j.queue = ANY(@queues::text[])
          AND coalesce(j.attempted_at, j.created_at) < now() - @silence::interval
          AND NOT EXISTS (SELECT FROM job_workers w WHERE starts_with(w.id, j.queue || '_'))
    FOR UPDATE SKIP LOCKED)
RETURNING id, kind, queue, (state = 'discarded')::boolean AS dead;
