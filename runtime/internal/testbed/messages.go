package testbed

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"sigs.k8s.io/yaml"
)

// Message is one that docs/reference/asyncapi.yaml describes.
type Message struct {
	// Schema refuses what is not described.
	Schema *jsonschema.Schema
	// FromClient reports whether clients say it, and not the store.
	FromClient bool

	resolved *jsonschema.Resolved
}

// Messages are all of them, by their types.
type Messages map[string]*Message

// SocketMessages reads the document, for the test of a package that is as deep
// as this one.
func SocketMessages() (Messages, error) {
	raw, err := os.ReadFile("../../../docs/reference/asyncapi.yaml")
	if err != nil {
		return nil, err
	}
	if raw, err = yaml.YAMLToJSONStrict(raw); err != nil {
		return nil, err
	}
	type reference struct {
		Ref string `json:"$ref"`
	}
	var document struct {
		Operations map[string]struct {
			Action   string
			Messages []reference
			Reply    struct{ Messages []reference }
		}
		Components struct {
			Messages map[string]struct{ Payload *jsonschema.Schema }
			Schemas  map[string]*jsonschema.Schema
		}
	}
	// What is shared is a part of each schema here.
	text := strings.ReplaceAll(string(raw), "#/components/schemas/", "#/$defs/")
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		return nil, err
	}
	for _, s := range document.Components.Schemas {
		refuseMore(s)
	}
	all := Messages{}
	for name, m := range document.Components.Messages {
		refuseMore(m.Payload)
		m.Payload.Defs = document.Components.Schemas
		made := &Message{Schema: m.Payload.CloneSchemas()}
		if made.resolved, err = made.Schema.Resolve(nil); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all[name] = made
	}
	used := map[string]bool{}
	for name, o := range document.Operations {
		for _, m := range append(o.Messages, o.Reply.Messages...) {
			message := m.Ref[strings.LastIndex(m.Ref, "/")+1:]
			if all[message] == nil {
				return nil, fmt.Errorf("the operation %s has a message %s that is not described", name, message)
			}
			used[message] = true
		}
		for _, m := range o.Messages {
			all[m.Ref[strings.LastIndex(m.Ref, "/")+1:]].FromClient = o.Action == "receive"
		}
	}
	if len(used) != len(all) {
		return nil, fmt.Errorf("of %d messages that are described operations have %d", len(all), len(used))
	}
	return all, nil
}

func refuseMore(s *jsonschema.Schema) {
	if s.Type == "object" {
		s.AdditionalProperties = &jsonschema.Schema{Not: &jsonschema.Schema{}}
	}
}

// Check fails a test where a message is not as it is described.
func (all Messages) Check(t testing.TB, text []byte) {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Errorf("%s: %v", text, err)
		return
	}
	kind, _ := m["type"].(string)
	message := all[kind]
	if message == nil {
		t.Errorf("there is no message of the type %q: %s", kind, text)
		return
	}
	if err := message.resolved.Validate(m); err != nil {
		t.Errorf("%s is not as it is described: %v", text, err)
	}
}
