-- name: CountProducts :one
SELECT count(*) FROM products;

-- Writes of one product share the catalogue; those of the category tree and of collections, which change many
-- products, have it alone.
-- name: LockShared :exec
SELECT pg_advisory_xact_lock_shared(7203110);

-- name: LockAlone :exec
SELECT pg_advisory_xact_lock(7203110);

-- name: InsertProduct :exec
INSERT INTO products (id, version, slug, title, title_key, type, status, tax_category, marks, search, document, created_at, updated_at)
VALUES (@id, @version, @slug, @title, @title_key, @type, @status, @tax_category, @marks,
        setweight(to_tsvector('simple', @title_words::text), 'A') || setweight(to_tsvector('simple', @label_words::text), 'B')
        || setweight(to_tsvector('simple', @description_words::text), 'C'),
        @document, @created_at, @updated_at);

-- name: UpdateProduct :exec
UPDATE products
SET version = @version, slug = @slug, title = @title, title_key = @title_key, type = @type, status = @status,
    tax_category = @tax_category, marks = @marks,
    search = setweight(to_tsvector('simple', @title_words::text), 'A') || setweight(to_tsvector('simple', @label_words::text), 'B')
        || setweight(to_tsvector('simple', @description_words::text), 'C'),
    document = @document, updated_at = @updated_at
WHERE id = @id;

-- What the catalogue knows of the products' places in it, beside what they say themselves.
-- name: Relabel :exec
UPDATE products p
SET labels = p.marks || ARRAY(
        SELECT DISTINCT 'category:' || unnest(ARRAY[above.id::text, above.slug])
        FROM product_categories pc
        JOIN categories c ON c.id = pc.category_id
        JOIN categories above ON above.id = ANY(c.path)
        WHERE pc.product_id = p.id
    ) || ARRAY(
        SELECT 'collection:' || unnest(ARRAY[c.id::text, c.slug])
        FROM collection_products cp
        JOIN collections c ON c.id = cp.collection_id
        WHERE cp.product_id = p.id
    )
WHERE p.id = ANY(@ids::uuid[]);

-- name: LockProductByID :one
SELECT document FROM products WHERE id = @id FOR UPDATE;

-- name: LockProductBySlug :one
SELECT document FROM products WHERE slug = @slug FOR UPDATE;

-- name: LockProductsInCategory :many
SELECT p.document
FROM products p
JOIN product_categories pc ON pc.product_id = p.id
WHERE pc.category_id = @category_id
ORDER BY p.id
FOR UPDATE OF p;

-- name: UpdateDocuments :exec
UPDATE products p
SET version = n.version, status = n.status, document = n.document, updated_at = @updated_at
FROM (SELECT unnest(@ids::uuid[]) AS id, unnest(@versions::bigint[]) AS version, unnest(@statuses::text[]) AS status,
             unnest(@documents::text[]) AS document) n
WHERE p.id = n.id;

-- name: DeleteProduct :exec
DELETE FROM products WHERE id = @id;

-- A variant keeps its row, and with it its id, as long as its SKU is there.
-- name: UpsertVariants :exec
INSERT INTO variants (id, product_id, position, sku, options, weight_grams, track_stock, stock_policy)
SELECT unnest(@ids::uuid[]), @product_id::uuid, unnest(@positions::integer[]), unnest(@skus::text[]), unnest(@options::text[])::jsonb,
       unnest(@weights::bigint[]), unnest(@track_stock::boolean[]), unnest(@stock_policies::text[])
ON CONFLICT (id) DO UPDATE
SET position = excluded.position, options = excluded.options, weight_grams = excluded.weight_grams,
    track_stock = excluded.track_stock, stock_policy = excluded.stock_policy;

