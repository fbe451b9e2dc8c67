package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/api"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/realtime"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	sockets "gitee.com/captainjez/gocart/runtime/internal/websocket"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// described is what docs/reference/asyncapi.yaml says of messages.
var described = sync.OnceValues(testbed.SocketMessages)

// live is a replica that serves sockets.
type live struct {
	*store
	hub   *realtime.Hub
	redis *redisdb.Redis
	url   string
	stop  func()
}

// liveOver is a replica over a database, and a Redis where there is one.
func liveOver(t *testing.T, uri, addr string) *live {
	t.Helper()
	return liveSince(t, uri, addr, nil)
}

// liveSince is one that remembers so many events of before it began; nil is as
// many as a hub does.
func liveSince(t *testing.T, uri, addr string, past *int64) *live {
	t.Helper()
	s := storeOver(t, uri)
	l := &live{store: s}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	metrics := prometheus.NewRegistry()
	if addr != "" {
		var err error
		l.redis, err = redisdb.Open(config.Redis{URLFile: testbed.File(t, "redis://"+addr)}, s.config.Store, s.log.Logger(), metrics)
		if err != nil {
			t.Fatal(err)
		}
		l.redis.Timeout = time.Second
		running.Go(func() { l.redis.Run(ctx) })
		testbed.Eventually(t, "Redis is in use", l.redis.Up)
	}
	hub, err := api.Sockets(s.engine.(*gin.Engine), s.Commerce, l.redis, s.log.Logger(), metrics)
	if err != nil {
		t.Fatal(err)
	}
	l.hub = hub
	relay := events.NewRelay(s.Events, l.redis, s.log.Logger(), metrics)
	feed := events.NewFeed(s.Events, l.redis, relay, s.log.Logger(), hub)
	running.Go(func() { relay.Run(ctx) })
	if past == nil {
		past = new(hub.Remembered())
	}
	running.Go(func() { feed.Run(ctx, *past) })
	testbed.Eventually(t, "sockets are served", func() bool { return hub.Ready(ctx) == nil })
	running.Go(func() { hub.Run(ctx) })
	server := httptest.NewUnstartedServer(s.engine)
	server.Listener = sockets.Listen(server.Listener)
	server.Start()
	l.url = "ws" + strings.TrimPrefix(server.URL, "http") + "/ws"
	l.stop = func() { cancel(); running.Wait(); server.Close() }
	t.Cleanup(l.stop)
	return l
}

func newLive(t *testing.T) *live {
	t.Helper()
	return liveOver(t, testbed.Database(t), "")
}

// socket is a client's.
type socket struct {
	t     *testing.T
	conn  *websocket.Conn
	hello said
	// position is that of the last event that came.
	position int64
}

// said is a message of the store.
type said struct {
	Type, ID, Session, Topic, Event, Code, Detail string
	Topics                                        []string
	Position                                      int64
	Subject, ProductID                            uuid.UUID
	Status                                        int
	AfterMillis                                   *int64
	ExpiresAt                                     *time.Time
	Data, Body                                    json.RawMessage
}

func (l *live) dial(t *testing.T, protocols []string, headers ...string) (*socket, *http.Response, error) {
	t.Helper()
	return dialURL(t, l.url, protocols, headers...)
}

func dialURL(t *testing.T, url string, protocols []string, headers ...string) (*socket, *http.Response, error) {
	t.Helper()
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	conn, resp, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{Subprotocols: protocols, HTTPHeader: h})
	if err != nil {
		return nil, resp, err
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	s := &socket{t: t, conn: conn}
	s.hello = s.read()
	if s.hello.Type != "hello" || s.hello.Session == "" {
		t.Fatalf("the first message is %+v", s.hello)
	}
	return s, resp, nil
}

