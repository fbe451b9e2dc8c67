-- +goose Up
-- What staff and programs with a key did to the store: who, what, before and after, from where. Triggers write it, in the
-- transaction of the act, so that no code can forget to; see package audit.
CREATE TABLE audit (
    sequence    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL,
    actor       text NOT NULL,
    -- The operation of openapi.yaml, or the command, by which it was done.
    action      text NOT NULL,
    change      text NOT NULL CHECK (change IN ('created', 'changed', 'deleted')),
    object      text NOT NULL,
    object_id   text NOT NULL,
    before      jsonb,
    after       jsonb,
    address     text NOT NULL,
    user_agent  text NOT NULL,
    request_id  text NOT NULL,
    words       tsvector NOT NULL GENERATED ALWAYS AS (
        to_tsvector('simple'::regconfig, action || ' ' || object || ' ' || object_id) ||
        jsonb_to_tsvector('simple'::regconfig, coalesce(before, '{}'), '["string", "numeric"]') ||
        jsonb_to_tsvector('simple'::regconfig, coalesce(after, '{}'), '["string", "numeric"]')
    ) STORED
);
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_actor ON audit (actor, sequence);
CREATE INDEX audit_by_action ON audit (action, sequence);
CREATE INDEX audit_by_object ON audit (object, object_id, sequence);
CREATE INDEX audit_by_request ON audit (request_id);
CREATE INDEX audit_by_words ON audit USING gin (words);

-- An entry is never changed, and not deleted before it is 400 days old, by whomever.
-- +goose StatementBegin
CREATE FUNCTION audit_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.at < now() - interval '400 days' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit log is only added to' USING ERRCODE = 'insufficient_privilege';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER audit_keep BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_keep();
CREATE TRIGGER audit_keep_all BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_keep();

-- The trigger of an audited table: its arguments are what the row is, the column with its id, the columns that are no
-- part of it (a change of them alone is none), and those whose values are nobody's to read.
-- +goose StatementBegin
CREATE FUNCTION audit_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    act    jsonb := current_setting('gocart.act')::jsonb;
    secret text[] := TG_ARGV[3]::text[];
    was    jsonb;
    now_is jsonb;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        was := to_jsonb(OLD) - TG_ARGV[2]::text[];
    END IF;
    IF TG_OP <> 'DELETE' THEN
        now_is := to_jsonb(NEW) - TG_ARGV[2]::text[];
    END IF;
    IF was = now_is THEN
        RETURN NULL;
    END IF;
    -- What the catalogue keeps as text is JSON.
    IF was ? 'document' THEN
        was := jsonb_set(was, '{document}', (was->>'document')::jsonb);
    END IF;
    IF now_is ? 'document' THEN
        now_is := jsonb_set(now_is, '{document}', (now_is->>'document')::jsonb);
    END IF;
    INSERT INTO audit (at, actor, action, change, object, object_id, before, after, address, user_agent, request_id)
    VALUES (
        clock_timestamp(), act->>'actor', act->>'action',
        CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'changed' ELSE 'deleted' END,
        TG_ARGV[0], coalesce(now_is, was)->>TG_ARGV[1], was - secret, now_is - secret,
        act->>'address', act->>'userAgent', act->>'requestId'
    );
    RETURN NULL;
END
$$;
-- +goose StatementEnd

-- Has a table audited. A condition is of the trigger: it may name OLD and NEW where the events allow it.
-- +goose StatementBegin
CREATE FUNCTION audit_table(
    name regclass, object text, id text, apart text[] DEFAULT '{}', secret text[] DEFAULT '{}',
    events text DEFAULT 'INSERT OR UPDATE OR DELETE', condition text DEFAULT 'true'
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'CREATE TRIGGER %I AFTER %s ON %s FOR EACH ROW WHEN (current_setting(''gocart.act'', true) <> '''' AND (%s)) EXECUTE FUNCTION audit_row(%L, %L, %L, %L)',
        'audit_' || lower(regexp_replace(events, '[^A-Za-z]+', '_', 'g')), events, name, condition, object, id, apart, secret
    );
END
$$;
-- +goose StatementEnd

SELECT audit_table('products', 'product', 'id', '{search, title_key, marks, labels, version, updated_at}');
SELECT audit_table('prices', 'price', 'variant_id', '{position}', '{}', 'INSERT', 'NEW.cost IS NOT NULL');
SELECT audit_table('prices', 'price', 'variant_id', '{position}', '{}', 'DELETE', 'OLD.cost IS NOT NULL');
SELECT audit_table('categories', 'category', 'id', '{path}');
SELECT audit_table('collections', 'collection', 'id');
SELECT audit_table('locations', 'location', 'id');
SELECT audit_table('inventory_levels', 'inventory_level', 'variant_id', '{reserved}');
SELECT audit_table('customers', 'customer', 'id', '{}', '{email, name, password_hash}');
SELECT audit_table('api_keys', 'api_key', 'id', '{last_used_at}', '{hash}');
SELECT audit_table('promotions', 'promotion', 'id', '{used}');
SELECT audit_table('zones', 'zone', 'id');
SELECT audit_table('tax_rates', 'tax_rate', 'id');
SELECT audit_table('shipping_methods', 'shipping_method', 'id');
SELECT audit_table('settings', 'settings', 'id', '{version}');
SELECT audit_table('orders', 'order', 'id', '{updated_at}', '{email, details}', 'UPDATE');
SELECT audit_table('payments', 'payment', 'id', '{updated_at}', '{reference}', 'UPDATE');
SELECT audit_table('events', 'order', 'subject_id', '{sequence, position, topic, customer_id, actor}', '{}', 'INSERT', 'NEW.type = ''order.note''');
SELECT audit_table('webhook_endpoints', 'webhook_endpoint', 'id', '{failing_since, updated_at}');
SELECT audit_table('webhook_secrets', 'webhook_secret', 'endpoint_id', '{}', '{secret}', 'INSERT');
SELECT audit_table('webhook_deliveries', 'webhook_delivery', 'id', '{sequence, body}', '{}', 'INSERT', 'NEW.type = ''webhook.test''');
SELECT audit_table('webhook_deliveries', 'webhook_delivery', 'id', '{sequence, body}', '{}', 'UPDATE', 'NEW.state = ''pending''');
-- Of jobs those that somebody asked for, and not those that follow from an act.
SELECT audit_table('river_job', 'job', 'id', '{attempted_by, unique_key, unique_states}', '{args, errors, metadata}', 'INSERT',
    'current_setting(''gocart.act'', true) LIKE ''%"action":"enqueueJob"%''');
SELECT audit_table('river_job', 'job', 'id', '{attempted_by, unique_key, unique_states}', '{args, errors, metadata}', 'UPDATE OR DELETE');
SELECT audit_table('river_queue', 'job_queue', 'name', '{updated_at}', '{metadata}', 'UPDATE');

-- +goose Down
-- +goose StatementBegin
DO $$
DECLARE t record;
BEGIN
    FOR t IN SELECT tgname, tgrelid::regclass AS name FROM pg_trigger WHERE tgfoid = 'audit_row'::regproc LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.name);
    END LOOP;
END
$$;
-- +goose StatementEnd
DROP FUNCTION audit_table, audit_row;
DROP TABLE audit;
DROP FUNCTION audit_keep;
