package customer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/customer"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/mail"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	testbed.Main(m)
}

const (
	firstKey = "sk_live_ADMINSECRET0123456789"
	password = "correct horse"
)

// rest stands for the operations of other packages.
type rest struct{ openapi.ServerInterface }

type handlers struct {
	customer.Handlers
	rest
}

// shop is the customers' part of the API over a database of the test's own.
type shop struct {
	t         testing.TB
	engine    *gin.Engine
	customers *customer.Service
	pool      *pgxpool.Pool
	config    config.Config
	queue     *jobs.Queue
	log       *testbed.Log
	mu        sync.Mutex
	time      time.Time
}

func newShop(t testing.TB, changes ...func(*config.Config)) *shop {
	t.Helper()
	s := &shop{t: t, engine: gin.New(), pool: testbed.Pools(t).Main, log: &testbed.Log{}, time: time.Now().UTC().Truncate(time.Second)}
	c := config.Default()
	c.Store = config.Store{Name: "shop", Namespace: "ns", URL: "https://shop.example", Mode: config.ModeProduction, Locale: "en"}
	c.Auth = config.Auth{AdminKeyFile: testbed.File(t, firstKey), TokenKeyFile: testbed.File(t, "a token key of more than 32 characters")}
	c.Mail = &config.Mail{URLFile: testbed.File(t, "smtp://127.0.0.1:1?tls=none"), From: "Shop <shop@shop.example>"}
	for _, change := range changes {
		change(&c)
	}
	s.config = c
	var err error
	if s.queue, err = jobs.NewQueue(s.log.Logger(), s.now); err != nil {
		t.Fatal(err)
	}
	outbox := mail.NewOutbox(c, s.queue, s.log.Logger())
	keys := identity.NewKeys(c)
	authorize, err := identity.Authorize(openapi.YAML)
	if err != nil {
		t.Fatal(err)
	}
	s.engine.Use(answer, identity.NewAuthenticator(c, s.pool, keys, s.log.Logger(), s.now).Identify(), authorize)
	s.customers = customer.New(s.pool, keys, outbox, oneCart{}, s.now, s.log.Logger())
	openapi.RegisterHandlersWithOptions(s.engine, handlers{Handlers: customer.Handlers{
		Customers: s.customers,
		APIKeys:   identity.NewAPIKeys(s.pool, s.now),
	}}, openapi.GinServerOptions{BaseURL: "/api/v1"})
	return s
}

// answer stands for the server, which answers errors.
func answer(c *gin.Context) {
	c.Next()
	last := c.Errors.Last()
	if last == nil {
		return
	}
	if p, ok := errors.AsType[*problem.Problem](last.Err); ok {
		p.Write(c.Writer, "")
		return
	}
	c.String(http.StatusInternalServerError, last.Err.Error())
}

// oneCart has the one cart that the token "open" opens.
type oneCart struct{}

var cartID = uuid.MustParse("019a0000-0000-7000-8000-000000000001")

func (oneCart) Merge(_ context.Context, _ pgx.Tx, id uuid.UUID, token string, customerID uuid.UUID) (uuid.UUID, error) {
	if id != cartID || token != "open" {
		return uuid.Nil, problem.New(http.StatusNotFound, "cart_not_found", "No such cart.")
	}
	return customerID, nil
}

func (s *shop) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.time
}

// later lets time pass.
func (s *shop) later(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.time = s.time.Add(d)
}