// socket opens one with a bearer's header.
func (l *live) socket(t *testing.T, bearer string) *socket {
	t.Helper()
	s, _, err := l.dial(t, []string{realtime.Protocol}, "Authorization", bearer)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *socket) read() said {
	s.t.Helper()
	m, err := s.next()
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func (s *socket) next() (m said, err error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	_, text, err := s.conn.Read(ctx)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
	if all, err := described(); err != nil {
		s.t.Error(err)
	} else {
		all.Check(s.t, text)
	}
	if m.Type == "event" {
		if m.Position <= s.position {
			s.t.Errorf("event %d came after %d", m.Position, s.position)
		}
		s.position = m.Position
	}
	return m, nil
}

func (s *socket) say(format string, args ...any) {
	s.t.Helper()
	if err := s.conn.Write(s.t.Context(), websocket.MessageText, fmt.Appendf(nil, format, args...)); err != nil {
		s.t.Fatal(err)
	}
}

// ask says something and returns the answer, which is not an event.
func (s *socket) ask(format string, args ...any) said {
	s.t.Helper()
	s.say(format, args...)
	for {
		if m := s.read(); m.Type != "event" {
			return m
		}
	}
}

func (s *socket) subscribe(topic string) said {
	s.t.Helper()
	m := s.ask(`{"type":"subscribe","topic":%q}`, topic)
	if m.Type != "subscribed" || m.Topic != topic {
		s.t.Fatalf("%s: %+v", topic, m)
	}
	return m
}

// event reads the next one and checks its type.
func (s *socket) event(want string) said {
	s.t.Helper()
	m := s.read()
	if m.Type != "event" || m.Event != want {
		s.t.Fatalf("got %+v, want %s", m, want)
	}
	return m
}

// silent makes sure that nothing more came.
func (s *socket) silent() {
	s.t.Helper()
	s.say(`{"type":"ping"}`)
	if m := s.read(); m.Type != "pong" {
		s.t.Errorf("there came %+v", m)
	}
}

// closed reads until the socket is closed, and returns the code.
func (s *socket) closed() int {
	s.t.Helper()
	for {
		if _, err := s.next(); err != nil {
			return int(websocket.CloseStatus(err))
		}
	}
}

func admins() string { return "Bearer " + adminKey }

func TestAnOrderOverASocketIsSeenByOthersOnOtherReplicas(t *testing.T) {
	t.Parallel()
	uri, addr := testbed.Database(t), testbed.Redis(t).Addr
	a, b, c := liveOver(t, uri, addr), liveOver(t, uri, addr), liveOver(t, uri, addr)
	method := a.shipping()
	mug := a.stocked("MUG", "10.00", 5)
	ada := a.person("ada", openapi.RoleCustomer)
	in := openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 2)}, ShippingAddress: &berlin, ShippingMethodId: &method.Id}
	cart := want[openapi.CreatedCart](t, a.do("POST", "/carts", encode(t, in), "Authorization", ada.bearer), http.StatusCreated).Cart
	product := want[openapi.ProductPage](t, a.do("GET", "/products", ""), http.StatusOK).Products[0].Id

	buyer, staff, own := a.socket(t, ada.bearer), b.socket(t, admins()), c.socket(t, ada.bearer)
	staff.subscribe("orders")
	staff.subscribe("inventory")
	staff.subscribe("payments")
	own.subscribe("orders")
	own.subscribe("inventory/" + product.String())
	command := fmt.Sprintf(`{"type":"command","id":"1","method":"POST","path":"/orders","idempotencyKey":"k","body":{"cartId":%q,"payment":{"provider":"test"}}}`, cart.Id)
	m := buyer.ask("%s", command)
	var order openapi.Order
	if m.Type != "reply" || m.ID != "1" || m.Status != http.StatusCreated || json.Unmarshal(m.Body, &order) != nil || order.Lines[0].Quantity != 2 {
		t.Fatalf("%+v %s", m, m.Body)
	}
	if again := buyer.ask("%s", command); again.Status != http.StatusCreated || string(again.Body) != string(m.Body) {
		t.Errorf("the same key is answered %+v %s", again, again.Body)
	}
	if e := staff.event("order.placed"); e.Subject != order.Id || !strings.Contains(string(e.Data), order.Number) {
		t.Errorf("%+v %s", e, e.Data)
	}
	staff.event("payment.authorized")
	if e := staff.event("stock.changed"); e.Subject != mug.Id || e.ProductID != product || !strings.Contains(strings.ReplaceAll(string(e.Data), " ", ""), `"available":3`) {
		t.Errorf("%+v %s", e, e.Data)
	}
	if e := own.event("order.placed"); e.Subject != order.Id {
		t.Errorf("%+v", e)
	}
	own.event("stock.changed")
	own.subscribe("orders/" + order.Id.String())
	admin[openapi.Order](a.store, "POST", "/orders/"+order.Id.String()+"/transitions", `{"to":"processing"}`, http.StatusOK)
	own.event("order.processing") // once, though it was subscribed to twice
	own.silent()
	staff.event("order.processing")
}

