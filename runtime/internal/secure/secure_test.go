package secure_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func init() { gin.SetMode(gin.TestMode) }

// serve passes a request through middlewares to a handler that answers "ok".
func serve(r *http.Request, handlers ...gin.HandlerFunc) *httptest.ResponseRecorder {
	engine := gin.New()
	engine.Use(handlers...)
	ok := func(c *gin.Context) { c.String(http.StatusOK, "ok") }
	engine.Any("/", ok)
	w := httptest.NewRecorder()
	engine.ServeHTTP(w, r)
	return w
}

func request(method, target string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// by has requests go by an edge.
func by(t *testing.T, e config.Edge) gin.HandlerFunc {
	t.Helper()
	return secure.By(current(t, e))
}

func current(t *testing.T, e config.Edge) func() *secure.Settings {
	t.Helper()
	s, err := secure.NewSettings(e)
	if err != nil {
		t.Fatal(err)
	}
	return func() *secure.Settings { return s }
}

func behind(list ...string) config.Edge {
	e := config.DefaultEdge()
	e.TrustedProxies = list
	return e
}

func TestTheClientIsTheRightMostAddressThatNoTrustedProxyHas(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, peer, forwarded, want string }{
		{name: "nobody forwards", peer: "203.0.113.9:1", want: "203.0.113.9"},
		{name: "a stranger's header is not believed", peer: "203.0.113.9:1", forwarded: "198.51.100.7", want: "203.0.113.9"},
		{name: "a proxy's header is", peer: "10.0.0.1:1", forwarded: "198.51.100.7", want: "198.51.100.7"},
		{name: "what the client wrote itself is not", peer: "10.0.0.1:1", forwarded: "1.2.3.4, 198.51.100.7", want: "198.51.100.7"},
		{name: "a chain of proxies is walked", peer: "10.0.0.1:1", forwarded: "198.51.100.7, 10.0.0.2", want: "198.51.100.7"},
		{name: "rubbish ends the walk", peer: "10.0.0.1:1", forwarded: "198.51.100.7, x, 10.0.0.2", want: "10.0.0.2"},
		{name: "a proxy without a header speaks for itself", peer: "10.0.0.1:1", want: "10.0.0.1"},
		{name: "an IPv4 address in IPv6 is IPv4", peer: "[::ffff:10.0.0.1]:1", forwarded: "::ffff:198.51.100.7", want: "198.51.100.7"},
		{name: "IPv6 is known", peer: "[fd00::1]:1", forwarded: "2001:db8::5", want: "2001:db8::5"},
	}
	p := current(t, behind("10.0.0.0/8", "fd00::1/128"))().Proxies()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := request("GET", "/")
			r.RemoteAddr = tt.peer
			if tt.forwarded != "" {
				r.Header.Set("X-Forwarded-For", tt.forwarded)
			}
			if got := p.Client(r).String(); got != tt.want {
				t.Fatalf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestForwardedIsReadWhereTheStoreSaysThatItsProxiesWriteIt(t *testing.T) {
	t.Parallel()
	e := behind("10.0.0.0/8", "fd00::1/128")
	e.ForwardedHeader = config.ForwardedStandard
	p := current(t, e)().Proxies()
	tests := []struct{ name, peer, forwarded, want string }{
		{name: "an address", peer: "10.0.0.1:1", forwarded: "for=198.51.100.7;proto=https", want: "198.51.100.7"},
		{name: "an address with a port", peer: "10.0.0.1:1", forwarded: `proto=https;For="198.51.100.7:4711"`, want: "198.51.100.7"},
		{name: "an address of IPv6", peer: "10.0.0.1:1", forwarded: `for="[2001:db8:cafe::17]:4711"`, want: "2001:db8:cafe::17"},
		{name: "a chain", peer: "10.0.0.1:1", forwarded: "for=1.2.3.4, for=198.51.100.7, for=10.0.0.2", want: "198.51.100.7"},
		{name: "a hidden name ends the walk", peer: "10.0.0.1:1", forwarded: "for=198.51.100.7, for=_hidden, for=10.0.0.2", want: "10.0.0.2"},
		{name: "a stranger's is not believed", peer: "203.0.113.9:1", forwarded: "for=198.51.100.7", want: "203.0.113.9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := request("GET", "/", "Forwarded", tt.forwarded, "X-Forwarded-For", "192.0.2.66")
			r.RemoteAddr = tt.peer
			if got := p.Client(r).String(); got != tt.want {
				t.Errorf("the client is %s, not %s", got, tt.want)
			}
		})
	}
	r := request("GET", "/", "Forwarded", "for=1.2.3.4;proto=http, for=198.51.100.7;proto=HTTPS", "X-Forwarded-Proto", "http")
	r.RemoteAddr = "10.0.0.1:1"
	if !p.HTTPS(r) {
		t.Error("the nearest proxy's word about the protocol is not taken")
	}
}

func TestAHeaderThatTheProxiesDoNotWriteIsNotLookedAt(t *testing.T) {
	t.Parallel()
	r := request("GET", "/", "Forwarded", "for=192.0.2.66;proto=https", "X-Forwarded-For", "198.51.100.7")
	r.RemoteAddr = "10.0.0.1:1"
	p := current(t, behind("10.0.0.0/8"))().Proxies()
	if got := p.Client(r).String(); got != "198.51.100.7" || p.HTTPS(r) {
		t.Errorf("the client is %s, over HTTPS: %v", got, p.HTTPS(r))
	}
}

func TestPlainHTTPIsSentToHTTPS(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, target, peer, proto, want string }{
		{name: "on the host asked for when it is the store's", target: "http://www.shop.example/a%2Fb?q=1", want: "https://www.shop.example/a%2Fb?q=1"},
		{name: "with any port and in any case", target: "http://WWW.shop.example:8080/", want: "https://www.shop.example/"},
		{name: "on the canonical host when it is another's", target: "http://evil.example/x", want: "https://shop.example/x"},
		{name: "also when a stranger says that it came by HTTPS", target: "http://shop.example/", peer: "203.0.113.9:1", proto: "https", want: "https://shop.example/"},
		{name: "also when a proxy says that it came by HTTP", target: "http://shop.example/", peer: "10.0.0.1:1", proto: "http", want: "https://shop.example/"},
		{name: "but not when a proxy says that it came by HTTPS", target: "http://shop.example/", peer: "10.0.0.1:1", proto: "https"},
		{name: "and never off the site by a path", target: "http://shop.example//evil.example/", want: "https://shop.example//evil.example/"},
	}
	canonical := &url.URL{Scheme: "https", Host: "shop.example"}
	served := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	h := secure.RedirectToHTTPS(canonical, []string{"shop.example", "www.shop.example"}, current(t, behind("10.0.0.0/8")), served)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := request("GET", tt.target)
			if tt.peer != "" {
				r.RemoteAddr = tt.peer
				r.Header.Set("X-Forwarded-Proto", tt.proto)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			code := http.StatusPermanentRedirect
			if tt.want == "" {
				code = http.StatusOK
			}
			if w.Code != code || w.Header().Get("Location") != tt.want {
				t.Fatalf("got %d to %q, want %d to %q", w.Code, w.Header().Get("Location"), code, tt.want)
			}
			if w.Header().Get("Strict-Transport-Security") != "" {
				t.Fatal("HSTS over plain HTTP")
			}
		})
	}
}