// do sends a request; headers are pairs.
func (s *shop) do(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/api/v1"+path, strings.NewReader(body))
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

// as sends a request with an access token or API key.
func (s *shop) as(token, method, path, body string) *httptest.ResponseRecorder {
	return s.do(method, path, body, "Authorization", "Bearer "+token)
}

// want sends a request and fails unless the status is as it should be.
func (s *shop) want(status int, token, method, path, body string) *httptest.ResponseRecorder {
	s.t.Helper()
	var headers []string
	if token != "" {
		headers = []string{"Authorization", "Bearer " + token}
	}
	w := s.do(method, path, body, headers...)
	if w.Code != status {
		s.t.Fatalf("%s %s: %d, not %d: %s", method, path, w.Code, status, w.Body)
	}
	return w
}

func (s *shop) register(email string) {
	s.t.Helper()
	s.want(http.StatusAccepted, "", "POST", "/auth/register", fmt.Sprintf(`{"email":%q,"password":%q}`, email, password))
}

func (s *shop) logIn(email string) openapi.Tokens {
	s.t.Helper()
	return decode[openapi.Tokens](s.t, s.want(http.StatusOK, "", "POST", "/auth/login", credentials(email, password)))
}

// join registers and signs in.
func (s *shop) join(email string) openapi.Tokens {
	s.t.Helper()
	s.register(email)
	return s.logIn(email)
}

func (s *shop) refresh(token string) *httptest.ResponseRecorder {
	return s.do("POST", "/auth/refresh", fmt.Sprintf(`{"refreshToken":%q}`, token))
}

// role changes a customer's role.
func (s *shop) role(id uuid.UUID, role openapi.Role) {
	s.t.Helper()
	s.want(http.StatusOK, firstKey, "PATCH", "/customers/"+id.String(), fmt.Sprintf(`{"role":%q}`, role))
}

// mails are those that were queued for an address, the oldest first.
func (s *shop) mails(to string) []mail.Message {
	s.t.Helper()
	rows, err := s.pool.Query(s.t.Context(), `SELECT args FROM river_job WHERE kind = 'email' AND queue = 'high' AND args->>'to' = $1 ORDER BY id`, to)
	if err != nil {
		s.t.Fatal(err)
	}
	messages, err := pgx.CollectRows(rows, pgx.RowTo[mail.Message])
	if err != nil {
		s.t.Fatal(err)
	}
	return messages
}

// mailed is the token of the newest mail of a template, as it is when sent now.
func (s *shop) mailed(to string, template mail.Template) string {
	s.t.Helper()
	all := s.mails(to)
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Template == template {
			return s.token(all[i])
		}
	}
	s.t.Fatalf("no %s for %s among %+v", template, to, all)
	return ""
}