func TestNobodyHearsWhatIsSomebodyElses(t *testing.T) {
	t.Parallel()
	l := newLive(t)
	method := l.shipping()
	mug := l.stocked("MUG", "10.00", 50)
	owner, other := l.person("owner", openapi.RoleCustomer), l.person("other", openapi.RoleCustomer)
	draft := admin[openapi.Product](l.store, "POST", "/products", product("Draft", "DRAFT", "draft"), http.StatusCreated)
	var theirs uuid.UUID
	place := func() openapi.Order {
		in := openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 1)}, ShippingAddress: &berlin, ShippingMethodId: &method.Id}
		cart := want[openapi.CreatedCart](t, l.do("POST", "/carts", encode(t, in), "Authorization", owner.bearer), http.StatusCreated).Cart
		theirs = cart.Id
		return want[openapi.Order](t, l.do("POST", "/orders", encode(t, openapi.OrderInput{CartId: cart.Id, Payment: openapi.PaymentInput{Provider: "test"}}), "Authorization", owner.bearer), http.StatusCreated)
	}
	order := place()
	s := l.socket(t, other.bearer)
	s.subscribe("orders")
	s.subscribe("payments")
	for topic, code := range map[string]string{
		"orders/" + order.Id.String(): "order_not_found", "inventory": "forbidden", "jobs": "forbidden", "inventory/" + draft.Id.String(): "product_not_found",
		"orders/" + uuid.NewString(): "order_not_found", "sessions": "unknown_topic", "orders/x": "unknown_topic", "payments/" + order.Id.String(): "unknown_topic", "": "unknown_topic",
	} {
		if m := s.ask(`{"type":"subscribe","id":"i","topic":%q}`, topic); m.Type != "error" || m.Code != code || m.ID != "i" {
			t.Errorf("%s: %+v", topic, m)
		}
	}
	if m := s.ask(`{"type":"resume","after":0,"topics":["orders","orders/%s"]}`, order.Id); m.Code != "order_not_found" {
		t.Errorf("%+v", m)
	}
	products := l.socket(t, l.key("products:read"))
	for _, topic := range []string{"orders", "payments", "inventory", "jobs", "orders/" + order.Id.String()} {
		if m := products.ask(`{"type":"subscribe","topic":%q}`, topic); m.Type != "error" {
			t.Errorf("a key for products hears %s: %+v", topic, m)
		}
	}
	mine := l.socket(t, owner.bearer)
	mine.subscribe("orders")
	second := place()
	admin[openapi.TimelineEntry](l.store, "POST", "/orders/"+second.Id.String()+"/notes", `{"text":"not for them"}`, http.StatusCreated)
	admin[openapi.TimelineEntry](l.store, "POST", "/orders/"+second.Id.String()+"/notes", `{"text":"for them","visibleToCustomer":true}`, http.StatusCreated)
	for mine.event("order.placed").Subject != second.Id {
	}
	if e := mine.event("order.note"); !strings.Contains(string(e.Data), "for them") || strings.Contains(string(e.Data), "not for") {
		t.Errorf("%s", e.Data)
	}
	s.silent()
	// Nor by what is played back.
	if m := s.ask(`{"type":"resume","after":0,"topics":["orders","payments"]}`); m.Type != "resumed" {
		t.Errorf("%+v", m)
	}
	s.silent()
	if m := s.ask(`{"type":"command","method":"GET","path":"/carts/%s"}`, theirs); m.Status != http.StatusNotFound {
		t.Errorf("%+v", m)
	}
	for _, path := range []string{"/customers", "/orders/" + order.Id.String(), "/carts/../orders", "/carts?x", "/api/v1/orders", "//carts"} {
		if m := s.ask(`{"type":"command","method":"GET","path":%q}`, path); m.Code != "unknown_command" {
			t.Errorf("%s: %+v", path, m)
		}
	}
	if m := s.ask(`{"type":"command","method":"POST","path":"/carts","body":{}}`); m.Code != "idempotency_key_required" {
		t.Errorf("%+v", m)
	}
}

