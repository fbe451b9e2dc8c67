-- River's tables as its own migrations make them (rivermigrate), for the
-- queries of this package; a test compares them with the database.
CREATE TYPE river_job_state AS ENUM ('available', 'cancelled', 'completed', 'discarded', 'pending', 'retryable', 'running', 'scheduled');

CREATE TABLE river_job (
    id            bigserial PRIMARY KEY,
    args          jsonb NOT NULL DEFAULT '{}',
    attempt       smallint NOT NULL DEFAULT 0,
    attempted_at  timestamptz,
    attempted_by  text[],
    created_at    timestamptz NOT NULL DEFAULT now(),
    errors        jsonb[],
    finalized_at  timestamptz,
    kind          text NOT NULL,
    max_attempts  smallint NOT NULL DEFAULT 25,
    metadata      jsonb NOT NULL DEFAULT '{}',
    priority      smallint NOT NULL DEFAULT 1,
    queue         text NOT NULL DEFAULT 'default',
    state         river_job_state NOT NULL DEFAULT 'available',
    scheduled_at  timestamptz NOT NULL DEFAULT now(),
    tags          varchar(255)[] NOT NULL DEFAULT '{}',
    unique_key    bytea,
    unique_states bit(8)
);
