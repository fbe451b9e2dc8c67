package limits_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/limits"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/ratelimit"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func init() { gin.SetMode(gin.TestMode) }

// attack is as strong as a test says.
type attack struct {
	level   int
	refused []netip.Addr
}

func (a *attack) Level() int              { return a.level }
func (a *attack) Refused(addr netip.Addr) { a.refused = append(a.refused, addr) }

// shop answers "ok" to whom its limits let pass.
type shop struct {
	t       *testing.T
	limiter *ratelimit.Limiter
	limits  *limits.Limits
	attack  *attack
	engine  *gin.Engine
}

func newShop(t *testing.T, c config.Limits) *shop {
	t.Helper()
	log := (&testbed.Log{}).Logger()
	s := &shop{t: t, attack: &attack{}, engine: gin.New(), limiter: ratelimit.New(nil, ratelimit.Options{FailureMode: ratelimit.Local}, prometheus.NewRegistry())}
	caller := func(c *gin.Context) limits.Caller {
		return limits.Caller{APIKey: c.GetHeader("Key"), Customer: c.GetHeader("Customer")}
	}
	s.limits = limits.New(s.limiter, s.attack, caller, log)
	s.limits.Configure(c)
	settings, err := secure.NewSettings(config.DefaultEdge())
	if err != nil {
		t.Fatal(err)
	}
	answer := func(c *gin.Context) {
		c.Next()
		if last := c.Errors.Last(); last != nil {
			if p, ok := errors.AsType[*problem.Problem](last.Err); ok {
				p.Write(c.Writer, "")
			}
		}
	}
	s.engine.Use(secure.By(func() *secure.Settings { return settings }), secure.ClientAddress(), answer, s.limits.Gate(), s.limits.Count())
	s.engine.NoRoute(func(c *gin.Context) { c.String(http.StatusOK, "ok") })
	return s
}

// from sends a request; headers are pairs.
func (s *shop) from(addr, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(addr), 4711).String()
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.engine.ServeHTTP(w, r)
	return w
}

// pass is how many of n requests are answered 200.
func (s *shop) pass(n int, addr, method, path string, headers ...string) (passed int) {
	for range n {
		if s.from(addr, method, path, headers...).Code == http.StatusOK {
			passed++
		}
	}
	return passed
}

func code(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var p problem.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return fmt.Sprint(w.Code, " ", p.Code)
}

func perMinute(n int64) []config.Window {
	return []config.Window{{Requests: n, Period: config.Duration(time.Minute)}}
}

// limited has addresses limited to n requests a minute, and these rules.
func limited(n int64, rules ...config.Rule) config.Limits {
	l := config.DefaultLimits()
	l.Address, l.APIKey, l.Rules = perMinute(n), nil, rules
	return l
}

func TestSixtyPassInAMinuteAndEachIsToldWhatIsLeft(t *testing.T) {
	t.Parallel()
	s := newShop(t, config.DefaultLimits())
	for i := range 60 {
		w := s.from("192.0.2.1", "GET", "/api/health")
		h := w.Header()
		if w.Code != http.StatusOK || h.Get("X-RateLimit-Limit") != "60" || h.Get("X-RateLimit-Remaining") != strconv.Itoa(59-i) || h.Get("X-RateLimit-Reset") != "60" {
			t.Fatalf("request %d: %d %v", i, w.Code, h)
		}
		if h.Get("RateLimit") != fmt.Sprintf(`"address-60s";r=%d;t=60`, 59-i) ||
			h.Get("RateLimit-Policy") != `"address-60s";q=60;w=60, "address-3600s";q=1000;w=3600, "address-86400s";q=10000;w=86400` {
			t.Fatalf("request %d: %v", i, h)
		}
		if h.Get("Retry-After") != "" {
			t.Fatalf("request %d is told to come back", i)
		}
	}
	for range 40 {
		w := s.from("192.0.2.1", "GET", "/api/health")
		h := w.Header()
		if got := code(t, w); got != "429 rate_limited" || h.Get("X-RateLimit-Remaining") != "0" || h.Get("Retry-After") != "60" || h.Get("X-RateLimit-Reset") != "60" {
			t.Fatalf("%s %v", got, h)
		}
	}
	if w := s.from("192.0.2.2", "GET", "/api/health"); w.Code != http.StatusOK {
		t.Errorf("another address is answered %d", w.Code)
	}
	if len(s.attack.refused) != 40 {
		t.Errorf("%d refusals are told", len(s.attack.refused))
	}
}

func TestAnIPv6NetworkIsOneCaller(t *testing.T) {
	t.Parallel()
	s := newShop(t, limited(2))
	passed := s.pass(1, "2001:db8:1:2::1", "GET", "/") + s.pass(2, "2001:db8:1:2:ffff::2", "GET", "/")
	if other := s.pass(1, "2001:db8:1:3::1", "GET", "/"); passed != 2 || other != 1 {
		t.Errorf("%d of 3 of one /64 pass, %d of another", passed, other)
	}
}

