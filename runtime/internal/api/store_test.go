package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/api"
	"gitee.com/captainjez/gocart/runtime/internal/commerce"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/edge"
	"gitee.com/captainjez/gocart/runtime/internal/payment"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	if checks := flag.Lookup("rapid.checks"); checks != nil { // each is a walk through a store
		_ = checks.Value.Set("20")
	}
	testbed.Main(m) // parses the flags
}

const adminKey = "sk_live_ADMINSECRET0123456789"

// store is an API over a database of the test's own.
type store struct {
	*commerce.Commerce
	t          testing.TB
	engine     http.Handler
	log        *testbed.Log
	statements *statements
	clock      *clock
	config     config.Config
}

// clock is the time in a store; it goes on by itself, can be set forward, and
// stopped.
type clock struct {
	mu      sync.Mutex
	ahead   time.Duration
	stopped time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped.IsZero() {
		return c.stopped
	}
	return time.Now().UTC().Add(c.ahead)
}

func (c *clock) stop() { c.stopAt(c.now()) }

func (c *clock) stopAt(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = t
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// statements counts those that a pool sends, and has something done before one
// of them.
type statements struct {
	atomic.Int64
	mu     sync.Mutex
	before map[string]func()
}

// meanwhile has f done once, before the next statement with the name that it
// has in queries.sql is sent.
func (s *statements) meanwhile(name string, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = map[string]func(){name: f}
}

// pending reports whether what meanwhile was given is not done yet.
func (s *statements) pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.before) > 0
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, query pgx.TraceQueryStartData) context.Context {
	s.Add(1)
	name, _, _ := strings.Cut(strings.TrimPrefix(query.SQL, "-- name: "), " ")
	s.mu.Lock()
	do := s.before[name]
	delete(s.before, name)
	s.mu.Unlock()
	if do != nil {
		do()
	}
	return ctx
}
func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// storeConfig is a store in development, so that it takes test payments.
func storeConfig(t testing.TB) config.Config {
	t.Helper()
	c := config.Default()
	c.Store = config.Store{Name: "shop", Namespace: "ns", URL: "https://shop.example", Mode: config.ModeDevelopment, Locale: "en"}
	c.Payments.Test = true
	c.Mail = &config.Mail{URLFile: "/not/sent", From: "shop@shop.example", Staff: []string{"ops@shop.example", "boss@shop.example"}}
	c.Reports = &config.Reports{Dir: t.TempDir()}
	c.Auth.AdminKeyFile = testbed.File(t, adminKey+"\n")
	c.Auth.TokenKeyFile = testbed.File(t, strings.Repeat("k", 40))
	return c
}

func newStore(t testing.TB) *store { return storeOver(t, testbed.Database(t)) }

// storeOver is a further replica of the store in a database.
func storeOver(t testing.TB, uri string) *store { return storeWith(t, uri, 8) }

