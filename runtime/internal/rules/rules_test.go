package rules_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/pricing"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rules"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	testbed.Main(m)
}

type rest struct{ openapi.ServerInterface }

// handlers serve this package's routes; the others are nil.
type handlers struct {
	rules.Handlers
	rest
}

// clock is set by hand; it may be read by any goroutine.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time        { return time.Unix(0, c.ns.Load()).UTC() }
func (c *clock) pass(by time.Duration) { c.ns.Add(int64(by)) }

// statements counts what a pool sends.
type statements struct{ atomic.Int64 }

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	s.Add(1)
	return ctx
}
func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// store is a store's rules and their API.
type store struct {
	t      testing.TB
	pool   *pgxpool.Pool
	sent   *statements
	clock  *clock
	book   *rules.Book
	engine *gin.Engine
}

func newStore(t testing.TB) *store {
	t.Helper()
	pc, err := pgxpool.ParseConfig(testbed.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	s := &store{t: t, sent: &statements{}, clock: &clock{}}
	s.clock.pass(1_780_000_000 * time.Second)
	pc.MaxConns, pc.ConnConfig.Tracer = 16, s.sent
	if s.pool, err = pgxpool.NewWithConfig(t.Context(), pc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.pool.Close)
	s.book = rules.New(s.pool, s.clock.now)
	s.engine = gin.New()
	s.engine.Use(func(c *gin.Context) {
		c.Next()
		if last := c.Errors.Last(); last != nil {
			p, ok := errors.AsType[*problem.Problem](last.Err)
			if !ok {
				p = problem.New(http.StatusInternalServerError, "internal", "%v", last.Err)
			}
			p.Write(c.Writer, "")
		}
	})
	openapi.RegisterHandlers(s.engine, handlers{Handlers: rules.Handlers{Rules: s.book}})
	return s
}

// do sends a request and expects a status; headers are pairs.
func (s *store) do(status int, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.engine.ServeHTTP(w, r)
	if w.Code != status {
		s.t.Errorf("%s %s %.300s: %d %s, want %d", method, path, body, w.Code, w.Body, status)
	}
	return w
}

func decode[T any](t testing.TB, w *httptest.ResponseRecorder) (v T) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return v
}

// pointers are what a 400 found wrong.
func pointers(t testing.TB, w *httptest.ResponseRecorder) (found []string) {
	t.Helper()
	for _, e := range decode[problem.Problem](t, w).Errors {
		found = append(found, e.Pointer)
	}
	return found
}

func (s *store) promotion(body string) openapi.Promotion {
	s.t.Helper()
	return decode[openapi.Promotion](s.t, s.do(201, "POST", "/promotions", body))
}

func (s *store) zone(areas string) openapi.Zone {
	s.t.Helper()
	return decode[openapi.Zone](s.t, s.do(201, "POST", "/zones", `{"name":"zone","areas":[`+areas+`]}`))
}

