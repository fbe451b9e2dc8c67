-- +goose Up
-- A job that failed, died or was cancelled is an event, in the transaction that says so: whose ever it is, River's own
-- included.
-- +goose StatementBegin
CREATE FUNCTION tell_of_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO events (id, type, topic, subject_id, actor, public, data, created_at)
    VALUES (
        gen_random_uuid(),
        CASE NEW.state WHEN 'discarded' THEN 'job.dead' WHEN 'cancelled' THEN 'job.cancelled' ELSE 'job.failed' END,
        'jobs',
        -- Jobs have numbers, and subjects UUIDs: of version 8, which says nothing of time.
        ('00000000-0000-8000-8000-' || lpad(to_hex(NEW.id), 12, '0'))::uuid,
        'store', false,
        jsonb_build_object('id', NEW.id, 'kind', NEW.kind, 'queue', NEW.queue, 'attempt', NEW.attempt, 'maxAttempts', NEW.max_attempts),
        clock_timestamp()
    );
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER tell_of_job AFTER UPDATE OF state ON river_job FOR EACH ROW
WHEN (NEW.state IN ('discarded', 'cancelled') AND OLD.state <> NEW.state
      OR NEW.state IN ('available', 'retryable') AND cardinality(NEW.errors) IS DISTINCT FROM cardinality(OLD.errors))
EXECUTE FUNCTION tell_of_job();

-- +goose Down
DROP TRIGGER tell_of_job ON river_job;
DROP FUNCTION tell_of_job;
