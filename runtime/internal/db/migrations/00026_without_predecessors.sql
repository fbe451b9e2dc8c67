-- +goose Up
-- What served versions that ran beside their successors during an upgrade, and were never released: the sums of sales
-- before the statistics, and the writing of states without amounts and packages.
DROP TABLE sales_rollup, sales_daily;
DROP TRIGGER payment_amounts ON payments;
DROP FUNCTION payment_amounts;
DROP TRIGGER order_lines_follow ON orders;
DROP FUNCTION order_lines_follow;

-- By it those sums found what had changed, and nothing else did.
DROP INDEX orders_by_change;

-- +goose Down
CREATE INDEX orders_by_change ON orders USING brin (updated_at) WITH (autosummarize = on);

-- +goose StatementBegin
CREATE FUNCTION order_lines_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE order_lines SET packed = quantity, shipped = quantity, delivered = CASE NEW.state WHEN 'shipped' THEN delivered ELSE quantity END
    WHERE order_id = NEW.id AND (shipped < quantity OR NEW.state <> 'shipped' AND delivered < quantity);
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER order_lines_follow AFTER UPDATE OF state ON orders FOR EACH ROW
WHEN (NEW.state <> OLD.state AND NEW.state IN ('shipped', 'delivered'))
EXECUTE FUNCTION order_lines_follow();

-- +goose StatementBegin
CREATE FUNCTION payment_amounts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.captured := CASE WHEN NEW.captured = 0 THEN NEW.amount ELSE NEW.captured END;
    NEW.refunded := CASE WHEN NEW.state = 'refunded' THEN NEW.captured ELSE NEW.refunded END;
    RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER payment_amounts BEFORE INSERT OR UPDATE OF state ON payments FOR EACH ROW
WHEN (NEW.amount > 0 AND (NEW.state IN ('captured', 'refunded') AND NEW.captured = 0 OR NEW.state = 'refunded' AND NEW.refunded = 0))
EXECUTE FUNCTION payment_amounts();

CREATE TABLE sales_daily (
    day            date NOT NULL,
    currency       text NOT NULL,
    orders         bigint NOT NULL,
    items          bigint NOT NULL,
    subtotal       bigint NOT NULL,
    discount       bigint NOT NULL,
    shipping       bigint NOT NULL,
    tax            bigint NOT NULL,
    total          bigint NOT NULL,
    cancelled      bigint NOT NULL,
    refunded       bigint NOT NULL,
    refunded_total bigint NOT NULL,
    PRIMARY KEY (day, currency)
);

-- One row: changes of orders before this moment are in sales_daily.
CREATE TABLE sales_rollup (
    id     boolean PRIMARY KEY DEFAULT true CHECK (id),
    before timestamptz NOT NULL DEFAULT 'epoch'
);
INSERT INTO sales_rollup DEFAULT VALUES;
