-- +goose Up
-- That somebody was erased, without saying who it was.
CREATE TABLE erasures (
    id          uuid PRIMARY KEY,
    -- What the account was called, which nothing else says any more; NULL where there was none.
    customer_id uuid,
    -- How many orders were made anonymous.
    orders      bigint NOT NULL CHECK (orders >= 0),
    actor       text NOT NULL,
    -- The transaction that erases, which alone may take words out of the audit log.
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    created_at  timestamptz NOT NULL
);
CREATE INDEX erasures_by_customer ON erasures (customer_id) WHERE customer_id IS NOT NULL;
CREATE INDEX erasures_by_transaction ON erasures (transaction);
SELECT audit_table('erasures', 'erasure', 'id', '{transaction}', '{}', 'INSERT');

-- +goose StatementBegin
CREATE FUNCTION erasures_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'erasures are only added to' USING ERRCODE = 'insufficient_privilege';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER erasures_keep BEFORE UPDATE OR DELETE ON erasures FOR EACH ROW EXECUTE FUNCTION erasures_keep();
CREATE TRIGGER erasures_keep_all BEFORE TRUNCATE ON erasures FOR EACH STATEMENT EXECUTE FUNCTION erasures_keep();

-- An object without what people wrote in it.
-- +goose StatementBegin
CREATE FUNCTION without_words(object jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT object || coalesce((
        SELECT jsonb_object_agg(key, '[erased]'::text)
        FROM jsonb_each(CASE jsonb_typeof(object) WHEN 'object' THEN object ELSE '{}' END)
        WHERE key IN ('text', 'reason', 'note') AND jsonb_typeof(value) = 'string'
    ), '{}') || CASE WHEN object ? 'tracking' THEN '{"tracking": []}' ELSE '{}' END::jsonb
$$;
-- +goose StatementEnd

-- An object of the audit log, which may have such an object for its data.
-- +goose StatementBegin
CREATE FUNCTION audit_without_words(object jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE jsonb_typeof(object->'data') WHEN 'object'
        THEN jsonb_set(without_words(object), '{data}', without_words(object->'data')) ELSE without_words(object) END
$$;
-- +goose StatementEnd

-- An entry is never changed, and not deleted before it is 400 days old, by whomever; save that the transaction that
-- erases somebody, and says so in erasures, can take words out of it. Whatever an update then asks for, it does that.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION audit_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.at < now() - interval '400 days' THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' AND EXISTS (SELECT FROM erasures WHERE transaction = pg_current_xact_id()) THEN
        OLD.before := audit_without_words(OLD.before);
        OLD.after := audit_without_words(OLD.after);
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit log is only added to' USING ERRCODE = 'insufficient_privilege';
END
$$;
-- +goose StatementEnd

-- What a provider told of a payment is found by it.
CREATE INDEX payment_events_by_reference ON payment_events (reference) WHERE reference <> '';

-- +goose Down
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION audit_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.at < now() - interval '400 days' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit log is only added to' USING ERRCODE = 'insufficient_privilege';
END
$$;
-- +goose StatementEnd
DROP INDEX payment_events_by_reference;
DROP FUNCTION audit_without_words, without_words;
DROP TABLE erasures;
DROP FUNCTION erasures_keep;
