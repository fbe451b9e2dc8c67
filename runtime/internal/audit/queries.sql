-- A word that is an amount is looked for as it is written, as in the catalogue, and in minor units, as orders and payments
-- have theirs.
-- name: Entries :many
SELECT sequence, at, actor, action, change, object, object_id, before, after, address, user_agent, request_id
FROM audit
WHERE sequence < @before::bigint
  AND (@actor::text = '' OR actor = @actor) AND (@action::text = '' OR action = @action)
  AND (@object::text = '' OR object = @object) AND (@object_id::text = '' OR object_id = @object_id)
  AND (@request_id::text = '' OR request_id = @request_id)
  AND at >= @first::timestamptz AND at < @last::timestamptz
  AND (@words::text = '' OR words @@ (
      SELECT coalesce(string_agg('(' || w.query || ')', ' & '), '')::tsquery
      FROM (
          SELECT (plainto_tsquery('simple', t.word)
              || plainto_tsquery('simple', CASE WHEN t.word ~ '^[0-9]+[.][0-9]+$' THEN ltrim(replace(t.word, '.', ''), '0') ELSE '' END))::text AS query
          FROM regexp_split_to_table(@words, '[[:space:]]+') AS t (word)
      ) w
      WHERE w.query <> ''
  ))
ORDER BY sequence DESC
LIMIT @page_size::integer;

-- The database itself refuses to delete what is younger.
-- name: Forget :execrows
DELETE FROM audit WHERE sequence IN (SELECT a.sequence FROM audit a WHERE a.at < now() - interval '400 days' ORDER BY a.at LIMIT @most::integer);
