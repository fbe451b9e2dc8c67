package overload

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

// stand is a guarded store in which each request to /hold or by POST stays
// until it is let go, on a clock that the test moves.
type stand struct {
	*Guard
	t       *testing.T
	engine  *gin.Engine
	metrics *prometheus.Registry
	log     testbed.Log

	mu      sync.Mutex
	now     time.Time
	entered chan struct{}
	release chan struct{}
	held    sync.WaitGroup
	levels  []int
	bans    []string
}

func newStand(t *testing.T, mode string) *stand {
	t.Helper()
	gin.SetMode(gin.TestMode)
	settings, err := secure.NewSettings(config.DefaultEdge())
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{
		t: t, engine: gin.New(), metrics: prometheus.NewRegistry(), now: time.Unix(1_800_000_000, 0),
		entered: make(chan struct{}, 1000), release: make(chan struct{}),
	}
	t.Cleanup(func() {
		close(s.release)
		s.held.Wait()
	})
	s.Guard = New(s.clock, s.metrics, s.log.Logger())
	s.OnLevel(func(level int, _ string) { s.levels = append(s.levels, level) })
	s.OnBan(func(addr netip.Addr, length time.Duration) {
		s.bans = append(s.bans, addr.String()+" for "+length.String())
	})
	s.mode(mode)
	s.engine.Use(secure.By(func() *secure.Settings { return settings }), secure.ClientAddress(), func(c *gin.Context) {
		c.Next()
		if p, ok := lastProblem(c); ok {
			p.Write(c.Writer, "")
		}
	}, s.Middleware(), func(c *gin.Context) {
		if c.GetHeader("Authorization") == bearer {
			identity.Set(c, &identity.Principal{KeyName: "key"})
		}
	})
	quick := func(c *gin.Context) { c.String(http.StatusOK, "ok") }
	hold := func(c *gin.Context) {
		s.entered <- struct{}{}
		<-s.release
		c.String(http.StatusOK, "ok")
	}
	refuse := func(c *gin.Context) {
		_ = c.Error(problem.New(http.StatusUnauthorized, "unauthorized", "No."))
	}
	for _, prefix := range []string{"", "/api/v1"} {
		s.engine.GET(prefix+"/health", quick)
		s.engine.GET(prefix+"/products", quick)
		s.engine.GET(prefix+"/hold", hold)
		s.engine.POST(prefix+"/carts", quick)
		s.engine.POST(prefix+"/orders", func(c *gin.Context) {
			if c.Query("cart") != "" {
				_ = c.Error(problem.New(http.StatusNotFound, "cart_not_found", "No."))
				return
			}
			quick(c)
		})
		s.engine.GET(prefix+"/refused", refuse)
		s.engine.GET(prefix+"/ws", hold)
	}
	s.engine.POST("/echo", func(c *gin.Context) {
		b, err := io.ReadAll(c.Request.Body)
		c.String(http.StatusOK, "%d %v", len(b), err)
	})
	return s
}

func lastProblem(c *gin.Context) (*problem.Problem, bool) {
	last := c.Errors.Last()
	if last == nil || c.Writer.Written() {
		return nil, false
	}
	p, ok := last.Err.(*problem.Problem) //nolint:errorlint // the test's own
	return p, ok
}

func (s *stand) mode(mode string) {
	l := config.DefaultLimits()
	l.Protection.Mode = mode
	l.Allow = []string{"203.0.113.0/24"}
	s.Configure(l)
}

func (s *stand) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *stand) pass(d time.Duration) {
	s.mu.Lock()
	s.now = s.now.Add(d)
	s.mu.Unlock()
	s.Level()
}

// ask sends "GET /path" with headers "Name: value" from an address.
func (s *stand) ask(from, what string, headers ...string) *httptest.ResponseRecorder {
	method, path, _ := strings.Cut(what, " ")
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader("{}")
	}
	r := httptest.NewRequestWithContext(context.WithoutCancel(s.t.Context()), method, path, body)
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(from), 1234).String()
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.engine.ServeHTTP(w, r)
	return w
}

