package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// TestReadsCostTheSameWhateverTheirLength counts the statements of every read
// whose answer can be short or long.
func TestReadsCostTheSameWhateverTheirLength(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	admin[openapi.Promotion](s, "POST", "/promotions", `{"title":"Ten","kind":"percentage","percent":"10"}`, http.StatusCreated)
	variants := make([]string, 50)
	for i := range variants {
		variants[i] = fmt.Sprintf(`{"sku":"T%d","options":{"N":"%d"},"prices":[{"amount":"1.00","currency":"EUR"}]}`, i, i)
	}
	many := admin[openapi.Product](s, "POST", "/products", `{"title":"T","type":"variable","status":"active","options":["N"],"variants":[`+strings.Join(variants, ",")+`]}`, http.StatusCreated).Variants
	lines := make([]openapi.CartLineInput, len(many))
	for i, v := range many {
		s.count(v.Sku, 100)
		lines[i] = line(v, 1)
	}
	short, long := s.cartOf(method, lines[:1]...), s.cartOf(method, lines...)
	one, all := want[openapi.Order](t, short.order(), http.StatusCreated), want[openapi.Order](t, long.order(), http.StatusCreated)
	for i := range 5 {
		s.stocked(fmt.Sprint("MUG", i), "10.00", 5)
		admin[openapi.Category](s, "POST", "/categories", fmt.Sprintf(`{"name":"C%d"}`, i), http.StatusCreated)
		admin[openapi.Collection](s, "POST", "/collections", fmt.Sprintf(`{"name":"C%d"}`, i), http.StatusCreated)
	}
	short, long = s.cartOf(method, lines[:1]...), s.cartOf(method, lines...)
	hold := func(g guest) guest {
		t.Helper()
		want[openapi.Cart](t, g.do("POST", g.path()+"/reservation", ""), http.StatusOK)
		return g
	}
	heldShort, heldLong := hold(s.cartOf(method, lines[:1]...)), hold(s.cartOf(method, lines...))

	asAdmin := func(path string) func() *httptest.ResponseRecorder {
		return func() *httptest.ResponseRecorder { return s.asAdmin("GET", path, "") }
	}
	asAnybody := func(path string) func() *httptest.ResponseRecorder {
		return func() *httptest.ResponseRecorder { return s.do("GET", path, "") }
	}
	as := func(g guest, path string) func() *httptest.ResponseRecorder {
		return func() *httptest.ResponseRecorder { return g.do("GET", path, "") }
	}
	s.clock.stop() // so that what is known of the rules does not become old
	if _, err := s.Rules.Current(t.Context()); err != nil {
		t.Fatal(err)
	}
	// count is how many statements a request takes.
	count := func(do func() *httptest.ResponseRecorder) int64 {
		t.Helper()
		before := s.statements.Load()
		if w := do(); w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return s.statements.Load() - before
	}
	for _, read := range []struct {
		what        string
		short, long func() *httptest.ResponseRecorder
		most        int64
	}{
		{"products", asAnybody("/products?limit=1"), asAnybody("/products?limit=100"), 1},
		{"products by price", asAnybody("/products?limit=1&sort=price"), asAnybody("/products?limit=100&sort=price"), 2},
		{"products found", asAnybody("/products?limit=1&q=mug"), asAnybody("/products?limit=100&q=mug"), 2},
		{"products with stock, tax and facets", asAnybody("/products?limit=1&include=stock&include=tax&include=facets&country=DE"), asAnybody("/products?limit=100&include=stock&include=tax&include=facets&country=DE"), 5},
		{"a product with stock", asAnybody("/products/mug0?include=stock"), asAnybody("/products/t?include=stock"), 3},
		{"categories", asAnybody("/categories?limit=1"), asAnybody("/categories?limit=100"), 1},
		{"collections", asAnybody("/collections?limit=1"), asAnybody("/collections?limit=100"), 1},
		{"a cart", as(short, short.path()), as(long, long.path()), 3},
		{"a held cart", as(heldShort, heldShort.path()), as(heldLong, heldLong.path()), 4},
		{"the ways to ship a cart", as(short, short.path()+"/shipping-methods"), as(long, long.path()+"/shipping-methods"), 3},
		{"orders", asAdmin("/orders?limit=1"), asAdmin("/orders?limit=100"), 1},
		{"an order", asAdmin("/orders/" + one.Id.String()), asAdmin("/orders/" + all.Id.String()), 3},
		{"a timeline", asAdmin("/orders/" + one.Id.String() + "/timeline"), asAdmin("/orders/" + all.Id.String() + "/timeline"), 4},
		{"levels", asAdmin("/inventory?limit=1"), asAdmin("/inventory?limit=100"), 2},
		{"levels of a product", asAdmin("/inventory?limit=1&sku=T1"), asAdmin("/inventory?limit=100&sku=T1"), 3},
		{"movements", asAdmin("/inventory/movements?limit=1"), asAdmin("/inventory/movements?limit=100"), 2},
		{"promotions", asAdmin("/promotions?limit=1"), asAdmin("/promotions?limit=100"), 1},
		{"customers", asAdmin("/customers?limit=1"), asAdmin("/customers?limit=100"), 1},
	} {
		few, lots := count(read.short), count(read.long)
		if few != lots || lots > read.most {
			t.Errorf("%s: %d statements for few, %d for many, want %d at most", read.what, few, lots, read.most)
		}
	}
}

