package api_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"sigs.k8s.io/yaml"

	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// operation is one of openapi.yaml.
type operation struct {
	method, path, id string
	// ways are who may call it: each needs all of its schemes and scopes.
	ways []map[string][]string
	// body is nil where it takes none.
	body       *schema
	parameters []parameter
}

// operations are all, in the order of their paths.
func operations(t testing.TB) (all []operation) {
	t.Helper()
	var doc document
	if err := yaml.Unmarshal(openapi.YAML, &doc); err != nil {
		t.Fatal(err)
	}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(doc.Paths[path])) {
			o := doc.Paths[path][method]
			op := operation{method: strings.ToUpper(method), path: path, id: o.OperationID, ways: o.Security}
			for _, p := range o.Parameters {
				op.parameters = append(op.parameters, doc.parameter(p))
			}
			if o.RequestBody != nil {
				if media, ok := o.RequestBody.Content["application/json"]; ok {
					op.body = new(doc.resolve(media.Schema))
				}
			}
			all = append(all, op)
		}
	}
	if len(all) < 70 {
		t.Fatalf("only %d operations", len(all))
	}
	return all
}

// person is somebody who signed in.
type person struct {
	id     uuid.UUID
	bearer string
}

// person registers somebody with a role and signs in.
func (s *store) person(name string, role openapi.Role) person {
	s.t.Helper()
	email := name + "@example.com"
	in := fmt.Sprintf(`{"email":%q,"password":"correct horse battery"}`, email)
	want[openapi.Accepted](s.t, s.do("POST", "/auth/register", in), http.StatusAccepted)
	customer := admin[openapi.CustomerPage](s, "GET", "/customers?email="+email, "", http.StatusOK).Customers[0]
	if role != openapi.RoleCustomer {
		admin[openapi.Customer](s, "PATCH", "/customers/"+customer.Id.String(), fmt.Sprintf(`{"role":%q}`, role), http.StatusOK)
	}
	tokens := want[openapi.Tokens](s.t, s.do("POST", "/auth/login", in), http.StatusOK)
	return person{customer.Id, "Bearer " + tokens.AccessToken}
}

func (s *store) key(scopes ...string) string {
	s.t.Helper()
	return "Bearer " + admin[openapi.CreatedApiKey](s, "POST", "/api-keys", openapi.ApiKeyInput{Name: "key", Scopes: scopes}, http.StatusCreated).Secret
}

