package identity

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
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
	tokenKey = "a token key of more than 32 characters"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func configuration(t testing.TB) config.Config {
	c := config.Default()
	c.Store = config.Store{Name: "shop", Namespace: "ns", URL: "https://shop.example", Mode: config.ModeProduction}
	c.Auth = config.Auth{AdminKeyFile: testbed.File(t, firstKey+"\n"), TokenKeyFile: testbed.File(t, tokenKey+"\n")}
	return c
}

// door is an engine that says who came in.
type door struct {
	engine *gin.Engine
	log    *testbed.Log
}

func newDoor(c config.Config, pool *pgxpool.Pool, now func() time.Time) *door {
	d := &door{engine: gin.New(), log: &testbed.Log{}}
	d.engine.Use(answer, NewAuthenticator(c, pool, NewKeys(c), d.log.Logger(), now).Identify(), func(c *gin.Context) { refused(c) })
	d.engine.GET("/", func(c *gin.Context) { c.String(http.StatusOK, Of(c).Actor()) })
	return d
}

// answer stands for the server, which answers errors.
func answer(c *gin.Context) {
	c.Next()
	last := c.Errors.Last()
	if last == nil {
		return
	}
	p, ok := errors.AsType[*problem.Problem](last.Err)
	switch {
	case ok:
		p.Write(c.Writer, "")
	case db.Unavailable(last.Err):
		c.String(http.StatusServiceUnavailable, last.Err.Error())
	default:
		c.String(http.StatusInternalServerError, last.Err.Error())
	}
}

func (d *door) knock(authorization string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	d.engine.ServeHTTP(w, r)
	return w
}

// signIn stores a customer with a session that lasts until a time.
func signIn(t testing.TB, pool *pgxpool.Pool, role openapi.Role, until time.Time) (customerID, sessionID uuid.UUID) {
	t.Helper()
	customerID, sessionID = uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	exec(t, pool, `INSERT INTO customers (id, email, name, password_hash, role) VALUES ($1, $2, '', '', $3)`, customerID, customerID.String()+"@example.com", role)
	exec(t, pool, `INSERT INTO sessions (id, customer_id, refresh_hash, created_at, expires_at) VALUES ($1, $2, '', $3, $3)`, sessionID, customerID, until)
	return customerID, sessionID
}

func exec(t testing.TB, pool *pgxpool.Pool, statement string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

func at(now time.Time) func() time.Time { return func() time.Time { return now } }

func TestWhoSendsARequestIsKnownByItsCredential(t *testing.T) {
	t.Parallel()
	pool, c := testbed.Pools(t).Main, configuration(t)
	customerID, sessionID := signIn(t, pool, openapi.RoleCustomer, noon.Add(time.Hour))
	staffID, staffSession := signIn(t, pool, openapi.RoleManager, noon.Add(time.Hour))
	sign := func(customerID, sessionID uuid.UUID) string {
		token, expiresIn, err := NewKeys(c).SignAccess(customerID, sessionID, openapi.RoleCustomer, noon)
		if err != nil || expiresIn != 15*time.Minute {
			t.Fatal(expiresIn, err)
		}
		return token
	}
	made, err := NewAPIKeys(pool, at(noon)).Create(t.Context(), &Principal{Scopes: []string{Everything}}, openapi.ApiKeyInput{Name: "first", Scopes: []string{"orders:read"}})
	if err != nil {
		t.Fatal(err)
	}
	d := newDoor(c, pool, at(noon))
	for name, want := range map[string]struct{ authorization, actor string }{
		"nothing":                          {"", "guest"},
		"the first key":                    {"Bearer " + firstKey, "key first"},
		"a scheme in another case":         {"bearer " + firstKey, "key first"},
		"an API key that is named first":   {"Bearer " + made.Secret, "key " + made.ApiKey.Id.String()},
		"a customer's token":               {"Bearer " + sign(customerID, sessionID), "customer " + customerID.String()},
		"a manager's token":                {"Bearer " + sign(staffID, staffSession), "staff " + staffID.String()},
		"somebody else's session":          {"Bearer " + sign(customerID, staffSession), ""},
		"a session that never was":         {"Bearer " + sign(customerID, uuid.New()), ""},
		"another scheme":                   {"Basic " + firstKey, ""},
		"a scheme alone":                   {"Bearer", ""},
		"an empty token":                   {"Bearer  ", ""},
		"a part of the key":                {"Bearer " + firstKey[:20], ""},
		"a key that nobody made":           {"Bearer sk_live_" + strings.Repeat("A", 32), ""},
		"a key in another case":            {"Bearer " + strings.ToLower(made.Secret), ""},
		"a key with more":                  {"Bearer " + made.Secret + "A", ""},
		"a very long token":                {"Bearer " + strings.Repeat("eyJ", 5000), ""},
		"bytes that are not text":          {"Bearer \xff\xfe\x00", ""},
		"two credentials in one":           {"Bearer " + firstKey + " " + firstKey, ""},
		"a token without its signature":    {"Bearer " + strings.TrimRight(sign(customerID, sessionID), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), ""},
		"a token with something behind it": {"Bearer " + sign(customerID, sessionID) + "A", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := d.knock(want.authorization)
			if want.actor != "" {
				if w.Code != http.StatusOK || w.Body.String() != want.actor {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				return
			}
			if w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), `"unauthorized"`) || w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
			}
		})
	}
}

