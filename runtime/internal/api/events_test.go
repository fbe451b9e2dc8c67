package api_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/webhook"
)

// bodies are the schemas of what others are told, by type of event, which
// refuse here what they do not name.
var bodies = sync.OnceValues(func() (map[string]*jsonschema.Resolved, error) {
	all := map[string]*jsonschema.Resolved{}
	for _, e := range webhook.Catalogue() {
		var s jsonschema.Schema
		if err := json.Unmarshal(e.Schema, &s); err != nil {
			return nil, err
		}
		strict(&s)
		r, err := s.Resolve(nil)
		if err != nil {
			return nil, err
		}
		all[e.Type] = r
	}
	return all, nil
})

func strict(s *jsonschema.Schema) {
	if s.Type == "object" {
		s.AdditionalProperties = &jsonschema.Schema{Not: &jsonschema.Schema{}}
	}
	for _, of := range []map[string]*jsonschema.Schema{s.Properties, s.Defs} {
		for _, part := range of {
			strict(part)
		}
	}
}

// eventsAreDescribed fails a test whose store had an event happen that is not
// as the catalogue of webhooks describes it.
func eventsAreDescribed(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	schemas, err := bodies()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	defer cancel()
	rows, err := pool.Query(ctx, `SELECT DISTINCT ON (type, data) id, type, subject_id, data, created_at FROM events WHERE topic <> $1`, events.Catalog)
	if err != nil {
		return // a test took the database away
	}
	var id, subject uuid.UUID
	var kind string
	var data json.RawMessage
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &kind, &subject, &data, &at}, func() error {
		schema := schemas[kind]
		if schema == nil {
			t.Errorf("the event %s is not in the catalogue", kind)
			return nil
		}
		var content any
		if err := json.Unmarshal(data, &content); err != nil {
			return err
		}
		body := map[string]any{"id": id.String(), "type": kind, "position": 1.0, "subject": subject.String(), "at": at.Format(time.RFC3339Nano), "data": content}
		if err := schema.Validate(body); err != nil {
			t.Errorf("%s with %s is not as the catalogue describes it: %v", kind, data, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