// TestAFewConnectionsServeManyRequests would wait for ever if a request that
// holds a connection in a transaction asked for a second one.
func TestAFewConnectionsServeManyRequests(t *testing.T) {
	t.Parallel()
	const requests = 64
	s := storeWith(t, testbed.Database(t), 4)
	method := s.shipping()
	admin[openapi.Promotion](s, "POST", "/promotions", `{"title":"Ten","code":"TEN","kind":"percentage","percent":"10","usageLimit":1000,"usageLimitPerCustomer":1000}`, http.StatusCreated)
	mug := s.stocked("MUG", "10.00", 10_000)
	ada := s.person("ada", openapi.RoleCustomer)
	as := []string{"Authorization", ada.bearer}
	mine := want[openapi.CreatedCart](t, s.do("POST", "/carts", `{}`, as...), http.StatusCreated).Cart
	location := admin[openapi.LocationList](s, "GET", "/locations", "", http.StatusOK).Locations[0].Id
	carts, orders := make([]guest, 2*requests), make([]string, requests)
	for i := range carts {
		carts[i] = s.cartOf(method, line(mug, 1))
		want[openapi.Cart](t, carts[i].do("POST", carts[i].path()+"/coupons", `{"code":"TEN"}`), http.StatusOK)
	}
	for i := range orders {
		orders[i] = "/orders/" + want[openapi.Order](t, s.cartOf(method, line(mug, 1)).order(), http.StatusCreated).Id.String()
	}
	// kinds are what goes on in a store at the same moment; i is 0 to 63.
	kinds := []func(i int) *httptest.ResponseRecorder{
		func(i int) *httptest.ResponseRecorder { return carts[i].order() },
		func(i int) *httptest.ResponseRecorder { return carts[i].order("Idempotency-Key", fmt.Sprint(i)) },
		func(i int) *httptest.ResponseRecorder { return carts[requests+i].add(line(mug, 1)) },
		func(i int) *httptest.ResponseRecorder {
			return carts[requests+i].do("POST", carts[requests+i].path()+"/lines", encode(t, line(mug, 1)), "Idempotency-Key", fmt.Sprint(i))
		},
		func(i int) *httptest.ResponseRecorder {
			return carts[requests+i].do("POST", carts[requests+i].path()+"/reservation", "")
		},
		func(i int) *httptest.ResponseRecorder { return s.do("GET", "/carts/"+mine.Id.String(), "", as...) },
		func(i int) *httptest.ResponseRecorder {
			return s.do("POST", "/carts/"+mine.Id.String()+"/lines", encode(t, line(mug, 1)), as...)
		},
		func(i int) *httptest.ResponseRecorder {
			return s.do("POST", "/carts", `{}`, "Idempotency-Key", fmt.Sprint("cart ", i%3))
		},
		func(i int) *httptest.ResponseRecorder {
			return s.asAdmin("POST", "/inventory/adjustments", fmt.Sprintf(`{"reason":"delivery","changes":[{"sku":"MUG","locationId":%q,"quantity":1}]}`, location), "Idempotency-Key", fmt.Sprint(i))
		},
		func(i int) *httptest.ResponseRecorder { return s.asAdmin("POST", orders[i]+"/cancel", `{}`) },
		func(i int) *httptest.ResponseRecorder {
			return s.asAdmin("POST", orders[i]+"/transitions", `{"to":"processing"}`)
		},
		func(i int) *httptest.ResponseRecorder { return s.asAdmin("POST", orders[i]+"/notes", `{"text":"Hm."}`) },
		func(i int) *httptest.ResponseRecorder {
			return s.asAdmin("POST", "/products", product("P", fmt.Sprint("P", i), "active"), "Idempotency-Key", fmt.Sprint("p", i))
		},
		func(i int) *httptest.ResponseRecorder {
			return s.do("GET", "/products?include=stock&include=tax&include=facets&country=DE", "")
		},
		func(i int) *httptest.ResponseRecorder {
			return s.asAdmin("POST", "/promotions", `{"title":"P","kind":"free_shipping"}`)
		},
		func(i int) *httptest.ResponseRecorder {
			return s.do("POST", "/me/addresses", encode(t, openapi.SavedAddressInput{Address: berlin}), as...)
		},
	}
	slowest := make([]time.Duration, len(kinds)*requests)
	slots := make(chan struct{}, requests)
	codes := concurrently(len(kinds)*requests, func(i int) int {
		slots <- struct{}{}
		defer func() { <-slots }()
		began := time.Now()
		w := kinds[i%len(kinds)](i / len(kinds))
		slowest[i] = time.Since(began)
		if w.Code >= 500 {
			t.Errorf("kind %d after %s: %d %s", i%len(kinds), slowest[i], w.Code, w.Body)
		}
		return w.Code
	})
	worst := time.Duration(0)
	for _, d := range slowest {
		worst = max(worst, d)
	}
	t.Logf("%v, the slowest took %s", codes, worst)
	expiry, retention := s.Sweeps()
	for _, sweep := range append(expiry, retention...) {
		if _, err := sweep.Do(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("%s: %v", sweep.Name, err)
		}
	}
	s.wantAddedUp()
}