func TestATokenHoldsOnlyWhileItsSessionDoes(t *testing.T) {
	t.Parallel()
	pool, c := testbed.Pools(t).Main, configuration(t)
	for name, change := range map[string]string{
		"the session ended":     `DELETE FROM sessions WHERE customer_id = $1`,
		"the session ran out":   `UPDATE sessions SET expires_at = '2026-11-23 12:00:00Z' WHERE customer_id = $1`,
		"the account is locked": `UPDATE customers SET locked = true WHERE id = $1`,
		"the account is gone":   `DELETE FROM customers WHERE id = $1`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			customerID, sessionID := signIn(t, pool, openapi.RoleCustomer, noon.Add(time.Hour))
			token, _, err := NewKeys(c).SignAccess(customerID, sessionID, openapi.RoleCustomer, noon)
			if err != nil {
				t.Fatal(err)
			}
			d := newDoor(c, pool, at(noon))
			if w := d.knock("Bearer " + token); w.Code != http.StatusOK {
				t.Fatalf("before: %d %s", w.Code, w.Body)
			}
			exec(t, pool, change, customerID)
			if w := d.knock("Bearer " + token); w.Code != http.StatusUnauthorized {
				t.Errorf("after: %d %s", w.Code, w.Body)
			}
		})
	}
}

