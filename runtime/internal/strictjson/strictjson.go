// Package strictjson reads a request's body as JSON that says nothing which
// the server would not understand: an unknown or repeated field, a field in
// another case, or anything after the value is refused by name.
package strictjson

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"regexp"
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
		return refuse(err)
	}
	if len(strict) > 0 {
		fields := make([]problem.Field, len(strict))
		for i, e := range strict {
			fields[i] = fieldOf(e.Error())
		}
		return problem.Invalid(fields...)
	}
	return nil
}

func refuse(err error) error {
	if typed, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return problem.Invalid(problem.Field{Pointer: pointer(typed.Field), Detail: "a JSON " + typed.Value + " does not fit here"})
	}
	return problem.New(http.StatusBadRequest, "invalid_json", "The body is not JSON: %s.", err)
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
