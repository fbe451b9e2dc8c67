-- +goose Up
-- What is brought into the store from a file, as far as it has come.
CREATE TABLE imports (
    id         uuid PRIMARY KEY,
    kind       text NOT NULL,
    format     text NOT NULL,
    dry_run    boolean NOT NULL,
    -- Who asked for it, as events say it.
    actor      text NOT NULL,
    -- The names of a CSV's columns, NULL until they have come.
    header     text[],
    -- How many bytes of the file are done with, and how many rows or lines those are.
    received   bigint NOT NULL DEFAULT 0,
    rows       bigint NOT NULL DEFAULT 0,
    created    bigint NOT NULL DEFAULT 0,
    updated    bigint NOT NULL DEFAULT 0,
    unchanged  bigint NOT NULL DEFAULT 0,
    refused    bigint NOT NULL DEFAULT 0,
    done       boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- The first records of an import that were not taken, and why.
CREATE TABLE import_refusals (
    import_id uuid NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
    -- The first of its rows or lines in the file, which begin with 1.
    row       bigint NOT NULL,
    code      text NOT NULL,
    detail    text NOT NULL,
    errors    jsonb NOT NULL,
    PRIMARY KEY (import_id, row)
);

SELECT audit_table('imports', 'import', 'id', '{}', '{}', 'INSERT');

-- +goose Down
DROP TABLE import_refusals;
DROP TABLE imports;
