-- +goose Up
-- The event of the position, by which whoever hears of the next one knows that it is the next of the same past.
ALTER TABLE event_position ADD COLUMN last_id uuid;
UPDATE event_position SET last_id = (SELECT e.id FROM events e WHERE e.position = event_position.position);

-- +goose Down
ALTER TABLE event_position DROP COLUMN last_id;
