package catalog_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/internal/httpserver"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	testbed.Main(m)
}

// rest is every operation that is not the catalogue's.
type rest struct{ openapi.ServerInterface }

type handlers struct {
	catalog.Handlers
	rest
}

// store is the catalogue's API over a database of the test's own.
type store struct {
	t          testing.TB
	pool       *pgxpool.Pool
	catalog    *catalog.Catalog
	engine     http.Handler
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
	pool, err := pgxpool.NewWithConfig(context.Background(), pc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	settings, err := secure.NewSettings(config.DefaultEdge())
	if err != nil {
		t.Fatal(err)
	}
	s := &store{t: t, pool: pool, catalog: catalog.New(pool, nil), statements: &counter.n}
	engine := httpserver.NewEngine(httpserver.Passage{Settings: func() *secure.Settings { return settings }}, (&testbed.Log{}).Logger(), prometheus.NewRegistry())
	engine.Use(func(c *gin.Context) {
		if c.GetHeader("As") == "staff" {
			identity.Set(c, &identity.Principal{KeyName: "first", Scopes: []string{"*:admin"}})
		}
	})
	openapi.RegisterHandlersWithOptions(engine, handlers{Handlers: catalog.Handlers{Catalog: s.catalog}}, openapi.GinServerOptions{ErrorHandler: httpserver.BadParameter})
	s.engine = engine
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

func (s *store) asStaff(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	return s.do(method, path, body, append(headers, "As", "staff")...)
}

// must sends a request of staff and decodes its answer, which has the status.
func must[T any](s *store, status int, method, path, body string) T {
	s.t.Helper()
	w := s.asStaff(method, path, body)
	if w.Code != status {
		s.t.Fatalf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, status)
	}
	return decode[T](s.t, w)
}

// create stores a product of JSON's fields, which may leave out everything but
// the title.
func (s *store) create(fields string) openapi.Product {
	s.t.Helper()
	return must[openapi.Product](s, http.StatusCreated, "POST", "/products", product(fields))
}

// product is a simple active product at 19.99 EUR, unless fields say otherwise;
// its SKU is new.
func product(fields string) string {
	all := map[string]any{
		"type": "simple", "status": "active",
		"variants": []any{map[string]any{"sku": "S-" + uuid.NewString(), "prices": []any{map[string]any{"amount": "19.99", "currency": "EUR"}}}},
	}
	if err := json.Unmarshal([]byte("{"+fields+"}"), &all); err != nil {
		panic(err)
	}
	body, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(body)
}

func variant(sku, amount string) string {
	return fmt.Sprintf(`{"sku":%q,"prices":[{"amount":%q,"currency":"EUR"}]}`, sku, amount)
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

// wantProblem checks an answer's status, code and, where given, a pointer.
func wantProblem(t testing.TB, w *httptest.ResponseRecorder, status int, code, pointer string) {
	t.Helper()
	p := decode[openapi.Problem](t, w)
	found := pointer == ""
	if p.Errors != nil {
		for _, e := range *p.Errors {
			found = found || e.Pointer == pointer
		}
	}
	if w.Code != status || p.Code != code || !found {
		t.Errorf("got %d %s, want %d %s with %s", w.Code, w.Body, status, code, pointer)
	}
}

func TestAProductIsReadAsItWasCreated(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	top := must[openapi.Category](s, 201, "POST", "/categories", `{"name":"Clothing"}`)
	w := s.asStaff("POST", "/products", `{"title":" Crème T-Shirt ","description":"Soft.","type":"variable","status":"active","taxCategory":"clothes",
		"options":["Size","Colour"],"tags":[" New "],"attributes":[{"name":"Material","value":"Wool: fine"}],
		"images":[{"url":"https://cdn.example/a.jpg","alt":"A"},{"url":"/media/b.jpg"}],"seo":{"title":"T"},"categoryIds":["`+top.Id.String()+`"],"variants":[
		{"sku":"TS-S","prices":[{"amount":"19.9","currency":"EUR","compareAt":"25","cost":"7"},{"amount":"2000","currency":"JPY"}],"options":{"Size":"S","Colour":"Red"},"weightGrams":200},
		{"sku":"TS-M","prices":[{"amount":"2100","currency":"JPY"},{"amount":"21","currency":"EUR"}],"options":{"Colour":"Red","Size":"M"},"trackStock":false,"stockPolicy":"continue"}]}`)
	if w.Code != http.StatusCreated {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	p := decode[openapi.Product](t, w)
	if p.Title != "Crème T-Shirt" || p.Slug != "creme-t-shirt" || p.Version != 1 || p.Tags[0] != "New" || p.TaxCategory != "clothes" || p.CategoryIds[0] != top.Id {
		t.Errorf("got %+v", p)
	}
	if v := p.Variants[0]; v.Prices[0].Amount != "19.90" || *v.Prices[0].CompareAt != "25.00" || v.Prices[1].Amount != "2000" || !v.TrackStock || v.StockPolicy != "deny" || v.WeightGrams != 200 {
		t.Errorf("got %+v", v)
	}
	if v := p.Variants[1]; v.TrackStock || v.StockPolicy != "continue" || v.Options["Size"] != "M" {
		t.Errorf("got %+v", v)
	}
	if strings.Contains(w.Body.String(), "cost") {
		t.Errorf("a cost is shown: %s", w.Body)
	}
	location := strings.TrimPrefix(w.Header().Get("Location"), "/api/v1")
	for _, path := range []string{location, "/products/creme-t-shirt"} {
		if got := s.do("GET", path, ""); got.Code != http.StatusOK || got.Body.String() != w.Body.String() {
			t.Errorf("GET %s: %d %s, want %s", path, got.Code, got.Body, w.Body)
		}
	}
	if got := s.do("GET", "/products", "").Body.String(); got != `{"products":[`+w.Body.String()+`]}` {
		t.Errorf("listed as %s", got)
	}
	costs := must[openapi.CostList](s, 200, "GET", location+"/costs", "").Costs
	if len(costs) != 1 || costs[0].Sku != "TS-S" || costs[0].Cost != (openapi.Money{Amount: "7.00", Currency: "EUR"}) {
		t.Errorf("costs %+v", costs)
	}
}

func TestWhatIsWrongWithAProductIsNamed(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	taken := s.create(`"title":"Taken","variants":[` + variant("TAKEN", "1") + `]`)
	kit := s.create(`"title":"Kit","type":"bundle","bundle":[{"variantId":"` + taken.Variants[0].Id.String() + `","quantity":2}]`)
	s.create(`"title":"Other"`)
	price := func(fields string) string { return `"title":"A","variants":[{"sku":"A","prices":[{` + fields + `}]}]` }
	variable := func(first, second string) string {
		return `"title":"A","type":"variable","options":["S"],"variants":[{"sku":"B","prices":[{"amount":"1","currency":"EUR"}],` + first + `},{"sku":"C","prices":[{"amount":"1","currency":"EUR"}],` + second + `}]`
	}
	many := func(n int, item string) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	tests := []struct{ name, fields, pointer string }{
		{"an unknown field", `"title":"A","colour":1`, "/colour"},
		{"an unknown field of a variant", `"title":"A","variants":[{"sku":"A","prize":1}]`, "/variants/0/prize"},
		{"a price as a number", price(`"amount":1,"currency":"EUR"`), "/variants/0/prices/0/amount"},
		{"a negative price", price(`"amount":"-1","currency":"EUR"`), "/variants/0/prices/0/amount"},
		{"half a yen", price(`"amount":"0.5","currency":"JPY"`), "/variants/0/prices/0/amount"},
		{"a price beyond all", price(`"amount":"99999999999999999999","currency":"EUR"`), "/variants/0/prices/0/amount"},
		{"no currency", price(`"amount":"1","currency":"EURO"`), "/variants/0/prices/0/currency"},
		{"compareAt that is no more", price(`"amount":"1","currency":"EUR","compareAt":"1.00"`), "/variants/0/prices/0/compareAt"},
		{"a cost that is none", price(`"amount":"1","currency":"EUR","cost":"x"`), "/variants/0/prices/0/cost"},
		{"one currency twice", `"title":"A","variants":[{"sku":"A","prices":[{"amount":"1","currency":"EUR"},{"amount":"2","currency":"EUR"}]}]`, "/variants/0/prices/1/currency"},
		{"no price", `"title":"A","variants":[{"sku":"A","prices":[]}]`, "/variants/0/prices"},
		{"other currencies", `"title":"A","type":"variable","options":["S"],"variants":[{"sku":"B","prices":[{"amount":"1","currency":"EUR"}],"options":{"S":"1"}},{"sku":"C","prices":[{"amount":"1","currency":"USD"}],"options":{"S":"2"}}]`, "/variants/1/prices"},
		{"no title", `"slug":"a"`, "/title"},
		{"a title too long", `"title":"` + strings.Repeat("x", 201) + `"`, "/title"},
		{"a title with a null character", `"title":"a\u0000b"`, "/title"},
		{"a description too long", `"title":"A","description":"` + strings.Repeat("ü", 20_001) + `"`, "/description"},
		{"a type that is none", `"title":"A","type":"cloud"`, "/type"},
		{"a status that is none", `"title":"A","status":"sold"`, "/status"},
		{"a tax category with capitals", `"title":"A","taxCategory":"Books"`, "/taxCategory"},
		{"no variants", `"title":"A","variants":[]`, "/variants"},
		{"too many variants", `"title":"A","type":"variable","options":["S"],"variants":[` + many(101, variant("A", "1")) + `]`, "/variants"},
		{"two variants of a simple product", `"title":"A","variants":[` + variant("A", "1") + `,` + variant("B", "1") + `]`, "/variants"},
		{"options of a simple product", `"title":"A","options":["S"]`, "/options"},
		{"a variable product without options", `"title":"A","type":"variable"`, "/options"},
		{"one option twice", `"title":"A","type":"variable","options":["S","S"]`, "/options/1"},
		{"a SKU with a space", `"title":"A","variants":[` + variant("A B", "1") + `]`, "/variants/0/sku"},
		{"one SKU twice", `"title":"A","type":"variable","options":["S"],"variants":[` + variant("B", "1") + `,` + variant("B", "1") + `]`, "/variants/1/sku"},
		{"one choice twice", variable(`"options":{"S":"1"}`, `"options":{"S":"1"}`), "/variants/1/options"},
		{"a choice too few", variable(`"options":{"S":"1"}`, `"options":{}`), "/variants/1/options"},
		{"a choice too many", variable(`"options":{"S":"1","T":"1"}`, `"options":{"S":"2"}`), "/variants/0/options"},
		{"a negative weight", `"title":"A","variants":[{"sku":"A","weightGrams":-1,"prices":[{"amount":"1","currency":"EUR"}]}]`, "/variants/0/weightGrams"},
		{"a weight beyond all", `"title":"A","variants":[{"sku":"A","weightGrams":99999999999999999999,"prices":[{"amount":"1","currency":"EUR"}]}]`, "/variants/0/weightGrams"},
		{"a policy that is none", `"title":"A","variants":[{"sku":"A","stockPolicy":"maybe","prices":[{"amount":"1","currency":"EUR"}]}]`, "/variants/0/stockPolicy"},
		{"stock of what is digital", `"title":"A","type":"digital","variants":[{"sku":"A","trackStock":true,"prices":[{"amount":"1","currency":"EUR"}]}]`, "/variants/0/trackStock"},
		{"a bundle of nothing", `"title":"A","type":"bundle"`, "/bundle"},
		{"a bundle in what is none", `"title":"A","bundle":[{"variantId":"` + taken.Variants[0].Id.String() + `","quantity":1}]`, "/bundle"},
		{"a bundle of what is not there", `"title":"A","type":"bundle","bundle":[{"variantId":"` + uuid.NewString() + `","quantity":1}]`, "/bundle/0/variantId"},
		{"a bundle of a bundle", `"title":"A","type":"bundle","bundle":[{"variantId":"` + kit.Variants[0].Id.String() + `","quantity":1}]`, "/bundle/0/variantId"},
		{"a bundle of none of it", `"title":"A","type":"bundle","bundle":[{"variantId":"` + taken.Variants[0].Id.String() + `","quantity":0}]`, "/bundle/0/quantity"},
		{"a bundle of it twice", `"title":"A","type":"bundle","bundle":[{"variantId":"` + taken.Variants[0].Id.String() + `","quantity":1},{"variantId":"` + taken.Variants[0].Id.String() + `","quantity":1}]`, "/bundle/1/variantId"},
		{"a bundle of a SKU that is not there", `"title":"A","type":"bundle","bundle":[{"sku":"NONE","quantity":1}]`, "/bundle/0/sku"},
		{"a bundle of a bundle by its SKU", `"title":"A","type":"bundle","bundle":[{"sku":"` + kit.Variants[0].Sku + `","quantity":1}]`, "/bundle/0/sku"},
		{"a bundle of a SKU twice", `"title":"A","type":"bundle","bundle":[{"sku":"TAKEN","quantity":1},{"sku":"TAKEN","quantity":1}]`, "/bundle/1/sku"},
		{"a bundle of it twice, by its id and its SKU", `"title":"A","type":"bundle","bundle":[{"variantId":"` + taken.Variants[0].Id.String() + `","quantity":1},{"sku":"TAKEN","quantity":1}]`, "/bundle/1/sku"},
		{"a bundle of it twice, by its SKU and its id", `"title":"A","type":"bundle","bundle":[{"sku":"TAKEN","quantity":1},{"variantId":"` + taken.Variants[0].Id.String() + `","quantity":1}]`, "/bundle/1/variantId"},
		{"a part with two names", `"title":"A","type":"bundle","bundle":[{"variantId":"` + taken.Variants[0].Id.String() + `","sku":"TAKEN","quantity":1}]`, "/bundle/0"},
		{"a part without a name", `"title":"A","type":"bundle","bundle":[{"quantity":1}]`, "/bundle/0"},
		{"an image over http", `"title":"A","images":[{"url":"http://x.example/a.jpg"}]`, "/images/0/url"},
		{"an image of javascript", `"title":"A","images":[{"url":"javascript:alert(1)"}]`, "/images/0/url"},
		{"an image of another host by two slashes", `"title":"A","images":[{"url":"//x.example/a.jpg"}]`, "/images/0/url"},
		{"an image of another host by a backslash", `"title":"A","images":[{"url":"/\\x.example/a.jpg"}]`, "/images/0/url"},
		{"an image with a password", `"title":"A","images":[{"url":"https://a:b@x.example/a.jpg"}]`, "/images/0/url"},
		{"an image too long", `"title":"A","images":[{"url":"/` + strings.Repeat("x", 2000) + `"}]`, "/images/0/url"},
		{"too many images", `"title":"A","images":[` + many(51, `{"url":"/a"}`) + `]`, "/images"},
		{"an attribute twice", `"title":"A","attributes":[{"name":"M","value":"1"},{"name":"M","value":"2"}]`, "/attributes/1/name"},
		{"an attribute with a colon", `"title":"A","attributes":[{"name":"M:N","value":"1"}]`, "/attributes/0/name"},
		{"an attribute without a value", `"title":"A","attributes":[{"name":"M","value":""}]`, "/attributes/0/value"},
		{"a tag twice", `"title":"A","tags":["new"," NEW"]`, "/tags/1"},
		{"a tag of space", `"title":"A","tags":[" "]`, "/tags/0"},
		{"a category that is not there", `"title":"A","categoryIds":["` + uuid.NewString() + `"]`, "/categoryIds/0"},
		{"a category that is no id", `"title":"A","categoryIds":["x"]`, ""},
		{"a long title for searches", `"title":"A","seo":{"title":"` + strings.Repeat("x", 201) + `"}`, "/seo/title"},
		{"a slug with capitals", `"title":"A","slug":"A"`, "/slug"},
		{"a slug like an id", `"title":"A","slug":"` + uuid.NewString() + `"`, "/slug"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for method, path := range map[string]string{"POST": "/products", "PUT": "/products/other"} {
				w := s.asStaff(method, path, product(tt.fields))
				if tt.pointer == "" {
					wantProblem(t, w, 400, decode[openapi.Problem](t, w).Code, "")
				} else {
					wantProblem(t, w, 400, "invalid_request", tt.pointer)
				}
			}
		})
	}
	wantProblem(t, s.asStaff("POST", "/products", product(`"title":"A","slug":"taken"`)), 409, "slug_taken", "")
	wantProblem(t, s.asStaff("POST", "/products", product(`"title":"A","variants":[`+variant("TAKEN", "1")+`]`)), 409, "sku_taken", "")
	wantProblem(t, s.asStaff("PUT", "/products/kit", product(`"title":"A","slug":"taken"`)), 409, "slug_taken", "")
	wantProblem(t, s.asStaff("PUT", "/products/taken", product(`"title":"A","type":"bundle","variants":[`+variant("TAKEN", "1")+`],"bundle":[{"variantId":"`+uuid.NewString()+`","quantity":1}]`)), 409, "variant_in_use", "")
	wantProblem(t, s.asStaff("POST", "/products", `title=A`), 400, "invalid_json", "")
	wantProblem(t, s.asStaff("POST", "/products", "{\"title\":\"\xff\"}"), 400, "invalid_json", "")
	wantProblem(t, s.asStaff("POST", "/products", `{"a":`+strings.Repeat("[", 100_000)), 400, "invalid_json", "")
	wantProblem(t, s.asStaff("POST", "/products", `{"title":"`+strings.Repeat("x", 1<<20)+`"}`), 413, "body_too_large", "")
	t.Cleanup(func() {
		if got := titles(t, s.asStaff("GET", "/products", "")); got != "Other, Kit, Taken" {
			t.Errorf("stored: %s", got)
		}
	})
}

func TestOnlyStaffSeeWhatIsNotActive(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.create(`"title":"Active"`)
	s.create(`"title":"Draft","status":"draft"`)
	s.create(`"title":"Archived","status":"archived"`)
	if got := titles(t, s.do("GET", "/products", "")); got != "Active" {
		t.Errorf("a shopper sees %s", got)
	}
	if got := titles(t, s.do("GET", "/products?sort=oldest&status=active", "")); got != "Active" {
		t.Errorf("a shopper sees %s", got)
	}
	if got := titles(t, s.asStaff("GET", "/products", "")); got != "Archived, Draft, Active" {
		t.Errorf("staff see %s", got)
	}
	if got := titles(t, s.asStaff("GET", "/products?status=draft", "")); got != "Draft" {
		t.Errorf("staff see %s", got)
	}
	for _, path := range []string{"/products/draft", "/products/archived"} {
		wantProblem(t, s.do("GET", path, ""), 404, "product_not_found", "")
		if w := s.asStaff("GET", path, ""); w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "private, no-store" {
			t.Errorf("staff read %s: %d %v", path, w.Code, w.Header())
		}
	}
	wantProblem(t, s.do("GET", "/products?status=draft", ""), 403, "forbidden", "")
	wantProblem(t, s.asStaff("GET", "/products?status=sold", ""), 400, "invalid_request", "status")
}

func TestAReplacedProductKeepsItsVariantsBySKU(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	sized := func(title string, skus ...string) string {
		var variants []string
		for _, sku := range skus {
			variants = append(variants, fmt.Sprintf(`{"sku":%q,"prices":[{"amount":"5","currency":"EUR"}],"options":{"Size":%q}}`, sku, sku))
		}
		return `"title":"` + title + `","type":"variable","options":["Size"],"variants":[` + strings.Join(variants, ",") + `]`
	}
	before := s.create(sized("Shirt", "S", "M", "L"))
	after := must[openapi.Product](s, 200, "PUT", "/products/shirt", product(sized("Better shirt", "XL", "L", "S")))
	if after.Id != before.Id || after.Version != 2 || after.Slug != "shirt" || !after.CreatedAt.Equal(before.CreatedAt) || !after.UpdatedAt.After(before.UpdatedAt) {
		t.Errorf("got %+v", after)
	}
	if after.Variants[1].Id != before.Variants[2].Id || after.Variants[2].Id != before.Variants[0].Id || after.Variants[0].Id == before.Variants[1].Id {
		t.Errorf("from %+v to %+v", before.Variants, after.Variants)
	}
	if got := decode[openapi.Product](t, s.do("GET", "/products/shirt", "")); got.Title != "Better shirt" || len(got.Variants) != 3 {
		t.Errorf("read %+v", got)
	}
	if got := titles(t, s.do("GET", "/products?q=better", "")); got != "Better shirt" {
		t.Errorf("found %q", got)
	}
	s.create(`"title":"Another","variants":[` + variant("M", "1") + `]`) // the SKU is free
	wantProblem(t, s.asStaff("PUT", "/products/shirt", product(sized("Shirt", "M"))), 409, "sku_taken", "")
	wantProblem(t, s.asStaff("PUT", "/products/nothing", product(`"title":"A"`)), 404, "product_not_found", "")
}

func TestAProductIsReplacedOnlyInTheVersionThatTheCallerKnows(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.create(`"title":"Mug"`)
	for _, tt := range []struct {
		match  string
		status int
	}{{`"2"`, 412}, {`1`, 412}, {`W/"1"`, 412}, {`"1"`, 200}, {`"1"`, 412}, {`"2"`, 200}, {`*`, 200}} {
		w := s.asStaff("PUT", "/products/mug", product(`"title":"Mug"`), "If-Match", tt.match)
		if w.Code != tt.status {
			t.Errorf("If-Match %s: %d %s", tt.match, w.Code, w.Body)
		}
	}
	wantProblem(t, s.asStaff("PUT", "/products/mug", product(`"title":"Mug"`), "If-Match", `"1"`), 412, "version_mismatch", "")
}

// past is what orders and reservations know of variants.
type past struct{ ordered, held atomic.Pointer[uuid.UUID] }

func (p *past) EverOrdered(_ context.Context, _ pgx.Tx, ids []uuid.UUID) (bool, error) {
	return p.ordered.Load() != nil && ids[0] == *p.ordered.Load(), nil
}

func (p *past) Held(_ context.Context, _ pgx.Tx, ids []uuid.UUID) ([]uuid.UUID, error) {
	if p.held.Load() != nil && ids[0] == *p.held.Load() {
		return ids[:1], nil
	}
	return nil, nil
}

func TestWhatIsPromisedOrSoldIsNotDeleted(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var p past
	s.catalog.Connect(catalog.Dependencies{Orders: &p, Holds: &p})
	sold, held, free := s.create(`"title":"Sold"`), s.create(`"title":"Held"`), s.create(`"title":"Free"`)
	p.ordered.Store(&sold.Variants[0].Id)
	p.held.Store(&held.Variants[0].Id)
	wantProblem(t, s.asStaff("PUT", "/products/held", product(`"title":"Held"`)), 409, "variant_in_use", "")
	for _, slug := range []string{"sold", "held", "free"} {
		if w := s.asStaff("DELETE", "/products/"+slug, ""); w.Code != http.StatusNoContent {
			t.Errorf("%s: %d %s", slug, w.Code, w.Body)
		}
		wantProblem(t, s.do("GET", "/products/"+slug, ""), 404, "product_not_found", "")
	}
	for _, slug := range []string{"sold", "held"} {
		if got := must[openapi.Product](s, 200, "GET", "/products/"+slug, ""); got.Status != "archived" || got.Version != 2 {
			t.Errorf("%s: %+v", slug, got)
		}
	}
	wantProblem(t, s.asStaff("GET", "/products/"+free.Id.String(), ""), 404, "product_not_found", "")
	wantProblem(t, s.asStaff("DELETE", "/products/free", ""), 404, "product_not_found", "")
}

func TestAPartOfABundleStays(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.create(`"title":"Mug"`)
	s.create(`"title":"Kit","type":"bundle","bundle":[{"variantId":"` + mug.Variants[0].Id.String() + `","quantity":2}]`)
	wantProblem(t, s.asStaff("DELETE", "/products/mug", ""), 409, "variant_in_use", "")
	wantProblem(t, s.asStaff("PUT", "/products/mug", product(`"title":"Mug"`)), 409, "variant_in_use", "")
	for _, slug := range []string{"kit", "mug"} {
		if w := s.asStaff("DELETE", "/products/"+slug, ""); w.Code != http.StatusNoContent {
			t.Errorf("%s: %d %s", slug, w.Code, w.Body)
		}
	}
}

func TestARepeatedRequestHasOneEffect(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	body := product(`"title":"Mug"`)
	first := s.asStaff("POST", "/products", body, "Idempotency-Key", "one")
	again := s.asStaff("POST", "/products", body, "Idempotency-Key", "one")
	if again.Code != 201 || again.Header().Get("Idempotency-Replayed") != "true" || again.Body.String() != first.Body.String() || again.Header().Get("Location") != first.Header().Get("Location") {
		t.Errorf("%d %v %s", again.Code, again.Header(), again.Body)
	}
	wantProblem(t, s.asStaff("POST", "/products", product(`"title":"Cup"`), "Idempotency-Key", "one"), 409, "idempotency_key_reused", "")
}

func TestAnAnswerThatTheCallerHoldsIsNotSentAgain(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.create(`"title":"Mug"`)
	for _, path := range []string{"/products", "/products/mug", "/products?include=stock&q=mug", "/categories", "/collections"} {
		tag := s.do("GET", path, "").Header().Get("ETag")
		if w := s.do("GET", path, "", "If-None-Match", tag); tag == "" || w.Code != http.StatusNotModified || w.Body.Len() != 0 {
			t.Errorf("%s with %s: %d %s", path, tag, w.Code, w.Body)
		}
	}
	tag := s.do("GET", "/products", "").Header().Get("ETag")
	s.create(`"title":"Cup"`)
	if w := s.do("GET", "/products", "", "If-None-Match", tag); w.Code != http.StatusOK {
		t.Errorf("after a change: %d", w.Code)
	}
}

func TestVariantsAreReadWithWhatACartNeeds(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.create(`"title":"Mug","taxCategory":"reduced","variants":[{"sku":"MUG","weightGrams":300,"stockPolicy":"continue","prices":[{"amount":"5","currency":"EUR"}]}]`)
	book := s.create(`"title":"Book","type":"digital","status":"draft","variants":[` + variant("BOOK", "9") + `]`)
	mugID, bookID := mug.Variants[0].Id, book.Variants[0].Id
	kit := s.create(fmt.Sprintf(`"title":"Kit","type":"bundle","variants":[%s],"bundle":[{"variantId":%q,"quantity":2},{"variantId":%q,"quantity":1}]`, variant("KIT", "12"), mugID, bookID))
	kitID := kit.Variants[0].Id
	sale := must[openapi.Collection](s, 201, "POST", "/collections", fmt.Sprintf(`{"name":"Sale","productIds":[%q]}`, mug.Id))
	ids := []uuid.UUID{mugID, bookID, kitID, uuid.New()}
	before := s.statements.Load()
	got, err := s.catalog.Sellables(t.Context(), ids, "EUR")
	if err != nil || len(got) != 3 || s.statements.Load() != before+1 {
		t.Fatalf("%v %+v", err, got)
	}
	if v := got[mugID]; v.SKU != "MUG" || v.Title != "Mug" || v.ProductID != mug.Id || v.Price != 500 || !v.HasPrice || !v.Active || !v.Shippable || v.TaxCategory != "reduced" ||
		!v.TrackStock || !v.Continue || v.WeightGrams != 300 || len(v.CollectionIDs) != 1 || v.CollectionIDs[0] != sale.Id || v.Bundle != nil {
		t.Errorf("mug %+v", v)
	}
	if v := got[bookID]; v.Active || v.Shippable || v.TrackStock || v.Type != "digital" || len(v.CollectionIDs) != 0 {
		t.Errorf("book %+v", v)
	}
	if v := got[kitID]; !v.Shippable || v.TrackStock || v.WeightGrams != 600 || len(v.Bundle) != 2 || v.Bundle[1].VariantID != bookID ||
		v.Bundle[0] != (catalog.Component{VariantID: mugID, Quantity: 2, TrackStock: true, Continue: true, WeightGrams: 300, Shippable: true}) {
		t.Errorf("kit %+v", v)
	}
	got, err = s.catalog.Sellables(t.Context(), ids, "USD")
	if err != nil || got[mugID].HasPrice || got[mugID].Price != 0 {
		t.Errorf("in USD: %v %+v", err, got[mugID])
	}
	bySKU, err := s.catalog.VariantsBySKU(t.Context(), s.pool, []string{"MUG", "NONE"})
	want := catalog.VariantRef{ID: mugID, ProductID: mug.Id, SKU: "MUG", Track: true, Continue: true}
	if err != nil || len(bySKU) != 1 || bySKU["MUG"] != want {
		t.Errorf("by SKU: %v %+v", err, bySKU)
	}
	byID, err := s.catalog.VariantRefs(t.Context(), s.pool, ids)
	if err != nil || len(byID) != 3 || byID[mugID] != want {
		t.Errorf("by id: %v %+v", err, byID)
	}
	ofProduct, err := s.catalog.ProductVariants(t.Context(), s.pool, mug.Id)
	if err != nil || len(ofProduct) != 1 || ofProduct[0] != want {
		t.Errorf("of a product: %v %+v", err, ofProduct)
	}
}

// FuzzProduct sends anything as a product: it is stored and read back, or a
// problem of the caller's.
func FuzzProduct(f *testing.F) {
	for _, fields := range []string{
		`"title":"A"`, `"title":"\u0000"`, `"title":"A","type":"variable","options":["S"],"tags":["a"],"attributes":[{"name":"a","value":"b"}]`,
		`"title":"A","images":[{"url":"https://x"}],"seo":{"title":"x"},"slug":"a"`, `"title":"😀","description":"\ud800"`,
		`"title":"A","type":"bundle","bundle":[{"variantId":"00000000-0000-0000-0000-000000000000","quantity":1}]`,
	} {
		f.Add([]byte(product(fields)))
	}
	f.Add([]byte(`{"title":{}}`))
	f.Add([]byte("\xff"))
	s := newStore(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		w := s.asStaff("POST", "/products", string(body))
		if w.Code >= 500 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w.Code != http.StatusCreated {
			return
		}
		path := strings.TrimPrefix(w.Header().Get("Location"), "/api/v1")
		if got := s.asStaff("GET", path, ""); got.Body.String() != w.Body.String() {
			t.Fatalf("stored %s, read %s", w.Body, got.Body)
		}
		if got := s.asStaff("DELETE", path, ""); got.Code != http.StatusNoContent {
			t.Fatalf("%d %s", got.Code, got.Body)
		}
	})
}

// FuzzList asks for lists with anything: a page, or a problem of the caller's.
func FuzzList(f *testing.F) {
	s := newStore(f)
	s.create(`"title":"Mug"`)
	s.create(`"title":"Cup"`)
	for _, sort := range []string{"newest", "oldest", "price", "-price", "title", "-title", ""} {
		page := decode[openapi.ProductPage](f, s.do("GET", "/products?limit=1&sort="+orNewest(sort), ""))
		f.Add("mug", sort, *page.NextCursor, "tag", "EUR", "1")
	}
	f.Add("'\\:*&|!()<->\x00", "title", "e30", "a:b\x00", "\xff", "99999999999999999999")
	f.Add("\xff", "", "eyJhIjp7IktleSI6IlxcdTAwMDAifX0", "", "JPY", "0.5")
	f.Fuzz(func(t *testing.T, q, sort, cursor, label, currency, price string) {
		for _, name := range []string{"tag", "attribute", "category", "collection", "country"} {
			values := url.Values{}
			for key, value := range map[string]string{"q": q, "sort": sort, "cursor": cursor, "currency": currency, "minPrice": price, name: label} {
				if value != "" {
					values.Set(key, value)
				}
			}
			if w := s.do("GET", "/products?include=facets&"+values.Encode(), ""); w.Code >= 500 {
				t.Fatalf("%s: %d %s", values.Encode(), w.Code, w.Body)
			}
		}
	})
}

func orNewest(sort string) string {
	if sort == "" {
		return "newest"
	}
	return sort
}

// FuzzPlace lists on from any place that a caller may have made up.
func FuzzPlace(f *testing.F) {
	s := newStore(f)
	s.create(`"title":"Mug"`)
	for _, key := range []string{"", "1", "-1", "NaN", "1e999", "9223372036854775808", "\x00", "\u00fc"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		for _, query := range []string{"sort=newest", "sort=oldest", "sort=title", "sort=-title", "sort=price", "sort=-price", "q=mug"} {
			path := "/products?" + query + "&cursor=" + catalog.CursorOf(t, "?"+query, key)
			if w := s.do("GET", path, ""); w.Code >= 500 {
				t.Fatalf("%s with %q: %d %s", query, key, w.Code, w.Body)
			}
		}
	})
}