-- Takes away the variants that go, and of the others what is written anew.
-- name: ClearProduct :exec
WITH mine AS (SELECT v.id FROM variants v WHERE v.product_id = @product_id),
     p AS (DELETE FROM prices WHERE variant_id IN (SELECT mine.id FROM mine)),
     b AS (DELETE FROM bundle_items WHERE bundle_id IN (SELECT mine.id FROM mine)),
     pp AS (DELETE FROM product_prices WHERE product_prices.product_id = @product_id),
     pc AS (DELETE FROM product_categories WHERE product_categories.product_id = @product_id)
DELETE FROM variants WHERE variants.id = ANY(@gone::uuid[]);

-- Nothing is below zero, so -1 says that there is no such amount.
-- name: InsertPrices :exec
INSERT INTO prices (variant_id, currency, position, amount, compare_at, cost)
SELECT variant_id, currency, position, amount, nullif(compare_at, -1), nullif(cost, -1)
FROM (SELECT unnest(@variant_ids::uuid[]) AS variant_id, unnest(@currencies::text[]) AS currency, unnest(@positions::integer[]) AS position,
             unnest(@amounts::bigint[]) AS amount, unnest(@compare_ats::bigint[]) AS compare_at, unnest(@costs::bigint[]) AS cost) p;

-- name: InsertProductPrices :exec
INSERT INTO product_prices (product_id, currency, lowest)
SELECT v.product_id, p.currency, min(p.amount)
FROM variants v
JOIN prices p ON p.variant_id = v.id
WHERE v.product_id = @product_id
GROUP BY v.product_id, p.currency;

-- name: InsertBundleItems :exec
INSERT INTO bundle_items (bundle_id, component_id, position, quantity)
SELECT @bundle_id::uuid, unnest(@component_ids::uuid[]), unnest(@positions::integer[]), unnest(@quantities::bigint[]);

-- Which of the variants a bundle can be made of; they stay so until the transaction ends.
-- name: Components :many
SELECT v.id
FROM variants v
JOIN products p ON p.id = v.product_id
WHERE v.id = ANY(@ids::uuid[]) AND p.type <> 'bundle'
ORDER BY p.id
FOR SHARE OF p;

-- What a bundle can be made of has a SKU.
-- name: PartsBySKU :many
SELECT v.id, v.sku FROM variants v JOIN products p ON p.id = v.product_id WHERE v.sku = ANY(@skus::text[]) AND p.type <> 'bundle';

-- name: SKUsOf :many
SELECT id, sku FROM variants WHERE id = ANY(@ids::uuid[]);

-- name: AreComponents :one
SELECT EXISTS (SELECT 1 FROM bundle_items WHERE component_id = ANY(@ids::uuid[]));

-- name: InsertProductCategories :exec
INSERT INTO product_categories (product_id, category_id)
SELECT @product_id::uuid, unnest(@category_ids::uuid[]);

-- name: ProductCosts :many
SELECT v.id, v.sku, p.currency, p.cost::bigint AS cost
FROM variants v
JOIN prices p ON p.variant_id = v.id
WHERE v.product_id = @product_id AND p.cost IS NOT NULL
ORDER BY v.position, p.position;

-- name: DocumentsByID :many
SELECT id, status, document FROM products WHERE id = ANY(@ids::uuid[]);

-- name: DocumentsBySlug :many
SELECT id, slug, status, document FROM products WHERE slug = ANY(@slugs::text[]);

-- The page that is asked for most: 20 products, newest first, in one status, without a filter. Its size is written
-- out, since PostgreSQL plans a statement with an unknown LIMIT anew each time, which costs more than running it. The
-- page comes in one piece, in the order of the rows below.
-- name: ListNewest :one
SELECT coalesce(string_agg(n.document, ',') FILTER (WHERE n.place <= 20), '')::text AS documents,
       coalesce((array_agg(n.id) FILTER (WHERE n.place = 20))[1], '00000000-0000-0000-0000-000000000000')::uuid AS last,
       (count(*) > 20)::boolean AS more
