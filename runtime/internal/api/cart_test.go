package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/openapi"
)

// open opens a guest's cart.
func (s *store) open(in openapi.CartInput) guest {
	s.t.Helper()
	created := want[openapi.CreatedCart](s.t, s.do("POST", "/carts", encode(s.t, in)), http.StatusCreated)
	return guest{s, created.Cart, *created.Token}
}

func (g guest) path() string { return "/carts/" + g.cart.Id.String() }

// read is the cart as it is now.
func (g guest) read() openapi.Cart {
	g.t.Helper()
	return want[openapi.Cart](g.t, g.do("GET", g.path(), ""), http.StatusOK)
}

func (g guest) add(l openapi.CartLineInput) *httptest.ResponseRecorder {
	return g.do("POST", g.path()+"/lines", encode(g.t, l))
}

// logIn signs a registered person in, with a cart where there is one.
func (s *store) logIn(name string, cart *openapi.CartKey) *httptest.ResponseRecorder {
	return s.do("POST", "/auth/login", encode(s.t, openapi.LoginInput{Email: name + "@example.com", Password: "correct horse battery", Cart: cart}))
}

func (g guest) key() *openapi.CartKey { return &openapi.CartKey{Id: g.cart.Id, Token: g.token} }

// shown says of each line how many there are and what stands against it.
func shown(c openapi.Cart) string {
	var list []string
	for _, l := range c.Lines {
		text := fmt.Sprint(l.Quantity, " ", l.Sku)
		if l.Problem != nil {
			text += " " + *l.Problem
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

func TestACartIsForgottenThirtyDaysAfterItsLastChange(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 10)
	changed, left := s.open(openapi.CartInput{}), s.open(openapi.CartInput{})
	s.clock.forward(29 * day)
	if c := want[openapi.Cart](t, changed.add(line(mug, 1)), http.StatusCreated); c.ExpiresAt.Before(s.clock.now().Add(30 * day)) {
		t.Errorf("it expires on %s", c.ExpiresAt)
	}
	left.read()
	s.clock.forward(2 * day)
	wantProblem(t, left.do("GET", left.path(), ""), http.StatusNotFound, "cart_not_found")
	wantProblem(t, left.add(line(mug, 1)), http.StatusNotFound, "cart_not_found")
	wantProblem(t, left.order(), http.StatusNotFound, "cart_not_found")
	changed.read()
	for _, forgotten := range []int64{1, 0} {
		if n, err := s.Carts.Forget(t.Context()); n != forgotten || err != nil {
			t.Errorf("%d carts are forgotten, want %d, %v", n, forgotten, err)
		}
	}
	changed.read()
	s.clock.forward(28 * day)
	changed.read()
	s.clock.forward(3 * day)
	wantProblem(t, changed.do("GET", changed.path(), ""), http.StatusNotFound, "cart_not_found")
	if n, err := s.Carts.Forget(t.Context()); n != 1 || err != nil {
		t.Errorf("%d carts are forgotten, %v", n, err)
	}
}

func TestWhoseCartLapsedOpensAnother(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 10)
	ada := s.person("ada", openapi.RoleCustomer)
	old := want[openapi.CreatedCart](t, s.do("POST", "/carts", encode(t, openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 3)}}), "Authorization", ada.bearer), http.StatusCreated)
	s.clock.forward(32 * 24 * time.Hour)
	g := s.open(openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 1)}})
	tokens := want[openapi.Tokens](t, s.logIn("ada", g.key()), http.StatusOK)
	as := []string{"Authorization", "Bearer " + tokens.AccessToken}
	if c := want[openapi.Cart](t, s.do("GET", "/me/cart", "", as...), http.StatusOK); c.Id != g.cart.Id || shown(c) != "1 MUG" {
		t.Errorf("the lapsed cart %s came back: %+v", old.Cart.Id, c)
	}
	s.clock.forward(32 * 24 * time.Hour)
	tokens = want[openapi.Tokens](t, s.logIn("ada", nil), http.StatusOK)
	as = []string{"Authorization", "Bearer " + tokens.AccessToken}
	wantProblem(t, s.do("GET", "/me/cart", "", as...), http.StatusNotFound, "cart_not_found")
	want[openapi.CreatedCart](t, s.do("POST", "/carts", `{}`, as...), http.StatusCreated)
}