func (s *store) current() *pricing.Rules {
	s.t.Helper()
	r, err := s.book.Current(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func TestAPromotionIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	product := uuid.Must(uuid.NewV7())
	body := fmt.Sprintf(`{"title":" Summer ","code":"summer-1","kind":"percentage","percent":"12.50","cap":{"amount":"20","currency":"EUR"},
		"minimumSubtotal":{"amount":"9.99","currency":"EUR"},"minimumQuantity":2,"productIds":[%q,%q],"startsAt":"2026-06-01T00:00:00+02:00",
		"endsAt":"2027-06-01T00:00:00Z","usageLimit":5,"usageLimitPerCustomer":1,"combinable":true}`, product, product)
	w := s.do(201, "POST", "/promotions", body, "Idempotency-Key", "k")
	p := decode[openapi.Promotion](t, w)
	if got := w.Header().Get("Location"); got != "/api/v1/promotions/"+p.Id.String() {
		t.Errorf("location %q", got)
	}
	if p.Title != "Summer" || *p.Code != "SUMMER-1" || *p.Percent != "12.5" || p.Cap.Amount != "20.00" || len(p.ProductIds) != 1 ||
		!p.Active || !p.Combinable || !p.StartsAt.Equal(time.Date(2026, 5, 31, 22, 0, 0, 0, time.UTC)) || p.Used != 0 {
		t.Errorf("stored %+v", p)
	}
	path := "/promotions/" + p.Id.String()
	if again := decode[openapi.Promotion](t, s.do(200, "GET", path, "")); !reflect.DeepEqual(again, p) {
		t.Errorf("read %+v, want %+v", again, p)
	}
	if replay := s.do(201, "POST", "/promotions", body, "Idempotency-Key", "k"); replay.Body.String() != w.Body.String() {
		t.Errorf("replayed %s", replay.Body)
	}
	if code := decode[problem.Problem](t, s.do(409, "POST", "/promotions", strings.Replace(body, "summer-1", "SUMMER-1", 1))).Code; code != "code_taken" {
		t.Errorf("the same code: %s", code)
	}
	replaced := decode[openapi.Promotion](t, s.do(200, "PUT", path, `{"title":"Ship","kind":"free_shipping","active":false}`))
	if replaced.Code != nil || replaced.Cap != nil || replaced.Active || replaced.StartsAt != nil || len(replaced.ProductIds) != 0 || replaced.CreatedAt != p.CreatedAt {
		t.Errorf("replaced %+v", replaced)
	}
	other := s.promotion(`{"title":"x","code":"Summer-1","kind":"buy_x_get_y","buyQuantity":2,"getQuantity":1}`)
	if *other.Percent != "100" {
		t.Errorf("percent %s", *other.Percent)
	}
	page := decode[openapi.PromotionPage](t, s.do(200, "GET", "/promotions?limit=1", ""))
	if len(page.Promotions) != 1 || page.Promotions[0].Id != other.Id {
		t.Errorf("first page %+v", page)
	}
	page = decode[openapi.PromotionPage](t, s.do(200, "GET", "/promotions?limit=1&cursor="+*page.NextCursor, ""))
	if len(page.Promotions) != 1 || page.Promotions[0].Id != p.Id || page.NextCursor != nil {
		t.Errorf("second page %+v", page)
	}
	s.do(204, "DELETE", path, "")
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		if code := decode[problem.Problem](t, s.do(404, method, path, `{"title":"x","kind":"free_shipping"}`)).Code; code != "promotion_not_found" {
			t.Errorf("%s: %s", method, code)
		}
	}
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	zone := s.zone(`"DE"`).Id
	nowhere := uuid.Must(uuid.NewV7())
	eur := func(amount string) string { return `{"amount":"` + amount + `","currency":"EUR"}` }
	for _, c := range []struct{ method, path, body, want string }{
		{"POST", "/promotions", `{"title":"","kind":"gift","code":"-a"}`, "/title /code /kind"},
		{"POST", "/promotions", `{"title":"x","kind":"percentage"}`, "/percent"},
		{"POST", "/promotions", `{"title":"x","kind":"percentage","percent":"0.0099"}`, "/percent"},
		{"POST", "/promotions", `{"title":"x","kind":"percentage","percent":"100.1"}`, "/percent"},
		{"POST", "/promotions", `{"title":"x","kind":"percentage","percent":"1","amount":` + eur("1") + `,"buyQuantity":1}`, "/amount /buyQuantity"},
		{"POST", "/promotions", `{"title":"x","kind":"fixed_amount","percent":"1","cap":` + eur("1") + `}`, "/percent /amount /cap"},
		{"POST", "/promotions", `{"title":"x","kind":"fixed_amount","amount":` + eur("0") + `}`, "/amount/amount"},
		{"POST", "/promotions", `{"title":"x","kind":"fixed_amount","amount":` + eur("-1") + `}`, "/amount/amount"},
		{"POST", "/promotions", `{"title":"x","kind":"fixed_amount","amount":` + eur("1") + `,"minimumSubtotal":{"amount":"1","currency":"USD"}}`, "/minimumSubtotal/currency"},
		{"POST", "/promotions", `{"title":"x","kind":"buy_x_get_y","buyQuantity":0}`, "/buyQuantity /getQuantity"},
		{"POST", "/promotions", `{"title":"x","kind":"free_shipping","usageLimit":0,"minimumQuantity":100001}`, "/minimumQuantity /usageLimit"},
		{"POST", "/promotions", `{"title":"x","kind":"free_shipping","usageLimitPerCustomer":1}`, "/usageLimitPerCustomer"},
		{"POST", "/promotions", `{"title":"x","kind":"free_shipping","startsAt":"2026-01-01T00:00:00Z","endsAt":"2026-01-01T00:00:00Z"}`, "/endsAt"},
		{"POST", "/promotions", `{"title":"x","kind":"free_shipping","startsAt":"0000-01-01T00:00:00+01:00"}`, "/startsAt"},
		{"POST", "/zones", `{"name":"\u0000","areas":[]}`, "/name /areas"},
		{"POST", "/zones", `{"name":"x","areas":["DE","XX","de","DE-","DE-BYXX","*","EU","DE","UK"]}`, "/areas/1 /areas/2 /areas/3 /areas/4 /areas/6 /areas/7 /areas/8"},
		{"POST", "/tax-rates", `{"name":"x","zoneId":"` + zone.String() + `","percent":"101","category":"A"}`, "/category /percent"},
		{"POST", "/tax-rates", `{"name":"x","zoneId":"` + nowhere.String() + `","percent":"1"}`, "/zoneId"},
		{"POST", "/shipping-methods", `{"name":"x","zoneId":"` + zone.String() + `","prices":[]}`, "/prices"},
		{"POST", "/shipping-methods", `{"name":"x","zoneId":"` + zone.String() + `","prices":[{"price":` + eur("1.234") + `,"maxWeightGrams":-1,"freeFrom":"x"}]}`, "/prices/0/maxWeightGrams /prices/0/price/amount /prices/0/freeFrom"},
		{"POST", "/shipping-methods", `{"name":"x","zoneId":"` + nowhere.String() + `","prices":[{"price":` + eur("1") + `}]}`, "/zoneId"},
		{"PUT", "/settings", `{"currency":"EUX","pricesIncludeTax":true,"country":"XX","reverseCharge":true}`, "/currency /country /reverseCharge"},
		{"PUT", "/settings", `{"currency":"EUR","pricesIncludeTax":true,"lowStockThreshold":-1}`, "/lowStockThreshold"},
		{"PUT", "/settings", `{"currency":"EUR","pricesIncludeTax":true,"lowStockThreshold":1000001}`, "/lowStockThreshold"},
		{"PUT", "/settings", `{"currency":"EUR","pricesIncludeTax":true,"reverseCharge":true}`, "/reverseCharge"},
	} {
		if got := strings.Join(pointers(t, s.do(400, c.method, c.path, c.body)), " "); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.path, c.body, got, c.want)
		}
	}
}

