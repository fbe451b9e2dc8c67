-- +goose Up
-- An event with a topic is told to those who listen: in the order of positions, which have no gaps. Who commits first
-- gets one first, so that it is given only afterwards; see package events.
ALTER TABLE events
    ADD COLUMN topic       text NOT NULL DEFAULT '',
    -- Whose it is: who may see what is public of it.
    ADD COLUMN customer_id uuid,
    ADD COLUMN position    bigint;
CREATE UNIQUE INDEX events_by_position ON events (position) WHERE position IS NOT NULL;
CREATE INDEX events_without_position ON events (sequence) WHERE position IS NULL AND topic <> '';
-- Those that are nobody's history, and are forgotten.
CREATE INDEX events_to_forget ON events (created_at) WHERE topic IN ('inventory', 'payments', 'jobs', 'catalog');

-- One row: the last position that was given, and the last of those that were forgotten.
CREATE TABLE event_position (
    id        boolean PRIMARY KEY DEFAULT true CHECK (id),
    position  bigint NOT NULL DEFAULT 0,
    forgotten bigint NOT NULL DEFAULT 0
);
INSERT INTO event_position DEFAULT VALUES;

-- +goose Down
DROP TABLE event_position;
DROP INDEX events_to_forget, events_without_position, events_by_position;
ALTER TABLE events DROP COLUMN position, DROP COLUMN customer_id, DROP COLUMN topic;