func TestACartHasBoundsAndSaysWhereTheyArePassed(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 10)
	g := s.open(openapi.CartInput{})
	wantAt := func(w *httptest.ResponseRecorder, pointers ...string) {
		t.Helper()
		p := wantProblem(t, w, http.StatusBadRequest, "invalid_request")
		var got []string
		for _, e := range *p.Errors {
			got = append(got, e.Pointer)
		}
		if !slices.Equal(got, pointers) {
			t.Errorf("errors at %v, want %v", got, pointers)
		}
	}
	for _, n := range []int64{0, -1, 1001} {
		wantAt(g.add(line(mug, n)), "/quantity")
		wantAt(s.do("POST", "/carts", encode(t, openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, n)}})), "/lines/0/quantity")
	}
	want[openapi.Cart](t, g.add(line(mug, 999)), http.StatusCreated)
	wantAt(g.add(line(mug, 2)), "/quantity")
	want[openapi.Cart](t, g.add(line(mug, 1)), http.StatusCreated)
	wantAt(g.do("PUT", g.path()+"/lines/"+mug.Id.String(), `{"quantity":1001}`), "/quantity")
	wantAt(g.do("PUT", g.path()+"/lines/"+mug.Id.String(), `{}`), "/quantity")
	if c := g.read(); shown(c) != "1000 MUG out_of_stock" {
		t.Errorf("the cart has %s", shown(c))
	}
	twice := openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 600), line(mug, 600)}, Email: new("nobody"), Coupons: &[]string{""}}
	wantAt(s.do("POST", "/carts", encode(t, twice)), "/lines/1/quantity", "/coupons/0", "/email")
	if c := want[openapi.Cart](t, g.do("PUT", g.path()+"/lines/"+mug.Id.String(), `{"quantity":0}`), http.StatusOK); len(c.Lines) != 0 {
		t.Errorf("the cart has %s", shown(c))
	}
	wantProblem(t, g.do("PUT", g.path()+"/lines/"+mug.Id.String(), `{"quantity":1}`), http.StatusNotFound, "line_not_found")
	wantProblem(t, g.add(openapi.CartLineInput{VariantId: uuid.New(), Quantity: 1}), http.StatusNotFound, "variant_not_found")

	variants := make([]string, 100)
	for i := range variants {
		variants[i] = fmt.Sprintf(`{"sku":"T%d","options":{"N":"%d"},"prices":[{"amount":"1.00","currency":"EUR"}]}`, i, i)
	}
	many := admin[openapi.Product](s, "POST", "/products", `{"title":"T","type":"variable","status":"active","options":["N"],"variants":[`+strings.Join(variants, ",")+`]}`, http.StatusCreated).Variants
	lines := make([]openapi.CartLineInput, len(many))
	for i, v := range many {
		lines[i] = line(v, 1)
	}
	full := s.open(openapi.CartInput{Lines: &lines})
	wantAt(full.add(line(mug, 1)), "/variantId")
	want[openapi.Cart](t, full.add(line(many[0], 1)), http.StatusCreated)
	merged := s.open(openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 1), line(many[1], 1000)}})
	s.person("ada", openapi.RoleCustomer)
	want[openapi.Tokens](t, s.logIn("ada", full.key()), http.StatusOK)
	tokens := want[openapi.Tokens](t, s.logIn("ada", merged.key()), http.StatusOK)
	c := want[openapi.Cart](t, s.do("GET", "/me/cart", "", "Authorization", "Bearer "+tokens.AccessToken), http.StatusOK)
	if len(c.Lines) != 100 || c.Lines[1].Quantity != 1000 || strings.Contains(shown(c), "MUG") {
		t.Errorf("the merged cart has %d lines: %s", len(c.Lines), shown(c))
	}
}

