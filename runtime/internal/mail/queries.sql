-- name: Standing :one
-- What is known of a job's mail; over is whether whoever handed it over has
-- said by now what came of it, or never will.
SELECT attempted_at, failures, (sent_at IS NOT NULL)::boolean AS sent, (handed_at < now() - @term::interval)::boolean AS over
FROM mail_handovers WHERE job_id = @job_id;

-- name: HandOver :execrows
-- Nothing where the attempt has the job no more, or another has handed the mail
-- over since: another than the one that was found, in doubt.
INSERT INTO mail_handovers AS h (job_id, attempted_at, failures, handed_at)
SELECT j.id, j.attempted_at, coalesce(cardinality(j.errors), 0), now()
FROM river_job j
WHERE j.id = @job_id AND j.state = 'running' AND j.attempted_at = @attempted_at
ON CONFLICT (job_id) DO UPDATE SET attempted_at = excluded.attempted_at, failures = excluded.failures, handed_at = excluded.handed_at
WHERE h.sent_at IS NULL AND h.attempted_at = sqlc.narg('doubted')::timestamptz;

-- name: Sent :exec
UPDATE mail_handovers SET sent_at = now() WHERE job_id = @job_id AND attempted_at = @attempted_at;

-- name: TakeBack :exec
DELETE FROM mail_handovers WHERE job_id = @job_id AND attempted_at = @attempted_at AND sent_at IS NULL;

-- name: Forget :execrows
-- What is known of mails whose jobs are forgotten.
DELETE FROM mail_handovers h WHERE NOT EXISTS (SELECT FROM river_job j WHERE j.id = h.job_id);
