package customer_test

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/customer"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

func TestStaffReadCustomersPageByPage(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	var want []string
	for i := range 5 {
		email := fmt.Sprintf("c%d@example.com", i)
		s.register(email)
		want = append([]string{email}, want...)
	}
	var got []string
	for path := "/customers?limit=2"; path != ""; {
		page := decode[openapi.CustomerPage](t, s.want(http.StatusOK, firstKey, "GET", path, ""))
		for _, c := range page.Customers {
			got = append(got, c.Email)
		}
		path = ""
		if page.NextCursor != nil {
			path = "/customers?limit=2&cursor=" + *page.NextCursor
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	one := decode[openapi.CustomerPage](t, s.want(http.StatusOK, firstKey, "GET", "/customers?email=C3@example.com", "")).Customers
	if len(one) != 1 || one[0].Email != "c3@example.com" {
		t.Errorf("%+v", one)
	}
	none := s.want(http.StatusOK, firstKey, "GET", "/customers?email=nobody", "")
	if !strings.Contains(none.Body.String(), `"customers":[]`) {
		t.Errorf("%s", none.Body)
	}
	if c := decode[openapi.Customer](t, s.want(http.StatusOK, firstKey, "GET", "/customers/"+one[0].Id.String(), "")); c != one[0] {
		t.Errorf("%+v", c)
	}
	s.want(http.StatusNotFound, firstKey, "GET", "/customers/"+uuid.NewString(), "")
	s.want(http.StatusNotFound, firstKey, "PATCH", "/customers/"+uuid.NewString(), `{"locked":true}`)
	s.want(http.StatusBadRequest, firstKey, "GET", "/customers?cursor=no", "")
	s.want(http.StatusBadRequest, firstKey, "GET", "/customers?email=%00", "")
	s.want(http.StatusBadRequest, firstKey, "PATCH", "/customers/"+one[0].Id.String(), `{"role":"king"}`)
}

func TestARoleCountsAtOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ada := s.join("ada@example.com")
	s.want(http.StatusForbidden, ada.AccessToken, "GET", "/customers", "")
	s.role(ada.CustomerId, openapi.RoleManager)
	s.want(http.StatusOK, ada.AccessToken, "GET", "/customers", "")
	s.want(http.StatusForbidden, ada.AccessToken, "PATCH", "/customers/"+ada.CustomerId.String(), `{"role":"admin"}`)
	s.want(http.StatusForbidden, ada.AccessToken, "GET", "/api-keys", "")
	s.role(ada.CustomerId, openapi.RoleAdmin)
	s.want(http.StatusOK, ada.AccessToken, "GET", "/api-keys", "")
	s.role(ada.CustomerId, openapi.RoleCustomer)
	s.want(http.StatusForbidden, ada.AccessToken, "GET", "/customers", "")
}

func TestALockedAccountIsOutAndStaysOut(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ada := s.join("ada@example.com")
	path := "/customers/" + ada.CustomerId.String()
	if c := decode[openapi.Customer](t, s.want(http.StatusOK, firstKey, "PATCH", path, `{"locked":true}`)); !c.Locked || c.Role != openapi.RoleCustomer {
		t.Errorf("%+v", c)
	}
	s.want(http.StatusUnauthorized, ada.AccessToken, "GET", "/me", "")
	if w := s.refresh(ada.RefreshToken); w.Code != http.StatusUnauthorized {
		t.Errorf("%d", w.Code)
	}
	if w := s.want(http.StatusForbidden, "", "POST", "/auth/login", credentials("ada@example.com", password)); code(t, w) != "account_locked" {
		t.Errorf("%s", w.Body)
	}
	s.want(http.StatusUnauthorized, "", "POST", "/auth/login", credentials("ada@example.com", "wrong horse"))
	s.want(http.StatusOK, firstKey, "PATCH", path, `{"locked":false}`)
	s.want(http.StatusUnauthorized, ada.AccessToken, "GET", "/me", "")
	s.logIn("ada@example.com")
}

func TestNobodyChangesTheirOwnRoleOrLocksThemselves(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ada := s.join("ada@example.com")
	s.role(ada.CustomerId, openapi.RoleAdmin)
	path := "/customers/" + ada.CustomerId.String()
	for _, body := range []string{`{"role":"customer"}`, `{"role":"admin"}`, `{"locked":true}`} {
		if w := s.want(http.StatusConflict, ada.AccessToken, "PATCH", path, body); code(t, w) != "own_account" {
			t.Errorf("%s: %s", body, w.Body)
		}
	}
	s.want(http.StatusOK, firstKey, "PATCH", path, `{"role":"customer"}`) // the last admin, by the first key
}

func TestAKeyForCustomersMakesNobodyAnAdministrator(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ada, eve := s.join("ada@example.com"), s.join("eve@example.com")
	s.role(eve.CustomerId, openapi.RoleManager)
	made := decode[openapi.CreatedApiKey](t, s.want(http.StatusCreated, firstKey, "POST", "/api-keys", `{"name":"crm","scopes":["customers:admin"]}`))
	s.want(http.StatusForbidden, made.Secret, "PATCH", "/customers/"+ada.CustomerId.String(), `{"role":"admin"}`)
	s.want(http.StatusForbidden, made.Secret, "PATCH", "/customers/"+eve.CustomerId.String(), `{"locked":true}`)
	s.want(http.StatusOK, made.Secret, "PATCH", "/customers/"+ada.CustomerId.String(), `{"locked":true}`)
}

func TestAPIKeysAreMadeListedAndRevoked(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	made := decode[openapi.CreatedApiKey](t, s.want(http.StatusCreated, firstKey, "POST", "/api-keys", `{"name":"crm","scopes":["customers:read"]}`))
	s.want(http.StatusOK, made.Secret, "GET", "/customers", "")
	s.want(http.StatusForbidden, made.Secret, "GET", "/me", "") // a key is no person
	s.want(http.StatusForbidden, made.Secret, "GET", "/api-keys", "")
	s.want(http.StatusCreated, firstKey, "POST", "/api-keys", `{"name":"later","scopes":["orders:read"]}`)
	w := s.want(http.StatusOK, firstKey, "GET", "/api-keys?limit=1", "")
	page := decode[openapi.ApiKeyPage](t, w)
	if len(page.ApiKeys) != 1 || page.ApiKeys[0].Name != "later" || page.NextCursor == nil {
		t.Fatalf("%s", w.Body)
	}
	w = s.want(http.StatusOK, firstKey, "GET", "/api-keys?limit=1&cursor="+*page.NextCursor, "")
	page = decode[openapi.ApiKeyPage](t, w)
	if len(page.ApiKeys) != 1 || page.ApiKeys[0].Id != made.ApiKey.Id || page.ApiKeys[0].LastUsedAt == nil || strings.Contains(w.Body.String(), made.Secret) {
		t.Errorf("%s", w.Body)
	}
	s.want(http.StatusNoContent, firstKey, "DELETE", "/api-keys/"+made.ApiKey.Id.String(), "")
	s.want(http.StatusUnauthorized, made.Secret, "GET", "/customers", "")
	s.want(http.StatusNotFound, firstKey, "DELETE", "/api-keys/"+uuid.NewString(), "")
	s.want(http.StatusBadRequest, firstKey, "POST", "/api-keys", `{"name":"x","scopes":["moon:read"]}`)
}

func home(city string, byDefault bool) string {
	return fmt.Sprintf(`{"address":{"name":"Ada","line1":"Street 1","city":%q,"country":"DE"},"default":%t}`, city, byDefault)
}

// cities are where a customer lives, the default with a star.
func (s *shop) cities(token string) (cities []string) {
	s.t.Helper()
	for _, a := range decode[openapi.AddressList](s.t, s.want(http.StatusOK, token, "GET", "/me/addresses", "")).Addresses {
		city := a.Address.City
		if a.Default {
			city += "*"
		}
		cities = append(cities, city)
	}
	return cities
}

func TestAddressesAreKeptWithOneDefault(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ada := s.join("ada@example.com").AccessToken
	if got := s.want(http.StatusOK, ada, "GET", "/me/addresses", "").Body.String(); got != `{"addresses":[]}` {
		t.Error(got)
	}
	w := s.want(http.StatusCreated, ada, "POST", "/me/addresses", home("Bonn", true))
	bonn := decode[openapi.SavedAddress](t, w)
	if w.Header().Get("Location") != "/api/v1/me/addresses/"+bonn.Id.String() {
		t.Errorf("%v", w.Header())
	}
	cologne := decode[openapi.SavedAddress](t, s.want(http.StatusCreated, ada, "POST", "/me/addresses", home("Cologne", true)))
	s.want(http.StatusCreated, ada, "POST", "/me/addresses", home("Ulm", false))
	steps := []struct {
		method, path, body string
		want               []string
	}{
		{"GET", "/me/addresses", "", []string{"Bonn", "Cologne*", "Ulm"}},
		{"PUT", "/me/addresses/" + bonn.Id.String(), home("Berlin", true), []string{"Berlin*", "Cologne", "Ulm"}},
		{"PUT", "/me/addresses/" + cologne.Id.String(), home("Kiel", false), []string{"Berlin*", "Kiel", "Ulm"}},
		{"PUT", "/me/addresses/" + bonn.Id.String(), home("Bonn", false), []string{"Bonn", "Kiel", "Ulm"}},
		{"DELETE", "/me/addresses/" + bonn.Id.String(), "", []string{"Kiel", "Ulm"}},
	}
	for _, step := range steps {
		if w := s.as(ada, step.method, step.path, step.body); w.Code >= 300 {
			t.Fatalf("%s %s: %d %s", step.method, step.path, w.Code, w.Body)
		}
		if got := s.cities(ada); !reflect.DeepEqual(got, step.want) {
			t.Errorf("after %s %s: %v, not %v", step.method, step.body, got, step.want)
		}
	}
	s.want(http.StatusNotFound, ada, "DELETE", "/me/addresses/"+bonn.Id.String(), "")
}

func TestDefaultsSetAtOnceLeaveOne(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ada := s.join("ada@example.com").AccessToken
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			if w := s.as(ada, "POST", "/me/addresses", home(fmt.Sprint("City ", i), true)); w.Code != http.StatusCreated {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	if all, byDefault := s.count(`SELECT count(*) FROM addresses`), s.count(`SELECT count(*) FROM addresses WHERE is_default`); all != 12 || byDefault != 1 {
		t.Errorf("%d addresses, %d defaults", all, byDefault)
	}
}

func TestAnAccountKeepsFiftyAddressesEvenWhenManyComeAtOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ada := s.join("ada@example.com")
	if _, err := s.pool.Exec(t.Context(), `INSERT INTO addresses SELECT gen_random_uuid(), $1, '{}', false FROM generate_series(1, 48)`, ada.CustomerId); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			w := s.as(ada.AccessToken, "POST", "/me/addresses", home("Bonn", false))
			if w.Code != http.StatusCreated && (w.Code != http.StatusConflict || code(t, w) != "too_many_addresses") {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	if n := s.count(`SELECT count(*) FROM addresses`); n != 50 {
		t.Errorf("%d addresses", n)
	}
}

func TestNobodyReachesSomebodyElsesAddresses(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	ada, eve := s.join("ada@example.com").AccessToken, s.join("eve@example.com").AccessToken
	s.role(decode[openapi.Customer](t, s.want(http.StatusOK, eve, "GET", "/me", "")).Id, openapi.RoleAdmin)
	home1 := decode[openapi.SavedAddress](t, s.want(http.StatusCreated, ada, "POST", "/me/addresses", home("Bonn", true)))
	s.want(http.StatusCreated, eve, "POST", "/me/addresses", home("Ulm", true))
	path := "/me/addresses/" + home1.Id.String()
	s.want(http.StatusNotFound, eve, "PUT", path, home("Stolen", true))
	s.want(http.StatusNotFound, eve, "PUT", path, home("Stolen", false))
	s.want(http.StatusNotFound, eve, "DELETE", path, "")
	if a, e := s.cities(ada), s.cities(eve); !reflect.DeepEqual(a, []string{"Bonn*"}) || !reflect.DeepEqual(e, []string{"Ulm*"}) {
		t.Errorf("%v %v", a, e)
	}
	s.want(http.StatusUnauthorized, "", "GET", "/me/addresses", "")
}

func TestAnAddressMustBeOne(t *testing.T) {
	t.Parallel()
	good := openapi.Address{Name: "Ada", Line1: "Street 1", City: "Bonn", Country: "DE"}
	long := strings.Repeat("ä", 201)
	for pointer, change := range map[string]func(*openapi.Address){
		"":            func(*openapi.Address) {},
		"/name":       func(a *openapi.Address) { a.Name = "" },
		"/line1":      func(a *openapi.Address) { a.Line1 = long },
		"/city":       func(a *openapi.Address) { a.City = "a\x00b" },
		"/company":    func(a *openapi.Address) { a.Company = &long },
		"/line2":      func(a *openapi.Address) { a.Line2 = &long },
		"/region":     func(a *openapi.Address) { a.Region = &long },
		"/postalCode": func(a *openapi.Address) { a.PostalCode = &long },
		"/phone":      func(a *openapi.Address) { a.Phone = &long },
	} {
		a := good
		change(&a)
		check(t, a, pointer)
	}
	for country, ok := range map[string]bool{
		"DE": true, "GB": true, "US": true, "XK": true, "de": false, "UK": false, "EU": false, "ZZ": false, "XA": false, "001": false, "DEU": false, "276": false, "": false, "Q!": false, "AA": false,
	} {
		a, pointer := good, "/country"
		if a.Country = country; ok {
			pointer = ""
		}
		check(t, a, pointer)
	}
}

func check(t *testing.T, a openapi.Address, pointer string) {
	t.Helper()
	var f problem.Findings
	customer.CheckAddress(&f, "/shippingAddress", a)
	switch {
	case pointer == "" && len(f) > 0, pointer != "" && (len(f) != 1 || f[0].Pointer != "/shippingAddress"+pointer):
		t.Errorf("%+v: %+v", a, f)
	}
}