func TestACartCostsWhatItCostsAtTheMoment(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 5)
	g := s.cartOf(method, line(mug, 2))
	before := g.cart.Totals.Total
	change := func(status, price string) {
		t.Helper()
		admin[openapi.Product](s, "PUT", "/products/mug", priced("MUG", "MUG", status, price), http.StatusOK)
	}
	change("active", "12.50")
	if c := g.read(); c.Totals.Total != "29.90" || c.Lines[0].UnitPrice.Amount != "12.50" {
		t.Errorf("after a new price it costs %+v", c.Totals)
	}
	body := openapi.OrderInput{CartId: g.cart.Id, Payment: openapi.PaymentInput{Provider: "test"}, ExpectedTotal: &before}
	wantProblem(t, g.do("POST", "/orders", encode(t, body)), http.StatusConflict, "total_changed")
	s.count("MUG", 1)
	if c := g.read(); shown(c) != "2 MUG out_of_stock" || c.Totals.Total != "29.90" {
		t.Errorf("with too little it has %s for %s", shown(c), c.Totals.Total)
	}
	change("archived", "12.50")
	if c := g.read(); shown(c) != "2 MUG not_for_sale" || c.Totals.Total != "0.00" {
		t.Errorf("with nothing for sale it has %s for %s", shown(c), c.Totals.Total)
	}
	wantProblem(t, g.add(line(mug, 1)), http.StatusNotFound, "variant_not_found")
	change("active", "10.00")
	s.count("MUG", 2)
	want[openapi.Order](t, g.do("POST", "/orders", encode(t, body)), http.StatusCreated)
	s.wantAddedUp()
}

func TestACartIsInOneCurrencyAndTakesWhatHasAPriceInIt(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 5)
	both := func(prices string) openapi.Variant {
		t.Helper()
		method, path, status := "POST", "/products", http.StatusCreated
		if s.do("GET", "/products/cap", "").Code == http.StatusOK {
			method, path, status = "PUT", "/products/cap", http.StatusOK
		}
		return admin[openapi.Product](s, method, path, `{"title":"Cap","type":"digital","status":"active","variants":[{"sku":"CAP","prices":[`+prices+`]}]}`, status).Variants[0]
	}
	cap := both(`{"amount":"9.00","currency":"USD"},{"amount":"8.00","currency":"EUR"}`)
	g := s.open(openapi.CartInput{Currency: new("USD"), Lines: &[]openapi.CartLineInput{line(cap, 2)}})
	if g.cart.Currency != "USD" || g.cart.Totals.Total != "18.00" {
		t.Errorf("totals %+v", g.cart.Totals)
	}
	wantProblem(t, g.add(line(mug, 1)), http.StatusConflict, "no_price")
	wantProblem(t, s.do("POST", "/carts", encode(t, openapi.CartInput{Currency: new("USD"), Lines: &[]openapi.CartLineInput{line(mug, 1)}})), http.StatusConflict, "no_price")
	both(`{"amount":"8.00","currency":"EUR"}`)
	if c := g.read(); shown(c) != "2 CAP no_price" || c.Totals.Total != "0.00" {
		t.Errorf("without a price it has %s for %s", shown(c), c.Totals.Total)
	}
	wantProblem(t, g.order(), http.StatusConflict, "no_price")
}

func TestACartThatCostsMoreThanAStoreTakesIsReadAndMended(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	gold := s.stocked("GOLD", "10000000000000.00", 5) // the largest price there is
	g := s.open(openapi.CartInput{Lines: &[]openapi.CartLineInput{line(gold, 1)}})
	want[openapi.Cart](t, g.add(line(gold, 1)), http.StatusCreated)
	if c := g.read(); c.Lines[0].Problem == nil || *c.Lines[0].Problem != "amount_too_large" || c.Totals.Total != "0.00" {
		t.Errorf("the cart has %s for %s", shown(c), c.Totals.Total)
	}
	want[openapi.Cart](t, g.do("POST", g.path()+"/reservation", ""), http.StatusOK)
	wantProblem(t, g.order(), http.StatusConflict, "amount_too_large")
	if c := want[openapi.Cart](t, g.do("PUT", g.path()+"/lines/"+gold.Id.String(), `{"quantity":1}`), http.StatusOK); c.Totals.Total != "10000000000000.00" {
		t.Errorf("the cart costs %s", c.Totals.Total)
	}
}

