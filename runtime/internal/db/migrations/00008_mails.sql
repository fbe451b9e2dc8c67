-- +goose Up
-- The mails that were handed to their server, from just before the last dot on.
-- A mail with a row and no sent_at may have been delivered or not.
CREATE TABLE mail_handovers (
    -- The job of River whose mail it is.
    job_id       bigint PRIMARY KEY,
    -- When the attempt began that hands it over, which names that attempt: its
    -- number does not, for one that was cut short is not counted.
    attempted_at timestamptz NOT NULL,
    -- How many failures the job had before.
    failures     integer NOT NULL,
    handed_at    timestamptz NOT NULL,
    sent_at      timestamptz
);

-- +goose Down
DROP TABLE mail_handovers;