FROM (
    SELECT p.id, p.document, row_number() OVER (ORDER BY p.id DESC) AS place
    FROM products p
    WHERE p.status = @status AND p.id < @before::uuid
    ORDER BY p.id DESC
    LIMIT 21
) n;

-- The lists below differ in their order alone. They are planned for each set of values (see filtering), so that a
-- condition that is not asked for costs nothing. key is what a cursor names beside the id.

-- name: FilterNewest :many
SELECT p.id, p.document, ''::text AS key
FROM products p
WHERE p.status = ANY(@statuses::text[]) AND p.labels @> @labels::text[]
  AND (@query::text = '' OR p.search @@ to_tsquery('simple', @query::text))
  AND (@currency::text = '' OR EXISTS (SELECT 1 FROM product_prices pp WHERE pp.product_id = p.id AND pp.currency = @currency::text AND pp.lowest BETWEEN @least::bigint AND @most::bigint))
  AND p.id < @after::uuid
ORDER BY p.id DESC
LIMIT @page_size::integer;

-- name: FilterOldest :many
SELECT p.id, p.document, ''::text AS key
FROM products p
WHERE p.status = ANY(@statuses::text[]) AND p.labels @> @labels::text[]
  AND (@query::text = '' OR p.search @@ to_tsquery('simple', @query::text))
  AND (@currency::text = '' OR EXISTS (SELECT 1 FROM product_prices pp WHERE pp.product_id = p.id AND pp.currency = @currency::text AND pp.lowest BETWEEN @least::bigint AND @most::bigint))
  AND p.id > @after::uuid
ORDER BY p.id
LIMIT @page_size::integer;

-- name: FilterByTitle :many
SELECT p.id, p.document, p.title_key AS key
FROM products p
WHERE p.status = ANY(@statuses::text[]) AND p.labels @> @labels::text[]
  AND (@query::text = '' OR p.search @@ to_tsquery('simple', @query::text))
  AND (@currency::text = '' OR EXISTS (SELECT 1 FROM product_prices pp WHERE pp.product_id = p.id AND pp.currency = @currency::text AND pp.lowest BETWEEN @least::bigint AND @most::bigint))
  AND (p.title_key, p.id) > (@after_title::text, @after::uuid)
ORDER BY p.title_key, p.id
LIMIT @page_size::integer;

-- name: FilterByTitleDown :many
SELECT p.id, p.document, p.title_key AS key
FROM products p
WHERE p.status = ANY(@statuses::text[]) AND p.labels @> @labels::text[]
  AND (@query::text = '' OR p.search @@ to_tsquery('simple', @query::text))
  AND (@currency::text = '' OR EXISTS (SELECT 1 FROM product_prices pp WHERE pp.product_id = p.id AND pp.currency = @currency::text AND pp.lowest BETWEEN @least::bigint AND @most::bigint))
  AND (p.title_key, p.id) < (@after_title::text, @after::uuid)
ORDER BY p.title_key DESC, p.id DESC
LIMIT @page_size::integer;

-- name: FilterByPrice :many
SELECT p.id, p.document, pp.lowest::text AS key
FROM product_prices pp
JOIN products p ON p.id = pp.product_id
WHERE p.status = ANY(@statuses::text[]) AND p.labels @> @labels::text[]
  AND (@query::text = '' OR p.search @@ to_tsquery('simple', @query::text))
  AND pp.currency = @currency::text AND pp.lowest BETWEEN @least::bigint AND @most::bigint
  AND (pp.lowest, pp.product_id) > (@after_price::bigint, @after::uuid)
ORDER BY pp.lowest, pp.product_id
LIMIT @page_size::integer;

-- name: FilterByPriceDown :many
SELECT p.id, p.document, pp.lowest::text AS key
FROM product_prices pp
JOIN products p ON p.id = pp.product_id
WHERE p.status = ANY(@statuses::text[]) AND p.labels @> @labels::text[]
  AND (@query::text = '' OR p.search @@ to_tsquery('simple', @query::text))
  AND pp.currency = @currency::text AND pp.lowest BETWEEN @least::bigint AND @most::bigint
  AND (pp.lowest, pp.product_id) < (@after_price::bigint, @after::uuid)