func TestWhoLogsInBringsTheCartAlong(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug, cup := s.stocked("MUG", "10.00", 10), s.stocked("CUP", "5.00", 10)
	admin[openapi.Promotion](s, "POST", "/promotions", `{"title":"Ten","code":"TEN","kind":"percentage","percent":"10"}`, http.StatusCreated)
	ada, bob := s.person("ada", openapi.RoleCustomer), s.person("bob", openapi.RoleCustomer)
	mine := func(p person) openapi.Cart {
		t.Helper()
		return want[openapi.Cart](t, s.do("GET", "/me/cart", "", "Authorization", p.bearer), http.StatusOK)
	}
	wantProblem(t, s.do("GET", "/me/cart", "", "Authorization", ada.bearer), http.StatusNotFound, "cart_not_found")

	first := s.open(openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 600)}})
	for range 2 { // an answer that got lost is asked for again
		if tokens := want[openapi.Tokens](t, s.logIn("ada", first.key()), http.StatusOK); *tokens.CartId != first.cart.Id {
			t.Errorf("the cart is now %s", tokens.CartId)
		}
	}
	wantProblem(t, first.do("GET", first.path(), ""), http.StatusNotFound, "cart_not_found") // the token opens it no more
	wantProblem(t, s.logIn("bob", first.key()), http.StatusNotFound, "cart_not_found")
	wantProblem(t, s.do("POST", "/carts", `{}`, "Authorization", ada.bearer), http.StatusConflict, "cart_open")

	second := s.cartOf(method, line(mug, 500), line(cup, 2))
	want[openapi.Cart](t, second.do("POST", second.path()+"/coupons", `{"code":"ten"}`), http.StatusOK)
	if tokens := want[openapi.Tokens](t, s.logIn("ada", second.key()), http.StatusOK); *tokens.CartId != first.cart.Id {
		t.Errorf("the cart went into %s", tokens.CartId)
	}
	c := mine(ada)
	if shown(c) != "1000 MUG out_of_stock, 2 CUP" || len(c.Coupons) != 1 || c.ShippingAddress == nil || *c.ShippingMethodId != method.Id || *c.Email != "ada@example.com" {
		t.Errorf("merged %+v", c)
	}
	wantProblem(t, second.do("GET", second.path(), ""), http.StatusNotFound, "cart_not_found")
	third := s.cartOf(method, line(cup, 1))
	third.token = second.token
	wantProblem(t, s.logIn("ada", third.key()), http.StatusNotFound, "cart_not_found")
	wantProblem(t, s.do("GET", "/me/cart", "", "Authorization", bob.bearer), http.StatusNotFound, "cart_not_found")

	want[openapi.Cart](t, s.do("PUT", first.path()+"/lines/"+mug.Id.String(), `{"quantity":1}`, "Authorization", ada.bearer), http.StatusOK)
	o := want[openapi.Order](t, s.do("POST", "/orders", fmt.Sprintf(`{"cartId":%q,"payment":{"provider":"test"}}`, first.cart.Id), "Authorization", ada.bearer), http.StatusCreated)
	if *o.CustomerId != ada.id || o.Totals.Discount != "2.00" {
		t.Errorf("order %+v", o)
	}
	wantProblem(t, s.logIn("ada", first.key()), http.StatusConflict, "cart_ordered")
	want[openapi.CreatedCart](t, s.do("POST", "/carts", `{}`, "Authorization", ada.bearer), http.StatusCreated)
	ordered := s.cartOf(method, line(cup, 1))
	want[openapi.Order](t, ordered.order(), http.StatusCreated)
	wantProblem(t, s.logIn("ada", ordered.key()), http.StatusConflict, "cart_ordered")
	s.wantAddedUp()
}

func TestWhatAGuestHeldIsGivenBackWhereTheCartsBecomeOne(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 3)
	s.person("ada", openapi.RoleCustomer)
	own, guests := s.open(openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 1)}}), s.open(openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 2)}})
	for _, g := range []guest{own, guests} {
		want[openapi.Cart](t, g.do("POST", g.path()+"/reservation", ""), http.StatusOK)
	}
	want[openapi.Tokens](t, s.logIn("ada", own.key()), http.StatusOK)
	if l := s.level("MUG"); l.Reserved != 3 {
		t.Errorf("level %+v", l)
	}
	want[openapi.Tokens](t, s.logIn("ada", guests.key()), http.StatusOK)
	if l := s.level("MUG"); l.Reserved != 1 {
		t.Errorf("level %+v", l)
	}
	s.wantAddedUp()
}

