package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"gitee.com/captainjez/gocart/runtime/openapi"
)

// wholeStore is a store with one of everything, all of which belongs to its
// administrator.
type wholeStore struct {
	*store
	chief  person
	things map[string]string
	values samples
}

func newWholeStore(t testing.TB) *wholeStore {
	t.Helper()
	s := &wholeStore{store: newStore(t)}
	s.chief = s.person("chief", openapi.RoleAdmin)
	s.things = s.victim(s.chief)
	s.values = usual()
	for name, at := range map[string]string{
		"variantId": "{variantId}", "cartId": "/carts/{id}", "zoneId": "/zones/{id}", "locationId": "/locations/{id}",
		"shippingMethodId": "/shipping-methods/{id}", "customerId": "/customers/{id}", "orderId": "/orders/{id}",
		"lineId": "{line}", "returnId": "/returns/{id}",
	} {
		s.values[name] = s.things[at]
	}
	s.values["sku"] = "MUG"
	s.values["shipping"] = "1.00"
	s.values["productIds"] = admin[openapi.ProductPage](s.store, "GET", "/products", "", http.StatusOK).Products[0].Id.String()
	s.values["categoryIds"] = admin[openapi.CategoryPage](s.store, "GET", "/categories", "", http.StatusOK).Categories[0].Id.String()
	s.values["parentId"] = s.values["categoryIds"]
	s.values["collectionIds"] = admin[openapi.CollectionPage](s.store, "GET", "/collections", "", http.StatusOK).Collections[0].Id.String()
	return s
}

// send sends an operation's request as its owner, who may do everything.
func (s *wholeStore) send(o operation, path, body string, headers ...string) *httptest.ResponseRecorder {
	return s.do(o.method, path, body, append([]string{"Authorization", s.chief.bearer}, headers...)...)
}

// content is a fingerprint of everything that is stored, save for how often a
// password was tried.
func (s *wholeStore) content() map[string]string {
	s.t.Helper()
	rows, err := s.Pool.Query(s.t.Context(), `SELECT relname::text FROM pg_stat_user_tables WHERE relname <> 'attempts' ORDER BY 1`)
	if err != nil {
		s.t.Fatal(err)
	}
	tables := map[string]string{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			s.t.Fatal(err)
		}
		tables[name] = ""
	}
	for name := range tables {
		var fingerprint string
		s.scan(`SELECT count(*) || ' rows, ' || coalesce(sum(hashtextextended(t::text, 0)), 0) FROM `+name+` t`, &fingerprint)
		tables[name] = fingerprint
	}
	return tables
}

// refusal is a request that must be refused.
type refusal struct {
	what, path, body string
	headers          []string
	// status is 0 for any 4xx.
	status int
	// pointer must be among the answer's, unless it is empty.
	pointer string
}

// refuse fails the test unless the request is refused as it should be.
func (s *wholeStore) refuse(o operation, r refusal) {
	s.t.Helper()
	w := s.send(o, r.path, r.body, r.headers...)
	var p openapi.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Header().Get("Content-Type") != "application/problem+json" || p.Code == "" {
		s.t.Errorf("%s with %s: %d %.300s is no problem", o.id, r.what, w.Code, w.Body)
		return
	}
	if w.Code < 400 || w.Code >= 500 || r.status != 0 && w.Code != r.status {
		s.t.Errorf("%s with %s: %d %.300s", o.id, r.what, w.Code, w.Body)
		return
	}
	named := p.Errors != nil && slices.ContainsFunc(*p.Errors, func(e openapi.FieldError) bool {
		return e.Pointer == r.pointer || strings.HasPrefix(e.Pointer, r.pointer+"/")
	})
	if r.pointer != "" && !named {
		s.t.Errorf("%s with %s: %.400s does not name %s", o.id, r.what, w.Body, r.pointer)
	}
}

// TestWhateverIsWrongIsRefusedByNameAndNothingIsStored sends to every
// operation of openapi.yaml what its schemas do not take, one fault at a time.
func TestWhateverIsWrongIsRefusedByNameAndNothingIsStored(t *testing.T) {
	t.Parallel()
	s := newWholeStore(t)
	before := s.content()
	requests := 0
	for _, o := range operations(t) {
		for _, r := range slices.Concat(s.wrongBodies(o), s.wrongParameters(o)) {
			s.refuse(o, r)
			requests++
		}
		after := s.content()
		for table := range before {
			if before[table] != after[table] {
				t.Errorf("%s changed %s: %s became %s", o.id, table, before[table], after[table])
			}
		}
		before = after
	}
	t.Logf("%d requests", requests)
	if requests < 5000 {
		t.Errorf("only %d requests were made of openapi.yaml", requests)
	}
	if strings.Contains(s.log.String(), `"level":"ERROR"`) {
		t.Errorf("errors were logged: %.2000s", s.log)
	}
}

