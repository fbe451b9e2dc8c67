package api_test

import (
	"net/http"
	"strings"
	"testing"

	"gitee.com/captainjez/gocart/runtime/openapi"
)

// page asks as a browser does for what a person goes to.
func (b *browser) page(path string) (int, string, string) {
	w := b.do("GET", path, "", "Accept", "text/html,application/xhtml+xml", "Sec-Fetch-Mode", "navigate")
	return w.Code, w.Header().Get("Location"), w.Body.String()
}

func TestThePagesOfJobsAreForThoseWhoLookAfterThem(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	for _, name := range []string{"ada", "mia", "zoe"} {
		s.person(name, map[string]openapi.Role{"ada": openapi.RoleAdmin, "mia": openapi.RoleManager, "zoe": openapi.RoleCustomer}[name])
	}
	signedIn := func(name string) *browser {
		b := &browser{store: s, cookies: map[string]*http.Cookie{}}
		want[openapi.Session](t, b.do("POST", "/api/v1/auth/session", credentials(name)), http.StatusOK)
		return b
	}
	stranger := &browser{store: s, cookies: map[string]*http.Cookie{}}
	for path, next := range map[string]string{"/admin": "/admin/jobs/", "/admin/jobs": "/admin/jobs/", "/admin/jobs/": "/admin/sign-in?next=%2Fadmin%2Fjobs%2F"} {
		if code, to, _ := stranger.page(path); code != http.StatusSeeOther || to != next {
			t.Errorf("%s: %d %s", path, code, to)
		}
	}
	if code, _, body := stranger.page("/admin/sign-in"); code != http.StatusOK || !strings.Contains(body, `type="password"`) || strings.Contains(body, "<style") {
		t.Errorf("%d %s", code, body)
	}
	for _, asset := range []string{"/admin/sign-in.js", "/admin/style.css"} {
		if w := stranger.do("GET", asset, ""); w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'self'") {
			t.Errorf("%s: %d %v", asset, w.Code, w.Header())
		}
	}
	wantProblem(t, stranger.do("GET", "/admin/jobs/api/jobs", ""), http.StatusUnauthorized, "unauthorized")
	wantProblem(t, signedIn("zoe").do("GET", "/admin/jobs/api/jobs", ""), http.StatusForbidden, "forbidden")
	wantProblem(t, signedIn("mia").do("GET", "/admin/jobs/", "", "Accept", "text/html"), http.StatusForbidden, "forbidden")

	admin[openapi.Job](s, "POST", "/jobs", `{"kind":"retention"}`, http.StatusCreated)
	ada := signedIn("ada")
	if code, _, body := ada.page("/admin/jobs/"); code != http.StatusOK || !strings.Contains(body, "/admin/jobs/assets/") {
		t.Errorf("%d %s", code, body)
	}
	if w := ada.do("GET", "/admin/jobs/api/jobs?state=available", ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"kind":"retention"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ada.do("POST", "/admin/jobs/api/jobs/delete", `{"ids":["1"]}`, "Content-Type", "application/json", "Sec-Fetch-Site", "cross-site"); w.Code != http.StatusForbidden {
		t.Errorf("another site's page deletes jobs: %d %s", w.Code, w.Body)
	}
	if w := ada.do("POST", "/admin/jobs/api/jobs/delete", `{"ids":["1"]}`, "Content-Type", "application/json"); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	recorded := admin[openapi.AuditPage](s, "GET", "/audit?action=POST+/admin/jobs/api/jobs/delete", "", http.StatusOK).Entries
	if len(recorded) != 1 || recorded[0].Object != "job" || recorded[0].Change != "deleted" || !strings.HasPrefix(recorded[0].Actor, "staff ") {
		t.Errorf("recorded is %+v", recorded)
	}
}