func TestACouponIsTypedTakenOffAndEnds(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 5)
	ten := admin[openapi.Promotion](s, "POST", "/promotions", `{"title":"Ten","code":"TEN","kind":"percentage","percent":"10"}`, http.StatusCreated)
	g := s.open(openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 1)}})
	wantProblem(t, g.do("POST", g.path()+"/coupons", `{"code":"NONE"}`), http.StatusNotFound, "coupon_not_found")
	wantProblem(t, g.do("DELETE", g.path()+"/coupons/TEN", ""), http.StatusNotFound, "coupon_not_found")
	if c := g.read(); len(c.Coupons) != 0 {
		t.Errorf("coupons %+v", c.Coupons)
	}
	for range 2 { // twice is as once
		c := want[openapi.Cart](t, g.do("POST", g.path()+"/coupons", `{"code":" ten "}`), http.StatusOK)
		if len(c.Coupons) != 1 || c.Coupons[0].Code != "TEN" || !c.Coupons[0].Applies || c.Totals.Total != "9.00" {
			t.Errorf("cart %+v", c)
		}
	}
	if c := want[openapi.Cart](t, g.do("DELETE", g.path()+"/coupons/ten", ""), http.StatusOK); len(c.Coupons) != 0 || c.Totals.Total != "10.00" {
		t.Errorf("cart %+v", c)
	}
	typed := s.open(openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 1)}, Coupons: &[]string{"ten", "TEN", "nothing"}})
	if typed.cart.Totals.Total != "9.00" || len(typed.cart.Coupons) != 2 || *typed.cart.Coupons[1].Reason != "unknown" {
		t.Errorf("cart %+v", typed.cart)
	}
	want[any](t, s.asAdmin("PUT", "/promotions/"+ten.Id.String(), `{"title":"Ten","code":"TEN","kind":"percentage","percent":"10","active":false}`), http.StatusOK)
	if c := typed.read(); c.Totals.Total != "10.00" || *c.Coupons[0].Reason != "inactive" {
		t.Errorf("cart %+v", c)
	}
	if w := s.asAdmin("DELETE", "/promotions/"+ten.Id.String(), ""); w.Code != http.StatusNoContent {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if c := typed.read(); c.Totals.Total != "10.00" || *c.Coupons[0].Reason != "unknown" {
		t.Errorf("cart %+v", c)
	}
	full := s.open(openapi.CartInput{Coupons: &[]string{"a", "b", "c", "d", "e"}})
	admin[openapi.Promotion](s, "POST", "/promotions", `{"title":"F","code":"F","kind":"free_shipping"}`, http.StatusCreated)
	p := wantProblem(t, full.do("POST", full.path()+"/coupons", `{"code":"F"}`), http.StatusBadRequest, "invalid_request")
	if (*p.Errors)[0].Pointer != "/code" {
		t.Errorf("errors %+v", p.Errors)
	}
}

func TestABusinessElsewhereInTheEUIsChargedNoTax(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "11.90", 5)
	admin[openapi.Settings](s, "PUT", "/settings", `{"currency":"EUR","pricesIncludeTax":true,"country":"NL","reverseCharge":true}`, http.StatusOK)
	g := s.cartOf(method, line(mug, 1))
	for _, step := range []struct {
		vatID, total string
		reverse      bool
	}{{"DE", "16.80", false}, {"de 123456789", "14.12", true}, {"", "16.80", false}, {"NL123456789B01", "16.80", false}} {
		c := want[openapi.Cart](t, g.do("PATCH", g.path(), fmt.Sprintf(`{"vatId":%q}`, step.vatID)), http.StatusOK)
		if c.Totals.Total != step.total || c.Totals.ReverseCharge != step.reverse || step.reverse && c.Totals.Tax != "0.00" {
			t.Errorf("with %q: %+v", step.vatID, c.Totals)
		}
	}
	want[openapi.Cart](t, g.do("PATCH", g.path(), `{"vatId":"DE123456789"}`), http.StatusOK)
	if o := want[openapi.Order](t, g.order(), http.StatusCreated); !o.Totals.ReverseCharge || *o.VatId != "DE123456789" || o.Totals.Total != "14.12" {
		t.Errorf("order %+v", o)
	}
}