// victim is everything that belongs to somebody, or to the store, and that
// others should leave alone.
func (s *store) victim(owner person) map[string]string {
	s.t.Helper()
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 100)
	as := []string{"Authorization", owner.bearer}
	address := want[openapi.SavedAddress](s.t, s.do("POST", "/me/addresses", encode(s.t, openapi.SavedAddressInput{Address: berlin}), as...), http.StatusCreated)
	open := func() openapi.Cart {
		in := openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 2)}, ShippingAddress: &berlin, ShippingMethodId: &method.Id}
		return want[openapi.CreatedCart](s.t, s.do("POST", "/carts", encode(s.t, in), as...), http.StatusCreated).Cart
	}
	order := want[openapi.Order](s.t, s.do("POST", "/orders", encode(s.t, openapi.OrderInput{
		CartId: open().Id, Payment: openapi.PaymentInput{Provider: "test"},
	}), as...), http.StatusCreated)
	shipped := want[openapi.Order](s.t, s.do("POST", "/orders", encode(s.t, openapi.OrderInput{
		CartId: open().Id, Payment: openapi.PaymentInput{Provider: "test"},
	}), as...), http.StatusCreated)
	part := fmt.Sprintf(`"lines":[{"lineId":%q,"quantity":1}]}`, shipped.Lines[0].Id)
	parcel := admin[openapi.Fulfillment](s, "POST", "/orders/"+shipped.Id.String()+"/fulfillments", `{"shipped":true}`, http.StatusCreated)
	back := admin[openapi.Return](s, "POST", "/orders/"+shipped.Id.String()+"/returns", `{`+part, http.StatusCreated)
	promotion := admin[openapi.Promotion](s, "POST", "/promotions", `{"title":"P","code":"P","kind":"free_shipping"}`, http.StatusCreated)
	zone := admin[openapi.ZoneList](s, "GET", "/zones", "", http.StatusOK).Zones[0]
	rate := admin[openapi.TaxRateList](s, "GET", "/tax-rates", "", http.StatusOK).TaxRates[0]
	location := admin[openapi.LocationList](s, "GET", "/locations", "", http.StatusOK).Locations[0]
	category := admin[openapi.Category](s, "POST", "/categories", `{"name":"C"}`, http.StatusCreated)
	collection := admin[openapi.Collection](s, "POST", "/collections", `{"name":"C"}`, http.StatusCreated)
	key := admin[openapi.CreatedApiKey](s, "POST", "/api-keys", `{"name":"k","scopes":["products:read"]}`, http.StatusCreated)
	job := admin[openapi.Job](s, "POST", "/jobs", `{"kind":"retention"}`, http.StatusCreated)
	hook := admin[openapi.CreatedWebhookEndpoint](s, "POST", "/webhooks/endpoints", `{"url":"https://example.com/hooks","events":["*"]}`, http.StatusCreated)
	delivery := admin[openapi.WebhookDelivery](s, "POST", "/webhooks/endpoints/"+hook.Endpoint.Id.String()+"/test", "", http.StatusAccepted)
	bringing := admin[openapi.Import](s, "POST", "/imports", `{"kind":"products","format":"csv"}`, http.StatusCreated)
	return map[string]string{
		"/imports/{id}": bringing.Id.String(), "/exports/{kind}": "products",
		"/webhooks/endpoints/{id}": hook.Endpoint.Id.String(), "/webhooks/deliveries/{id}": delivery.Id.String(),
		"/fulfillments/{id}": parcel.Id.String(), "/returns/{id}": back.Id.String(), "{shipped}": shipped.Id.String(),
		"{line}": order.Lines[0].Id.String(), "{shippedLine}": shipped.Lines[0].Id.String(),
		"/payments/{id}":     order.Payments[0].Id.String(),
		"/jobs/{id}":         strconv.FormatInt(job.Id, 10),
		"/me/addresses/{id}": address.Id.String(), "/carts/{id}": open().Id.String(), "/orders/{id}": order.Id.String(),
		"/customers/{id}": owner.id.String(), "/promotions/{id}": promotion.Id.String(), "/zones/{id}": zone.Id.String(),
		"/tax-rates/{id}": rate.Id.String(), "/shipping-methods/{id}": method.Id.String(), "/locations/{id}": location.Id.String(),
		"/categories/{idOrSlug}": category.Slug, "/collections/{idOrSlug}": collection.Slug, "/products/{idOrSlug}": "mug",
		"/api-keys/{id}": key.ApiKey.Id.String(), "{variantId}": mug.Id.String(), "{code}": "P",
	}
}

// at fills a path in with the victim's things.
func at(path string, things map[string]string) string {
	for prefix, id := range things {
		if parent, param, ok := strings.Cut(prefix, "{"); ok && parent != "" && strings.HasPrefix(path, prefix) {
			path = parent + id + strings.TrimPrefix(path, parent+"{"+param)
		}
	}
	path = strings.ReplaceAll(path, "{variantId}", things["{variantId}"])
	return strings.ReplaceAll(path, "{code}", things["{code}"])
}

