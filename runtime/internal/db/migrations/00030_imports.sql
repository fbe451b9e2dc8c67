-- +goose Up
-- What the records that an import has had so far are known by, so that a file has each once. There is no reference to
-- imports: what has ended is removed some rows at a time.
CREATE TABLE import_keys (
    import_id uuid NOT NULL,
    -- The beginning of a SHA-256 of the import and the key.
    hash      uuid NOT NULL,
    -- The first of the record's rows or lines in the file, which begin with 1.
    row       bigint NOT NULL,
    PRIMARY KEY (import_id, hash)
);

-- Who brought an order in, or placed it in exchange.
SELECT audit_table('orders', 'order', 'id', '{updated_at}', '{email, details}', 'INSERT');

-- +goose Down
DROP TRIGGER audit_insert ON orders;
DROP TABLE import_keys;
