\set n random(0, :products - 1)
SELECT id, document FROM products WHERE slug = 'product-' || :n::text AND status = 'active';
