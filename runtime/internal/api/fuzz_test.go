package api_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"gitee.com/captainjez/gocart/runtime/openapi"
)

// wantNoFailure fails the test where the server fails, or answers an error
// that is no problem.
func wantNoFailure(t *testing.T, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code >= 500 {
		t.Fatalf("%s %s: %d %s", r.Method, r.URL, w.Code, w.Body)
	}
	if w.Code >= 400 && (w.Header().Get("Content-Type") != "application/problem+json" || decode[openapi.Problem](t, w).Code == "") {
		t.Fatalf("%s %s: %d %s is no problem", r.Method, r.URL, w.Code, w.Body)
	}
}

// FuzzBodies sends bodies to the operations that take one, as somebody who may
// do everything.
func FuzzBodies(f *testing.F) {
	s := newWholeStore(f)
	var taking []operation
	for _, o := range operations(f) {
		if o.body != nil {
			f.Add(uint8(len(taking)), []byte(encode(f, s.values.of("", *o.body))))
			taking = append(taking, o)
		}
	}
	if len(taking) > 256 {
		f.Fatal("more operations than a byte can name")
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		o := taking[int(which)%len(taking)]
		r := httptest.NewRequestWithContext(t.Context(), o.method, at(o.path, s.things), strings.NewReader(string(body)))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", s.chief.bearer)
		w := httptest.NewRecorder()
		s.engine.ServeHTTP(w, r)
		wantNoFailure(t, r, w)
	})
}

// FuzzRequests sends paths, queries and headers to every operation.
func FuzzRequests(f *testing.F) {
	s := newWholeStore(f)
	all := operations(f)
	if len(all) > 256 {
		f.Fatal("more operations than a byte can name")
	}
	for i, o := range all {
		query := url.Values{}
		for _, p := range o.parameters {
			if p.In == "query" {
				query.Set(p.Name, s.values.text(p))
			}
		}
		f.Add(uint8(i), true, "", query.Encode(), "key", `"1"`, "token", "Bearer sk_live_ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
	}
	bodies := make([]string, len(all))
	for i, o := range all {
		if o.body != nil {
			bodies[i] = encode(f, s.values.of("", *o.body))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, known bool, part, query, key, match, token, authorization string) {
		o, body := all[int(which)%len(all)], bodies[int(which)%len(all)]
		if o.method == http.MethodDelete || o.id == "logOut" {
			known = false // or nothing is left for the others
		}
		path := at(o.path, s.things)
		if part != "" {
			path = path[:strings.LastIndexByte(path, '/')+1] + part
		}
		r := httptest.NewRequestWithContext(t.Context(), o.method, "/", strings.NewReader(body))
		r.URL = &url.URL{Path: path, RawQuery: query}
		r.Header = http.Header{
			"Content-Type": {"application/json"}, "Idempotency-Key": {key}, "If-Match": {match}, "If-None-Match": {match},
			"X-Cart-Token": {token}, "X-Request-Id": {token}, "X-Forwarded-For": {token}, "Origin": {token}, "Authorization": {authorization},
		}
		if known {
			r.Header.Set("Authorization", s.chief.bearer)
		}
		w := httptest.NewRecorder()
		s.engine.ServeHTTP(w, r)
		wantNoFailure(t, r, w)
	})
}