ORDER BY pp.lowest DESC, pp.product_id DESC
LIMIT @page_size::integer;

-- Best match first. The documents are read for the page alone. A rank is a real, which float8 holds exactly.
-- name: FilterByRank :many
SELECT p.id, p.document, m.rank::text AS key
FROM (
    SELECT r.id, r.rank
    FROM (
        SELECT p.id, ts_rank(p.search, to_tsquery('simple', @query::text))::float8 AS rank
        FROM products p
        WHERE p.status = ANY(@statuses::text[]) AND p.labels @> @labels::text[]
          AND p.search @@ to_tsquery('simple', @query::text)
          AND (@currency::text = '' OR EXISTS (SELECT 1 FROM product_prices pp WHERE pp.product_id = p.id AND pp.currency = @currency::text AND pp.lowest BETWEEN @least::bigint AND @most::bigint))
    ) r
    WHERE (r.rank, r.id) < (@after_rank::float8, @after::uuid)
    ORDER BY r.rank DESC, r.id DESC
    LIMIT @page_size::integer
) m
JOIN products p ON p.id = m.id
ORDER BY m.rank DESC, m.id DESC;

-- How many products have each label; the commonest first.
-- name: Facets :many
SELECT f.label::text AS label, count(*) AS products
FROM (
    SELECT unnest(p.labels) AS label
    FROM products p
    WHERE p.status = ANY(@statuses::text[]) AND p.labels @> @labels::text[]
      AND (@query::text = '' OR p.search @@ to_tsquery('simple', @query::text))
      AND (@currency::text = '' OR EXISTS (SELECT 1 FROM product_prices pp WHERE pp.product_id = p.id AND pp.currency = @currency::text AND pp.lowest BETWEEN @least::bigint AND @most::bigint))
) f
WHERE f.label NOT LIKE 'collection:%'
GROUP BY f.label
ORDER BY count(*) DESC, f.label
LIMIT @most_facets::integer;

-- Each variant of the products with what its stock is: its own, or for a bundle that of each component.
-- name: StockOfProducts :many
SELECT v.product_id, v.id, s.id AS stock_id, coalesce(b.quantity, 1)::bigint AS quantity, s.track_stock, (s.stock_policy = 'continue')::boolean AS oversell
FROM variants v
LEFT JOIN bundle_items b ON b.bundle_id = v.id
JOIN variants s ON s.id = coalesce(b.component_id, v.id)
WHERE v.product_id = ANY(@product_ids::uuid[]);

-- name: Sellables :many
SELECT v.id, w.currency::text AS currency, v.product_id, v.sku, v.options, v.weight_grams, v.track_stock, (v.stock_policy = 'continue')::boolean AS oversell,
       p.title, p.type, p.status, p.tax_category, coalesce(pr.amount, -1)::bigint AS price,
       ARRAY(SELECT cp.collection_id FROM collection_products cp WHERE cp.product_id = v.product_id)::uuid[] AS collection_ids,
       CASE WHEN p.type = 'bundle' THEN (
           SELECT json_agg(json_build_object('VariantID', c.id, 'Quantity', b.quantity, 'TrackStock', c.track_stock,
               'Continue', c.stock_policy = 'continue', 'WeightGrams', c.weight_grams, 'Shippable', cp.type <> 'digital') ORDER BY b.position)
           FROM bundle_items b
           JOIN variants c ON c.id = b.component_id
           JOIN products cp ON cp.id = c.product_id
           WHERE b.bundle_id = v.id
       ) END::json AS bundle
FROM (SELECT unnest(ARRAY(SELECT unnest(@ids::uuid[]))) AS id, unnest(ARRAY(SELECT unnest(@currencies::text[]))) AS currency) w
JOIN variants v ON v.id = w.id
JOIN products p ON p.id = v.product_id
LEFT JOIN prices pr ON pr.variant_id = v.id AND pr.currency = w.currency;

