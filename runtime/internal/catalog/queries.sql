-- name: InsertProduct :one
INSERT INTO products (id, slug, title, description, type, status, option_names)
VALUES (@id, @slug, @title, @description, @type, @status, @option_names)
RETURNING created_at, updated_at;

-- name: InsertVariants :exec
INSERT INTO variants (id, product_id, position, sku, options, price, currency)
SELECT unnest(@ids::uuid[]), @product_id::uuid, unnest(@positions::integer[]), unnest(@skus::text[]),
       unnest(@options::text[])::jsonb, unnest(@prices::bigint[]), unnest(@currencies::text[]);

-- name: ProductByID :many
SELECT p.id, p.slug, p.title, p.description, p.type, p.status, p.option_names, p.created_at, p.updated_at,
       0::float8 AS rank, v.id AS variant_id, v.sku, v.options, v.price, v.currency
FROM products p
JOIN variants v ON v.product_id = p.id
WHERE p.id = @id AND p.status = ANY(@statuses::text[])
ORDER BY v.position;

-- name: ProductBySlug :many
SELECT p.id, p.slug, p.title, p.description, p.type, p.status, p.option_names, p.created_at, p.updated_at,
       0::float8 AS rank, v.id AS variant_id, v.sku, v.options, v.price, v.currency
FROM products p
JOIN variants v ON v.product_id = p.id
WHERE p.slug = @slug AND p.status = ANY(@statuses::text[])
ORDER BY v.position;

-- A page of products, newest first, with every variant: one statement, however long the page.
-- name: ListProducts :many
SELECT p.id, p.slug, p.title, p.description, p.type, p.status, p.option_names, p.created_at, p.updated_at,
       0::float8 AS rank, v.id AS variant_id, v.sku, v.options, v.price, v.currency
FROM (
    SELECT products.id, slug, title, description, type, status, option_names, created_at, updated_at
    FROM products
    WHERE status = ANY(@statuses::text[]) AND products.id < @before::uuid
    ORDER BY products.id DESC
    LIMIT @page_size::integer
) p
JOIN variants v ON v.product_id = p.id
ORDER BY p.id DESC, v.position;

-- The same, best match first. A rank is a real, which float8 holds exactly, so that a cursor can name it.
-- name: SearchProducts :many
SELECT p.id, p.slug, p.title, p.description, p.type, p.status, p.option_names, p.created_at, p.updated_at,
       p.rank::float8 AS rank, v.id AS variant_id, v.sku, v.options, v.price, v.currency
FROM (
    SELECT m.id, m.slug, m.title, m.description, m.type, m.status, m.option_names, m.created_at, m.updated_at, m.rank
    FROM (
        SELECT products.id, slug, title, description, type, status, option_names, created_at, updated_at,
               ts_rank(search, to_tsquery('simple', @query::text))::float8 AS rank
        FROM products
        WHERE status = ANY(@statuses::text[]) AND search @@ to_tsquery('simple', @query::text)
    ) m
    WHERE (m.rank, m.id) < (@rank_before::float8, @before::uuid)
    ORDER BY m.rank DESC, m.id DESC
    LIMIT @page_size::integer
) p
JOIN variants v ON v.product_id = p.id
ORDER BY p.rank DESC, p.id DESC, v.position;

-- name: CountProducts :one
SELECT count(*) FROM products;