// key makes the request one that would be kept.
func (o operation) key(n int) []string {
	if slices.ContainsFunc(o.parameters, func(p parameter) bool { return p.Name == "Idempotency-Key" }) {
		return []string{"Idempotency-Key", fmt.Sprint("key ", n)}
	}
	return nil
}

func (s *wholeStore) wrongBodies(o operation) (all []refusal) {
	if o.body == nil {
		return nil
	}
	path := at(o.path, s.things)
	body := s.values.of("", *o.body)
	good := encode(s.t, body)
	add := func(what, body string, status int, pointer string) {
		all = append(all, refusal{what: what, path: path, body: body, headers: o.key(len(all)), status: status, pointer: pointer})
	}
	const bad, media = http.StatusBadRequest, http.StatusUnsupportedMediaType
	add("nothing", "", media, "")
	add("null", "null", bad, "")
	add("a list", "[]", bad, "")
	add("a list of it", "["+good+"]", bad, "")
	add("a string", `"a"`, bad, "")
	add("a number", "1", bad, "")
	add("half of it", good[:len(good)/2], bad, "")
	add("it twice", good+good, bad, "")
	add("a depth without end", strings.Repeat(`{"a":`, 100_000), bad, "")
	add("more than a body may have", strings.Repeat(" ", 1<<20)+good, http.StatusRequestEntityTooLarge, "")
	add("an unknown field", `{"unknown":1,`+good[1:], bad, "/unknown")
	parts := body.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		add("a repeated field", `{"`+name+`":null,`+good[1:], bad, "/"+name)
		without := maps.Clone(parts)
		delete(without, name)
		if slices.Contains(o.body.Required, name) {
			add("no "+name, encode(s.t, without), bad, "/"+name)
		}
		without[strings.ToUpper(name)] = parts[name]
		add("a field in another case", encode(s.t, without), bad, "/"+strings.ToUpper(name))
	}
	for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "application/jsonx", "", "\x00", "application/json;;"} {
		all = append(all, refusal{what: "content type " + contentType, path: path, body: good, headers: []string{"Content-Type", contentType}, status: media})
	}
	for _, p := range o.body.spots("", body) {
		for _, w := range p.schema.wrongs(p.required) {
			add(w.what+" as "+p.pointer, p.with(s.t, body, w.value), bad, p.pointer+w.at)
		}
		if p.schema.Type == "object" {
			add("an unknown field in "+p.pointer, p.with(s.t, body, map[string]any{"unknown~/field": nil}), bad, p.pointer)
		}
		if list, ok := p.value.([]any); ok {
			many := func(n int) []any { return slices.Repeat(list[:1], n) }
			if p.schema.MaxItems != nil {
				add("too many in "+p.pointer, p.with(s.t, body, many(*p.schema.MaxItems+1)), bad, p.pointer)
			}
			add("far too many in "+p.pointer, p.with(s.t, body, many(300_000/len(encode(s.t, list)))), bad, p.pointer)
			add("far too many nulls in "+p.pointer, p.with(s.t, body, raw("[null"+strings.Repeat(",null", 60_000)+"]")), bad, p.pointer)
		}
		if p.schema.Type == "string" {
			for what, text := range map[string]string{"a NUL": `"a\u0000b"`, "a control character": `"a\u0001b"`, "an escape": `"\u001b[1m"`} {
				add(what+" in "+p.pointer, p.with(s.t, body, raw(text)), 0, "")
			}
			marked := p.with(s.t, body, "BYTES")
			for what, text := range map[string]string{"bytes that are no UTF-8": "\xff", "half a character": "\xe2\x82", "an overlong NUL": "\xc0\x80", "a raw control character": "\x01"} {
				add(what+" in "+p.pointer, strings.Replace(marked, "BYTES", text, 1), bad, "")
			}
		}
	}
	return all
}