func TestZonesRatesAndMethodsLiveTogether(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	zone := s.zone(`"DE","US-CA"`)
	rate := decode[openapi.TaxRate](t, s.do(201, "POST", "/tax-rates", fmt.Sprintf(`{"name":"MwSt","zoneId":%q,"percent":"19.0"}`, zone.Id)))
	if rate.Percent != "19" || rate.Category != "standard" {
		t.Errorf("rate %+v", rate)
	}
	body := fmt.Sprintf(`{"name":"Parcel","zoneId":%q,"prices":[{"price":{"amount":"4.9","currency":"EUR"},"maxWeightGrams":0,"maxSubtotal":"50","freeFrom":"0"}]}`, zone.Id)
	method := decode[openapi.ShippingMethod](t, s.do(201, "POST", "/shipping-methods", body))
	if listed := decode[openapi.ShippingMethodList](t, s.do(200, "GET", "/shipping-methods", "")); !reflect.DeepEqual(listed.ShippingMethods, []openapi.ShippingMethod{method}) {
		t.Errorf("listed %+v, want %+v", listed, method)
	}
	if p := method.Prices[0]; p.Price.Amount != "4.90" || *p.MaxSubtotal != "50.00" || *p.FreeFrom != "0.00" || *p.MaxWeightGrams != 0 {
		t.Errorf("price %+v", p)
	}
	if note, err := s.book.Note(t.Context(), "DE"); err != nil || !reflect.DeepEqual(note, openapi.TaxNote{Country: "DE", PricesIncludeTax: true, Rates: map[string]string{"standard": "19"}}) {
		t.Errorf("note %+v %v", note, err)
	}
	if _, err := s.book.Note(t.Context(), "XX"); err == nil {
		t.Error("a note for no country")
	}
	path := "/zones/" + zone.Id.String()
	if code := decode[problem.Problem](t, s.do(409, "DELETE", path, "")).Code; code != "zone_in_use" {
		t.Errorf("deleting a zone in use: %s", code)
	}
	s.do(200, "PUT", "/tax-rates/"+rate.Id.String(), fmt.Sprintf(`{"name":"MwSt","zoneId":%q,"percent":"7","category":"reduced"}`, zone.Id))
	s.do(200, "PUT", "/shipping-methods/"+method.Id.String(), strings.Replace(body, "Parcel", "Post", 1))
	s.do(200, "PUT", path, `{"name":"France","areas":["FR"]}`)
	if got := s.current().PPMByCategory("FR"); got["reduced"] != 70_000 {
		t.Errorf("rates %v", got)
	}
	s.do(204, "DELETE", "/tax-rates/"+rate.Id.String(), "")
	s.do(204, "DELETE", "/shipping-methods/"+method.Id.String(), "")
	s.do(204, "DELETE", path, "")
	for path, body := range map[string]string{
		path: `{"name":"x","areas":["FR"]}`, "/tax-rates/" + rate.Id.String(): fmt.Sprintf(`{"name":"x","zoneId":%q,"percent":"7"}`, zone.Id),
		"/shipping-methods/" + method.Id.String(): body,
	} {
		s.do(404, "PUT", path, body)
		s.do(404, "DELETE", path, "")
	}
	if zones := decode[openapi.ZoneList](t, s.do(200, "GET", "/zones", "")); len(zones.Zones) != 0 || zones.Zones == nil {
		t.Errorf("zones %+v", zones)
	}
	if rates := decode[openapi.TaxRateList](t, s.do(200, "GET", "/tax-rates", "")); len(rates.TaxRates) != 0 {
		t.Errorf("rates %+v", rates)
	}
}

