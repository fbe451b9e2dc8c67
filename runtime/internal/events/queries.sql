-- name: InsertEvents :exec
INSERT INTO events (id, type, subject_id, actor, public, data, created_at)
SELECT unnest(@ids::uuid[]), unnest(@types::text[]), unnest(@subject_ids::uuid[]), unnest(@actors::text[]),
       unnest(@public::boolean[]), unnest(@data::text[])::jsonb, unnest(@created_at::timestamptz[]);

-- name: EventsOf :many
SELECT id, type, actor, public, data, created_at
FROM events
WHERE subject_id = @subject_id AND (public OR @everything::boolean)
ORDER BY sequence
LIMIT 1000;
