package identity

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/openapi"
)

// callers are one of each kind.
var callers = map[string]*Principal{
	"anybody":  {},
	"customer": {CustomerID: uuid.New(), Role: openapi.RoleCustomer},
	"manager":  {CustomerID: uuid.New(), Role: openapi.RoleManager, Scopes: scopesOf(openapi.RoleManager)},
	"admin":    {CustomerID: uuid.New(), Role: openapi.RoleAdmin, Scopes: scopesOf(openapi.RoleAdmin)},
	"first":    {KeyName: firstKeyName, Scopes: []string{Everything}},
	"reader":   {KeyName: "reader", KeyID: uuid.New(), Scopes: []string{"orders:read", "products:read", "customers:read"}},
}

// gate is an engine behind Authorize whose routes all answer 200.
func gate(t *testing.T, document []byte, routes ...string) *gin.Engine {
	t.Helper()
	authorize, err := Authorize(document)
	if err != nil {
		t.Fatal(err)
	}
	engine := gin.New()
	engine.Use(answer, func(c *gin.Context) { c.Set(principalKey, callers[c.GetHeader("Caller")]) }, authorize)
	for _, route := range routes {
		method, path, _ := strings.Cut(route, " ")
		engine.Handle(method, path, func(c *gin.Context) { c.Status(http.StatusOK) })
	}
	return engine
}

func call(engine *gin.Engine, caller, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("Caller", caller)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	engine.ServeHTTP(w, r)
	return w
}

func TestAnOperationIsForWhomTheDocumentSays(t *testing.T) {
	t.Parallel()
	const id = "/019a0000-0000-7000-8000-000000000000"
	engine := gate(t, openapi.YAML,
		"GET /api/v1/products", "GET /products", "POST /api/v1/products", "POST /products", "PUT /api/v1/products/:idOrSlug", "GET /api/v1/me",
		"GET /api/v1/orders", "GET /orders", "GET /api/v1/orders/:id", "POST /api/v1/orders/:id/transitions", "GET /api/v1/carts/:id", "POST /carts/:id/lines",
		"GET /api/v1/customers", "PATCH /api/v1/customers/:id", "GET /api/v1/api-keys", "PUT /api/v1/settings")
	for operation, want := range map[string]map[string]int{
		"GET /api/v1/products":                      {"anybody": 200, "customer": 200, "reader": 200, "first": 200},
		"GET /products":                             {"anybody": 200, "customer": 200, "reader": 200, "first": 200},
		"POST /api/v1/products":                     {"anybody": 401, "customer": 403, "reader": 403, "manager": 200, "admin": 200, "first": 200},
		"POST /products":                            {"anybody": 401, "customer": 403, "reader": 403, "manager": 200, "admin": 200, "first": 200},
		"PUT /api/v1/products/a":                    {"anybody": 401, "customer": 403, "reader": 403, "manager": 200, "admin": 200, "first": 200},
		"GET /api/v1/me":                            {"anybody": 401, "customer": 200, "reader": 403, "manager": 200, "admin": 200, "first": 403},
		"GET /api/v1/orders":                        {"anybody": 401, "customer": 200, "reader": 200, "manager": 200, "admin": 200, "first": 200},
		"GET /orders":                               {"anybody": 401, "customer": 200, "reader": 200, "manager": 200, "admin": 200, "first": 200},
		"GET /api/v1/orders" + id:                   {"anybody": 401, "customer": 200, "reader": 200, "manager": 200, "admin": 200, "first": 200},
		"POST /api/v1/orders" + id + "/transitions": {"anybody": 401, "customer": 403, "reader": 403, "manager": 200, "admin": 200, "first": 200},
		"GET /api/v1/carts" + id:                    {"anybody": 401, "customer": 200, "reader": 200, "first": 200},
		"POST /carts" + id + "/lines":               {"anybody": 401, "customer": 200, "reader": 200, "first": 200},
		"GET /api/v1/customers":                     {"anybody": 401, "customer": 403, "reader": 200, "manager": 200, "admin": 200, "first": 200},
		"PATCH /api/v1/customers" + id:              {"anybody": 401, "customer": 403, "reader": 403, "manager": 403, "admin": 200, "first": 200},
		"GET /api/v1/api-keys":                      {"anybody": 401, "customer": 403, "reader": 403, "manager": 403, "admin": 200, "first": 200},
		"PUT /api/v1/settings":                      {"anybody": 401, "customer": 403, "reader": 403, "manager": 200, "admin": 200, "first": 200},
	} {
		method, path, _ := strings.Cut(operation, " ")
		for caller, status := range want {
			w := call(engine, caller, method, path)
			if w.Code != status {
				t.Errorf("%s as %s: %d %s", operation, caller, w.Code, w.Body)
			}
			if status == http.StatusUnauthorized && (w.Header().Get("WWW-Authenticate") == "" || !strings.Contains(w.Body.String(), `"unauthorized"`)) {
				t.Errorf("%s as %s: %v %s", operation, caller, w.Header(), w.Body)
			}
			if status == http.StatusForbidden && !strings.Contains(w.Body.String(), `"forbidden"`) {
				t.Errorf("%s as %s: %s", operation, caller, w.Body)
			}
		}
	}
	if w := call(engine, "customer", "POST", "/api/v1/products"); !strings.Contains(w.Body.String(), "products:write") {
		t.Errorf("the scope is not named: %s", w.Body)
	}
	if w := call(engine, "anybody", "GET", "/api/v1/carts"+id, "X-Cart-Token", "some"); w.Code != http.StatusOK {
		t.Errorf("with a cart's token: %d %s", w.Code, w.Body)
	}
	if w := call(engine, "anybody", "POST", "/api/v1/products", "X-Cart-Token", "some"); w.Code != http.StatusUnauthorized {
		t.Errorf("a cart's token opens more than carts: %d", w.Code)
	}
}