func TestSettingsBeginWithEuros(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	if got := strings.TrimSpace(s.do(200, "GET", "/settings", "").Body.String()); got != `{"currency":"EUR","lowStockThreshold":5,"pricesIncludeTax":true,"reverseCharge":false}` {
		t.Errorf("settings %s", got)
	}
	body := `{"country":"DE","currency":"USD","lowStockThreshold":0,"pricesIncludeTax":false,"reverseCharge":true}`
	if got := s.do(200, "PUT", "/settings", body).Body.String(); got != body {
		t.Errorf("replaced %s", got)
	}
	if got := s.current().Settings; got != (pricing.Settings{Currency: "USD", Country: "DE", ReverseCharge: true}) {
		t.Errorf("current %+v", got)
	}
}

func TestCurrentRulesAreASecondOldAtMostAndCostLittle(t *testing.T) {
	t.Parallel()
	s, ctx := newStore(t), t.Context()
	other := rules.New(s.pool, s.clock.now) // as another process
	read := func(b *rules.Book) (*pricing.Rules, int64) {
		before := s.sent.Load()
		r, err := b.Current(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return r, s.sent.Load() - before
	}
	read(other)
	first := s.promotion(`{"title":"x","code":"A","kind":"free_shipping"}`)
	for i := range 50 {
		s.promotion(fmt.Sprintf(`{"title":"x","code":"B%d","kind":"free_shipping"}`, i))
	}
	r, n := read(s.book)
	if len(r.Promotions) != 51 || n != 8 {
		t.Errorf("after its own write: %d promotions by %d statements", len(r.Promotions), n)
	}
	if _, n = read(s.book); n != 0 {
		t.Errorf("again: %d statements", n)
	}
	if r, _ := read(other); len(r.Promotions) != 0 {
		t.Error("another process knows at once")
	}
	s.clock.pass(time.Second)
	if r, _ := read(other); len(r.Promotions) != 51 {
		t.Errorf("another process after a second: %d", len(r.Promotions))
	}
	if same, n := read(s.book); n != 1 || same != r {
		t.Errorf("unchanged after a second: %d statements", n)
	}
	s.do(200, "PUT", "/promotions/"+first.Id.String(), `{"title":"x","kind":"free_shipping","endsAt":"2020-01-01T00:00:00Z"}`)
	if r, _ := read(s.book); len(r.Promotions) != 50 {
		t.Errorf("with a promotion that ended long ago: %d", len(r.Promotions))
	}
	s.pool.Close()
	s.clock.pass(time.Second)
	if _, err := s.book.Current(ctx); err == nil {
		t.Error("rules without a database")
	}
}

func TestManyReadersNeverSeeRulesFromBeforeAChangeOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 10 {
				code := fmt.Sprintf("C%d-%d", i, j)
				s.promotion(fmt.Sprintf(`{"title":"x","code":%q,"kind":"free_shipping"}`, code))
				r, err := s.book.Current(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				b := pricing.Basket{Currency: "EUR", Lines: []pricing.Line{{Quantity: 1, Shippable: true}}, Coupons: []string{code}, At: s.clock.now()}
				if q, err := r.Quote(b); err != nil || !q.Coupons[0].Applies {
					t.Errorf("%s: %+v %v", code, q.Coupons, err)
				}
			}
		})
	}
	group.Wait()
}