func TestTheWaysToShipAreThoseForTheAddress(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 5)
	method := func(name, area, price string) uuid.UUID {
		zone := admin[openapi.Zone](s, "POST", "/zones", fmt.Sprintf(`{"name":%q,"areas":[%q]}`, name, area), http.StatusCreated)
		return admin[openapi.ShippingMethod](s, "POST", "/shipping-methods", openapi.ShippingMethodInput{
			Name: name, ZoneId: zone.Id, Prices: []openapi.ShippingPrice{{Price: openapi.Money{Amount: price, Currency: "EUR"}, FreeFrom: new("40.00")}},
		}, http.StatusCreated).Id
	}
	_, express, abroad := method("Post", "DE", "4.00"), method("Express", "DE", "9.00"), method("Abroad", "*", "20.00")
	g := s.open(openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 1)}, Email: new("ada@example.com")})
	offered := func() string {
		t.Helper()
		var list []string
		for _, q := range want[openapi.ShippingQuoteList](t, g.do("GET", g.path()+"/shipping-methods", ""), http.StatusOK).ShippingMethods {
			list = append(list, q.Name+" "+q.Price.Amount)
		}
		return strings.Join(list, ", ")
	}
	set := func(in openapi.CartUpdate) openapi.Cart {
		t.Helper()
		return want[openapi.Cart](t, g.do("PATCH", g.path(), encode(t, in)), http.StatusOK)
	}
	if got := offered(); got != "" {
		t.Errorf("without an address: %s", got)
	}
	if c := set(openapi.CartUpdate{ShippingAddress: &berlin, ShippingMethodId: &express}); c.Totals.Shipping != "9.00" {
		t.Errorf("totals %+v", c.Totals)
	}
	if got := offered(); got != "Post 4.00, Express 9.00" {
		t.Errorf("in Berlin: %s", got)
	}
	paris := berlin
	paris.Country, paris.City = "FR", "Paris"
	if c := set(openapi.CartUpdate{ShippingAddress: &paris}); c.Totals.Shipping != "0.00" {
		t.Errorf("totals %+v", c.Totals)
	}
	if got := offered(); got != "Abroad 20.00" {
		t.Errorf("in Paris: %s", got)
	}
	wantProblem(t, g.order(), http.StatusConflict, "cart_incomplete") // what was chosen does not go there
	set(openapi.CartUpdate{ShippingMethodId: &abroad})
	want[openapi.Cart](t, g.add(line(mug, 3)), http.StatusCreated)
	if got := offered(); got != "Abroad 0.00" {
		t.Errorf("with much: %s", got)
	}
	if o := want[openapi.Order](t, g.order(), http.StatusCreated); *o.ShippingMethod != "Abroad" || o.Totals.Total != "40.00" {
		t.Errorf("order %+v", o)
	}
}

func TestACartThatIsThrownAwayGivesBackWhatItHeld(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	g := s.open(openapi.CartInput{Lines: &[]openapi.CartLineInput{line(s.stocked("MUG", "10.00", 5), 2)}})
	want[openapi.Cart](t, g.do("POST", g.path()+"/reservation", ""), http.StatusOK)
	if w := g.do("DELETE", g.path(), ""); w.Code != http.StatusNoContent {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	wantProblem(t, g.do("GET", g.path(), ""), http.StatusNotFound, "cart_not_found")
	wantProblem(t, g.do("DELETE", g.path(), ""), http.StatusNotFound, "cart_not_found")
	if l := s.level("MUG"); l.Reserved != 0 {
		t.Errorf("level %+v", l)
	}
	s.wantAddedUp()
}

func TestAKeptAnswerIsGivenAlsoWhereTheRequestWouldBeRefusedByNow(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 5)
	location := admin[openapi.LocationList](s, "GET", "/locations", "", http.StatusOK).Locations[0].Id
	opening := encode(t, openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 1)}})
	adjustment := fmt.Sprintf(`{"reason":"delivery","changes":[{"sku":"MUG","locationId":%q,"quantity":1}]}`, location)
	g := s.open(openapi.CartInput{})
	send := map[string]func() *httptest.ResponseRecorder{
		"a cart": func() *httptest.ResponseRecorder { return s.do("POST", "/carts", opening, "Idempotency-Key", "k") },
		"a line": func() *httptest.ResponseRecorder {
			return g.do("POST", g.path()+"/lines", encode(t, line(mug, 1)), "Idempotency-Key", "k")
		},
		"an adjustment": func() *httptest.ResponseRecorder {
			return s.asAdmin("POST", "/inventory/adjustments", adjustment, "Idempotency-Key", "k")
		},
	}
	for what, do := range send {
		if w := do(); w.Code != http.StatusCreated {
			t.Fatalf("%s: %d %s", what, w.Code, w.Body)
		}
	}
	admin[any](s, "PUT", "/products/mug", priced("MUG", "CUP", "archived", "10.00"), http.StatusOK) // MUG is no more
	for what, do := range send {
		if w := do(); w.Code != http.StatusCreated || w.Header().Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: %d %s", what, w.Code, w.Body)
		}
	}
	if w := s.do("POST", "/api/v1/carts", opening, "Idempotency-Key", "k"); w.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("by its other path: %d %s", w.Code, w.Body)
	}
}
