package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gitee.com/captainjez/gocart/runtime/openapi"
)

// browser keeps cookies as one does.
type browser struct {
	store   *store
	cookies map[string]*http.Cookie
}

// do sends a request from a page of the store, unless headers say otherwise.
func (b *browser) do(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	b.store.t.Helper()
	var sent []string
	for _, c := range b.cookies {
		if strings.HasPrefix(path, c.Path) {
			sent = append(sent, c.Name+"="+c.Value)
		}
	}
	w := b.store.do(method, path, body, append([]string{"Cookie", strings.Join(sent, "; "), "Sec-Fetch-Site", "same-origin"}, headers...)...)
	for _, c := range w.Result().Cookies() {
		if !c.HttpOnly || !c.Secure || c.SameSite < http.SameSiteLaxMode {
			b.store.t.Errorf("a script, a network or another site can use %v", c)
		}
		if b.cookies[c.Name] = c; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return w
}

func credentials(name string) string {
	return `{"email":"` + name + `@example.com","password":"correct horse battery"}`
}

func TestABrowserIsSignedInByCookiesThatNoScriptReads(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.person("ada", openapi.RoleCustomer)
	b := &browser{store: s, cookies: map[string]*http.Cookie{}}
	wantProblem(t, b.do("GET", "/api/v1/me", ""), http.StatusUnauthorized, "unauthorized")
	w := b.do("POST", "/api/v1/auth/session", credentials("ada"))
	if session := want[openapi.Session](t, w, http.StatusOK); session.ExpiresIn != 900 || strings.Contains(w.Body.String(), "eyJ") || strings.Contains(w.Body.String(), "rt_") {
		t.Errorf("the answer is %s", w.Body)
	}
	if me := want[openapi.Customer](t, b.do("GET", "/api/v1/me", ""), http.StatusOK); me.Email != "ada@example.com" {
		t.Errorf("signed in is %s", me.Email)
	}

	s.clock.forward(16 * time.Minute) // the browser has let go of the access token, or not
	wantProblem(t, b.do("GET", "/api/v1/me", ""), http.StatusUnauthorized, "unauthorized")
	want[openapi.Session](t, b.do("PUT", "/api/v1/auth/session", ""), http.StatusOK)
	want[openapi.Customer](t, b.do("GET", "/api/v1/me", ""), http.StatusOK)

	stolen := &browser{store: s, cookies: map[string]*http.Cookie{}}
	for name, c := range b.cookies {
		stolen.cookies[name] = c
	}
	if w := b.do("DELETE", "/api/v1/auth/session", ""); w.Code != http.StatusNoContent || len(b.cookies) != 0 {
		t.Errorf("signing out answered %d and left %v", w.Code, b.cookies)
	}
	wantProblem(t, stolen.do("GET", "/api/v1/me", ""), http.StatusUnauthorized, "unauthorized")
	want[openapi.ProductPage](t, stolen.do("GET", "/api/v1/products", ""), http.StatusOK)
	wantProblem(t, stolen.do("PUT", "/api/v1/auth/session", ""), http.StatusUnauthorized, "invalid_refresh_token")
	if len(stolen.cookies) != 0 {
		t.Errorf("cookies that hold nothing are kept: %v", stolen.cookies)
	}
	if w := b.do("DELETE", "/api/v1/auth/session", ""); w.Code != http.StatusNoContent {
		t.Errorf("signing out twice answered %d", w.Code)
	}
}

func TestAnotherSitesPageDoesNothingByABrowsersCookies(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.person("ada", openapi.RoleCustomer)
	b := &browser{store: s, cookies: map[string]*http.Cookie{}}
	from := []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}
	wantProblem(t, b.do("POST", "/api/v1/auth/session", credentials("ada"), from...), http.StatusForbidden, "cross_origin")
	want[openapi.Session](t, b.do("POST", "/api/v1/auth/session", credentials("ada")), http.StatusOK)
	wantProblem(t, b.do("DELETE", "/api/v1/me/sessions", "", from...), http.StatusForbidden, "cross_origin")
	wantProblem(t, b.do("PUT", "/api/v1/auth/session", "", from...), http.StatusForbidden, "cross_origin")
	want[openapi.Customer](t, b.do("GET", "/api/v1/me", ""), http.StatusOK)
}