// TestEveryRouteIsOpenToThoseWhomItNamesAndToNobodyElse walks every operation
// of openapi.yaml, under both of its paths, with every kind of caller and with
// somebody else's things.
func TestEveryRouteIsOpenToThoseWhomItNamesAndToNobodyElse(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	owner := s.person("owner", openapi.RoleCustomer)
	things := s.victim(owner)
	other := s.person("other", openapi.RoleCustomer)
	manager, chief := s.person("manager", openapi.RoleManager), s.person("chief", openapi.RoleAdmin)
	foreign := *want[openapi.CreatedCart](t, s.do("POST", "/carts", `{}`), http.StatusCreated).Token

	type caller struct {
		name      string
		headers   []string
		principal identity.Principal
		cartToken bool
	}
	callers := []caller{
		{name: "anybody"},
		{name: "a guest with another cart", headers: []string{"X-Cart-Token", foreign}, cartToken: true},
		{name: "another customer", headers: []string{"Authorization", other.bearer}, principal: identity.Principal{CustomerID: other.id}},
		{name: "a manager", headers: []string{"Authorization", manager.bearer}, principal: identity.Principal{CustomerID: manager.id, Role: openapi.RoleManager,
			Scopes: []string{"products:write", "inventory:write", "customers:read", "orders:write", "promotions:write", "settings:write", "transfers:write"}}},
		{name: "an administrator", headers: []string{"Authorization", chief.bearer}, principal: identity.Principal{CustomerID: chief.id, Scopes: []string{"*:admin"}}},
	}
	for _, resource := range []string{"products", "inventory", "customers", "orders", "promotions", "settings", "api_keys", "webhooks", "audit"} {
		for _, level := range []string{"read", "write", "admin"} {
			scope := resource + ":" + level
			callers = append(callers, caller{name: "a key with " + scope, headers: []string{"Authorization", s.key(scope)},
				principal: identity.Principal{KeyName: "key", Scopes: []string{scope}}})
		}
	}
	open := func(o operation, c caller) bool {
		return slices.ContainsFunc(o.ways, func(way map[string][]string) bool {
			for scheme, scopes := range way {
				if scheme == "cartToken" && !c.cartToken || scheme == "bearer" && c.principal.Anonymous() {
					return false
				}
				for _, scope := range scopes {
					if scope == "customer" && !c.principal.SignedIn() || scope != "customer" && !c.principal.Can(scope) {
						return false
					}
				}
			}
			return true
		})
	}
	// What is the victim's own is not found by others who get as far as asking.
	owned := func(o operation, c caller) bool {
		switch {
		case strings.HasPrefix(o.path, "/carts/{id}"), strings.HasPrefix(o.path, "/me/addresses/{id}"):
			return true
		case strings.HasPrefix(o.path, "/orders/{id}"), slices.Contains([]string{"getFulfillment", "getReturn", "cancelReturn"}, o.id):
			return !c.principal.Can("orders:read")
		}
		return false
	}
	for _, c := range callers {
		for _, o := range operations(t) {
			for _, prefix := range []string{"", "/api/v1"} {
				body := ""
				if o.body != nil {
					body = `{"nothing of the kind":true}` // so that nothing is changed
				}
				if o.method == "DELETE" && open(o, c) && !owned(o, c) || o.id == "logOut" || o.id == "logOutEverywhere" || o.id == "getHealth" || o.id == "refreshSession" {
					continue // would end what the others need; a refresh is answered 401 for its own cookie's sake
				}
				w := s.do(o.method, prefix+at(o.path, things), body, c.headers...)
				refused := w.Code == http.StatusUnauthorized || w.Code == http.StatusForbidden
				if wantRefused := !open(o, c); refused != wantRefused {
					t.Errorf("%s: %s %s is answered %d %s", c.name, o.method, prefix+o.path, w.Code, w.Body)
				}
				if w.Code == http.StatusUnauthorized != (refused && c.principal.Anonymous()) {
					t.Errorf("%s: %s %s is answered %d", c.name, o.method, prefix+o.path, w.Code)
				}
				if !refused && owned(o, c) && w.Code != http.StatusNotFound && w.Code != http.StatusBadRequest {
					t.Errorf("%s: %s %s, which is somebody else's, is answered %d %s", c.name, o.method, prefix+o.path, w.Code, w.Body)
				}
				if w.Code >= 500 || w.Code < 300 && o.body != nil {
					t.Errorf("%s: %s %s is answered %d %s", c.name, o.method, prefix+o.path, w.Code, w.Body)
				}
			}
		}
	}
	if strings.Contains(s.log.String(), "SECRET") {
		t.Errorf("a secret is logged")
	}
}