func (s *wholeStore) wrongParameters(o operation) (all []refusal) {
	body, path := "", at(o.path, s.things)
	if o.body != nil {
		body = encode(s.t, s.values.of("", *o.body))
	}
	add := func(r refusal) {
		r.body = body
		all = append(all, r)
	}
	long := strings.Repeat("a", 5000)
	needed := func(but string) (query string) {
		for _, p := range o.parameters {
			if p.In == "query" && p.Required && p.Name != but {
				query += "&" + p.Name + "=" + p.Schema.Enum[0]
			}
		}
		return query
	}
	for _, p := range o.parameters {
		switch p.In {
		case "path":
			for _, value := range []string{"%00", "%FF", "a%00b", "%C0%80", "%E2%82", "%01", long, "..", "%2e%2e", "%2F", "a%2Fb", "%F0%9F%A6%84", "''", "-1", strings.Repeat("z", 36)} {
				if p.Schema.Format != "" || value != "''" {
					add(refusal{what: p.Name + " " + value, path: s.other(o.path, p.Name, value)})
				}
			}
		case "query":
			add(refusal{what: "a query that is none", path: path + "?" + p.Name + "=%zz", status: http.StatusBadRequest, pointer: "query"})
			for _, w := range p.Schema.wrongTexts() {
				add(refusal{what: p.Name + " " + w, path: path + "?" + p.Name + "=" + w + needed(p.Name), status: http.StatusBadRequest, pointer: p.Name})
			}
		case "header":
			for _, value := range []string{"", strings.Repeat("a", 256), "a\x00b", "\xff", "ü", "\x7f", "\x01"} {
				if p.Name == "Idempotency-Key" {
					add(refusal{what: p.Name + " " + value, path: path, headers: []string{p.Name, value}, status: http.StatusBadRequest, pointer: p.Name})
				} else if value != "" {
					add(refusal{what: p.Name + " " + value, path: path, headers: []string{p.Name, value}})
				}
			}
		default:
			s.t.Errorf("%s has a parameter in %s", o.id, p.In)
		}
	}
	for _, credential := range []string{"", "Bearer", "Bearer ", "Basic YTpi", "Bearer \x00", "Bearer \xff", "Bearer eyJ", "Bearer " + long, "Bearer sk_live_" + long, "Bearer sk_live_\x00"} {
		if credential != "" {
			all = append(all, refusal{what: "credential " + credential, path: path, body: body, headers: []string{"Authorization", credential}, status: http.StatusUnauthorized})
		}
	}
	return all
}

// other fills a path in with the store's things, and with a value for one
// parameter.
func (s *wholeStore) other(path, name, value string) string {
	before, after, _ := strings.Cut(path, "{"+name+"}")
	return at(before, s.things) + value + at(after, s.things)
}

// wrongTexts are values of a parameter that the schema does not take, as they
// stand in a query.
func (s schema) wrongTexts() (all []string) {
	switch s.Type {
	case "integer":
		all = append(all, "x", "1.5", "1e400", "9223372036854775808", "-9223372036854775809", "1&limit=2&atMost=3", "%00", "%FF")
		if s.Minimum != nil {
			all = append(all, fmt.Sprint(*s.Minimum-1))
		}
		if s.Maximum != nil {
			all = append(all, fmt.Sprint(*s.Maximum+1))
		}
	case "boolean":
		all = append(all, "x", "2", "%00", "%FF")
	case "array":
		all = append(all, s.Items.wrongTexts()...)
		if s.MaxItems != nil {
			all = append(all, strings.Repeat("stock,", *s.MaxItems)+"stock")
		}
	default:
		all = append(all, "a%00b", "%FF", "%C0%80", "%01")
		if s.Format != "" || len(s.Enum) > 0 {
			all = append(all, "nonsense", "%2C", url.QueryEscape(strings.Repeat("a", 5000)))
		}
		if s.MaxLength != nil {
			all = append(all, strings.Repeat("a", *s.MaxLength+1), strings.Repeat("a", 7_000))
		}
		if s.MinLength != nil && *s.MinLength > 0 {
			all = append(all, "")
		}
	}
	return all
}

// TestWhatMayBeLeftOutMayBeNullAndStrangeTextIsNoError sends what the schemas
// take or may take, and wants no more than an answer that is none of the
// server's failures.
func TestWhatMayBeLeftOutMayBeNullAndStrangeTextIsNoError(t *testing.T) {
	t.Parallel()
	s := newWholeStore(t)
	for _, o := range operations(t) {
		if o.body == nil {
			continue
		}
		body := s.values.of("", *o.body)
		for _, p := range o.body.spots("", body) {
			var texts []string
			switch p.schema.Type {
			case "string":
				texts = []string{`"\ud800\ufffe"`, `"🦄\u202e"`, `"' OR 1=1 --%s"`, `"NaN"`, `"0000-01-01T00:00:00Z"`, `"9999-12-31T23:59:59+14:00"`, `""`}
			case "integer":
				texts = []string{`-0`, `0`, `1000`}
			}
			if !p.required {
				texts = append(texts, "null")
			}
			for _, text := range texts {
				if w := s.send(o, at(o.path, s.things), p.with(t, body, raw(text))); w.Code >= 500 {
					t.Errorf("%s with %s as %s: %d %s", o.id, text, p.pointer, w.Code, w.Body)
				}
			}
		}
	}
	if strings.Contains(s.log.String(), `"level":"ERROR"`) {
		t.Errorf("errors were logged: %.2000s", s.log)
	}
	s.wantAddedUp()
}