-- name: VariantsBySKU :many
SELECT id, product_id, sku, track_stock, (stock_policy = 'continue')::boolean AS oversell FROM variants WHERE sku = ANY(@skus::text[]);

-- name: VariantsByID :many
SELECT id, product_id, sku, track_stock, (stock_policy = 'continue')::boolean AS oversell FROM variants WHERE id = ANY(@ids::uuid[]);

-- name: VariantsOfProduct :many
SELECT id, product_id, sku, track_stock, (stock_policy = 'continue')::boolean AS oversell FROM variants WHERE product_id = @product_id ORDER BY position;

-- name: ListCategories :many
SELECT c.id, c.slug, c.name, c.description, c.path, c.position, c.seo,
       ARRAY(SELECT a.slug FROM categories a WHERE a.id = ANY(c.path) ORDER BY cardinality(a.path))::text[] AS slugs
FROM categories c
WHERE c.id < @before::uuid
ORDER BY c.id DESC
LIMIT @page_size::integer;

-- Each behind the one above it.
-- name: CategoriesFrom :many
SELECT c.id, c.slug, c.name, c.description, c.path, c.position, c.seo,
       ARRAY(SELECT a.slug FROM categories a WHERE a.id = ANY(c.path) ORDER BY cardinality(a.path))::text[] AS slugs
FROM categories c
WHERE c.path > coalesce((SELECT l.path FROM categories l WHERE l.id = @after::uuid), '{}')
ORDER BY c.path
LIMIT @most::integer;

-- name: CategoryByID :one
SELECT c.id, c.slug, c.name, c.description, c.path, c.position, c.seo,
       ARRAY(SELECT a.slug FROM categories a WHERE a.id = ANY(c.path) ORDER BY cardinality(a.path))::text[] AS slugs
FROM categories c
WHERE c.id = @id;

-- name: CategoryBySlug :one
SELECT c.id, c.slug, c.name, c.description, c.path, c.position, c.seo,
       ARRAY(SELECT a.slug FROM categories a WHERE a.id = ANY(c.path) ORDER BY cardinality(a.path))::text[] AS slugs
FROM categories c
WHERE c.slug = @slug;

-- name: CategoriesByID :many
SELECT id FROM categories WHERE id = ANY(@ids::uuid[]);

-- A path's last is NULL where the path is empty.
-- name: InsertCategory :exec
INSERT INTO categories (id, slug, name, description, parent_id, path, position, seo)
VALUES (@id, @slug, @name, @description, (@parent_path::uuid[])[cardinality(@parent_path::uuid[])], @parent_path::uuid[] || @id::uuid, @position, @seo);

-- name: UpdateCategory :exec
UPDATE categories
SET slug = @slug, name = @name, description = @description, position = @position, seo = @seo
WHERE id = @id;

-- The category and all below it hang below the parent path; depth is where the category stands in its path now.
-- name: MoveSubtree :exec
UPDATE categories
SET path = @parent_path::uuid[] || path[@depth::integer:cardinality(path)],
    parent_id = CASE WHEN id = @id::uuid THEN (@parent_path::uuid[])[cardinality(@parent_path::uuid[])] ELSE parent_id END
WHERE path @> ARRAY[@id::uuid];

-- The deepest level that the category or what is below it is on; the top of the tree is 1.
-- name: DeepestLevel :one
SELECT max(cardinality(path))::integer FROM categories WHERE path @> ARRAY[@id::uuid];

-- name: HasSubcategory :one
SELECT EXISTS (SELECT 1 FROM categories WHERE parent_id = @id::uuid);

-- name: DeleteCategory :exec
DELETE FROM categories WHERE id = @id;

