-- name: InsertImport :exec
INSERT INTO imports (id, kind, format, dry_run, actor, created_at, updated_at)
VALUES (@id, @kind, @format, @dry_run, @actor, @at, @at);

-- name: ImportByID :one
SELECT * FROM imports WHERE id = @id;

-- name: LockImport :one
SELECT * FROM imports WHERE id = @id FOR UPDATE;

-- name: ListImports :many
SELECT * FROM imports WHERE id < @before AND kind = ANY(@kinds::text[]) ORDER BY id DESC LIMIT @page_size;

-- name: MoveImport :one
UPDATE imports
SET header = @header, received = @received, rows = rows + @rows, created = created + @created, updated = updated + @updated,
    unchanged = unchanged + @unchanged, refused = refused + @refused, done = @done, updated_at = @at
WHERE id = @id
RETURNING *;

-- name: InsertRefusals :exec
INSERT INTO import_refusals (import_id, row, code, detail, errors)
SELECT @import_id::uuid, unnest(@rows::bigint[]), unnest(@codes::text[]), unnest(@details::text[]), unnest(@errors::text[])::jsonb;

-- name: ListRefusals :many
SELECT row, code, detail, errors FROM import_refusals WHERE import_id = @import_id AND row > @after ORDER BY row LIMIT @page_size::integer;

-- Keeps what records are known by, and says in which row the import had each first. Whatever the planner knows of the
-- table, a conflict is found by its key.
-- name: ClaimKeys :many
INSERT INTO import_keys (import_id, hash, row)
SELECT @import_id::uuid, unnest(@hashes::uuid[]), unnest(@rows::bigint[])
ON CONFLICT (import_id, hash) DO UPDATE SET row = import_keys.row
RETURNING hash, row;

-- What imports that have ended, or are forgotten, knew records by.
-- name: ForgetKeys :execrows
DELETE FROM import_keys
WHERE (import_id, hash) IN (
    SELECT k.import_id, k.hash FROM import_keys k WHERE NOT EXISTS (SELECT FROM imports i WHERE i.id = k.import_id AND NOT i.done) LIMIT @most::integer
);

-- name: ForgetImports :execrows
DELETE FROM imports WHERE updated_at < @before;