func TestEveryAnswerHasTheSecurityHeaders(t *testing.T) {
	t.Parallel()
	got := serve(request("GET", "/"), by(t, config.DefaultEdge()), secure.Headers()).Header()
	for name, want := range map[string]string{
		"Content-Security-Policy":      "default-src 'self'",
		"X-Frame-Options":              "DENY",
		"X-Content-Type-Options":       "nosniff",
		"X-XSS-Protection":             "0",
		"Referrer-Policy":              "strict-origin-when-cross-origin",
		"Permissions-Policy":           "camera=(), geolocation=(), microphone=(), payment=(self)",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-site",
	} {
		if got.Get(name) != want {
			t.Errorf("%s: got %q, want %q", name, got.Get(name), want)
		}
	}
	if _, sent := serve(request("GET", "/"), by(t, config.Edge{}), secure.Headers()).Header()["X-Frame-Options"]; sent {
		t.Error("a header that the store left empty is sent")
	}
}

func TestHSTSIsSaidOverHTTPSOnly(t *testing.T) {
	t.Parallel()
	e := behind("10.0.0.0/8")
	e.Security.HSTS = &config.HSTS{MaxAgeSeconds: 31536000, IncludeSubDomains: true, Preload: true}
	with, headers := by(t, e), secure.Headers()
	if got := serve(request("GET", "https://shop.example/"), with, headers).Header().Get("Strict-Transport-Security"); got != "max-age=31536000; includeSubDomains; preload" {
		t.Errorf("over HTTPS: %q", got)
	}
	if got := serve(request("GET", "http://shop.example/"), with, headers).Header().Get("Strict-Transport-Security"); got != "" {
		t.Errorf("over HTTP: %q", got)
	}
	proxied := request("GET", "http://shop.example/", "X-Forwarded-Proto", "https")
	proxied.RemoteAddr = "10.0.0.1:1"
	if serve(proxied, with, headers).Header().Get("Strict-Transport-Security") == "" {
		t.Error("not said behind a proxy that took HTTPS")
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	named := &config.CORS{AllowedOrigins: []string{"https://a.example"}, AllowCredentials: true, MaxAge: config.Duration(10 * time.Minute)}
	anyone := &config.CORS{AllowedOrigins: []string{"*"}}
	tests := []struct {
		name, method, origin string
		cors                 *config.CORS
		allowed, credentials string
		code                 int
	}{
		{name: "an allowed origin may read the answer", method: "GET", origin: "https://a.example", cors: named, allowed: "https://a.example", credentials: "true", code: 200},
		{name: "another may not", method: "GET", origin: "https://b.example", cors: named, code: 200},
		{name: "an origin that only begins alike may not", method: "GET", origin: "https://a.example.evil", cors: named, code: 200},
		{name: "an allowed origin's preflight is answered", method: "OPTIONS", origin: "https://a.example", cors: named, allowed: "https://a.example", credentials: "true", code: 204},
		{name: "another's goes no further", method: "OPTIONS", origin: "https://b.example", cors: named, code: 204},
		{name: "anyone is allowed without credentials", method: "GET", origin: "https://b.example", cors: anyone, allowed: "*", code: 200},
		{name: "a request without an origin is not cross-origin", method: "GET", cors: named, code: 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := request(tt.method, "/")
			if tt.origin != "" {
				r.Header.Set("Origin", tt.origin)
			}
			if tt.method == "OPTIONS" {
				r.Header.Set("Access-Control-Request-Method", "POST")
			}
			w := serve(r, by(t, config.Edge{Security: config.Security{CORS: tt.cors}}), secure.CORS())
			h := w.Header()
			if w.Code != tt.code || h.Get("Access-Control-Allow-Origin") != tt.allowed || h.Get("Access-Control-Allow-Credentials") != tt.credentials {
				t.Fatalf("got %d %v", w.Code, h)
			}
			if tt.cors == named && h.Get("Vary") != "Origin" {
				t.Fatal("an answer that depends on the origin does not say so")
			}
			if tt.code == 204 && tt.allowed != "" && h.Get("Access-Control-Max-Age") != "600" {
				t.Fatalf("max age %q", h.Get("Access-Control-Max-Age"))
			}
		})
	}
}

