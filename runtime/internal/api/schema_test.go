package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// document is the part of openapi.yaml that says what is taken.
type document struct {
	Paths map[string]map[string]struct {
		OperationID string `json:"operationId"`
		Security    []map[string][]string
		Parameters  []parameter
		RequestBody *struct {
			Content map[string]struct{ Schema schema }
		}
	}
	Components struct {
		Schemas    map[string]schema
		Parameters map[string]parameter
	}
}

// parameter is one of a path, a query or a header.
type parameter struct {
	Ref      string `json:"$ref"`
	Name, In string
	Required bool
	Schema   schema
}

// schema says what a value may be.
type schema struct {
	Ref                                      string `json:"$ref"`
	AllOf                                    []schema
	Type, Format, Pattern                    string
	Enum, Required                           []string
	MinLength, MaxLength, MinItems, MaxItems *int
	Minimum, Maximum                         *int64
	Items, AdditionalProperties              *schema
	Properties                               map[string]schema
}

func (d *document) parameter(p parameter) parameter {
	if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok {
		p = d.Components.Parameters[name]
	}
	p.Schema = d.resolve(p.Schema)
	return p
}

// resolve puts what a schema refers to in its place.
func (d *document) resolve(s schema) schema {
	if len(s.AllOf) == 1 {
		s = s.AllOf[0]
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		s = d.Components.Schemas[name]
	}
	if s.Items != nil {
		s.Items = new(d.resolve(*s.Items))
	}
	if s.AdditionalProperties != nil {
		s.AdditionalProperties = new(d.resolve(*s.AdditionalProperties))
	}
	properties := make(map[string]schema, len(s.Properties))
	for name, p := range s.Properties {
		properties[name] = d.resolve(p)
	}
	s.Properties = properties
	return s
}

// samples are values that mean something, by the name of their property; every
// other value is made of its schema alone.
type samples map[string]any

// usual are the samples that need nothing to be stored.
func usual() samples {
	return samples{
		"email": "new@example.com", "password": "correct horse battery", "current": "correct horse battery",
		"amount": "1.00", "unitPrice": "1.00", "compareAt": "2.00", "cost": "0.50", "maxSubtotal": "9.00", "freeFrom": "5.00", "percent": "10",
		"currency": "EUR", "country": "DE", "region": "BE", "areas": "DE", "scopes": "products:read", "url": "https://example.com/a.png",
		"type": "bundle", "minPrice": "1.00", "maxPrice": "9.00", "attribute": "Material:Wool", "number": "1001",
		"startsAt": "2030-01-01T00:00:00Z", "endsAt": "2031-01-01T00:00:00Z", "provider": "test", "vatId": "DE123456789", "kind": "retention", "events": "order.placed",
	}
}

// of is a value for the property that the schema takes, with every part that
// it may have.
func (v samples) of(name string, s schema) any {
	sample, known := v[name]
	switch {
	case s.Type == "object":
		parts := map[string]any{}
		for part, of := range s.Properties {
			parts[part] = v.of(part, of)
		}
		return parts
	case s.Type == "array":
		return []any{v.of(name, *s.Items)}
	case s.Type == "boolean":
		return false
	case s.Type == "integer" && s.Minimum != nil:
		return max(*s.Minimum, 1)
	case s.Type == "integer":
		return 1
	case known && (len(s.Enum) == 0 || slices.Contains(s.Enum, fmt.Sprint(sample))):
		return sample
	case len(s.Enum) > 0:
		return s.Enum[0]
	case s.Format == "uuid":
		return "00000000-0000-7000-8000-000000000001"
	case s.Format == "date":
		return "2030-01-01"
	case s.Format == "date-time":
		return "2030-01-01T00:00:00Z"
	case s.MinLength != nil:
		return strings.Repeat("a", *s.MinLength)
	}
	return "a"
}

// raw is JSON that is written as it is.
func raw(text string) json.RawMessage { return json.RawMessage(text) }

// wrong is a value that a schema does not take.
type wrong struct {
	what  string
	value any
	// at is where in the value the fault is, as a JSON pointer below it.
	at string
}

// wrongs are values of every kind that the schema does not take.
func (s schema) wrongs(required bool) (all []wrong) {
	add := func(what string, value any) { all = append(all, wrong{what: what, value: value}) }
	if required {
		add("null", nil)
	}
	if s.Type != "object" {
		add("an object", raw(`{}`))
	}
	if s.Type != "array" {
		add("a list", raw(`[]`))
	}
	if s.Type != "boolean" {
		add("a boolean", true)
	}
	if s.Type != "integer" {
		add("a number", 1)
	}
	if s.Type != "string" {
		add("a string", "1")
	}
	add("a deep list", raw(strings.Repeat("[", 5000)+strings.Repeat("]", 5000)))
	switch s.Type {
	case "string":
		if len(s.Enum) > 0 || s.Format != "" {
			add("a word that is none of them", "nonsense")
		}
		if s.Pattern != "" {
			add("what does not match", "!?")
		}
		if s.MaxLength != nil {
			add("what is too long", strings.Repeat("a", *s.MaxLength+1))
		}
		if s.MinLength != nil && *s.MinLength > 0 {
			add("what is too short", strings.Repeat("a", *s.MinLength-1))
		}
	case "integer":
		for _, n := range []string{"1.5", "1e400", "9223372036854775808", "-9223372036854775809"} {
			add(n, raw(n))
		}
		if s.Minimum != nil {
			add("what is too little", *s.Minimum-1)
		}
		if s.Maximum != nil {
			add("what is too much", *s.Maximum+1)
		}
	case "array":
		if s.MinItems != nil && *s.MinItems > 0 {
			add("nothing", raw(`[]`))
		}
		all = append(all, wrong{"a null in it", raw(`[null]`), "/0"})
	case "object":
		if s.AdditionalProperties != nil {
			all = append(all, wrong{"a null in it", raw(`{"a/b":null}`), "/a~1b"})
		}
	}
	return all
}

// spot is a place in a body that one value can be put into.
type spot struct {
	pointer  string
	schema   schema
	required bool
	value    any
	set      func(any)
}

// with is the whole body's JSON with another value in the spot.
func (s spot) with(t testing.TB, body, value any) string {
	t.Helper()
	s.set(value)
	defer s.set(s.value)
	return encode(t, body)
}

// spots are the places in a sample of the schema.
func (s schema) spots(pointer string, sample any) (all []spot) {
	switch v := sample.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			of, at := s.Properties[name], pointer+"/"+name
			all = append(all, spot{at, of, slices.Contains(s.Required, name), v[name], func(put any) { v[name] = put }})
			all = append(all, of.spots(at, v[name])...)
		}
	case []any:
		for i := range v {
			at := fmt.Sprintf("%s/%d", pointer, i)
			all = append(all, spot{at, *s.Items, true, v[i], func(put any) { v[i] = put }})
			all = append(all, s.Items.spots(at, v[i])...)
		}
	}
	return all
}

// text is a value for a parameter, as it stands in a query.
func (v samples) text(p parameter) string {
	if list, ok := v.of(p.Name, p.Schema).([]any); ok {
		return fmt.Sprint(list[0])
	}
	return fmt.Sprint(v.of(p.Name, p.Schema))
}
