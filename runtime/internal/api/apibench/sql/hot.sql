\set n 1
SELECT id AS variant, product_id AS product, gen_random_uuid() AS cart, gen_random_uuid() AS ord FROM bench_variants WHERE n = :n \gset
SELECT v.id, v.product_id, v.sku, v.options, v.weight_grams, v.track_stock, p.title, p.type, p.status, p.tax_category, pr.amount FROM variants v JOIN products p ON p.id = v.product_id LEFT JOIN prices pr ON pr.variant_id = v.id AND pr.currency = 'EUR' WHERE v.id = ANY(ARRAY[:variant]::uuid[]);
INSERT INTO carts (id, currency, content, expires_at) VALUES (:cart::uuid, 'EUR', '{"lines":[{"q":1}],"email":"ada@example.com","shippingAddress":{"name":"Ada","line1":"Street 1","city":"Berlin","country":"DE"}}', now() + interval '30 days');
SELECT variant_id, sum(on_hand - reserved) FROM inventory_levels JOIN locations p ON p.id = location_id AND p.active WHERE variant_id = ANY(ARRAY[:variant]::uuid[]) GROUP BY variant_id;
SELECT id, customer_id, currency, content, version, order_id, reserved_until, expires_at FROM carts WHERE id = :cart::uuid;
SELECT v.id, v.product_id, v.sku, v.options, v.weight_grams, v.track_stock, p.title, p.type, p.status, p.tax_category, pr.amount FROM variants v JOIN products p ON p.id = v.product_id LEFT JOIN prices pr ON pr.variant_id = v.id AND pr.currency = 'EUR' WHERE v.id = ANY(ARRAY[:variant]::uuid[]);
SELECT variant_id, sum(on_hand - reserved) FROM inventory_levels JOIN locations p ON p.id = location_id AND p.active WHERE variant_id = ANY(ARRAY[:variant]::uuid[]) GROUP BY variant_id;
BEGIN;
SELECT id, version, order_id FROM carts WHERE id = :cart::uuid FOR UPDATE;
SELECT l.variant_id, l.location_id AS location, l.on_hand, l.reserved FROM inventory_levels l JOIN locations p ON p.id = l.location_id WHERE l.variant_id = :variant::uuid FOR UPDATE OF l \gset
INSERT INTO orders (id, number, state, cart_id, email, currency, subtotal, discount, shipping, tax, total, item_count, details, created_at, updated_at) VALUES (:ord::uuid, nextval('order_numbers'), 'confirmed', :cart::uuid, 'ada@example.com', 'EUR', 1000, 0, 490, 238, 1490, 1, '{"shippingAddress":{"name":"Ada","line1":"Street 1","city":"Berlin","country":"DE"},"shippingMethod":"Parcel","discounts":[],"taxes":[]}', now(), now());
INSERT INTO order_lines (order_id, position, id, variant_id, product_id, sku, title, options, quantity, unit_price, subtotal, discount, tax, total) VALUES (:ord::uuid, 0, gen_random_uuid(), :variant::uuid, :product::uuid, 'P-1-S', 'Fine mug 1', '{"Size":"S"}', 1, 1000, 1000, 0, 160, 1000);
INSERT INTO payments (id, order_id, provider, state, amount, currency, reference, created_at, updated_at) VALUES (gen_random_uuid(), :ord::uuid, 'test', 'authorized', 1490, 'EUR', 'test', now(), now());
INSERT INTO events (id, type, subject_id, actor, public, data, created_at) VALUES (gen_random_uuid(), 'order.placed', :ord::uuid, 'guest', true, '{"to":"confirmed"}', now());
UPDATE inventory_levels SET reserved = reserved + 1 WHERE variant_id = :variant::uuid AND location_id = :location::uuid AND on_hand - reserved >= 1;
INSERT INTO stock_movements (id, variant_id, location_id, reason, on_hand, reserved, incoming, order_id, created_at) VALUES (gen_random_uuid(), :variant::uuid, :location::uuid, 'reserve', 0, 1, 0, :ord::uuid, now());
INSERT INTO stock_reservations (owner_id, variant_id, location_id, quantity, order_owned) VALUES (:ord::uuid, :variant::uuid, :location::uuid, 1, true);
UPDATE carts SET order_id = :ord::uuid, version = version + 1 WHERE id = :cart::uuid;
COMMIT;
