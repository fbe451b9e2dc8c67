-- +goose Up
-- The processes that work jobs now, by the name that river_job.attempted_by
-- has of them. The jobs of one that is silent are given to others.
CREATE TABLE job_workers (
    id      text PRIMARY KEY,
    seen_at timestamptz NOT NULL
);

-- +goose Down
DROP TABLE job_workers;
