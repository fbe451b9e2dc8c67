package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"gitee.com/captainjez/gocart/runtime/openapi"
	"gitee.com/captainjez/gocart/runtime/openapi/client"
)

func titles(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	var list []string
	for _, p := range want[openapi.ProductPage](t, w, http.StatusOK).Products {
		list = append(list, p.Title)
	}
	return strings.Join(list, ", ")
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

func TestOneGuestsKeyDoesNotGiveAnotherGuestsAnswer(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	g := s.cartOf(s.shipping(), line(s.stocked("MUG", "10.00", 5), 1))
	want[openapi.Order](t, g.order("Idempotency-Key", "1"), http.StatusCreated)
	stranger := g
	stranger.token = *want[openapi.CreatedCart](t, s.do("POST", "/carts", `{}`), http.StatusCreated).Token
	wantProblem(t, stranger.order("Idempotency-Key", "1"), http.StatusNotFound, "cart_not_found")
	if w := g.order("Idempotency-Key", "1"); w.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("the guest's own request is answered %d %s", w.Code, w.Body)
	}
}

func TestOrdersTakeFromActiveLocationsAlone(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	made := admin[openapi.Product](s, "POST", "/products", `{"title":"Made to order","type":"simple","status":"active",
		"variants":[{"sku":"MADE","prices":[{"amount":"5.00","currency":"EUR"}],"stockPolicy":"continue"}]}`, http.StatusCreated).Variants[0]
	location := admin[openapi.LocationList](s, "GET", "/locations", "", http.StatusOK).Locations[0]
	admin[openapi.Location](s, "PUT", "/locations/"+location.Id.String(), `{"name":"Main","active":false}`, http.StatusOK)
	wantProblem(t, s.cartOf(method, line(made, 1)).order(), http.StatusConflict, "out_of_stock")

	s.count("MADE", 3) // where no order takes from
	other := admin[openapi.Location](s, "POST", "/locations", `{"name":"Other"}`, http.StatusCreated)
	want[openapi.Order](t, s.cartOf(method, line(made, 2)).order(), http.StatusCreated)
	levels := admin[openapi.InventoryPage](s, "GET", "/inventory?locationId="+other.Id.String(), "", http.StatusOK).Levels
	if len(levels) != 1 || levels[0].Available != -2 || s.level("MADE").Reserved != 2 {
		t.Errorf("levels there %+v", levels)
	}
	s.wantAddedUp()
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
	for _, word := range []string{
		"X-Cart-Token", "For the scope products:write.", "For anybody.", "For a person who is signed in.", "For the holder of the cart&#39;s token",
		`<td><code>Idempotency-Key</code></td><td>header</td><td>string</td>`, `<td><code>If-Match</code></td>`, `<td><code>cursor</code></td>`,
	} {
		if !strings.Contains(page, word) {
			t.Errorf("the page lacks %s", word)
		}
	}
	for _, o := range operations(t) {
		if !strings.Contains(page, fmt.Sprintf(`<span class="method %[1]s">%[1]s</span> <code>%[2]s</code>`, strings.ToLower(o.method), o.path)) {
			t.Errorf("the page lacks %s %s", o.method, o.path)
		}
	}
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`id="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		anchors[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`href="#([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if name, err := url.PathUnescape(m[1]); err != nil || !anchors[name] {
			t.Errorf("a link leads to %s, which is not there: %v", m[1], err)
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

func TestTheGeneratedClientBuysCancelsAndReads(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 5)
	admin[openapi.Promotion](s, "POST", "/promotions", `{"title":"Ten","code":"TEN","kind":"percentage","percent":"10"}`, http.StatusCreated)
	server := httptest.NewServer(s.engine)
	defer server.Close()
	ctx, bearer := t.Context(), ""
	c, err := client.NewClientWithResponses(server.URL+"/api/v1", client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		if bearer != "" {
			r.Header.Set("Authorization", bearer)
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	registered, err := c.RegisterWithResponse(ctx, &client.RegisterParams{}, client.RegisterInput{Email: "ada@example.com", Password: "correct horse battery"})
	if err != nil || registered.JSON202 == nil {
		t.Fatalf("%v %s", err, registered.Body)
	}
	tokens, err := c.LogInWithResponse(ctx, client.LoginInput{Email: "ada@example.com", Password: "correct horse battery"})
	if err != nil || tokens.JSON200 == nil {
		t.Fatalf("%v %s", err, tokens.Body)
	}
	bearer = "Bearer " + tokens.JSON200.AccessToken
	found, err := c.ListProductsWithResponse(ctx, &client.ListProductsParams{Q: new("mug"), Include: &[]client.ProductInclude{client.ProductIncludeStock}})
	if err != nil || found.JSON200 == nil || len(found.JSON200.Products) != 1 || *(*found.JSON200.Products[0].Stock)[mug.Id.String()].Available != 5 {
		t.Fatalf("%v %s", err, found.Body)
	}
	cart, err := c.CreateCartWithResponse(ctx, &client.CreateCartParams{}, client.CartInput{Lines: &[]client.CartLineInput{{VariantId: mug.Id, Quantity: 2}}})
	if err != nil || cart.JSON201 == nil {
		t.Fatalf("%v %s", err, cart.Body)
	}
	id := cart.JSON201.Cart.Id
	if _, err := c.AddCouponWithResponse(ctx, id, client.CouponInput{Code: "ten"}); err != nil {
		t.Fatal(err)
	}
	address := client.Address{Name: "Ada", Line1: "Street 1", City: "Berlin", Country: "DE"}
	updated, err := c.UpdateCartWithResponse(ctx, id, client.CartUpdate{ShippingAddress: &address, ShippingMethodId: &method.Id})
	if err != nil || updated.JSON200 == nil || updated.JSON200.Totals.Total != "22.90" {
		t.Fatalf("%v %s", err, updated.Body)
	}
	order, err := c.PlaceOrderWithResponse(ctx, &client.PlaceOrderParams{IdempotencyKey: new("k")}, client.OrderInput{CartId: id, Payment: client.PaymentInput{Provider: "test"}})
	if err != nil || order.JSON201 == nil || order.JSON201.Email != "ada@example.com" {
		t.Fatalf("%v %s", err, order.Body)
	}
	cancelled, err := c.CancelOrderWithResponse(ctx, order.JSON201.Id, client.CancelInput{})
	if err != nil || cancelled.JSON200 == nil || cancelled.JSON200.State != client.OrderStateCancelled {
		t.Fatalf("%v %s", err, cancelled.Body)
	}
	list, err := c.ListOrdersWithResponse(ctx, &client.ListOrdersParams{})
	if err != nil || list.JSON200 == nil || len(list.JSON200.Orders) != 1 {
		t.Fatalf("%v %s", err, list.Body)
	}
}
