// Package strictjson reads a request's body as JSON that says nothing which
// the server would not understand, and all that it needs: an unknown or
// repeated field, a field in another case, anything after the value, or a
// missing field is refused by name. A field must be there unless its tag has
// omitempty; null stands for a field that is left out.
package strictjson

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	sigsjson "sigs.k8s.io/json"

	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// Read decodes the body of r into v and returns the bytes. Its errors are
// *problem.Problem, save for those of reading the body.
func Read(r *http.Request, v any) ([]byte, error) {
	if mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return nil, problem.New(http.StatusUnsupportedMediaType, "unsupported_media_type", "The body must be application/json.")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return body, Unmarshal(body, v)
}

// Unmarshal decodes data into v. Its errors are *problem.Problem.
func Unmarshal(data []byte, v any) error {
	if !utf8.Valid(data) {
		return problem.New(http.StatusBadRequest, "invalid_json", "The body is not UTF-8.")
	}
	strict, err := sigsjson.UnmarshalStrict(data, v)
	if err != nil {
		return refuse(data, v, err)
	}
	if len(strict) > 0 {
		fields := make([]problem.Field, len(strict))
		for i, e := range strict {
			fields[i] = fieldOf(e.Error())
		}
		return problem.Invalid(fields...)
	}
	if missing := lacking(data, reflect.TypeOf(v), ""); len(missing) > 0 {
		return problem.Invalid(missing...)
	}
	return nil
}

// lacking names what data, which fits its type, leaves out.
func lacking(data []byte, t reflect.Type, at string) (missing []problem.Field) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if isNull(data) {
		return []problem.Field{{Pointer: at, Detail: "must not be null"}}
	}
	parts, list, _ := split(data, t) // it fits
	for i, item := range list {
		missing = append(missing, lacking(item, t.Elem(), at+"/"+strconv.Itoa(i))...)
	}
	if t.Kind() == reflect.Map {
		for _, name := range slices.Sorted(maps.Keys(parts)) {
			missing = append(missing, lacking(parts[name], t.Elem(), at+"/"+escape.Replace(name))...)
		}
	}
	if parts == nil || t.Kind() != reflect.Struct {
		return missing
	}
	for field := range t.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		part, there := parts[name]
		switch there = there && !isNull(part); {
		case there:
			missing = append(missing, lacking(part, field.Type, at+"/"+name)...)
		case !strings.Contains(options, "omitempty"):
			missing = append(missing, problem.Field{Pointer: at + "/" + name, Detail: "is missing"})
		}
	}
	return missing
}

var (
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func isNull(data []byte) bool { return string(bytes.TrimSpace(data)) == "null" }

// split takes an object or a list of its type apart; both are nil for what has
// no parts.
func split(data []byte, t reflect.Type) (parts map[string]json.RawMessage, list []json.RawMessage, err error) {
	switch kind, p := t.Kind(), reflect.PointerTo(t); {
	case p.Implements(unmarshaler), p.Implements(textUnmarshaler):
	case kind == reflect.Struct, kind == reflect.Map:
		err = json.Unmarshal(data, &parts)
	case kind == reflect.Slice:
		err = json.Unmarshal(data, &list)
	}
	return parts, list, err
}

// refuse says what is wrong with JSON that does not fit v.
func refuse(data []byte, v any, err error) error {
	if !json.Valid(data) {
		return problem.New(http.StatusBadRequest, "invalid_json", "The body is not JSON: %s.", err)
	}
	at, err := misfit(data, reflect.TypeOf(v), "")
	if typed, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return problem.Invalid(problem.Field{Pointer: at, Detail: "a JSON " + typed.Value + " does not fit here"})
	}
	if err == nil { // the decoders differ, as on how deep a value may be
		return problem.New(http.StatusBadRequest, "invalid_json", "The body is not what is wanted here.")
	}
	return problem.Invalid(problem.Field{Pointer: at, Detail: err.Error()})
}

// misfit finds the first part of data that does not fit its type, by a JSON
// pointer (RFC 6901) below at.
func misfit(data []byte, t reflect.Type, at string) (string, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if isNull(data) {
		return "", nil
	}
	parts, list, err := split(data, t)
	if err == nil && parts == nil && list == nil {
		err = json.Unmarshal(data, reflect.New(t).Interface())
	}
	if err != nil {
		return at, err
	}
	for i, part := range list {
		if pointer, err := misfit(part, t.Elem(), at+"/"+strconv.Itoa(i)); err != nil {
			return pointer, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if part, ok := partOf(t, name); ok {
			if pointer, err := misfit(parts[name], part, at+"/"+escape.Replace(name)); err != nil {
				return pointer, err
			}
		}
	}
	return "", nil
}

var escape = strings.NewReplacer("~", "~0", "/", "~1")

// partOf is the type of what an object's member is decoded into.
func partOf(t reflect.Type, name string) (reflect.Type, bool) {
	if t.Kind() == reflect.Map {
		return t.Elem(), true
	}
	for field := range t.Fields() {
		if tag, _, _ := strings.Cut(field.Tag.Get("json"), ","); tag == name {
			return field.Type, true
		}
	}
	return nil, false
}

// A strict error reads: unknown field "variants[0].colour".
var quoted = regexp.MustCompile(`^(unknown|duplicate) field "(.*)"$`)

func fieldOf(message string) problem.Field {
	m := quoted.FindStringSubmatch(message)
	if m == nil {
		return problem.Field{Detail: message}
	}
	return problem.Field{Pointer: pointer(m[2]), Detail: m[1] + " field"}
}

func pointer(path string) string {
	if path == "" {
		return ""
	}
	return "/" + strings.NewReplacer("[", "/", "]", "", ".", "/").Replace(path)
}
