package webhook

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"sigs.k8s.io/yaml"

	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// everyEvent chooses all events that there are or will be.
const everyEvent = "*"

// testEvent is sent for trying, to one endpoint.
const testEvent = "webhook.test"

//go:embed catalogue.yaml
var catalogueYAML []byte

// Event is a type of event that others are told of.
type Event struct {
	Type, About string
	// Subject says what the subject is the id of.
	Subject string
	// Schema is the JSON Schema of a body, Example is one.
	Schema, Example json.RawMessage
}

// Catalogue are the types of events that others may be told of, by name. What
// the store tells itself, such as catalog.changed, is not in it.
var Catalogue = sync.OnceValue(func() []Event {
	var document struct {
		Definitions map[string]any
		Groups      []struct {
			Subject string
			Data    any
			Example any
			Events  map[string]string
		}
	}
	if err := yaml.UnmarshalStrict(catalogueYAML, &document); err != nil { // it is a part of the program
		panic(fmt.Sprintf("catalogue.yaml: %v", err))
	}
	var all []Event
	for _, g := range document.Groups {
		for name, about := range g.Events {
			schema := map[string]any{
				"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, "description": about, "type": "object",
				"required": []string{"id", "type", "position", "subject", "at", "data"},
				"properties": map[string]any{
					"id":       map[string]any{"type": "string", "format": "uuid", "description": "The event's id, and the delivery's webhook-id."},
					"type":     map[string]any{"const": name},
					"position": map[string]any{"type": "integer", "minimum": 0, "description": "Its place among the store's events; 0 for a test."},
					"subject":  map[string]any{"type": "string", "format": "uuid", "description": "The id of the " + g.Subject + "."},
					"at":       map[string]any{"type": "string", "format": "date-time"},
					"data":     g.Data,
				},
				"$defs": needed(g.Data, document.Definitions),
			}
			example := body{
				ID: uuid.MustParse("0197a1b2-0000-7000-8000-000000000001"), Type: name, Position: 18, Subject: uuid.MustParse("0197a1b2-0000-7000-8000-00000000000b"),
				At: time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC), Data: encoded(g.Example),
			}
			if name == testEvent {
				example.Position = 0
			}
			all = append(all, Event{Type: name, About: about, Subject: g.Subject, Schema: encoded(schema), Example: encoded(example)})
		}
	}
	slices.SortFunc(all, func(a, b Event) int { return strings.Compare(a.Type, b.Type) })
	return all
})

// needed are the definitions that a schema refers to.
func needed(schema any, all map[string]any) map[string]any {
	found := map[string]any{}
	var look func(v any)
	look = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				name := strings.TrimPrefix(ref, "#/$defs/")
				if _, seen := found[name]; !seen {
					found[name] = all[name]
					look(all[name])
				}
			}
			for _, part := range v {
				look(part)
			}
		case []any:
			for _, part := range v {
				look(part)
			}
		}
	}
	look(schema)
	return found
}

func encoded(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil { // plain values
		panic(err)
	}
	return raw
}

// types are the names in the catalogue.
var types = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{}
	for _, e := range Catalogue() {
		all[e.Type] = true
	}
	return all
})

// known reports whether an endpoint may choose this: a type of event, all of a
// noun as order.*, or *.
func known(chosen string) bool {
	if chosen == everyEvent || types()[chosen] {
		return true
	}
	noun, ok := strings.CutSuffix(chosen, ".*")
	if !ok {
		return false
	}
	for name := range maps.Keys(types()) {
		if strings.HasPrefix(name, noun+".") {
			return true
		}
	}
	return false
}

// orderImported is told to who chose it by its name alone: a hundred thousand
// orders that are past are no news for the others.
const orderImported = "order.imported"

// chooses reports whether a list has the type.
func chooses(list []string, kind string) bool {
	if kind == orderImported {
		return slices.Contains(list, kind)
	}
	noun, _, _ := strings.Cut(kind, ".")
	return slices.ContainsFunc(list, func(chosen string) bool { return chosen == everyEvent || chosen == kind || chosen == noun+".*" })
}

// body is what is sent.
type body struct {
	ID       uuid.UUID       `json:"id"`
	Type     string          `json:"type"`
	Position int64           `json:"position"`
	Subject  uuid.UUID       `json:"subject"`
	At       time.Time       `json:"at"`
	Data     json.RawMessage `json:"data"`
}

func bodyOf(e events.Published) body {
	return body{ID: e.ID, Type: e.Type, Position: e.Position, Subject: e.Subject, At: e.At.UTC(), Data: e.Data}
}

// public is the catalogue for callers of the API.
func public() openapi.WebhookEventList {
	var list openapi.WebhookEventList
	for _, e := range Catalogue() {
		list.Events = append(list.Events, openapi.WebhookEvent{Type: e.Type, Description: e.About, Subject: e.Subject, Schema: e.Schema, Example: e.Example})
	}
	return list
}
