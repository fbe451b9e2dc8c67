-- +goose Up
-- The cart by whose token a guest is known as the buyer, where that is not cart_id: an order that was placed in exchange
-- has no cart, and takes over that of the first. Null also in a customer's order, which no token opens.
ALTER TABLE orders ADD COLUMN guest_cart_id uuid;
WITH RECURSIVE placed AS (
    SELECT r.exchange_id AS id, o.cart_id FROM returns r JOIN orders o ON o.id = r.order_id
    WHERE r.exchange_id IS NOT NULL AND NOT EXISTS (SELECT FROM returns b WHERE b.exchange_id = o.id)
    UNION ALL
    SELECT r.exchange_id, p.cart_id FROM placed p JOIN returns r ON r.order_id = p.id WHERE r.exchange_id IS NOT NULL
)
UPDATE orders o SET guest_cart_id = p.cart_id FROM placed p WHERE p.id = o.id AND o.customer_id IS NULL AND o.email <> '';

-- +goose Down
ALTER TABLE orders DROP COLUMN guest_cart_id;