func TestASocketIsOpenedByEachWayOfSayingWhoOneIs(t *testing.T) {
	t.Parallel()
	l := newLive(t)
	ada := l.person("ada", openapi.RoleCustomer)
	token := strings.TrimPrefix(ada.bearer, "Bearer ")
	ticket := func() string {
		return want[openapi.SocketTicket](t, l.do("POST", "/api/v1/ws/tickets", "", "Authorization", ada.bearer), http.StatusCreated).Ticket
	}
	open := func(query string, protocols []string, headers ...string) (*socket, int) {
		s, resp, err := dialURL(t, l.url+query, protocols, headers...)
		if err != nil {
			return nil, resp.StatusCode
		}
		return s, 0
	}
	known := func(name string, s *socket, status int) {
		t.Helper()
		if s == nil {
			t.Fatalf("%s: answered %d", name, status)
		}
		s.subscribe("orders")
	}
	s, status := open("", nil, "Authorization", ada.bearer)
	known("header", s, status)
	if s.hello.ExpiresAt == nil {
		t.Error("it is not said when the token ends")
	}
	s, status = open("", []string{"gocart.v1", "bearer." + token})
	known("subprotocol", s, status)
	s, status = open("", []string{"gocart.v1", "ticket." + ticket()})
	known("ticket as subprotocol", s, status)
	once := ticket()
	s, status = open("?ticket="+once, nil)
	known("ticket", s, status)
	if _, status := open("?ticket="+once, nil); status != http.StatusUnauthorized {
		t.Errorf("a ticket that was used is answered %d", status)
	}
	s, _ = open("", nil)
	if m := s.ask(`{"type":"subscribe","topic":"orders"}`); m.Code != "unauthorized" {
		t.Errorf("%+v", m)
	}
	if m := s.ask(`{"type":"auth","token":"eyJ.x.y"}`); m.Code != "unauthorized" {
		t.Errorf("%+v", m)
	}
	if m := s.ask(`{"type":"auth","token":%q}`, token); m.Type != "authenticated" || m.ExpiresAt == nil {
		t.Errorf("%+v", m)
	}
	known("first message", s, 0)
	if m := s.ask(`{"type":"auth","token":%q}`, adminKey); m.Code != "somebody_else" {
		t.Errorf("%+v", m)
	}
	late := ticket()
	l.clock.forward(31 * time.Second)
	for name, status := range map[string]int{"?ticket=" + late: 401, "?ticket=x": 401} {
		if _, got := open(name, nil); got != status {
			t.Errorf("%s is answered %d", name, got)
		}
	}
	if _, got := open("", []string{"gocart.v1", "bearer.eyJ.x.y"}); got != http.StatusUnauthorized {
		t.Errorf("answered %d", got)
	}
	if _, got := open("", []string{"other.v1"}); got != http.StatusBadRequest {
		t.Errorf("another protocol is answered %d", got)
	}
	if _, got := open("", nil, "Authorization", ada.bearer, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"); got != http.StatusForbidden {
		t.Errorf("a stranger's page is answered %d", got)
	}
	wantProblem(t, l.do("GET", "/ws", ""), http.StatusUpgradeRequired, "websocket_required")
	wantProblem(t, l.do("POST", "/ws/tickets", ""), http.StatusUnauthorized, "unauthorized")
	silent, _ := open("", nil)
	if code := silent.closed(); code != 4401 {
		t.Errorf("who says nothing is closed with %d", code)
	}
	if strings.Contains(l.log.String(), token) || strings.Contains(l.log.String(), once) {
		t.Error("a secret is logged")
	}
}