func TestWhatTheDocumentLacksIsRefusedBelowItsPrefixAlone(t *testing.T) {
	t.Parallel()
	engine := gate(t, openapi.YAML, "GET /api/v1/secrets", "DELETE /api/v1/products", "GET /docs", "GET /api/health")
	for route, want := range map[string]int{
		"GET /api/v1/secrets": 403, "DELETE /api/v1/products": 403, "GET /docs": 200, "GET /api/health": 200, "GET /nothing": 404, "GET /api/v1/nothing": 404,
	} {
		method, path, _ := strings.Cut(route, " ")
		for _, caller := range []string{"anybody", "first"} {
			if w := call(engine, caller, method, path); w.Code != want {
				t.Errorf("%s as %s: %d", route, caller, w.Code)
			}
		}
	}
}

func TestADocumentThatLeavesADoorOpenIsAnError(t *testing.T) {
	t.Parallel()
	for name, security := range map[string]string{
		"no security":             "summary: x",
		"an empty security":       "security: []",
		"a scheme unknown":        "security: [{basic: []}]",
		"a scope unknown":         "security: [{bearer: ['moon:read']}]",
		"a cart token with scope": "security: [{cartToken: ['orders:read']}]",
	} {
		if _, err := Authorize([]byte("paths: {/x: {get: {operationId: getX, " + security + "}}}")); err == nil || !strings.Contains(err.Error(), "GET /x") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Authorize([]byte("paths: [")); err == nil {
		t.Error("no YAML is read")
	}
}

func TestEveryWayAndEveryPartOfAWayCounts(t *testing.T) {
	t.Parallel()
	engine := gate(t, []byte(`paths:
  /both: {get: {security: [{bearer: ["orders:read"], cartToken: []}]}}
  /scopes: {get: {security: [{bearer: ["orders:read", "products:write"]}]}}
  /either: {get: {security: [{bearer: ["products:write"]}, {bearer: ["orders:read"]}]}}
`), "GET /both", "GET /scopes", "GET /either")
	for path, want := range map[string]int{"/both": 403, "/scopes": 403, "/either": 200} {
		if w := call(engine, "reader", "GET", path); w.Code != want {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := call(engine, "reader", "GET", "/both", "X-Cart-Token", "some"); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
