package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/yaml"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/api"
	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
	"gitee.com/captainjez/gocart/runtime/openapi/client"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	testbed.Main(m)
}

const adminKey = "sk_live_ADMINSECRET0123456789"

// store is an API over a database of the test's own.
type store struct {
	t          testing.TB
	engine     http.Handler
	log        *testbed.Log
	statements *atomic.Int64
}

// statementCounter counts the statements that a pool sends.
type statementCounter struct{ n atomic.Int64 }

func (s *statementCounter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	s.n.Add(1)
	return ctx
}
func (s *statementCounter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func newStore(t testing.TB) *store {
	t.Helper()
	pc, err := pgxpool.ParseConfig(testbed.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	counter := &statementCounter{}
	pc.ConnConfig.Tracer = counter
	pool, err := pgxpool.NewWithConfig(t.Context(), pc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s := &store{t: t, log: &testbed.Log{}, statements: &counter.n}
	c := config.Default()
	c.Store = config.Store{Name: "shop", Namespace: "ns", URL: "https://shop.example"}
	c.Auth.AdminKeyFile = testbed.File(t, adminKey+"\n")
	if s.engine, err = api.New(c, catalog.New(pool, nil), s.log.Logger(), prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	return s
}

// do sends a request; headers are pairs.
func (s *store) do(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.engine.ServeHTTP(w, r)
	return w
}

func (s *store) asAdmin(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	return s.do(method, path, body, append(headers, "Authorization", "Bearer "+adminKey)...)
}

// create stores a simple active product and returns its id.
func (s *store) create(title, sku string) string {
	s.t.Helper()
	w := s.asAdmin("POST", "/api/v1/products", product(title, sku, "active"))
	if w.Code != http.StatusCreated {
		s.t.Fatalf("creating %q: %d %s", title, w.Code, w.Body)
	}
	return decode[openapi.Product](s.t, w).Id.String()
}

func product(title, sku, status string) string {
	return fmt.Sprintf(`{"title":%q,"type":"simple","status":%q,"variants":[{"sku":%q,"price":{"amount":"19.99","currency":"EUR"}}]}`, title, status, sku)
}

func decode[T any](t testing.TB, w *httptest.ResponseRecorder) (v T) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return v
}

func titles(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	var list []string
	for _, p := range decode[openapi.ProductPage](t, w).Products {
		list = append(list, p.Title)
	}
	return strings.Join(list, ", ")
}

func TestAProductIsReadAsItWasCreated(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	w := s.asAdmin("POST", "/api/v1/products", `{"title":" Crème T-Shirt ","description":"Soft.","type":"variable","status":"active",
		"options":["Size","Colour"],"variants":[
		{"sku":"TS-S","price":{"amount":"19.9","currency":"EUR"},"options":{"Size":"S","Colour":"Red"}},
		{"sku":"TS-M","price":{"amount":"21","currency":"EUR"},"options":{"Colour":"Red","Size":"M"}}]}`)
	if w.Code != http.StatusCreated {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	created := decode[openapi.Product](t, w)
	if created.Title != "Crème T-Shirt" || created.Slug != "creme-t-shirt" || created.Variants[0].Price.Amount != "19.90" || created.Variants[1].Price.Amount != "21.00" {
		t.Errorf("got %+v", created)
	}
	for _, path := range []string{w.Header().Get("Location"), "/api/v1/products/creme-t-shirt", "/products/" + created.Id.String()} {
		got := s.do("GET", path, "")
		if got.Code != http.StatusOK || got.Body.String() != w.Body.String() {
			t.Errorf("GET %s: %d %s, want %s", path, got.Code, got.Body, w.Body)
		}
	}
}

func TestWhatIsWrongWithAProductIsNamed(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.create("Taken", "TAKEN")
	const mug = `{"sku":"MUG","price":{"amount":"1","currency":"EUR"}}`
	tests := []struct {
		name, body   string
		status       int
		code, detail string
	}{
		{"an unknown field", `{"title":"A","type":"simple","colour":1,"variants":[` + mug + `]}`, 400, "invalid_request", "/colour"},
		{"an unknown field of a variant", `{"title":"A","type":"simple","variants":[{"sku":"A","prize":1}]}`, 400, "invalid_request", "/variants/0/prize"},
		{"a price as a number", `{"title":"A","type":"simple","variants":[{"sku":"A","price":{"amount":1,"currency":"EUR"}}]}`, 400, "invalid_request", "/variants/price/amount"},
		{"a negative price", `{"title":"A","type":"simple","variants":[{"sku":"A","price":{"amount":"-1","currency":"EUR"}}]}`, 400, "invalid_request", "/variants/0/price"},
		{"half a yen", `{"title":"A","type":"simple","variants":[{"sku":"A","price":{"amount":"0.5","currency":"JPY"}}]}`, 400, "invalid_request", "/variants/0/price"},
		{"no title", `{"type":"simple","variants":[` + mug + `]}`, 400, "invalid_request", "/title"},
		{"a title too long", `{"title":"` + strings.Repeat("x", 201) + `","type":"simple","variants":[` + mug + `]}`, 400, "invalid_request", "/title"},
		{"a title with a null character", `{"title":"a\u0000b","type":"simple","variants":[` + mug + `]}`, 400, "invalid_request", "/title"},
		{"a type that is none", `{"title":"A","type":"cloud","variants":[` + mug + `]}`, 400, "invalid_request", "/type"},
		{"no variants", `{"title":"A","type":"simple"}`, 400, "invalid_request", "/variants"},
		{"two variants of a simple product", `{"title":"A","type":"simple","variants":[` + mug + `,{"sku":"B","price":{"amount":"1","currency":"EUR"}}]}`, 400, "invalid_request", "/variants"},
		{"one SKU twice", `{"title":"A","type":"variable","options":["S"],"variants":[{"sku":"B","price":{"amount":"1","currency":"EUR"},"options":{"S":"1"}},{"sku":"B","price":{"amount":"1","currency":"EUR"},"options":{"S":"2"}}]}`, 400, "invalid_request", "/variants/1/sku"},
		{"one choice twice", `{"title":"A","type":"variable","options":["S"],"variants":[{"sku":"B","price":{"amount":"1","currency":"EUR"},"options":{"S":"1"}},{"sku":"C","price":{"amount":"1","currency":"EUR"},"options":{"S":"1"}}]}`, 400, "invalid_request", "/variants/1/options"},
		{"a slug with capitals", `{"title":"A","slug":"A","type":"simple","variants":[` + mug + `]}`, 400, "invalid_request", "/slug"},
		{"a slug that is taken", `{"title":"A","slug":"taken","type":"simple","variants":[` + mug + `]}`, 409, "slug_taken", "taken"},
		{"a SKU that is taken", `{"title":"A","type":"simple","variants":[{"sku":"TAKEN","price":{"amount":"1","currency":"EUR"}}]}`, 409, "sku_taken", ""},
		{"no JSON", `title=A`, 400, "invalid_json", ""},
		{"a body too large", `{"title":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "body_too_large", "1048576"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := s.asAdmin("POST", "/api/v1/products", tt.body)
			p := decode[openapi.Problem](t, w)
			if w.Code != tt.status || p.Code != tt.code || !strings.Contains(w.Body.String(), tt.detail) {
				t.Fatalf("got %d %s, want %d %s with %s", w.Code, w.Body, tt.status, tt.code, tt.detail)
			}
			if w.Header().Get("Content-Type") != "application/problem+json" || p.RequestId == nil || *p.RequestId != w.Header().Get("X-Request-Id") {
				t.Fatalf("no proper problem: %v %s", w.Header(), w.Body)
			}
		})
	}
	t.Cleanup(func() {
		if got := titles(t, s.asAdmin("GET", "/products", "")); got != "Taken" {
			t.Errorf("stored: %s", got)
		}
	})
}

func TestAListIsReadPageByPage(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for i := range 7 {
		s.create(fmt.Sprintf("Mug %d", i), fmt.Sprintf("MUG-%d", i))
	}
	for _, q := range []string{"", "&q=mug"} {
		var all []string
		for path, pages := "/products?limit=3"+q, 0; ; pages++ {
			w := s.do("GET", path, "")
			all = append(all, titles(t, w))
			next := decode[openapi.ProductPage](t, w).NextCursor
			if next == nil {
				break
			}
			if pages > 3 {
				t.Fatal("the list does not end")
			}
			path = "/products?limit=3" + q + "&cursor=" + *next
		}
		if got := strings.Join(all, " | "); got != "Mug 6, Mug 5, Mug 4 | Mug 3, Mug 2, Mug 1 | Mug 0" {
			t.Errorf("with %q: %s", q, got)
		}
	}
	cursor := *decode[openapi.ProductPage](t, s.do("GET", "/products?limit=1", "")).NextCursor
	for _, path := range []string{"?limit=0", "?limit=101", "?limit=x", "?cursor=x", "?q=mug&cursor=" + cursor, "?q=", "?q=" + strings.Repeat("x", 201), "?status=sold"} {
		if w := s.do("GET", "/products"+path, ""); w.Code != http.StatusBadRequest {
			t.Errorf("%.40s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestAListCostsOneStatementWhateverItsLength(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	count := func() int64 {
		before := s.statements.Load()
		s.do("GET", "/products?limit=100", "")
		s.do("GET", "/products?limit=100&q=mug", "")
		return s.statements.Load() - before
	}
	s.create("Mug", "MUG")
	count() // prepares
	one := count()
	for i := range 30 {
		s.create(fmt.Sprintf("Mug %d", i), fmt.Sprintf("MUG-%d", i))
	}
	if many := count(); one != 2 || many != 2 {
		t.Fatalf("%d statements for one product, %d for many, want 2", one, many)
	}
}

func TestSearchFindsWordsByTheirBeginningTitlesFirst(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for i, p := range [][2]string{{"Cotton T-Shirt", "Soft."}, {"Sweater", "Not of cotton."}, {"Mug", "Holds tea."}, {"Übergröße", "Extra."}} {
		body := fmt.Sprintf(`{"title":%q,"description":%q,"type":"simple","status":"active","variants":[{"sku":"S%d","price":{"amount":"1","currency":"EUR"}}]}`, p[0], p[1], i)
		if w := s.asAdmin("POST", "/products", body); w.Code != http.StatusCreated {
			t.Fatal(w.Body)
		}
	}
	for q, want := range map[string]string{
		"cotton": "Cotton T-Shirt, Sweater", "COTT": "Cotton T-Shirt, Sweater", "shirt+cot": "Cotton T-Shirt", "t-shirt": "Cotton T-Shirt",
		"tea": "Mug", "nothing": "", "%21%21": "", "%27%29%3A*%26%7C": "", "mug%00": "Mug", "%C3%BCber": "Übergröße", "%ff": "",
	} {
		if got := titles(t, s.do("GET", "/products?q="+q, "")); got != want {
			t.Errorf("%s: got %q, want %q", q, got, want)
		}
	}
}

func TestOnlyAnAdministratorSeesWhatIsNotActive(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.create("Active", "A")
	if w := s.asAdmin("POST", "/products", product("Draft", "D", "draft")); w.Code != http.StatusCreated {
		t.Fatal(w.Body)
	}
	if got := titles(t, s.do("GET", "/products", "")); got != "Active" {
		t.Errorf("a shopper sees %s", got)
	}
	if got := titles(t, s.asAdmin("GET", "/products", "")); got != "Draft, Active" {
		t.Errorf("an administrator sees %s", got)
	}
	if w := s.do("GET", "/products/draft", ""); w.Code != http.StatusNotFound {
		t.Errorf("a shopper reads a draft: %d", w.Code)
	}
	if w := s.asAdmin("GET", "/products/draft", ""); w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "private, no-store" {
		t.Errorf("an administrator reads a draft: %d %v", w.Code, w.Header())
	}
	if w := s.do("GET", "/products?status=draft", ""); w.Code != http.StatusForbidden {
		t.Errorf("a shopper lists drafts: %d", w.Code)
	}
}

// TestNobodyGetsInWithoutTheKey walks every operation of openapi.yaml.
func TestNobodyGetsInWithoutTheKey(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var doc struct {
		Paths map[string]map[string]struct{ Security []map[string][]string }
	}
	if err := yaml.Unmarshal(openapi.YAML, &doc); err != nil {
		t.Fatal(err)
	}
	secured := 0
	for path, operations := range doc.Paths {
		for method, o := range operations {
			needsKey := len(o.Security) > 0
			for _, way := range o.Security {
				needsKey = needsKey && len(way) > 0
			}
			for name, header := range map[string]string{"no key": "", "a wrong key": "Bearer sk_live_wrong", "an empty key": "Bearer ",
				"another scheme": "Basic " + adminKey, "half the key": "Bearer " + adminKey[:20]} {
				for _, prefix := range []string{"", "/api/v1"} {
					w := s.do(strings.ToUpper(method), prefix+strings.ReplaceAll(path, "{idOrSlug}", "x"), "", "Authorization", header)
					refused := w.Code == http.StatusUnauthorized
					if want := needsKey || header != ""; refused != want {
						t.Errorf("%s %s with %s: %d", method, prefix+path, name, w.Code)
					}
					if refused && w.Header().Get("WWW-Authenticate") == "" {
						t.Error("401 without WWW-Authenticate")
					}
				}
			}
			if needsKey {
				secured++
			}
		}
	}
	if secured == 0 {
		t.Fatal("no operation needs a key")
	}
	if strings.Contains(s.log.String(), "SECRET") || strings.Contains(s.log.String(), "sk_live_wrong") {
		t.Fatalf("a key is logged: %s", s.log)
	}
}

func TestAStoreWithoutAKeyLetsNobodyIn(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"an empty file": "", "a blank file": "\n", "a key too short": "short"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config.Default()
			c.Auth.AdminKeyFile = testbed.File(t, content)
			engine, err := api.New(c, catalog.New(nil, nil), (&testbed.Log{}).Logger(), prometheus.NewRegistry())
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"", strings.TrimSpace(content)} {
				r := httptest.NewRequest("POST", "/products", strings.NewReader(`{}`))
				r.Header.Set("Authorization", "Bearer "+key)
				w := httptest.NewRecorder()
				engine.ServeHTTP(w, r)
				if w.Code != http.StatusUnauthorized {
					t.Errorf("key %q: %d", key, w.Code)
				}
			}
		})
	}
}

func TestARepeatedRequestHasOneEffect(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	body := product("Mug", "MUG", "active")
	answers := make([]*httptest.ResponseRecorder, 8)
	var wg sync.WaitGroup
	for i := range answers { // at once
		wg.Go(func() { answers[i] = s.asAdmin("POST", "/products", body, "Idempotency-Key", "one") })
	}
	wg.Wait()
	replayed := 0
	for _, w := range answers {
		if w.Code != http.StatusCreated || w.Body.String() != answers[0].Body.String() || w.Header().Get("Location") != answers[0].Header().Get("Location") {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w.Header().Get("Idempotency-Replayed") == "true" {
			replayed++
		}
	}
	if replayed != 7 || titles(t, s.do("GET", "/products", "")) != "Mug" {
		t.Fatalf("%d of 8 replayed", replayed)
	}
	if w := s.asAdmin("POST", "/products", product("Cup", "CUP", "active"), "Idempotency-Key", "one"); w.Code != http.StatusConflict || decode[openapi.Problem](t, w).Code != "idempotency_key_reused" {
		t.Fatalf("another body: %d %s", w.Code, w.Body)
	}
	if w := s.asAdmin("POST", "/products", product("Cup", "MUG", "active"), "Idempotency-Key", "two"); w.Code != http.StatusConflict {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := s.asAdmin("POST", "/products", product("Cup", "CUP", "active"), "Idempotency-Key", "two"); w.Code != http.StatusCreated {
		t.Fatalf("a key whose request failed is not free: %d %s", w.Code, w.Body)
	}
	if w := s.asAdmin("POST", "/products", body, "Idempotency-Key", "schlüssel"); w.Code != http.StatusBadRequest {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
}

func TestAnAnswerThatTheCallerHoldsIsNotSentAgain(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.create("Mug", "MUG")
	for _, path := range []string{"/products", "/products/mug"} {
		tag := s.do("GET", path, "").Header().Get("ETag")
		if w := s.do("GET", path, "", "If-None-Match", tag); tag == "" || w.Code != http.StatusNotModified || w.Body.Len() != 0 {
			t.Errorf("%s with %s: %d %s", path, tag, w.Code, w.Body)
		}
	}
	tag := s.do("GET", "/products", "").Header().Get("ETag")
	s.create("Cup", "CUP")
	if w := s.do("GET", "/products", "", "If-None-Match", tag); w.Code != http.StatusOK {
		t.Errorf("after a change: %d", w.Code)
	}
}

func TestWhatIsNotThereIsAProblem(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for path, code := range map[string]string{
		"/nowhere": "not_found", "/products/nothing": "product_not_found", "/products/%ff%00": "product_not_found",
		"/products/00000000-0000-0000-0000-000000000000": "product_not_found",
	} {
		if w := s.do("GET", path, ""); w.Code != http.StatusNotFound || decode[openapi.Problem](t, w).Code != code {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := s.do("DELETE", "/products", ""); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestTheDocumentationNeedsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	w := s.do("GET", "/docs", "")
	page := w.Body.String()
	for _, bad := range []string{"<script", "style=", "http://", "https://", "onclick"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	for _, word := range []string{"Idempotency-Key", "/products/{idOrSlug}", "Needs an API key"} {
		if !strings.Contains(page, word) {
			t.Errorf("the page lacks %s", word)
		}
	}
	if policy := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	for _, path := range []string{"/docs/style.css", "/openapi.yaml"} {
		if w := s.do("GET", path, ""); w.Code != http.StatusOK || w.Body.Len() == 0 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestTheGeneratedClientReadsWhatItWrites(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	server := httptest.NewServer(s.engine)
	defer server.Close()
	key := func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+adminKey)
		return nil
	}
	c, err := client.NewClientWithResponses(server.URL+"/api/v1", client.WithRequestEditorFn(key))
	if err != nil {
		t.Fatal(err)
	}
	created, err := c.CreateProductWithResponse(t.Context(), &client.CreateProductParams{}, client.ProductInput{
		Title: "Mug", Type: client.Simple, Status: new(client.Active),
		Variants: []client.VariantInput{{Sku: "MUG", Price: client.Money{Amount: "5", Currency: "EUR"}}},
	})
	if err != nil || created.JSON201 == nil {
		t.Fatalf("%v %s", err, created.Body)
	}
	got, err := c.GetProductWithResponse(t.Context(), created.JSON201.Slug)
	if err != nil || got.JSON200 == nil || got.JSON200.Id != created.JSON201.Id {
		t.Fatalf("%v %s", err, got.Body)
	}
	health, err := c.GetHealthWithResponse(t.Context())
	if err != nil || health.JSON200 == nil || health.JSON200.Store != "shop" {
		t.Fatalf("%v", err)
	}
}