// use admits an order in a transaction of its own.
func (s *store) use(order uuid.UUID, customer string, promotions ...uuid.UUID) error {
	return db.WithTx(s.t.Context(), s.pool, func(tx pgx.Tx) error {
		var locks, writes batch.Statements
		c := s.book.LockUses(s.t.Context(), &locks, promotions, []string{customer})
		if err := locks.Send(s.t.Context(), tx); err != nil {
			return err
		}
		if err := c.Admit(order, customer, promotions); err != nil {
			return err
		}
		c.Store(s.t.Context(), &writes)
		return writes.Send(s.t.Context(), tx)
	})
}

func (s *store) giveBack(order uuid.UUID) {
	s.t.Helper()
	if err := db.WithTx(s.t.Context(), s.pool, func(tx pgx.Tx) error { return s.book.GiveBack(s.t.Context(), tx, order) }); err != nil {
		s.t.Error(err)
	}
}

func (s *store) used(id uuid.UUID) int64 {
	s.t.Helper()
	return decode[openapi.Promotion](s.t, s.do(200, "GET", "/promotions/"+id.String(), "")).Used
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if p, ok := errors.AsType[*problem.Problem](err); !ok || p.Code != code || p.Status != http.StatusConflict {
		t.Errorf("%v, want %s", err, code)
	}
}

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

func TestOfFiftyOrdersAtOnceTenUseACouponThatTenMayUse(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	all := s.promotion(`{"title":"x","code":"ALL","kind":"free_shipping","usageLimit":10}`).Id
	each := s.promotion(`{"title":"x","code":"EACH","kind":"free_shipping","usageLimitPerCustomer":3}`).Id
	free := s.promotion(`{"title":"x","code":"FREE","kind":"free_shipping"}`).Id
	var admitted, perCustomer atomic.Int64
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			// Asked for in either order, they are locked in one.
			ids := []uuid.UUID{all, free}
			if i%2 == 0 {
				ids = []uuid.UUID{free, all}
			}
			if err := s.use(newID(), fmt.Sprint(i), ids...); err == nil {
				admitted.Add(1)
			} else {
				wantCode(t, err, "coupon_used_up")
			}
			if err := s.use(newID(), fmt.Sprint(i%5), each); err == nil {
				perCustomer.Add(1)
			} else {
				wantCode(t, err, "coupon_limit_per_customer")
			}
		})
	}
	group.Wait()
	if admitted.Load() != 10 || s.used(all) != 10 || s.used(free) != 10 {
		t.Errorf("%d orders, used %d and %d", admitted.Load(), s.used(all), s.used(free))
	}
	if perCustomer.Load() != 15 || s.used(each) != 15 {
		t.Errorf("per customer: %d orders, used %d", perCustomer.Load(), s.used(each))
	}
	s.clock.pass(time.Second)
	b := pricing.Basket{Currency: "EUR", Lines: []pricing.Line{{Quantity: 1, Shippable: true}}, Coupons: []string{"ALL"}, At: s.clock.now()}
	if q, err := s.current().Quote(b); err != nil || q.Coupons[0].Reason != pricing.ReasonUsedUp {
		t.Errorf("a quote afterwards: %+v %v", q.Coupons, err)
	}
}