// hold has n requests in flight until the test ends, each of an address of its
// own unless from is given.
func (s *stand) hold(n int, from, what string, headers ...string) {
	s.t.Helper()
	for i := range n {
		addr := from
		if addr == "" {
			addr = many(i).String()
		}
		s.held.Go(func() { s.ask(addr, what, headers...) })
	}
	for range n {
		<-s.entered
	}
}

// attack has most of a thousand requests shed for so many seconds.
func (s *stand) attack(seconds int) {
	for range seconds {
		s.requests.Add(1000)
		s.Guard.shed.Add(900)
		s.pass(time.Second)
	}
}

func (s *stand) metric(name string, labels ...string) float64 {
	s.t.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && slices.EqualFunc(m.GetLabel(), labels, func(l *dto.LabelPair, want string) bool { return l.GetValue() == want }) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	s.t.Fatalf("no metric %s%v", name, labels)
	return 0
}

const (
	bearer  = "Bearer sk_live_1234567890"
	withKey = "Authorization: " + bearer
)

func TestClassesAreShedInTheirOrder(t *testing.T) {
	t.Parallel()
	s := newStand(t, config.ProtectionAuto)
	s.limit.value = 20
	s.admit()
	requests := []struct {
		what    string
		headers []string
		class   string
	}{
		{"GET /products", nil, "anonymous_read"},
		{"POST /carts", nil, "anonymous_write"},
		{"GET /api/v1/products", []string{withKey}, "credential"},
		{"POST /api/v1/orders", nil, "checkout"},
	}
	passing := func() (n int) {
		for _, r := range requests {
			w := s.ask("192.0.2.9", r.what, r.headers...)
			if w.Code != http.StatusOK && (w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"code":"overloaded"`) ||
				w.Header().Get("Retry-After") < "1" || w.Header().Get("Content-Type") != "application/problem+json") {
				t.Fatalf("%s: %d %s %v", r.what, w.Code, w.Body, w.Header())
			}
			if w.Code == http.StatusOK {
				n++
			}
		}
		return n
	}
	var got []int
	for range 20 {
		got = append(got, passing())
		s.hold(1, "", "GET /hold", withKey) // as far as there is room
		if s.inFlight.Load() == 18 {
			break
		}
	}
	got = append(got, passing())
	s.inFlight.Add(2)
	got = append(got, passing())
	s.inFlight.Add(-2)
	if want := []int{4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 3, 3, 3, 2, 2, 2, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("with 0, 1, 2 ... in flight there passed %v of the 4 classes, want %v", got, want)
	}
	for _, r := range requests {
		if s.metric("gocart_overload_shed_total", r.class) == 0 {
			t.Errorf("none of class %s was counted as shed", r.class)
		}
	}
	if s.metric("gocart_overload_in_flight") != 18 || s.metric("gocart_overload_limit") != 20 || s.Shed() == 0 {
		t.Errorf("in flight %v, limit %v, shed %d", s.metric("gocart_overload_in_flight"), s.metric("gocart_overload_limit"), s.Shed())
	}
}

func TestHealthIsAnsweredWhateverHappens(t *testing.T) {
	t.Parallel()
	s := newStand(t, config.ProtectionOn)
	s.inFlight.Add(1000)
	for _, path := range []string{"GET /health", "GET /api/v1/health"} {
		if w := s.ask("192.0.2.1", path); w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestOffShedsNothing(t *testing.T) {
	t.Parallel()
	s := newStand(t, config.ProtectionOn)
	s.attack(10)
	s.mode(config.ProtectionOff)
	s.inFlight.Add(1000)
	s.attack(10)
	for range 1000 {
		s.Refused(many(1))
	}
	s.hold(20, "192.0.2.1", "GET /hold")
	if w := s.ask("192.0.2.1", "GET /products"); w.Code != http.StatusOK || s.Level() != 0 || Tightening(s.Level()) != 1 || len(s.bans) > 0 {
		t.Errorf("%d, level %d, tightening %v, bans %q", w.Code, s.Level(), Tightening(s.Level()), s.bans)
	}
	if want := []int{1, 2, 3, 0}; !slices.Equal(s.levels, want) {
		t.Errorf("levels %v, want %v", s.levels, want)
	}
}

func TestLimitsTightenWithTheLevelAndLoosenByThemselves(t *testing.T) {
	t.Parallel()
	s := newStand(t, config.ProtectionAuto)
	seen := []float64{Tightening(s.Level())}
	for second := range 60 {
		if second < 12 {
			s.attack(1)
		} else {
			s.pass(time.Second)
		}
		if now := Tightening(s.Level()); now != seen[len(seen)-1] {
			seen = append(seen, now)
		}
	}
	if want := []float64{1, .5, .25, .125, .25, .5, 1}; !slices.Equal(seen, want) {
		t.Errorf("tightening %v, want %v", seen, want)
	}
	if n := strings.Count(s.log.String(), "attack level changed"); n != 6 || s.metric("gocart_attack_level_changes_total") != 6 {
		t.Errorf("%d lines for 6 changes: %s", n, s.log.String())
	}
	if s.metric("gocart_attack_level") != 0 {
		t.Errorf("the metric says level %v", s.metric("gocart_attack_level"))
	}
	if s.Shed() != 12*900 {
		t.Errorf("%d shed", s.Shed())
	}
	s.pass(5 * time.Minute)
	if s.Shed() != 0 {
		t.Errorf("%d shed within the last five minutes, which were quiet", s.Shed())
	}
}

func TestAnAddressHasItsShareOnlyUnderAttack(t *testing.T) {
	t.Parallel()
	s := newStand(t, config.ProtectionAuto)
	s.hold(15, "2001:db8::1", "GET /hold")
	if w := s.ask("2001:db8::1", "GET /products"); w.Code != http.StatusOK {
		t.Errorf("in peace: %d", w.Code)
	}
	s.attack(3)
	s.hold(10, "2001:db8:1::1", "GET /hold", withKey)
	w := s.ask("2001:db8:1::2", "GET /products")
	if w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), `"code":"too_many_at_once"`) || w.Header().Get("Retry-After") != "1" {
		t.Errorf("under attack, its network: %d %s", w.Code, w.Body)
	}
	if w := s.ask("2001:db8:2::1", "GET /products"); w.Code != http.StatusOK {
		t.Errorf("under attack, another: %d", w.Code)
	}
	s.hold(11, "203.0.113.7", "GET /hold", withKey)
	if w := s.ask("203.0.113.7", "GET /products"); w.Code != http.StatusOK {
		t.Errorf("under attack, one that is never limited: %d", w.Code)
	}
}

func TestALieIsNotBelievedTwice(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, what, header string
		lie                bool
	}{
		{"a key that opens nothing", "GET /products", "Authorization: Bearer invented", true},
		{"one with which nothing was to be had", "GET /refused", "Authorization: Bearer invented", true},
		{"a cookie that opens nothing", "GET /products", "Cookie: __Host-gocart-access=invented", true},
		{"an order of no cart", "POST /api/v1/orders?cart=none", "X-Cart-Token: invented", true},
		{"a key that holds, and an order of no cart", "POST /orders?cart=none", withKey, false},
		{"a key that holds", "GET /products", withKey, false},
		{"no claim", "GET /refused", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStand(t, config.ProtectionAuto)
			s.ask("192.0.2.1", tt.what, tt.header)
			s.limit.value, s.limit.quietAt = 10, s.now.Add(time.Hour) // and no probe
			s.admit()
			s.inFlight.Add(8) // room for credentials and checkouts
			passes := func(from string) bool {
				return s.ask(from, "GET /products", withKey).Code == http.StatusOK && s.ask(from, "POST /orders").Code == http.StatusOK
			}
			if passes("192.0.2.1") == tt.lie {
				t.Errorf("is it believed then? %t", !tt.lie)
			}
			if !passes("192.0.2.2") {
				t.Error("others are no longer believed")
			}
			s.pass(time.Minute)
			if !passes("192.0.2.1") {
				t.Error("it is not believed after a minute")
			}
		})
	}
}

func TestWhoGoesOnAfterRefusalsIsBannedOnce(t *testing.T) {
	t.Parallel()
	s := newStand(t, config.ProtectionAuto)
	offender := netip.MustParseAddr("192.0.2.1")
	for range 1000 {
		s.Refused(offender)
	}
	if s.Level(); len(s.bans) > 0 {
		t.Errorf("banned while there was no attack: %q", s.bans)
	}
	s.attack(3)
	for i := range 400_000 {
		if i%2000 == 0 {
			s.Refused(offender)
		}
		s.Refused(many(i % 100_000)) // each four times
	}
	if want := []string{"192.0.2.1 for 10m0s"}; !slices.Equal(s.bans, want) {
		t.Errorf("banned %q, want %q", s.bans, want)
	}
}

func TestOneCallerWhoHammersTightensNobodysLimits(t *testing.T) {
	t.Parallel()
	s := newStand(t, config.ProtectionAuto)
	for range 60 {
		for i := range 100 {
			s.ask(many(i).String(), "GET /products")
		}
		for range 1000 {
			s.ask("192.0.2.1", "GET /products")
			s.Refused(netip.MustParseAddr("192.0.2.1"))
		}
		s.pass(time.Second)
	}
	if s.Level() != 0 {
		t.Errorf("level %d", s.Level())
	}
	for second := range 5 {
		for i := range 1000 {
			s.ask(many(i).String(), "GET /products")
			if i%2 == 0 && second > 0 {
				s.Refused(many(i))
			}
		}
		s.pass(time.Second)
	}
	if s.Level() != 1 {
		t.Errorf("level %d while many were refused", s.Level())
	}
}

func TestOneCallerWhoHammersHealthHidesNoAttack(t *testing.T) {
	t.Parallel()
	s := newStand(t, config.ProtectionAuto)
	for range 10 {
		for i := range 1000 {
			s.ask(many(i).String(), "GET /products")
			s.Refused(many(i))
		}
		for range 5000 {
			s.ask("192.0.2.1", "GET /health")
			s.Refused(netip.MustParseAddr("192.0.2.1"))
		}
		s.pass(time.Second)
	}
	if s.Level() != 1 {
		t.Errorf("level %d while many were refused", s.Level())
	}
}

func TestWhoSendsOrReadsSlowlyKeepsAPlaceFromNobody(t *testing.T) {
	t.Parallel()
	s := newStand(t, config.ProtectionAuto)
	serve := func(w http.ResponseWriter, body io.Reader) chan struct{} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/echo", body)
		done := make(chan struct{})
		go func() { defer close(done); s.engine.ServeHTTP(w, r) }()
		return done
	}
	out, in := io.Pipe()
	sending := httptest.NewRecorder()
	done := serve(sending, out)
	_, _ = io.WriteString(in, "half of ")
	if n := s.inFlight.Load(); n != 0 {
		t.Errorf("%d in flight while a body is sent", n)
	}
	_, _ = io.WriteString(in, "it")
	_ = in.Close()
	<-done
	if sending.Body.String() != "10 <nil>" {
		t.Errorf("of the body there came %s", sending.Body)
	}
	slow := &slowReader{ResponseRecorder: httptest.NewRecorder(), writing: make(chan struct{}), read: make(chan struct{})}
	done = serve(slow, strings.NewReader("{}"))
	<-slow.writing
	if n := s.inFlight.Load(); n != 0 {
		t.Errorf("%d in flight while an answer is read", n)
	}
	close(slow.read)
	<-done
}

type slowReader struct {
	*httptest.ResponseRecorder
	writing, read chan struct{}
}

func (s *slowReader) Write(b []byte) (int, error) {
	close(s.writing)
	<-s.read
	return s.ResponseRecorder.Write(b)
}

func TestABodyComesThroughWholeAndItsErrorsToo(t *testing.T) {
	t.Parallel()
	s := newStand(t, config.ProtectionAuto)
	for _, tt := range []struct {
		size int
		err  error
		want string
	}{
		{1, nil, "1 <nil>"}, {upFront, nil, "16384 <nil>"}, {upFront + 1, nil, "16385 <nil>"}, {1 << 20, nil, "1048576 <nil>"},
		{10, io.ErrUnexpectedEOF, "10 unexpected EOF"}, {1 << 20, io.ErrUnexpectedEOF, "1048576 unexpected EOF"},
	} {
		body := io.MultiReader(strings.NewReader(strings.Repeat("x", tt.size)), failing{tt.err})
		w := httptest.NewRecorder()
		s.engine.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/echo", body))
		if w.Body.String() != tt.want {
			t.Errorf("%d bytes and %v came as %s", tt.size, tt.err, w.Body)
		}
	}
}

func TestASocketTakesNoPlace(t *testing.T) {
	t.Parallel()
	s := newStand(t, config.ProtectionAuto)
	s.hold(3, "", "GET /ws")
	if n := s.inFlight.Load(); n != 0 {
		t.Errorf("%d in flight", n)
	}
	s.inFlight.Add(1000)
	defer s.inFlight.Add(-1000)
	if w := s.ask("192.0.2.1", "GET /ws"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a new one under overload: %d", w.Code)
	}
}

func TestAPanicLeavesItsPlace(t *testing.T) {
	t.Parallel()
	s := newStand(t, config.ProtectionOn)
	s.engine.GET("/panic", func(*gin.Context) { panic("x") })
	func() {
		defer func() { _ = recover() }()
		s.ask("192.0.2.1", "GET /panic")
	}()
	if s.inFlight.Load() != 0 || len(s.crowds.inside) != 0 {
		t.Errorf("%d in flight, %d addresses inside", s.inFlight.Load(), len(s.crowds.inside))
	}
}

func TestWhatWasRefusedTeachesNothingAboutTime(t *testing.T) {
	t.Parallel()
	s := newStand(t, config.ProtectionAuto)
	s.ask("192.0.2.1", "GET /refused", withKey)
	s.ask("192.0.2.1", "GET /products")
	if _, ok := s.limit.usual[route{"GET", "/refused"}]; ok || len(s.limit.usual) != 1 {
		t.Errorf("usual times: %v", s.limit.usual)
	}
}

// silent is an answer that nobody reads.
type silent struct{ header http.Header }

func (s silent) Header() http.Header         { return s.header }
func (s silent) Write(b []byte) (int, error) { return len(b), nil }
func (s silent) WriteHeader(int)             {}

func BenchmarkGuard(b *testing.B) {
	gin.SetMode(gin.ReleaseMode)
	for _, bb := range []struct {
		name     string
		mode     string
		inFlight int64
	}{{"none", config.ProtectionOff, 0}, {"admitted", config.ProtectionAuto, 0}, {"shed", config.ProtectionAuto, 1000}} {
		b.Run(bb.name, func(b *testing.B) {
			l := config.DefaultLimits()
			l.Protection.Mode = bb.mode
			g := New(time.Now, prometheus.NewRegistry(), (&testbed.Log{}).Logger())
			g.Configure(l)
			g.inFlight.Add(bb.inFlight)
			engine := gin.New()
			engine.Use(g.Middleware())
			engine.GET("/products", func(c *gin.Context) { c.Status(http.StatusOK); _, _ = fmt.Fprint(c.Writer, "ok") })
			r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/products", nil)
			w := silent{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				engine.ServeHTTP(w, r)
			}
		})
	}
}