func TestARequestKeepsAPlainIDAndLosesAnyOther(t *testing.T) {
	t.Parallel()
	if got := serve(request("GET", "/", "X-Request-Id", "order-12345"), secure.RequestID()).Header().Get("X-Request-Id"); got != "order-12345" {
		t.Errorf("got %q", got)
	}
	for _, id := range []string{"", "short", strings.Repeat("x", 65), "with space here", "line\nbreak-123"} {
		if got := serve(request("GET", "/", "X-Request-Id", id), secure.RequestID()).Header().Get("X-Request-Id"); got == id || len(got) != 36 {
			t.Errorf("%q became %q", id, got)
		}
	}
}

func TestTheAccessLogHoldsNoHeaderQueryOrBody(t *testing.T) {
	t.Parallel()
	var log testbed.Log
	r := request("POST", "/?token=QUERYSECRET", "Authorization", "Bearer HEADERSECRET", "Cookie", "s=COOKIESECRET")
	r.Body = http.NoBody
	serve(r, by(t, config.Edge{}), secure.RequestID(), secure.AccessLog(log.Logger()))
	line := log.String()
	if strings.Contains(line, "SECRET") || !strings.Contains(line, `"status":200`) || !strings.Contains(line, `"requestId"`) {
		t.Fatal(line)
	}
}

