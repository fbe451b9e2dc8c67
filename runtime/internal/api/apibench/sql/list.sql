SELECT coalesce(string_agg(n.document, ',') FILTER (WHERE n.place <= 20), '')::text AS documents,
       coalesce((array_agg(n.id) FILTER (WHERE n.place = 20))[1], '00000000-0000-0000-0000-000000000000')::uuid AS last,
       (count(*) > 20)::boolean AS more
FROM (
    SELECT p.id, p.document, row_number() OVER (ORDER BY p.id DESC) AS place
    FROM products p
    WHERE p.status = 'active' AND p.id < 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    ORDER BY p.id DESC
    LIMIT 21
) n;