func TestWhoComesBackOnAnotherReplicaGetsWhatTheyMissedAndNothingTwice(t *testing.T) {
	t.Parallel()
	for name, redis := range map[string]bool{"with Redis": true, "without Redis": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uri, addr := testbed.Database(t), ""
			if redis {
				addr = testbed.Redis(t).Addr
			}
			a, b := liveOver(t, uri, addr), liveOver(t, uri, addr)
			mug := a.stocked("MUG", "10.00", 1000)
			level := func(n int) { a.count("MUG", int64(n)) }
			first := a.socket(t, admins())
			first.subscribe("inventory")
			level(1)
			e := first.event("stock.changed")
			for !strings.HasSuffix(string(e.Data), "1}") {
				e = first.event("stock.changed")
			}
			_ = first.conn.CloseNow()
			for n := 2; n <= 20; n++ {
				level(n)
			}
			second := b.socket(t, admins())
			if redis { // which knows what the session subscribed to
				second.say(`{"type":"resume","session":%q,"after":%d}`, first.hello.Session, e.Position)
			} else {
				if m := second.ask(`{"type":"resume","session":%q,"after":%d}`, first.hello.Session, e.Position); m.Code != "unknown_session" {
					t.Errorf("%+v", m)
				}
				second.say(`{"type":"resume","topics":["inventory"],"after":%d}`, e.Position)
			}
			second.position = e.Position
			resumed := false
			for n := 2; n <= 20; {
				m := second.read()
				switch m.Type {
				case "resumed":
					resumed = true
				case "event":
					if got := strings.ReplaceAll(string(m.Data), " ", ""); got != fmt.Sprintf(`{"available":%d}`, n) || m.Subject != mug.Id {
						t.Fatalf("got %s, want %d", got, n)
					}
					n++
				default:
					t.Fatalf("%+v", m)
				}
			}
			level(21)
			if !resumed && second.read().Type != "resumed" {
				t.Error("nobody said that the session goes on")
			}
			second.event("stock.changed")
			second.silent()
			// Nobody takes over somebody else's session.
			ada := b.person("ada", openapi.RoleCustomer)
			if m := b.socket(t, ada.bearer).ask(`{"type":"resume","session":%q,"after":0}`, first.hello.Session); m.Code != "unknown_session" {
				t.Errorf("%+v", m)
			}
			if m := second.ask(`{"type":"subscribe","topic":"payments","after":999999999}`); m.Type != "reload" {
				t.Errorf("%+v", m)
			}
			if m := second.read(); m.Type != "subscribed" {
				t.Errorf("%+v", m)
			}
		})
	}
}