-- name: ProductsInSubtree :many
SELECT DISTINCT pc.product_id
FROM product_categories pc
JOIN categories c ON c.id = pc.category_id
WHERE c.path @> ARRAY[@id::uuid];

-- name: ListCollections :many
SELECT c.id, c.slug, c.name, c.description, c.seo, (SELECT count(*) FROM collection_products cp WHERE cp.collection_id = c.id) AS product_count
FROM collections c
WHERE c.id < @before::uuid
ORDER BY c.id DESC
LIMIT @page_size::integer;

-- name: CollectionByID :one
SELECT c.id, c.slug, c.name, c.description, c.seo, (SELECT count(*) FROM collection_products cp WHERE cp.collection_id = c.id) AS product_count
FROM collections c
WHERE c.id = @id;

-- name: CollectionBySlug :one
SELECT c.id, c.slug, c.name, c.description, c.seo, (SELECT count(*) FROM collection_products cp WHERE cp.collection_id = c.id) AS product_count
FROM collections c
WHERE c.slug = @slug;

-- name: InsertCollection :exec
INSERT INTO collections (id, slug, name, description, seo) VALUES (@id, @slug, @name, @description, @seo);

-- name: UpdateCollection :exec
UPDATE collections SET slug = @slug, name = @name, description = @description, seo = @seo WHERE id = @id;

-- name: DeleteCollection :exec
DELETE FROM collections WHERE id = @id;

-- name: ProductsInCollection :many
SELECT product_id FROM collection_products WHERE collection_id = @collection_id;

-- name: DeleteCollectionProducts :exec
DELETE FROM collection_products WHERE collection_id = @collection_id;

-- name: InsertCollectionProducts :exec
INSERT INTO collection_products (collection_id, product_id)
SELECT @collection_id::uuid, unnest(@product_ids::uuid[]);

-- name: ProductsByID :many
SELECT id FROM products WHERE id = ANY(@ids::uuid[]);

-- name: LockProductsBySlug :many
SELECT slug, document FROM products WHERE slug = ANY(@slugs::text[]) ORDER BY id FOR UPDATE;

-- Whose variants have SKUs.
-- name: OwnersOfSKUs :many
SELECT sku, product_id FROM variants WHERE sku = ANY(@skus::text[]);

-- As UpsertVariants, of products that are new.
-- name: InsertVariants :exec
INSERT INTO variants (id, product_id, position, sku, options, weight_grams, track_stock, stock_policy)
SELECT unnest(@ids::uuid[]), unnest(@product_ids::uuid[]), unnest(@positions::integer[]), unnest(@skus::text[]), unnest(@options::text[])::jsonb,
       unnest(@weights::bigint[]), unnest(@track_stock::boolean[]), unnest(@stock_policies::text[]);

-- As InsertProductPrices, of many.
-- name: InsertPricesOfProducts :exec
INSERT INTO product_prices (product_id, currency, lowest)
SELECT v.product_id, p.currency, min(p.amount)
FROM variants v
JOIN prices p ON p.variant_id = v.id
WHERE v.product_id = ANY(@product_ids::uuid[])
GROUP BY v.product_id, p.currency;

-- name: InsertCategoriesOfProducts :exec
INSERT INTO product_categories (product_id, category_id)
SELECT unnest(@product_ids::uuid[]), unnest(@category_ids::uuid[]);

-- name: ProductsFrom :many
SELECT id, document FROM products WHERE id > @after ORDER BY id LIMIT @most::integer;

-- name: PricesOfProducts :many
SELECT v.id, p.currency, p.cost
FROM variants v
JOIN prices p ON p.variant_id = v.id
WHERE v.product_id = ANY(@product_ids::uuid[]) AND p.cost IS NOT NULL;

-- name: Currencies :many
SELECT DISTINCT currency FROM product_prices ORDER BY currency;

-- name: LockProductsByID :many
SELECT document FROM products WHERE id = ANY(@ids::uuid[]) ORDER BY id FOR UPDATE;