func TestACancelledOrderGivesItsUsesBackOnce(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	limited := s.promotion(`{"title":"x","code":"A","kind":"free_shipping","usageLimit":2,"usageLimitPerCustomer":1}`).Id
	free := s.promotion(`{"title":"x","code":"B","kind":"free_shipping"}`).Id
	first, second := newID(), newID()
	if err := errors.Join(s.use(first, "a", limited, free), s.use(second, "b", limited, free)); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.use(newID(), "c", limited), "coupon_used_up")
	s.giveBack(first)
	s.giveBack(first)
	if s.used(limited) != 1 || s.used(free) != 1 {
		t.Errorf("used %d and %d", s.used(limited), s.used(free))
	}
	wantCode(t, s.use(newID(), "b", limited), "coupon_limit_per_customer")
	if err := s.use(newID(), "a", limited); err != nil {
		t.Error(err)
	}
}

func TestOrdersOfOneTransactionAreCountedTogether(t *testing.T) {
	t.Parallel()
	s, ctx := newStore(t), t.Context()
	a := s.promotion(`{"title":"x","code":"A","kind":"free_shipping","usageLimit":2}`).Id
	b := s.promotion(`{"title":"x","code":"B","kind":"free_shipping","usageLimitPerCustomer":1}`).Id
	ended := s.promotion(`{"title":"x","code":"C","kind":"free_shipping"}`).Id
	s.do(204, "DELETE", "/promotions/"+ended.String(), "")
	err := db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
		before := s.sent.Load()
		var locks, writes batch.Statements
		c := s.book.LockUses(ctx, &locks, []uuid.UUID{a, b, ended}, []string{"x", "y"})
		if err := locks.Send(ctx, tx); err != nil {
			return err
		}
		if n := s.sent.Load() - before; n != 2 {
			t.Errorf("locking took %d statements", n)
		}
		if err := c.Admit(newID(), "x", []uuid.UUID{a, b}); err != nil {
			t.Error(err)
		}
		wantCode(t, c.Admit(newID(), "x", []uuid.UUID{a, b}), "coupon_limit_per_customer")
		if err := c.Admit(newID(), "y", []uuid.UUID{b, a}); err != nil {
			t.Error(err) // what was refused has not counted
		}
		wantCode(t, c.Admit(newID(), "x", []uuid.UUID{a}), "coupon_used_up")
		wantCode(t, c.Admit(newID(), "x", []uuid.UUID{ended}), "promotion_ended")
		if err := c.Admit(newID(), "z", []uuid.UUID{a}); err == nil {
			t.Error("a customer whose uses nobody counted")
		}
		before = s.sent.Load()
		c.Store(ctx, &writes)
		if err := writes.Send(ctx, tx); err != nil {
			return err
		}
		if n := s.sent.Load() - before; n != 2 {
			t.Errorf("storing took %d statements", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.used(a) != 2 || s.used(b) != 2 {
		t.Errorf("used %d and %d", s.used(a), s.used(b))
	}
}

func TestALimitThatComesLaterCountsWhatWasUsedBefore(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	id := s.promotion(`{"title":"x","code":"A","kind":"free_shipping"}`).Id
	var done atomic.Int64
	var group sync.WaitGroup
	for i := range 40 {
		group.Go(func() {
			if i == 20 {
				s.do(200, "PUT", "/promotions/"+id.String(), `{"title":"x","code":"A","kind":"free_shipping","usageLimit":1000}`)
				return
			}
			if err := s.use(newID(), "a", id); err != nil {
				t.Error(err)
				return
			}
			done.Add(1)
		})
	}
	group.Wait()
	if got := s.used(id); got != 39 || done.Load() != 39 {
		t.Errorf("used %d of %d", got, done.Load())
	}
}