func TestWhatIsNotRememberedIsReadFromTheDatabaseOrToBeReloaded(t *testing.T) {
	t.Parallel()
	uri := testbed.Database(t)
	a := liveOver(t, uri, "")
	a.stocked("MUG", "10.00", 1)
	for n := 2; n <= 12; n++ {
		a.count("MUG", int64(n))
	}
	testbed.Eventually(t, "all have positions", func() bool {
		var missing int
		a.scan("SELECT count(*) FROM events WHERE position IS NULL AND topic <> ''", &missing)
		return missing == 0
	})
	l := liveSince(t, uri, "", new(int64(3)))
	var s *socket
	testbed.Eventually(t, "the replica knows the present", func() bool { s = l.socket(t, admins()); return s.hello.Position >= 12 })
	s.say(`{"type":"subscribe","topic":"inventory","after":0}`)
	for range 12 {
		s.event("stock.changed")
	}
	if m := s.read(); m.Type != "subscribed" {
		t.Errorf("%+v", m)
	}
	for _, reader := range []string{events.Webhooks, events.Statistics} {
		if err := events.NewReader(l.Pool, reader).Skip(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Events.Forget(t.Context(), time.Now().Add(8*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	s = l.socket(t, admins())
	if m := s.ask(`{"type":"subscribe","topic":"inventory","after":0}`); m.Type != "reload" || len(m.Topics) != 1 || m.Topics[0] != "inventory" {
		t.Errorf("%+v", m)
	}
}

func TestWhoIsSignedOutIsClosed(t *testing.T) {
	t.Parallel()
	l := newLive(t)
	ada := l.person("ada", openapi.RoleCustomer)
	key := admin[openapi.CreatedApiKey](l.store, "POST", "/api-keys", openapi.ApiKeyInput{Name: "key", Scopes: []string{"orders:read"}}, http.StatusCreated)
	signedOut, revoked, stays := l.socket(t, ada.bearer), l.socket(t, "Bearer "+key.Secret), l.socket(t, admins())
	if w := l.do("POST", "/auth/logout", "", "Authorization", ada.bearer); w.Code != http.StatusNoContent {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := l.asAdmin("DELETE", "/api-keys/"+key.ApiKey.Id.String(), ""); w.Code != http.StatusNoContent {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for _, s := range []*socket{signedOut, revoked} {
		if code := s.closed(); code != 4401 {
			t.Errorf("closed with %d", code)
		}
	}
	stays.silent()
}

func TestTooManyMessagesCloseASocket(t *testing.T) {
	t.Parallel()
	l := newLive(t)
	s := l.socket(t, admins())
	for range 201 { // the minute may end in between
		if s.conn.Write(t.Context(), websocket.MessageText, []byte(`{"type":"ping"}`)) != nil {
			break
		}
	}
	if code := s.closed(); code != 4429 {
		t.Errorf("closed with %d", code)
	}
	for message, code := range map[string]string{
		`{"type":"dance"}`: "unknown_type", `{"type":"ping","x":1}`: "invalid_request", `[`: "invalid_json", `{"type":"resume"}`: "invalid_request",
		`{"type":"subscribe","topic":"orders","after":-1}`: "invalid_request", `{"type":"auth"}`: "unauthorized",
	} {
		if m := l.socket(t, admins()).ask("%s", message); m.Type != "error" || m.Code != code {
			t.Errorf("%s: %+v", message, m)
		}
	}
}

func TestASocketIsSentElsewhereBeforeTheReplicaStops(t *testing.T) {
	t.Parallel()
	l := newLive(t)
	all := make([]*socket, 30)
	for i := range all {
		all[i] = l.socket(t, admins())
	}
	l.hub.Drain(100 * time.Millisecond)
	for _, s := range all {
		if m := s.read(); m.Type != "reconnect" || m.AfterMillis == nil {
			t.Errorf("%+v", m)
		}
		if code := s.closed(); code != 1012 {
			t.Errorf("closed with %d", code)
		}
	}
	if _, resp, err := l.dial(t, nil, "Authorization", admins()); err == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a replica that stops takes a socket: %v", err)
	}
}

func TestAJobThatFailsOrDiesIsTold(t *testing.T) {
	t.Parallel()
	l := newLive(t)
	s := l.socket(t, admins())
	s.subscribe("jobs")
	job := admin[openapi.Job](l.store, "POST", "/jobs", `{"kind":"retention"}`, http.StatusCreated)
	for _, step := range []struct{ sql, event string }{
		{`UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now() WHERE id = $1`, ""},
		{`UPDATE river_job SET state = 'retryable', errors = array_append(errors, '{"error":"x"}') WHERE id = $1`, "job.failed"},
		{`UPDATE river_job SET state = 'available' WHERE id = $1`, ""},
		{`UPDATE river_job SET state = 'discarded', finalized_at = now(), errors = array_append(errors, '{"error":"x"}') WHERE id = $1`, "job.dead"},
		{`UPDATE river_job SET state = 'completed' WHERE id = $1`, ""},
	} {
		if _, err := l.Pool.Exec(t.Context(), step.sql, job.Id); err != nil {
			t.Fatal(err)
		}
		if step.event == "" {
			continue
		}
		e := s.event(step.event)
		var data struct {
			ID      int64
			Kind    string
			Attempt int
		}
		if err := json.Unmarshal(e.Data, &data); err != nil || data.ID != job.Id || data.Kind != "retention" || data.Attempt != 1 {
			t.Errorf("%s %v", e.Data, err)
		}
	}
	s.silent()
}
