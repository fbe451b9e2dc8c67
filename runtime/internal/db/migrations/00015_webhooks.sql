-- +goose Up
-- Who reads every event once, whichever of its processes is at it, and how far it has come. No event is forgotten that
-- one of them has yet to read.
CREATE TABLE event_readers (
    name     text PRIMARY KEY,
    position bigint NOT NULL
);
INSERT INTO event_readers SELECT 'webhooks', position FROM event_position;

-- Where others are told of events.
CREATE TABLE webhook_endpoints (
    id              uuid PRIMARY KEY,
    url             text NOT NULL,
    description     text NOT NULL,
    events          text[] NOT NULL,
    enabled         boolean NOT NULL,
    -- Why it is not enabled: requested, failing or gone.
    disabled_reason text NOT NULL DEFAULT '',
    -- Since when nothing but failures came back; null after a success.
    failing_since   timestamptz,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);

-- What deliveries are signed with: the newest, and those before it until they lapse.
CREATE TABLE webhook_secrets (
    endpoint_id uuid NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE,
    secret      text NOT NULL,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz,
    PRIMARY KEY (endpoint_id, secret)
);

-- What is told to whom. Those of one endpoint and subject that are pending form a line, by sequence: only its first has
-- a time at which it is due, the others have none until those before them are done with.
CREATE TABLE webhook_deliveries (
    sequence         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id               uuid NOT NULL UNIQUE,
    endpoint_id      uuid NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE,
    -- What the receiver knows it by, also when it comes again.
    message_id       uuid NOT NULL,
    position         bigint NOT NULL,
    type             text NOT NULL,
    subject_id       uuid NOT NULL,
    body             text NOT NULL,
    state            text NOT NULL CHECK (state IN ('pending', 'succeeded', 'failed', 'abandoned')),
    attempts         integer NOT NULL DEFAULT 0,
    -- When it is tried, or when who has it in hand has lost it.
    due_at           timestamptz,
    -- When the attempts for which there are three days began.
    first_attempt_at timestamptz,
    created_at       timestamptz NOT NULL,
    finished_at      timestamptz
);
CREATE UNIQUE INDEX webhook_deliveries_once ON webhook_deliveries (endpoint_id, position) WHERE position > 0;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, due_at) WHERE state = 'pending' AND due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_lines ON webhook_deliveries (endpoint_id, subject_id, sequence) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_of ON webhook_deliveries (endpoint_id, sequence);
CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (state, sequence);
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at);

-- What was sent and what came back.
CREATE TABLE webhook_attempts (
    delivery_id     uuid NOT NULL REFERENCES webhook_deliveries (id) ON DELETE CASCADE,
    attempt         integer NOT NULL,
    at              timestamptz NOT NULL,
    url             text NOT NULL,
    request_headers jsonb NOT NULL,
    remote_address  text NOT NULL,
    duration_ms     integer NOT NULL,
    -- 0 where nothing came back.
    status          integer NOT NULL,
    answer          text NOT NULL,
    error           text NOT NULL,
    PRIMARY KEY (delivery_id, attempt)
);

-- +goose Down
DROP TABLE webhook_attempts, webhook_deliveries, webhook_secrets, webhook_endpoints, event_readers;