// storeWith is a replica with so many connections, and a configuration with
// changes.
func storeWith(t testing.TB, uri string, connections int32, changes ...func(*config.Config)) *store {
	t.Helper()
	pc, err := pgxpool.ParseConfig(uri)
	if err != nil {
		t.Fatal(err)
	}
	counter := &statements{}
	pc.ConnConfig.Tracer = counter
	pc.MaxConns = connections
	pc.PrepareConn = db.Prepare
	pool, err := pgxpool.NewWithConfig(t.Context(), pc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s := &store{t: t, log: &testbed.Log{}, statements: counter, clock: &clock{}}
	t.Cleanup(func() { eventsAreDescribed(t, pool) })
	c := storeConfig(t)
	for _, change := range changes {
		change(&c)
	}
	s.config = c
	metrics := prometheus.NewRegistry()
	if s.Commerce, err = commerce.New(c, pool, answersOf(t, c, metrics), s.log.Logger(), s.clock.now); err != nil {
		t.Fatal(err)
	}
	e, err := edge.Open(edge.Options{
		File: testbed.File(t, "limits: {address: [], apiKey: [], protection: {mode: 'off'}}"), Caller: api.Caller, Log: s.log.Logger(), Metrics: metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.engine, err = api.New(c, e, s.Commerce, s.log.Logger(), metrics); err != nil {
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

// want fails the test unless the answer has the status, and decodes it.
func want[T any](t testing.TB, w *httptest.ResponseRecorder, status int) (v T) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("got %d %s, want %d", w.Code, w.Body, status)
	}
	return decode[T](t, w)
}

func decode[T any](t testing.TB, w *httptest.ResponseRecorder) (v T) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return v
}

// wantProblem fails the test unless the answer is the problem.
func wantProblem(t testing.TB, w *httptest.ResponseRecorder, status int, code string) openapi.Problem {
	t.Helper()
	p := want[openapi.Problem](t, w, status)
	if p.Code != code {
		t.Fatalf("got %s, want code %s", w.Body, code)
	}
	return p
}

// admin sends a request as the administrator and wants its answer.
func admin[T any](s *store, method, path string, body any, status int) T {
	s.t.Helper()
	return want[T](s.t, s.asAdmin(method, path, encode(s.t, body)), status)
}

func encode(t testing.TB, body any) string {
	t.Helper()
	if text, ok := body.(string); ok {
		return text
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// product is a simple one.
func product(title, sku, status string) string {
	return priced(title, sku, status, "19.99")
}

func priced(title, sku, status, amount string) string {
	return fmt.Sprintf(`{"title":%q,"type":"simple","status":%q,"variants":[{"sku":%q,"prices":[{"amount":%q,"currency":"EUR"}]}]}`, title, status, sku, amount)
}

// stocked stores an active product of which there are so many, and returns its
// variant.
func (s *store) stocked(sku, amount string, quantity int64) openapi.Variant {
	s.t.Helper()
	v := admin[openapi.Product](s, "POST", "/products", priced(sku, sku, "active", amount), http.StatusCreated).Variants[0]
	s.count(sku, quantity)
	return v
}

// count sets what is on hand of a SKU at the first location.
func (s *store) count(sku string, quantity int64) {
	s.t.Helper()
	location := admin[openapi.LocationList](s, "GET", "/locations", "", http.StatusOK).Locations[0].Id
	admin[openapi.LevelList](s, "POST", "/inventory/adjustments", openapi.AdjustmentInput{
		Reason: openapi.AdjustmentInputReasonCount, Changes: []openapi.StockChange{{Sku: sku, LocationId: location, Quantity: quantity}},
	}, http.StatusCreated)
}

// shipping makes VAT of 19% and a parcel for 4.90 everywhere, and returns the
// method.
func (s *store) shipping() openapi.ShippingMethod {
	s.t.Helper()
	zone := admin[openapi.Zone](s, "POST", "/zones", `{"name":"World","areas":["*"]}`, http.StatusCreated)
	admin[openapi.TaxRate](s, "POST", "/tax-rates", openapi.TaxRateInput{Name: "VAT", ZoneId: zone.Id, Percent: "19"}, http.StatusCreated)
	return admin[openapi.ShippingMethod](s, "POST", "/shipping-methods", openapi.ShippingMethodInput{
		Name: "Parcel", ZoneId: zone.Id, Prices: []openapi.ShippingPrice{{Price: openapi.Money{Amount: "4.90", Currency: "EUR"}}},
	}, http.StatusCreated)
}

var berlin = openapi.Address{Name: "Ada", Line1: "Street 1", City: "Berlin", Country: "DE", PostalCode: new("10115")}

// guest is somebody with a cart.
type guest struct {
	*store
	cart  openapi.Cart
	token string
}

// cartOf opens a guest's cart that is ready to be ordered.
func (s *store) cartOf(method openapi.ShippingMethod, lines ...openapi.CartLineInput) guest {
	s.t.Helper()
	created := want[openapi.CreatedCart](s.t, s.do("POST", "/carts", encode(s.t, openapi.CartInput{
		Email: new("ada@example.com"), Lines: &lines, ShippingAddress: &berlin, ShippingMethodId: &method.Id,
	})), http.StatusCreated)
	return guest{s, created.Cart, *created.Token}
}

func (g guest) do(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	return g.store.do(method, path, body, append(headers, "X-Cart-Token", g.token)...)
}

// order places the order of the cart by the test provider.
func (g guest) order(headers ...string) *httptest.ResponseRecorder {
	return g.pay("tok_success", headers...)
}

func (g guest) pay(token string, headers ...string) *httptest.ResponseRecorder {
	body := openapi.OrderInput{CartId: g.cart.Id, Payment: openapi.PaymentInput{Provider: "test", Token: &token}}
	return g.do("POST", "/orders", encode(g.t, body), headers...)
}

// comesIn has the test provider tell that a payment is set aside.
func (s *store) comesIn(paymentID uuid.UUID) {
	body := fmt.Sprintf(`{"id":%q,"reference":"test_%s","state":"authorized"}`, uuid.NewString(), paymentID)
	if w := s.do("POST", "/webhooks/payments/test", body, payment.TestSignature, payment.SignTest([]byte(body))); w.Code != http.StatusNoContent {
		s.t.Errorf("that a payment came in is answered %d %s", w.Code, w.Body)
	}
}

func line(v openapi.Variant, quantity int64) openapi.CartLineInput {
	return openapi.CartLineInput{VariantId: v.Id, Quantity: quantity}
}

// level is a SKU's, over all locations.
func (s *store) level(sku string) (l openapi.Level) {
	s.t.Helper()
	for _, one := range admin[openapi.InventoryPage](s, "GET", "/inventory?sku="+sku, "", http.StatusOK).Levels {
		l.OnHand, l.Reserved, l.Available, l.Incoming = l.OnHand+one.OnHand, l.Reserved+one.Reserved, l.Available+one.Available, l.Incoming+one.Incoming
	}
	return l
}

// scan reads one row.
func (s *store) scan(query string, into ...any) {
	s.t.Helper()
	if err := s.Pool.QueryRow(s.t.Context(), query).Scan(into...); err != nil {
		s.t.Fatal(err)
	}
}

// wantAddedUp fails the test unless ledger, levels, reservations and orders
// agree with each other.
func (s *store) wantAddedUp() {
	s.t.Helper()
	testbed.AddedUp(s.t, s.Pool)
}