// token is that of a mail that is sent now.
func (s *shop) token(m mail.Message) string {
	s.t.Helper()
	token, err := s.customers.MailToken(s.t.Context(), m.Template, m.CustomerID, m.To)
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

func (s *shop) count(query string, args ...any) (n int) {
	s.t.Helper()
	if err := s.pool.QueryRow(s.t.Context(), query, args...).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

func credentials(email, password string) string {
	return fmt.Sprintf(`{"email":%q,"password":%q}`, email, password)
}

func decode[T any](t testing.TB, w *httptest.ResponseRecorder) (v T) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return v
}

// code is a problem's.
func code(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	return decode[problem.Problem](t, w).Code
}

func TestRegisteringDoesNotTellWhetherAnAddressHasAnAccount(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	first := s.want(http.StatusAccepted, "", "POST", "/auth/register", `{"email":" Ada@Example.com ","password":"correct horse","name":"Ada"}`)
	second := s.want(http.StatusAccepted, "", "POST", "/auth/register", `{"email":"ada@example.COM","password":"another horse","name":"Eve"}`)
	if first.Body.String() != second.Body.String() {
		t.Errorf("%s\n%s", first.Body, second.Body)
	}
	mails := s.mails("ada@example.com")
	if len(mails) != 2 || mails[0].Template != mail.VerifyEmail || mails[0].CustomerID == uuid.Nil || mails[1].Template != mail.AlreadyRegistered {
		t.Errorf("%+v", mails)
	}
	s.want(http.StatusUnauthorized, "", "POST", "/auth/login", credentials("ada@example.com", "another horse"))
	me := decode[openapi.Customer](t, s.want(http.StatusOK, s.logIn("ADA@example.com").AccessToken, "GET", "/me", ""))
	if me.Email != "ada@example.com" || me.Name != "Ada" || me.EmailVerified || me.Role != openapi.RoleCustomer || me.Locked {
		t.Errorf("%+v", me)
	}
}

func TestRegisteringAtOnceMakesOneAccount(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if w := s.do("POST", "/auth/register", credentials("ada@example.com", password)); w.Code != http.StatusAccepted {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	if n := s.count(`SELECT count(*) FROM customers`); n != 1 {
		t.Errorf("%d accounts", n)
	}
}

func TestRegisteringWithAKeyHasOneEffectAndKeepsNoPassword(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	body := credentials("ada@example.com", password)
	for i, want := range []struct {
		body   string
		status int
	}{{body, 202}, {body, 202}, {credentials("ada@example.com", "another horse"), 409}} {
		w := s.do("POST", "/auth/register", want.body, "Idempotency-Key", "k")
		if w.Code != want.status || (w.Header().Get("Idempotency-Replayed") == "true") != (i == 1) {
			t.Errorf("%d: %d %v %s", i, w.Code, w.Header(), w.Body)
		}
	}
	if n := len(s.mails("ada@example.com")); n != 1 {
		t.Errorf("%d mails", n)
	}
	if n := s.count(`SELECT count(*) FROM idempotency_keys WHERE request_hash = sha256($1)`, body); n != 0 {
		t.Error("a plain hash of the password's body is kept")
	}
}

func TestBadInputIsRefusedByName(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	token := s.join("ada@example.com").AccessToken
	long := strings.Repeat("a", 201)
	for body, want := range map[string]string{
		`{"email":"ada","password":"correct horse"}`:                                     "/email",
		`{"email":"Ada <ada@example.com>","password":"correct horse"}`:                   "/email",
		`{"email":"ada@example.com, eve@example.com","password":"correct horse"}`:        "/email",
		`{"email":"ada@[127.0.0.1]","password":"correct horse"}`:                         "/email",
		`{"email":"\"a b\"@example.com","password":"correct horse"}`:                     "/email",
		`{"email":"ada@example.com\r\nBcc: eve@example.com","password":"correct horse"}`: "/email",
		`{"email":"` + strings.Repeat("a", 250) + `@b.com","password":"correct horse"}`:  "/email",
		`{"email":"","password":"correct horse"}`:                                        "/email",
		`{"email":"eve@example.com","password":"short"}`:                                 "/password",
		`{"email":"eve@example.com","password":"` + long + `"}`:                          "/password",
		`{"email":"eve@example.com","password":"nul\u0000nul\u0000nul"}`:                 "/password",
		`{"email":"eve@example.com","password":"correct horse","name":"` + long + `"}`:   "/name",
		`{"email":"eve@example.com","password":"correct horse","name":"a\nb"}`:           "/name",
		`{"email":"eve@example.com","password":"correct horse","role":"admin"}`:          "/role",
		`{"email":1,"password":"correct horse"}`:                                         "/email",
	} {
		w := s.do("POST", "/auth/register", body)
		p := decode[problem.Problem](t, w)
		if w.Code != http.StatusBadRequest || len(p.Errors) == 0 || p.Errors[0].Pointer != want {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
	for route, body := range map[string]string{
		"POST /auth/login":                  `{"email":"no","password":"x"}`,
		"POST /auth/password-reset":         `{"email":"no"}`,
		"POST /auth/password-reset/confirm": `{"token":"x","password":"short"}`,
		"PUT /me/password":                  `{"current":"correct horse","password":"short"}`,
		"PATCH /me":                         `{"name":"a\u0007"}`,
		"POST /me/addresses":                `{"address":{"name":"","line1":"x","city":"x","country":"DE"}}`,
	} {
		method, path, _ := strings.Cut(route, " ")
		if w := s.as(token, method, path, body); w.Code != http.StatusBadRequest {
			t.Errorf("%s %s: %d %s", route, body, w.Code, w.Body)
		}
	}
	if n := s.count(`SELECT count(*) FROM customers`); n != 1 {
		t.Errorf("%d accounts", n)
	}
}

func TestAWrongPasswordAndAnUnknownAddressLookAlike(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.register("ada@example.com")
	wrong := s.want(http.StatusUnauthorized, "", "POST", "/auth/login", credentials("ada@example.com", "wrong horse"))
	unknown := s.want(http.StatusUnauthorized, "", "POST", "/auth/login", credentials("eve@example.com", "wrong horse"))
	if wrong.Body.String() != unknown.Body.String() || code(t, wrong) != "invalid_credentials" {
		t.Errorf("%s\n%s", wrong.Body, unknown.Body)
	}
}

func TestAfterTenWrongPasswordsEvenTheRightOneMustWait(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.register("ada@example.com")
	for _, email := range []string{"ada@example.com", "eve@example.com"} { // eve has no account
		for range 10 {
			s.want(http.StatusUnauthorized, "", "POST", "/auth/login", credentials(email, "wrong horse"))
		}
		s.later(time.Minute)
		w := s.want(http.StatusTooManyRequests, "", "POST", "/auth/login", credentials(email, password))
		if code(t, w) != "too_many_attempts" || w.Header().Get("Retry-After") != "840" {
			t.Errorf("%v %s", w.Header(), w.Body)
		}
	}
	s.later(14 * time.Minute)
	s.logIn("ada@example.com")
}

func TestTheRightPasswordForgetsTheWrongOnes(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.register("ada@example.com")
	for range 2 {
		for range 9 {
			s.want(http.StatusUnauthorized, "", "POST", "/auth/login", credentials("ada@example.com", "wrong horse"))
		}
		s.logIn("ada@example.com")
	}
	if n := s.count(`SELECT count(*) FROM attempts WHERE count > 1`); n != 0 {
		t.Errorf("%d counts are kept", n)
	}
}

func TestAtMostTenGuessesAreTakenEvenAtOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for range 15 {
		wg.Go(func() {
			w := s.do("POST", "/auth/login", credentials("ada@example.com", "wrong horse"))
			mu.Lock()
			defer mu.Unlock()
			statuses[w.Code]++
		})
	}
	wg.Wait()
	if statuses[http.StatusUnauthorized] != 10 || statuses[http.StatusTooManyRequests] != 5 {
		t.Errorf("%v", statuses)
	}
}

func TestARefreshTokenWorksOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	first := s.join("ada@example.com")
	if first.TokenType != "Bearer" || first.ExpiresIn != 900 || !strings.HasPrefix(first.RefreshToken, "rt_") {
		t.Errorf("%+v", first)
	}
	second := decode[openapi.Tokens](t, s.refresh(first.RefreshToken))
	if second.RefreshToken == first.RefreshToken || second.AccessToken == first.AccessToken || second.CustomerId != first.CustomerId {
		t.Errorf("%+v", second)
	}
	s.want(http.StatusOK, first.AccessToken, "GET", "/me", "")
	s.want(http.StatusOK, second.AccessToken, "GET", "/me", "")
	if w := s.refresh(first.RefreshToken); w.Code != http.StatusUnauthorized || code(t, w) != "invalid_refresh_token" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	// The second use ended the session, for whoever holds the newer one.
	for _, token := range []string{first.AccessToken, second.AccessToken} {
		s.want(http.StatusUnauthorized, token, "GET", "/me", "")
	}
	if w := s.refresh(second.RefreshToken); w.Code != http.StatusUnauthorized {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if strings.Contains(s.log.String(), first.RefreshToken) || !strings.Contains(s.log.String(), "its session was ended") {
		t.Errorf("logged: %s", s.log)
	}
}

func TestOfTwoRefreshesAtOnceOneWins(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	token := s.join("ada@example.com").RefreshToken
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for range 6 {
		wg.Go(func() {
			w := s.refresh(token)
			mu.Lock()
			defer mu.Unlock()
			statuses[w.Code]++
		})
	}
	wg.Wait()
	if statuses[http.StatusOK] != 1 || statuses[http.StatusUnauthorized] != 5 {
		t.Errorf("%v", statuses)
	}
	if n := s.count(`SELECT count(*) FROM sessions`); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

func TestAnInventedRefreshTokenEndsNoSession(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	tokens := s.join("ada@example.com")
	good := tokens.RefreshToken
	for name, token := range map[string]string{
		"nothing": "", "a prefix": "rt_", "no base64": "rt_!!!", "another prefix": "at_" + good[3:], "cut": good[:len(good)-4], "longer": good + "AAAA",
		"another seal": good[:len(good)-8] + "AAAAAAAA", "an access token": tokens.AccessToken, "other random bits": good[:40] + "AAAA" + good[44:],
		"zeros": "rt_" + strings.Repeat("A", len(good)-3),
	} {
		if w := s.refresh(token); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if w := s.refresh(good); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestASessionSlidesForThirtyDaysAndEndsAfterHalfAYear(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	s := newShop(t)
	idle := s.join("ada@example.com").RefreshToken
	busy := s.logIn("ada@example.com").RefreshToken
	for d := 29; d < 180; d += 29 {
		s.later(29 * day)
		w := s.refresh(busy)
		if w.Code != http.StatusOK {
			t.Fatalf("on day %d: %d %s", d, w.Code, w.Body)
		}
		busy = decode[openapi.Tokens](t, w).RefreshToken
	}
	if w := s.refresh(idle); w.Code != http.StatusUnauthorized {
		t.Errorf("after months of nothing: %d", w.Code)
	}
	s.later(6 * day) // 174 + 6
	if w := s.refresh(busy); w.Code != http.StatusUnauthorized {
		t.Errorf("on day 180: %d", w.Code)
	}
}

func TestAnAccessTokenHoldsForAQuarterOfAnHour(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	token := s.join("ada@example.com").AccessToken
	s.later(15*time.Minute - time.Second)
	s.want(http.StatusOK, token, "GET", "/me", "")
	s.later(time.Second)
	s.want(http.StatusUnauthorized, token, "GET", "/me", "")
}

func TestLoggingOutEndsTheSessionOrAllOfThem(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	one := s.join("ada@example.com")
	two, three, other := s.logIn("ada@example.com"), s.logIn("ada@example.com"), s.join("eve@example.com")
	s.want(http.StatusNoContent, one.AccessToken, "POST", "/auth/logout", "")
	s.want(http.StatusUnauthorized, one.AccessToken, "GET", "/me", "")
	if w := s.refresh(one.RefreshToken); w.Code != http.StatusUnauthorized {
		t.Errorf("%d", w.Code)
	}
	s.want(http.StatusOK, two.AccessToken, "GET", "/me", "")
	s.want(http.StatusNoContent, two.AccessToken, "DELETE", "/me/sessions", "")
	s.want(http.StatusUnauthorized, two.AccessToken, "GET", "/me", "")
	s.want(http.StatusUnauthorized, three.AccessToken, "GET", "/me", "")
	s.want(http.StatusOK, other.AccessToken, "GET", "/me", "")
}

func TestAMailedTokenConfirmsTheAddressOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	session := s.join("ada@example.com").AccessToken
	token := s.mailed("ada@example.com", mail.VerifyEmail)
	body := fmt.Sprintf(`{"token":%q}`, token)
	s.want(http.StatusBadRequest, "", "POST", "/auth/password-reset/confirm", fmt.Sprintf(`{"token":%q,"password":"another horse"}`, token)) // for something else
	s.want(http.StatusNoContent, "", "POST", "/auth/verify-email", body)
	if me := decode[openapi.Customer](t, s.want(http.StatusOK, session, "GET", "/me", "")); !me.EmailVerified {
		t.Errorf("%+v", me)
	}
	for _, b := range []string{body, `{"token":""}`, `{"token":"no"}`} {
		if w := s.want(http.StatusBadRequest, "", "POST", "/auth/verify-email", b); code(t, w) != "invalid_token" {
			t.Errorf("%s", w.Body)
		}
	}
	s.register("eve@example.com")
	token = s.mailed("eve@example.com", mail.VerifyEmail)
	s.later(24 * time.Hour)
	s.want(http.StatusBadRequest, "", "POST", "/auth/verify-email", fmt.Sprintf(`{"token":%q}`, token))
}

func TestAPasswordIsResetByMailAndEverySessionEnds(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	tokens := s.join("ada@example.com")
	known := s.want(http.StatusAccepted, "", "POST", "/auth/password-reset", `{"email":"Ada@example.com"}`)
	unknown := s.want(http.StatusAccepted, "", "POST", "/auth/password-reset", `{"email":"eve@example.com"}`)
	if known.Body.String() != unknown.Body.String() || len(s.mails("eve@example.com")) != 0 {
		t.Errorf("%s\n%s", known.Body, unknown.Body)
	}
	s.want(http.StatusAccepted, "", "POST", "/auth/password-reset", `{"email":"ada@example.com"}`)
	all := s.mails("ada@example.com")
	older, newer := s.token(all[len(all)-2]), s.token(all[len(all)-1])
	for range 10 {
		s.want(http.StatusUnauthorized, "", "POST", "/auth/login", credentials("ada@example.com", "wrong horse"))
	}
	reset := func(token string) *httptest.ResponseRecorder {
		return s.do("POST", "/auth/password-reset/confirm", fmt.Sprintf(`{"token":%q,"password":"another horse"}`, token))
	}
	if w := reset(newer); w.Code != http.StatusNoContent {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for _, used := range []string{newer, older} {
		if w := reset(used); w.Code != http.StatusBadRequest || code(t, w) != "invalid_token" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	s.want(http.StatusUnauthorized, tokens.AccessToken, "GET", "/me", "")
	if w := s.refresh(tokens.RefreshToken); w.Code != http.StatusUnauthorized {
		t.Errorf("%d", w.Code)
	}
	// Who has the token need not wait for the guesses of others.
	w := s.want(http.StatusOK, "", "POST", "/auth/login", credentials("ada@example.com", "another horse"))
	me := decode[openapi.Customer](t, s.want(http.StatusOK, decode[openapi.Tokens](t, w).AccessToken, "GET", "/me", ""))
	if !me.EmailVerified || s.mails("ada@example.com")[len(all)].Template != mail.PasswordChanged {
		t.Errorf("%+v %+v", me, s.mails("ada@example.com"))
	}
}

func TestAResetTokenWorksForAnHour(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.register("ada@example.com")
	s.want(http.StatusAccepted, "", "POST", "/auth/password-reset", `{"email":"ada@example.com"}`)
	s.later(time.Hour) // the mail waits for its server, and its token has not begun
	token := s.mailed("ada@example.com", mail.PasswordReset)
	s.later(time.Hour)
	body := fmt.Sprintf(`{"token":%q,"password":"another horse"}`, token)
	s.want(http.StatusBadRequest, "", "POST", "/auth/password-reset/confirm", body)
}

func TestATokenIsMailedOnlyToWhoStillHasTheAddress(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.register("ada@example.com")
	verify := s.mails("ada@example.com")[0]
	for _, other := range []mail.Message{
		{Template: verify.Template, CustomerID: verify.CustomerID, To: "eve@example.com"},
		{Template: verify.Template, CustomerID: uuid.Must(uuid.NewV7()), To: verify.To},
	} {
		if token, err := s.customers.MailToken(t.Context(), other.Template, other.CustomerID, other.To); token != "" || !errors.Is(err, mail.ErrGone) {
			t.Errorf("%+v: %v", other, err)
		}
	}
	if _, err := s.customers.MailToken(t.Context(), mail.PasswordChanged, verify.CustomerID, verify.To); err == nil {
		t.Error("a token is for nothing")
	}
	token := s.token(verify)
	if n := s.count(`SELECT count(*) FROM one_time_tokens`); n != 1 {
		t.Errorf("%d tokens", n)
	}
	if n := s.count(`SELECT count(*) FROM river_job WHERE args::text LIKE '%' || $1 || '%'`, token); n != 0 {
		t.Error("a job holds a token")
	}
}

func TestStrangersCannotFillAMailbox(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.register("ada@example.com")
	for range 6 {
		s.want(http.StatusAccepted, "", "POST", "/auth/password-reset", `{"email":"ada@example.com"}`)
		s.register("ada@example.com")
	}
	if n := len(s.mails("ada@example.com")); n != 5 {
		t.Errorf("%d mails", n)
	}
	s.later(time.Hour)
	s.want(http.StatusAccepted, "", "POST", "/auth/password-reset", `{"email":"ada@example.com"}`)
	if n := len(s.mails("ada@example.com")); n != 6 {
		t.Errorf("%d mails", n)
	}
}

func TestWithoutMailTheStoreWorksAndTheLogSaysSo(t *testing.T) {
	t.Parallel()
	s := newShop(t, func(c *config.Config) { c.Mail = nil })
	s.join("ada@example.com")
	s.want(http.StatusAccepted, "", "POST", "/auth/password-reset", `{"email":"ada@example.com"}`)
	if !strings.Contains(s.log.String(), "no mail is configured") || s.count(`SELECT count(*) FROM river_job`) != 0 {
		t.Errorf("logged: %s", s.log)
	}
}

func TestAPasswordIsChangedByWhoKnowsIt(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	here := s.join("ada@example.com")
	there := s.logIn("ada@example.com")
	s.want(http.StatusAccepted, "", "POST", "/auth/password-reset", `{"email":"ada@example.com"}`)
	change := func(current string, status int) *httptest.ResponseRecorder {
		t.Helper()
		return s.want(status, here.AccessToken, "PUT", "/me/password", fmt.Sprintf(`{"current":%q,"password":"another horse"}`, current))
	}
	change("wrong horse", http.StatusBadRequest)
	s.want(http.StatusOK, there.AccessToken, "GET", "/me", "")
	token := s.mailed("ada@example.com", mail.PasswordReset)
	change(password, http.StatusNoContent)
	s.want(http.StatusOK, here.AccessToken, "GET", "/me", "")
	s.want(http.StatusUnauthorized, there.AccessToken, "GET", "/me", "")
	s.want(http.StatusUnauthorized, "", "POST", "/auth/login", credentials("ada@example.com", password))
	s.want(http.StatusOK, "", "POST", "/auth/login", credentials("ada@example.com", "another horse"))
	if all := s.mails("ada@example.com"); all[len(all)-1].Template != mail.PasswordChanged {
		t.Errorf("%+v", all)
	}
	s.want(http.StatusBadRequest, "", "POST", "/auth/password-reset/confirm", fmt.Sprintf(`{"token":%q,"password":"a third horse"}`, token))
	for range 10 {
		change(password, http.StatusBadRequest)
	}
	change("another horse", http.StatusTooManyRequests)
}

func TestAHashOfAnotherCostIsMadeAnewAtLogIn(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.register("ada@example.com")
	const old = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc" // of "password"
	if _, err := s.pool.Exec(t.Context(), `UPDATE customers SET password_hash = $1`, old); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s.want(http.StatusOK, "", "POST", "/auth/login", credentials("ada@example.com", "password"))
	}
	if n := s.count(`SELECT count(*) FROM customers WHERE password_hash LIKE '$argon2id$v=19$m=19456,t=2,p=1$%'`); n != 1 {
		t.Error("the hash is the old one still")
	}
}

func TestACartComesAlongAtLogInOrNothingHappens(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.register("ada@example.com")
	logIn := func(token string) *httptest.ResponseRecorder {
		return s.do("POST", "/auth/login", fmt.Sprintf(`{"email":"ada@example.com","password":%q,"cart":{"id":%q,"token":%q}}`, password, cartID, token))
	}
	if w := logIn("wrong"); w.Code != http.StatusNotFound || code(t, w) != "cart_not_found" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if n := s.count(`SELECT count(*) FROM sessions`); n != 0 {
		t.Errorf("%d sessions", n)
	}
	tokens := decode[openapi.Tokens](t, logIn("open"))
	if tokens.CartId == nil || *tokens.CartId != tokens.CustomerId {
		t.Errorf("%+v", tokens)
	}
}

func TestNothingSecretIsStoredOrLogged(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	tokens := s.join("ada@example.com")
	secrets := []string{password, tokens.AccessToken, tokens.RefreshToken, s.mailed("ada@example.com", mail.VerifyEmail)}
	var stored string
	err := s.pool.QueryRow(t.Context(), `SELECT (SELECT string_agg(c::text, '') FROM customers c) || (SELECT string_agg(s::text, '') FROM sessions s) || (SELECT string_agg(o::text, '') FROM one_time_tokens o)`).Scan(&stored)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets {
		if strings.Contains(stored, secret) || strings.Contains(s.log.String(), secret) {
			t.Errorf("%s is told", secret)
		}
	}
}

func TestWhatIsOverIsForgotten(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.join("ada@example.com")
	s.mailed("ada@example.com", mail.VerifyEmail)
	if n, err := customer.Purge(t.Context(), s.pool); n != 0 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	for _, statement := range []string{
		`UPDATE sessions SET expires_at = now() - interval '1 second'`, `UPDATE one_time_tokens SET expires_at = now() - interval '1 second'`,
		`UPDATE attempts SET since = now() - interval '25 hours'`,
	} {
		if _, err := s.pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := customer.Purge(t.Context(), s.pool); n != 3 || err != nil {
		t.Errorf("%d %v", n, err)
	}
}
