package strictjson_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/strictjson"
)

// order is written as openapi.gen.go is: what is optional has omitempty.
type order struct {
	Lines []struct {
		SKU  string            `json:"sku"`
		ID   *uuid.UUID        `json:"id,omitempty"`
		At   *time.Time        `json:"at,omitempty"`
		N    *int64            `json:"n,omitempty"`
		Tags *[]string         `json:"tags,omitempty"`
		Says map[string]string `json:"says,omitempty"`
	} `json:"lines"`
}

func TestUnmarshal(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, body, code, pointer string }{
		{name: "a plain value is read", body: `{"lines":[{"sku":"a"}]}`},
		{name: "an unknown field is named", body: `{"lines":[{"sku":"a","color":1}]}`, code: "invalid_request", pointer: "/lines/0/color"},
		{name: "a repeated field is named", body: `{"lines":[],"lines":[]}`, code: "invalid_request", pointer: "/lines"},
		{name: "a field in another case is unknown", body: `{"Lines":[]}`, code: "invalid_request", pointer: "/Lines"},
		{name: "a value of another type is named", body: `{"lines":"a"}`, code: "invalid_request", pointer: "/lines"},
		{name: "a value of another type in a list is named", body: `{"lines":[{"sku":"a"},{"sku":1}]}`, code: "invalid_request", pointer: "/lines/1/sku"},
		{name: "an id that is none is named", body: `{"lines":[{"sku":"a","id":"x"}]}`, code: "invalid_request", pointer: "/lines/0/id"},
		{name: "a time that is none is named", body: `{"lines":[{"sku":"a","at":"now"}]}`, code: "invalid_request", pointer: "/lines/0/at"},
		{name: "a number that is too large is named", body: `{"lines":[{"n":99999999999999999999}]}`, code: "invalid_request", pointer: "/lines/0/n"},
		{name: "a number that is not whole is named", body: `{"lines":[{"n":1.5}]}`, code: "invalid_request", pointer: "/lines/0/n"},
		{name: "null stands for what is left out", body: `{"lines":[{"sku":"a","n":null}]}`},
		{name: "a field that must be there is named", body: ` { } `, code: "invalid_request", pointer: "/lines"},
		{name: "a field that must be there is not null", body: `{"lines":null}`, code: "invalid_request", pointer: "/lines"},
		{name: "a field that must be there in a list is named", body: `{"lines":[{"sku":"a"},{"n":1}]}`, code: "invalid_request", pointer: "/lines/1/sku"},
		{name: "an item of a list is not null", body: `{"lines":[{"sku":"a"},null]}`, code: "invalid_request", pointer: "/lines/1"},
		{name: "an item of an optional list is not null", body: `{"lines":[{"sku":"a","tags":["b",null]}]}`, code: "invalid_request", pointer: "/lines/0/tags/1"},
		{name: "a named value is not null", body: `{"lines":[{"sku":"a","says":{"a/b":null}}]}`, code: "invalid_request", pointer: "/lines/0/says/a~1b"},
		{name: "null is no object", body: " null\n", code: "invalid_request", pointer: ""},
		{name: "half a value is refused", body: `{"lines":[`, code: "invalid_json"},
		{name: "nothing is refused", body: ``, code: "invalid_json"},
		{name: "more than one value is refused", body: `{} {}`, code: "invalid_json"},
		{name: "bytes that are no text are refused", body: "{\"lines\":[{\"sku\":\"\xff\"}]}", code: "invalid_json"},
		{name: "endless nesting is refused", body: strings.Repeat("[", 100_000), code: "invalid_json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var v order
			err := strictjson.Unmarshal([]byte(tt.body), &v)
			if tt.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			p, ok := errors.AsType[*problem.Problem](err)
			if !ok || p.Code != tt.code {
				t.Fatalf("got %v, want %s", err, tt.code)
			}
			if tt.pointer != "" && (len(p.Errors) != 1 || p.Errors[0].Pointer != tt.pointer) {
				t.Fatalf("got %+v, want one error at %s", p.Errors, tt.pointer)
			}
		})
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"lines":[{"sku":"a"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var v order
		if err := strictjson.Unmarshal(body, &v); err != nil {
			if _, ok := errors.AsType[*problem.Problem](err); !ok {
				t.Fatalf("%q: %v is no problem", body, err)
			}
		}
	})
}