func TestARoleIsTheDatabasesAndNotTheTokens(t *testing.T) {
	t.Parallel()
	pool, c := testbed.Pools(t).Main, configuration(t)
	customerID, sessionID := signIn(t, pool, openapi.RoleCustomer, noon.Add(time.Hour))
	token, _, err := NewKeys(c).SignAccess(customerID, sessionID, openapi.RoleAdmin, noon)
	if err != nil {
		t.Fatal(err)
	}
	if w := newDoor(c, pool, at(noon)).knock("Bearer " + token); w.Body.String() != "customer "+customerID.String() {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWithoutTheDatabaseNobodyWhoNeedsItIsLetIn(t *testing.T) {
	t.Parallel()
	c := configuration(t)
	pool, err := pgxpool.New(t.Context(), "postgres://u@127.0.0.1:1/none?connect_timeout=1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	token, _, err := NewKeys(c).SignAccess(uuid.New(), uuid.New(), openapi.RoleAdmin, noon)
	if err != nil {
		t.Fatal(err)
	}
	d := newDoor(c, pool, at(noon))
	for credential, status := range map[string]int{
		token: http.StatusServiceUnavailable, "sk_live_" + strings.Repeat("A", 32): http.StatusServiceUnavailable,
		firstKey: http.StatusOK, "sk_live_no": http.StatusUnauthorized,
	} {
		if w := d.knock("Bearer " + credential); w.Code != status {
			t.Errorf("%s: %d %s", credential, w.Code, w.Body)
		}
	}
}

func TestATokenHoldsOnlyAsItWasSigned(t *testing.T) {
	t.Parallel()
	c := configuration(t)
	keys := NewKeys(c)
	key, err := keys.key(forAccess)
	if err != nil {
		t.Fatal(err)
	}
	cartKey, err := keys.key(forCart)
	if err != nil {
		t.Fatal(err)
	}
	claims := func(change func(*access)) access {
		a := access{RegisteredClaims: jwt.RegisteredClaims{
			ID: "1", Issuer: "https://shop.example", Audience: jwt.ClaimStrings{"gocart:ns/shop"}, Subject: uuid.NewString(),
			ExpiresAt: jwt.NewNumericDate(noon.Add(time.Minute)),
		}, TokenType: "access", SessionID: uuid.New()}
		change(&a)
		return a
	}
	same := func(*access) {}
	sign := func(method jwt.SigningMethod, key any, change func(*access)) string {
		t.Helper()
		token, err := jwt.NewWithClaims(method, claims(change)).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	good := sign(jwt.SigningMethodHS256, key, same)
	parts := strings.Split(good, ".")
	header := func(json string) string { return base64.RawURLEncoding.EncodeToString([]byte(json)) }
	elsewhere := c
	elsewhere.Store.Name = "other"
	foreign, _, err := NewKeys(elsewhere).SignAccess(uuid.New(), uuid.New(), openapi.RoleAdmin, noon)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"alg none":                         sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, same),
		"alg none in another case":         header(`{"alg":"nOnE"}`) + "." + parts[1] + ".",
		"no alg":                           header(`{"typ":"JWT"}`) + "." + parts[1] + "." + parts[2],
		"another alg with the right key":   sign(jwt.SigningMethodHS512, key, same),
		"another key":                      sign(jwt.SigningMethodHS256, []byte("another"), same),
		"the key of carts":                 sign(jwt.SigningMethodHS256, cartKey, same),
		"the secret itself":                sign(jwt.SigningMethodHS256, []byte(tokenKey), same),
		"an empty key":                     sign(jwt.SigningMethodHS256, []byte{}, same),
		"another issuer":                   sign(jwt.SigningMethodHS256, key, func(a *access) { a.Issuer = "https://other.example" }),
		"no issuer":                        sign(jwt.SigningMethodHS256, key, func(a *access) { a.Issuer = "" }),
		"another audience":                 sign(jwt.SigningMethodHS256, key, func(a *access) { a.Audience = jwt.ClaimStrings{"gocart:ns/other"} }),
		"no audience":                      sign(jwt.SigningMethodHS256, key, func(a *access) { a.Audience = nil }),
		"another type":                     sign(jwt.SigningMethodHS256, key, func(a *access) { a.TokenType = "refresh" }),
		"no type":                          sign(jwt.SigningMethodHS256, key, func(a *access) { a.TokenType = "" }),
		"no expiry":                        sign(jwt.SigningMethodHS256, key, func(a *access) { a.ExpiresAt = nil }),
		"expired":                          sign(jwt.SigningMethodHS256, key, func(a *access) { a.ExpiresAt = jwt.NewNumericDate(noon) }),
		"not yet":                          sign(jwt.SigningMethodHS256, key, func(a *access) { a.NotBefore = jwt.NewNumericDate(noon.Add(time.Second)) }),
		"no session":                       sign(jwt.SigningMethodHS256, key, func(a *access) { a.SessionID = uuid.Nil }),
		"no id":                            sign(jwt.SigningMethodHS256, key, func(a *access) { a.ID = "" }),
		"no subject":                       sign(jwt.SigningMethodHS256, key, func(a *access) { a.Subject = "" }),
		"a subject that is no id":          sign(jwt.SigningMethodHS256, key, func(a *access) { a.Subject = "admin" }),
		"another store of the same secret": foreign,
		"other claims":                     parts[0] + "." + header(`{"sub":"x"}`) + "." + parts[2],
		"two parts":                        parts[0] + "." + parts[1],
		"four parts":                       good + ".x",
		"no JSON":                          header("no") + "." + parts[1] + "." + parts[2],
		"nothing":                          "",
		"a signature with bits that mean nothing": good[:len(good)-1] + string(otherTail(good[len(good)-1])),
	} {
		if _, _, _, err := keys.checkAccess(token, noon); !errors.Is(err, errRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, _, err := keys.checkAccess(good, noon); err != nil {
		t.Errorf("a good one: %v", err)
	}
}

// otherTail is the next letter of base64url: in the last one of a signature of
// 32 bytes its lowest bits mean nothing.
func otherTail(b byte) byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return letters[strings.IndexByte(letters, b)^1]
}

func TestWithoutASecretNothingIsSignedAndNothingHolds(t *testing.T) {
	t.Parallel()
	c := configuration(t)
	token, _, err := NewKeys(c).SignAccess(uuid.New(), uuid.New(), openapi.RoleAdmin, noon)
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{
		"no file named": "", "a file that is not there": t.TempDir() + "/none", "an empty file": testbed.File(t, ""),
		"a short secret": testbed.File(t, strings.Repeat("a", 31)+"\n\n"),
	} {
		broken := c
		broken.Auth.TokenKeyFile = file
		keys, id := NewKeys(broken), uuid.New()
		_, _, signErr := keys.SignAccess(id, id, openapi.RoleAdmin, noon)
		_, sealErr := keys.Seal("x", []byte("x"))
		_, _, _, checkErr := keys.checkAccess(token, noon)
		if signErr == nil || sealErr == nil || checkErr == nil || keys.CartToken(id) != "" || keys.CheckCartToken(id, "") {
			t.Errorf("%s: %v %v %v %q", name, signErr, sealErr, checkErr, keys.CartToken(id))
		}
		d := newDoor(broken, nil, at(noon))
		if w := d.knock("Bearer " + token); w.Code != http.StatusUnauthorized || !strings.Contains(d.log.String(), "no access token holds") {
			t.Errorf("%s: %d, logged %s", name, w.Code, d.log)
		}
	}
}

func TestAChangedSecretCountsAtOnce(t *testing.T) {
	t.Parallel()
	c := configuration(t)
	keys, id := NewKeys(c), uuid.New()
	before := keys.CartToken(id)
	if !keys.CheckCartToken(id, before) {
		t.Fatal("a cart token does not open its cart")
	}
	if err := os.WriteFile(c.Auth.TokenKeyFile, []byte("another secret of more than 32 characters"), 0o600); err != nil {
		t.Fatal(err)
	}
	if keys.CheckCartToken(id, before) || keys.CartToken(id) == before {
		t.Error("the old secret holds still")
	}
	if err := os.Remove(c.Auth.TokenKeyFile); err != nil {
		t.Fatal(err)
	}
	if keys.CartToken(id) != "" {
		t.Error("a secret that is gone holds still")
	}
}

func TestACartTokenOpensOneCart(t *testing.T) {
	t.Parallel()
	keys, id := NewKeys(configuration(t)), uuid.New()
	token := keys.CartToken(id)
	if len(token) != 43 || !keys.CheckCartToken(id, token) {
		t.Fatalf("%q", token)
	}
	for name, opened := range map[string]bool{
		"another cart": keys.CheckCartToken(uuid.New(), token), "no token": keys.CheckCartToken(id, ""), "a part": keys.CheckCartToken(id, token[:42]),
		"more": keys.CheckCartToken(id, token+"A"), "other bits": keys.CheckCartToken(id, token[:42]+string(otherTail(token[42]))),
	} {
		if opened {
			t.Errorf("%s opens the cart", name)
		}
	}
}

func TestTheFirstKeyMustBeAKey(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"empty": "", "short": "sk_live_short"} {
		c := configuration(t)
		c.Auth.AdminKeyFile = testbed.File(t, content)
		d := newDoor(c, testbed.Pools(t).Main, at(noon))
		if w := d.knock("Bearer " + content + "x"); w.Code != http.StatusUnauthorized || !strings.Contains(d.log.String(), "opens nothing") {
			t.Errorf("%s: %d, logged %s", name, w.Code, d.log)
		}
	}
}

func TestNoCredentialIsLogged(t *testing.T) {
	t.Parallel()
	c := configuration(t)
	c.Auth.TokenKeyFile = ""
	d := newDoor(c, testbed.Pools(t).Main, at(noon))
	token, _, err := NewKeys(configuration(t)).SignAccess(uuid.New(), uuid.New(), openapi.RoleAdmin, noon)
	if err != nil {
		t.Fatal(err)
	}
	for _, credential := range []string{token, "sk_live_" + strings.Repeat("A", 32)} {
		w := d.knock("Bearer " + credential)
		if strings.Contains(d.log.String()+w.Body.String(), credential) {
			t.Errorf("%s is told: %s %s", credential, d.log, w.Body)
		}
	}
}

func FuzzCredentials(f *testing.F) {
	c := configuration(f)
	token, _, err := NewKeys(c).SignAccess(uuid.New(), uuid.New(), openapi.RoleAdmin, noon)
	if err != nil {
		f.Fatal(err)
	}
	c.Auth.TokenKeyFile = testbed.File(f, "another secret of more than 32 characters")
	keys := NewKeys(c)
	for _, seed := range []string{token, "sk_live_" + strings.Repeat("A", 32), "eyJ.eyJ.", "..", "sk_test_", firstKey} {
		f.Add(seed)
	}
	apiKeys := NewAPIKeys(nil, at(noon))
	f.Fuzz(func(t *testing.T, s string) {
		if _, _, _, err := keys.checkAccess(s, noon); err == nil {
			t.Errorf("%q holds", s)
		}
		if keyPattern.MatchString(s) {
			if len(s) != 40 {
				t.Errorf("%q is taken for a key", s)
			}
			return // the database would be asked
		}
		if _, err := apiKeys.find(context.Background(), s, nil); !errors.Is(err, errRefused) {
			t.Errorf("%q: %v", s, err)
		}
	})
}

func FuzzScopes(f *testing.F) {
	for _, seed := range []string{"orders:read", "*:admin", ":", "orders:", ":read", "orders:read:write", "*", "api_keys:admin"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if (&Principal{}).Can(s) {
			t.Errorf("anybody can %q", s)
		}
		everything := &Principal{Scopes: []string{Everything}}
		if ValidScope(s) && (!everything.Can(s) || !(&Principal{Scopes: []string{s}}).Can(s)) {
			t.Errorf("nobody can %q", s)
		}
		manager := &Principal{Scopes: scopesOf(openapi.RoleManager)}
		if strings.HasPrefix(s, "api_keys") && manager.Can(s) || strings.HasSuffix(s, "admin") && manager.Can(s) {
			t.Errorf("a manager can %q", s)
		}
	})
}