func TestEachCallerCountsForItself(t *testing.T) {
	t.Parallel()
	l := limited(3)
	l.APIKey, l.Customer = perMinute(5), perMinute(4)
	s := newShop(t, l)
	for _, tt := range []struct {
		name    string
		headers []string
		want    int
	}{
		{"an address", nil, 3},
		{"a key", []string{"Key", "a"}, 5},
		{"another key", []string{"Key", "b"}, 5},
		{"a customer", []string{"Customer", "ada"}, 4},
		{"another customer", []string{"Customer", "eve"}, 4},
	} {
		if got := s.pass(10, "192.0.2.1", "GET", "/", tt.headers...); got != tt.want {
			t.Errorf("%s: %d pass, not %d", tt.name, got, tt.want)
		}
	}
	s = newShop(t, limited(3))
	if got := s.pass(2, "192.0.2.1", "GET", "/", "Customer", "ada") + s.pass(2, "192.0.2.1", "GET", "/"); got != 3 {
		t.Errorf("where customers have no windows, %d of an address pass", got)
	}
	if got := s.pass(10, "192.0.2.1", "GET", "/", "Key", "a"); got != 10 {
		t.Errorf("where keys have no windows, %d pass", got)
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	exact := func(path string) []config.Path { return []config.Path{{Type: config.PathExact, Value: path}} }
	under := func(path string) []config.Path { return []config.Path{{Type: config.PathPrefix, Value: path}} }
	tests := []struct {
		name         string
		rule         config.Rule
		method, path string
		headers      []string
		want         int // of 10
	}{
		{name: "a route has windows of its own", rule: config.Rule{Paths: exact("/auth/login"), Windows: perMinute(2)}, method: "POST", path: "/auth/login", want: 2},
		{name: "with and without the prefix", rule: config.Rule{Paths: exact("/api/v1/auth/login"), Windows: perMinute(2)}, method: "POST", path: "/auth/login", want: 2},
		{name: "whichever of them is asked", rule: config.Rule{Paths: exact("/auth/login"), Windows: perMinute(2)}, method: "POST", path: "/api/v1/auth/login", want: 2},
		{name: "health by its short name", rule: config.Rule{Paths: exact("/api/health"), Windows: perMinute(2)}, method: "GET", path: "/health", want: 2},
		{name: "other routes do not", rule: config.Rule{Paths: exact("/auth/login"), Windows: perMinute(2)}, method: "POST", path: "/auth/refresh", want: 8},
		{name: "a prefix holds what is below", rule: config.Rule{Paths: under("/auth"), Windows: perMinute(2)}, method: "POST", path: "/auth/refresh", want: 2},
		{name: "and itself", rule: config.Rule{Paths: under("/auth/"), Windows: perMinute(2)}, method: "POST", path: "/auth", want: 2},
		{name: "and not what only begins alike", rule: config.Rule{Paths: under("/auth"), Windows: perMinute(2)}, method: "POST", path: "/authors", want: 8},
		{name: "a prefix of / holds all", rule: config.Rule{Paths: under("/"), Windows: perMinute(2)}, method: "POST", path: "/authors", want: 2},
		{name: "a method", rule: config.Rule{Methods: []string{"POST"}, Windows: perMinute(2)}, method: "POST", path: "/", want: 2},
		{name: "another method", rule: config.Rule{Methods: []string{"POST"}, Windows: perMinute(2)}, method: "GET", path: "/", want: 8},
		{name: "an identity", rule: config.Rule{Identities: []string{config.IdentityAPIKey}, Windows: perMinute(2)}, method: "GET", path: "/", headers: []string{"Key", "a"}, want: 2},
		{name: "another identity", rule: config.Rule{Identities: []string{config.IdentityAPIKey}, Windows: perMinute(2)}, method: "GET", path: "/", want: 8},
		{name: "a customer is one also where they count as their address", rule: config.Rule{Identities: []string{config.IdentityCustomer}, Windows: perMinute(2)}, method: "GET", path: "/", headers: []string{"Customer", "ada"}, want: 2},
		{name: "a cost is taken from every window", rule: config.Rule{Cost: 3}, method: "GET", path: "/", want: 2},
		{name: "a shadow refuses nothing", rule: config.Rule{Windows: perMinute(2), Shadow: true}, method: "GET", path: "/", want: 8},
		{name: "and costs nothing more", rule: config.Rule{Cost: 3, Shadow: true}, method: "GET", path: "/", want: 8},
		{name: "what is disabled is free", rule: config.Rule{Paths: exact("/hook"), Disabled: true}, method: "POST", path: "/hook", want: 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.rule.Name = "rule"
			s := newShop(t, limited(8, tt.rule))
			if got := s.pass(10, "192.0.2.1", tt.method, tt.path, tt.headers...); got != tt.want {
				t.Errorf("%d of 10 pass, not %d", got, tt.want)
			}
		})
	}
}