// TestNobodyTouchesWhatIsSomebodyElses sends what would be right if it came
// from the owner.
func TestNobodyTouchesWhatIsSomebodyElses(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	owner, other := s.person("owner", openapi.RoleCustomer), s.person("other", openapi.RoleCustomer)
	things := s.victim(owner)
	foreign := *want[openapi.CreatedCart](t, s.do("POST", "/carts", `{}`), http.StatusCreated).Token
	cart, order, address := "/carts/"+things["/carts/{id}"], "/orders/"+things["/orders/{id}"], "/me/addresses/"+things["/me/addresses/{id}"]
	for _, r := range [][3]string{
		{"GET", cart, ""}, {"PATCH", cart, `{"email":"x@example.com"}`}, {"DELETE", cart, ""},
		{"POST", cart + "/lines", encode(t, openapi.CartLineInput{VariantId: uuid.MustParse(things["{variantId}"]), Quantity: 1})},
		{"PUT", cart + "/lines/" + things["{variantId}"], `{"quantity":0}`}, {"POST", cart + "/coupons", `{"code":"P"}`}, {"DELETE", cart + "/coupons/P", ""},
		{"GET", cart + "/shipping-methods", ""}, {"POST", cart + "/reservation", ""},
		{"POST", "/orders", fmt.Sprintf(`{"cartId":%q,"payment":{"provider":"test"}}`, things["/carts/{id}"])},
		{"GET", order, ""}, {"POST", order + "/cancel", `{}`}, {"POST", order + "/payments", `{"provider":"test"}`}, {"GET", order + "/timeline", ""},
		{"GET", order + "/fulfillments", ""}, {"GET", order + "/returns", ""}, {"GET", order + "/refunds", ""},
		{"POST", "/orders/" + things["{shipped}"] + "/returns", fmt.Sprintf(`{"lines":[{"lineId":%q,"quantity":1}]}`, things["{shippedLine}"])},
		{"GET", "/fulfillments/" + things["/fulfillments/{id}"], ""}, {"GET", "/returns/" + things["/returns/{id}"], ""},
		{"POST", "/returns/" + things["/returns/{id}"] + "/cancel", `{}`},
		{"PUT", address, encode(t, openapi.SavedAddressInput{Address: berlin})}, {"DELETE", address, ""},
	} {
		for name, headers := range map[string][]string{
			"another customer": {"Authorization", other.bearer}, "a guest": {"X-Cart-Token", foreign},
			"another customer with a token": {"Authorization", other.bearer, "X-Cart-Token", foreign},
		} {
			w := s.do(r[0], r[1], r[2], headers...)
			if w.Code != http.StatusNotFound && (name != "a guest" || !strings.HasPrefix(r[1], "/me/")) {
				t.Errorf("%s: %s %s is answered %d %s", name, r[0], r[1], w.Code, w.Body)
			}
		}
	}
	list := want[openapi.OrderPage](t, s.do("GET", "/orders", "", "Authorization", other.bearer), http.StatusOK)
	if len(list.Orders) != 0 {
		t.Errorf("another customer lists %+v", list.Orders)
	}
	wantProblem(t, s.do("GET", "/orders?customerId="+owner.id.String(), "", "Authorization", other.bearer), http.StatusForbidden, "forbidden")
	wantProblem(t, s.do("GET", "/orders?email=owner@example.com", "", "Authorization", other.bearer), http.StatusForbidden, "forbidden")
	if own := want[openapi.OrderPage](t, s.do("GET", "/orders", "", "Authorization", owner.bearer), http.StatusOK); len(own.Orders) != 2 {
		t.Errorf("the owner lists %+v", own.Orders)
	}
	want[openapi.Cart](t, s.do("GET", cart, "", "Authorization", owner.bearer), http.StatusOK)
	want[openapi.Order](t, s.do("GET", order, "", "Authorization", owner.bearer), http.StatusOK)
}