// failing answers the last error's problem, as the server does.
func failing(c *gin.Context) {
	c.Next()
	if last := c.Errors.Last(); last != nil {
		if p, ok := errors.AsType[*problem.Problem](last.Err); ok {
			p.Write(c.Writer, "")
		}
	}
}

func TestAStrangersPageChangesNothing(t *testing.T) {
	t.Parallel()
	allowing := func(credentials bool, origins ...string) config.Edge {
		return config.Edge{Security: config.Security{CORS: &config.CORS{AllowedOrigins: origins, AllowCredentials: credentials}}}
	}
	const friend, stranger = "https://friend.example", "https://evil.example"
	tests := []struct {
		name, method, site, origin string
		headers                    []string
		edge                       config.Edge
		code                       int
	}{
		{name: "its form is refused", method: "POST", site: "cross-site", origin: stranger, code: 403},
		{name: "also where only Origin tells", method: "POST", origin: stranger, code: 403},
		{name: "also from a hidden origin", method: "POST", site: "cross-site", origin: "null", code: 403},
		{name: "also from a sister host", method: "DELETE", site: "same-site", origin: "https://blog.shop.example", code: 403},
		{name: "it may read what CORS keeps from it", method: "GET", site: "cross-site", origin: stranger, code: 200},
		{name: "a program is no page", method: "POST", code: 200},
		{name: "the store's own page may", method: "POST", site: "same-origin", origin: "https://shop.example", code: 200},
		{name: "a page with a token was let in by CORS", method: "POST", site: "cross-site", origin: stranger, headers: []string{"Authorization", "Bearer t"}, code: 200},
		{name: "a friend's page may", method: "POST", site: "cross-site", origin: friend, edge: allowing(false, friend), code: 200},
		{name: "a friend's page may not by cookie", method: "POST", site: "cross-site", origin: friend, headers: []string{"Cookie", "session=s"}, edge: allowing(false, friend), code: 403},
		{name: "unless it has credentials", method: "POST", site: "cross-site", origin: friend, headers: []string{"Cookie", "session=s"}, edge: allowing(true, friend), code: 200},
		{name: "a stranger may not then", method: "POST", site: "cross-site", origin: stranger, headers: []string{"Cookie", "session=s"}, edge: allowing(true, friend), code: 403},
		{name: "anybody may where all are allowed", method: "POST", site: "cross-site", origin: stranger, edge: allowing(false, "*"), code: 200},
		{name: "but not by cookie", method: "POST", site: "cross-site", origin: stranger, headers: []string{"Cookie", "session=s"}, edge: allowing(false, "*"), code: 403},
	}
	byCookie := func(r *http.Request) bool { _, err := r.Cookie("session"); return err == nil }
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := request(tt.method, "https://shop.example/", tt.headers...)
			for name, value := range map[string]string{"Sec-Fetch-Site": tt.site, "Origin": tt.origin} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			if w := serve(r, by(t, tt.edge), failing, secure.CrossOrigin(byCookie)); w.Code != tt.code {
				t.Errorf("answered %d, not %d: %s", w.Code, tt.code, w.Body)
			}
		})
	}
}

func TestALongURLIsRefused(t *testing.T) {
	t.Parallel()
	for length, code := range map[int]int{100: 200, 101: 414} {
		r := request("GET", "/?"+strings.Repeat("x", length-2))
		if w := serve(r, failing, secure.URLLimit(100)); w.Code != code {
			t.Errorf("a URL of %d bytes: %d", length, w.Code)
		}
	}
}