func TestARulesWindowsAreEachCallersOrEverybodys(t *testing.T) {
	t.Parallel()
	for _, together := range []bool{false, true} {
		s := newShop(t, limited(100, config.Rule{Name: "rule", Windows: perMinute(3), Together: together}))
		passed := s.pass(5, "192.0.2.1", "GET", "/") + s.pass(5, "192.0.2.2", "GET", "/")
		if want := map[bool]int{false: 6, true: 3}[together]; passed != want {
			t.Errorf("together %v: %d pass, not %d", together, passed, want)
		}
	}
	l := limited(100)
	l.Global = perMinute(3)
	s := newShop(t, l)
	if passed := s.pass(5, "192.0.2.1", "GET", "/") + s.pass(5, "192.0.2.2", "GET", "/", "Key", "a"); passed != 3 {
		t.Errorf("%d pass a global window of 3", passed)
	}
}

func TestARefusalNamesTheWindowThatRefusedForLongest(t *testing.T) {
	t.Parallel()
	l := limited(100)
	l.Address = append(perMinute(2), config.Window{Requests: 2, Period: config.Duration(time.Hour)})
	s := newShop(t, l)
	s.pass(2, "192.0.2.1", "GET", "/")
	w := s.from("192.0.2.1", "GET", "/")
	if h := w.Header(); h.Get("Retry-After") != "3600" || h.Get("X-RateLimit-Reset") != "3600" || h.Get("X-RateLimit-Limit") != "2" {
		t.Errorf("%d %v", w.Code, h)
	}
}

func TestListsComeFirst(t *testing.T) {
	t.Parallel()
	l := limited(1)
	l.Block, l.Allow = []string{"198.51.100.0/24", "2001:db8::/32"}, []string{"192.0.2.0/24", "198.51.100.7/32"}
	s := newShop(t, l)
	for _, addr := range []string{"198.51.100.1", "198.51.100.7", "2001:db8::1"} {
		if got := code(t, s.from(addr, "GET", "/", "Key", "a")); got != "403 address_blocked" {
			t.Errorf("%s is answered %s", addr, got)
		}
	}
	if got := s.pass(10, "192.0.2.1", "GET", "/"); got != 10 {
		t.Errorf("of an allowed address, %d of 10 pass", got)
	}
	if got := s.pass(10, "203.0.113.1", "GET", "/"); got != 1 {
		t.Errorf("of another, %d of 10 pass", got)
	}
}

func TestWhoIsBannedIsToldForHowLong(t *testing.T) {
	t.Parallel()
	l := config.DefaultLimits()
	l.Allow = []string{"192.0.2.2/32"}
	s := newShop(t, l)
	s.limits.Ban(t.Context(), netip.MustParseAddr("192.0.2.1"), 10*time.Minute)
	s.limits.Ban(t.Context(), netip.MustParseAddr("192.0.2.2"), 10*time.Minute)
	w := s.from("192.0.2.1", "GET", "/", "Key", "a")
	if got := code(t, w); got != "429 banned" || w.Header().Get("Retry-After") != "600" {
		t.Errorf("%s %v", got, w.Header())
	}
	if w := s.from("192.0.2.2", "GET", "/"); w.Code != http.StatusOK {
		t.Errorf("who is on the list of allowed addresses is answered %d", w.Code)
	}
}

func TestAnAttackTightensTheLimitsOfAddresses(t *testing.T) {
	t.Parallel()
	l := limited(8)
	l.APIKey = perMinute(8)
	for level, want := range []int{8, 4, 2, 1} {
		s := newShop(t, l)
		s.attack.level = level
		if got := s.pass(10, "192.0.2.1", "GET", "/"); got != want {
			t.Errorf("at level %d, %d pass, not %d", level, got, want)
		}
		if got := s.pass(10, "192.0.2.1", "GET", "/", "Key", "a"); got != 8 {
			t.Errorf("at level %d, %d of a key pass", level, got)
		}
	}
}

func TestOtherLimitsAreInForceAtOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t, limited(3))
	s.pass(2, "192.0.2.1", "GET", "/")
	s.limits.Configure(limited(5))
	if got := s.pass(10, "192.0.2.1", "GET", "/"); got != 3 {
		t.Errorf("%d more pass", got)
	}
	unlimited := limited(0)
	unlimited.Address = nil
	s.limits.Configure(unlimited)
	if w := s.from("192.0.2.1", "GET", "/"); w.Code != http.StatusOK || w.Header().Get("X-RateLimit-Limit") != "" {
		t.Errorf("without limits: %d %v", w.Code, w.Header())
	}
}
