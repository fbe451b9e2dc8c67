package realtime_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"
	"github.com/gobwas/ws"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/realtime"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	sockets "gitee.com/captainjez/gocart/runtime/internal/websocket"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// shop stands for the rest of a store.
type shop struct {
	hub *realtime.Hub
	url string
	log *testbed.Log

	// who holds which token.
	who map[string]*identity.Principal
	// mayNot has nobody's credentials hold, and away the catalogue fail.
	mayNot, away atomic.Bool
	// asked counts orders that somebody asked for, and done commands.
	asked, done atomic.Int32
	// breaking is an order that breaks the code.
	breaking uuid.UUID
	product  uuid.UUID
	mu       sync.Mutex
	// past is what the database has, of positions up to position, and forgotten up
	// to which it has forgotten some.
	past                []events.Published
	position, forgotten int64
	// later is how much later than it is the hub takes it to be, in nanoseconds.
	later atomic.Int64
}

func (s *shop) Bearer(_ context.Context, token string) (*identity.Principal, error) {
	return s.who[token], nil
}

func (s *shop) Redeem(context.Context, string) (*identity.Principal, error) {
	return nil, errors.New("no tickets")
}

func (s *shop) StillHold(_ context.Context, all []*identity.Principal) (map[*identity.Principal]bool, error) {
	hold := map[*identity.Principal]bool{}
	for _, p := range all {
		hold[p] = !s.mayNot.Load()
	}
	return hold, nil
}

func (s *shop) Past(_ context.Context, position int64, most int) ([]events.Published, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if position < s.forgotten {
		return nil, events.ErrForgotten
	}
	from, _ := slices.BinarySearchFunc(s.past, position+1, func(p events.Published, at int64) int { return int(p.Position - at) })
	return s.past[from:min(len(s.past), from+most)], nil
}

func (s *shop) Head(context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.position, nil
}

// orders and products are those of the shop.
type (
	orders   struct{ *shop }
	products struct{ *shop }
)

func (o orders) MaySee(_ context.Context, id uuid.UUID, _ *identity.Principal) error {
	o.asked.Add(1)
	if id == o.breaking {
		panic("a bug")
	}
	return nil
}

func (products) MaySee(context.Context, uuid.UUID, bool) error { return nil }

func (p products) ProductsOf(_ context.Context, variants []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	if p.away.Load() {
		return nil, errors.New("the database is away")
	}
	of := map[uuid.UUID]uuid.UUID{}
	for _, v := range variants {
		of[v] = p.product
	}
	return of, nil
}

var (
	staff    = &identity.Principal{KeyID: uuid.New(), KeyName: "staff", Scopes: []string{"*:admin"}}
	customer = &identity.Principal{CustomerID: uuid.New(), SessionID: uuid.New(), Role: openapi.RoleCustomer}
	promoted = &identity.Principal{CustomerID: customer.CustomerID, SessionID: customer.SessionID, Role: openapi.RoleManager, Scopes: []string{"*:write"}}
)

// newShop serves sockets; run has the hub look after them.
func newShop(t *testing.T) (s *shop, run func()) {
	t.Helper()
	gin.SetMode(gin.TestMode)
	s = &shop{
		log: &testbed.Log{}, breaking: uuid.New(), product: uuid.New(),
		who: map[string]*identity.Principal{"staff": staff, "customer": customer, "promoted": promoted},
	}
	hub, err := realtime.NewHub(realtime.Options{
		Callers: s, Orders: orders{s}, Products: products{s}, Past: s, Log: s.log.Logger(), Metrics: prometheus.NewRegistry(),
		Now: func() time.Time { return time.Now().Add(time.Duration(s.later.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.hub = hub
	settings, err := secure.NewSettings(config.DefaultEdge())
	if err != nil {
		t.Fatal(err)
	}
	engine := gin.New()
	engine.Use(secure.By(func() *secure.Settings { return settings }), secure.ClientAddress(), func(c *gin.Context) {
		c.Next()
		if len(c.Errors) > 0 {
			c.JSON(http.StatusServiceUnavailable, c.Errors.Last().Error())
		}
	})
	engine.GET("/ws", hub.Serve(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { s.done.Add(1) })))
	server := httptest.NewUnstartedServer(engine)
	server.Listener = sockets.Listen(server.Listener)
	server.Start()
	s.url = "ws" + strings.TrimPrefix(server.URL, "http") + "/ws"
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait(); server.Close() })
	return s, func() { running.Go(func() { hub.Run(ctx) }) }
}

// client is a socket's other end.
type client struct {
	t    *testing.T
	conn *websocket.Conn
}

type message struct {
	Type, Topic, Event, Code string
	Position                 int64
	Status                   int
	Topics                   []string
	ProductID                uuid.UUID
}

// dial opens a socket for the holder of a token.
func (s *shop) dial(t *testing.T, token string) *client {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), s.url, &websocket.DialOptions{Subprotocols: []string{realtime.Protocol, "bearer." + token}})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(1 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	c := &client{t, conn}
	c.next("hello")
	return c
}

func (c *client) say(format string, args ...any) {
	c.t.Helper()
	if err := c.conn.Write(c.t.Context(), websocket.MessageText, fmt.Appendf(nil, format, args...)); err != nil {
		c.t.Fatal(err)
	}
}

// any reads a message.
func (c *client) any() (m message) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	_, text, err := c.conn.Read(ctx)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// next reads a message, which is of a kind.
func (c *client) next(kind string) message {
	c.t.Helper()
	m := c.any()
	if m.Type != kind {
		c.t.Fatalf("got %+v; want %s", m, kind)
	}
	return m
}

// closed reads on until the socket is closed, with a code.
func (c *client) closed(want websocket.StatusCode) {
	c.t.Helper()
	for {
		if _, _, err := c.conn.Read(c.t.Context()); err != nil {
			if got := websocket.CloseStatus(err); got != want {
				c.t.Errorf("closed by %v, want %d", err, want)
			}
			return
		}
	}
}

// happened are events about orders of a customer, the next after those there are.
func (s *shop) happened(n int, owner uuid.UUID) (all []events.Published) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.position++
		s.past = append(s.past, events.Published{
			Position: s.position, ID: uuid.New(), Type: "order.placed", Topic: events.Orders, Subject: uuid.New(),
			Customer: owner, Public: true, Data: json.RawMessage(`{}`), At: time.Now(),
		})
	}
	return s.past[len(s.past)-n:]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNoSocketIsOpenedBeforeTheLastEventsAreKnown(t *testing.T) {
	t.Parallel()
	s, run := newShop(t)
	run()
	_, resp, err := websocket.Dial(t.Context(), s.url, nil)
	if err == nil || resp.StatusCode != http.StatusServiceUnavailable || s.hub.Ready(t.Context()) == nil {
		t.Fatalf("answered %v, %v", resp, err)
	}
	must(t, s.hub.Begin(0, s.happened(3, customer.CustomerID)))
	must(t, s.hub.Ready(t.Context()))
	c := s.dial(t, "customer")
	c.say(`{"type":"subscribe","topic":"orders"}`)
	if m := c.next("subscribed"); m.Position != 3 {
		t.Errorf("begins at %d", m.Position)
	}
	must(t, s.hub.Take(s.happened(1, customer.CustomerID)))
	if m := c.next("event"); m.Position != 4 {
		t.Errorf("first hears of %d", m.Position)
	}
}

func TestAMessageThatBreaksTheCodeClosesItsSocketOnly(t *testing.T) {
	t.Parallel()
	s, run := newShop(t)
	run()
	must(t, s.hub.Begin(0, nil))
	other, c := s.dial(t, "customer"), s.dial(t, "customer")
	c.say(`{"type":"subscribe","topic":"orders/%s"}`, s.breaking)
	c.closed(websocket.StatusInternalError)
	if !strings.Contains(s.log.String(), "a bug") {
		t.Error("the log does not say what broke")
	}
	other.say(`{"type":"ping"}`)
	other.next("pong")
}

func TestATopicThatIsNamedOftenIsAskedForOnce(t *testing.T) {
	t.Parallel()
	s, run := newShop(t)
	run()
	must(t, s.hub.Begin(0, nil))
	c := s.dial(t, "customer")
	same, many := slices.Repeat([]string{`"orders/` + uuid.NewString() + `"`}, 1000), make([]string, 101)
	c.say(`{"type":"resume","after":0,"topics":[%s]}`, strings.Join(same, ","))
	if m := c.next("resumed"); len(m.Topics) != 1 || s.asked.Load() != 1 {
		t.Errorf("%d topics, asked %d times", len(m.Topics), s.asked.Load())
	}
	for i := range many {
		many[i] = `"orders/` + uuid.NewString() + `"`
	}
	c.say(`{"type":"resume","after":0,"topics":[%s]}`, strings.Join(many, ","))
	if m := c.next("error"); m.Code != "too_many_topics" || s.asked.Load() != 1 {
		t.Errorf("%+v, asked %d times", m, s.asked.Load())
	}
}

func TestWhoMissedALotReloadsAndWhoMissedLittleOfItDoesNot(t *testing.T) {
	t.Parallel()
	for name, remembered := range map[string]int{"all is in memory": 6000, "half is in memory": 3000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, run := newShop(t)
			run()
			for i := range 6 {
				s.happened(999-i, uuid.New())
				s.happened(1+i, customer.CustomerID)
			}
			from := len(s.past) - remembered
			must(t, s.hub.Begin(int64(from), s.past[from:]))
			own, everything := s.dial(t, "customer"), s.dial(t, "staff")
			own.say(`{"type":"subscribe","topic":"orders","after":0}`)
			for range 21 {
				own.next("event")
			}
			own.next("subscribed")
			everything.say(`{"type":"subscribe","topic":"orders","after":0}`)
			everything.next("reload")
			everything.next("subscribed")
			must(t, s.hub.Take(s.happened(1, customer.CustomerID)))
			own.next("event")
			everything.next("event")
		})
	}
}

func TestWhoHasTheDatabaseAskedAgainAndAgainReloads(t *testing.T) {
	t.Parallel()
	s, run := newShop(t)
	run()
	s.happened(100, uuid.New())
	must(t, s.hub.Begin(50, s.past[50:]))
	c := s.dial(t, "customer")
	told := map[string]int{}
	for range 20 {
		c.say(`{"type":"subscribe","topic":"orders","after":10}`)
		m := c.any()
		if told[m.Type]++; m.Type == "reload" {
			m = c.any()
		}
		if m.Type != "subscribed" {
			t.Fatalf("got %+v", m)
		}
	}
	if told["subscribed"] < 10 || told["reload"] == 0 { // more only where a minute has passed meanwhile
		t.Errorf("told %v", told)
	}
}

func TestAShardThatIsTooLateSendsItsClientsAway(t *testing.T) {
	t.Parallel()
	s, run := newShop(t)
	must(t, s.hub.Begin(0, nil))
	silent, c := s.dial(t, "customer"), s.dial(t, "customer")
	c.say(`{"type":"subscribe","topic":"orders"}`)
	c.next("subscribed")
	for range 25 { // before anything is sent
		must(t, s.hub.Take(s.happened(1000, customer.CustomerID)))
	}
	run()
	c.closed(websocket.StatusServiceRestart)
	silent.say(`{"type":"ping"}`)
	silent.next("pong")
	back := s.dial(t, "customer")
	back.say(`{"type":"subscribe","topic":"orders","after":24990}`)
	for want := range 10 {
		if m := back.next("event"); m.Position != int64(24991+want) {
			t.Fatalf("got %d", m.Position)
		}
	}
	back.next("subscribed")
}

func TestWhatIsAskedForAgainTakesNothingFromOtherTopics(t *testing.T) {
	t.Parallel()
	s, run := newShop(t)
	must(t, s.hub.Begin(0, nil))
	c := s.dial(t, "staff")
	c.say(`{"type":"subscribe","topic":"orders"}`)
	c.next("subscribed")
	next := s.happened(4, customer.CustomerID)
	next[3].Topic = events.Payments
	must(t, s.hub.Take(next)) // which the shard does not give yet
	c.say(`{"type":"subscribe","topic":"payments","after":0}`)
	if m := c.next("subscribed"); m.Position != 0 {
		t.Errorf("subscribed at %d", m.Position)
	}
	run()
	must(t, s.hub.Take(s.happened(1, customer.CustomerID)))
	for want := range 5 {
		if m := c.next("event"); m.Position != int64(want+1) {
			t.Fatalf("got %d, want %d", m.Position, want+1)
		}
	}
}

func TestStockIsToldOfItsProductAlsoWhereTheDatabaseWasAway(t *testing.T) {
	t.Parallel()
	s, run := newShop(t)
	run()
	must(t, s.hub.Begin(0, nil))
	c := s.dial(t, "customer")
	c.say(`{"type":"subscribe","topic":"inventory/%s"}`, s.product)
	c.next("subscribed")
	next := s.happened(1, uuid.Nil)
	next[0].Topic, next[0].Type = events.Inventory, "stock.changed"
	s.away.Store(true)
	if s.hub.Take(next) == nil {
		t.Fatal("what can not be told is taken")
	}
	s.away.Store(false)
	must(t, s.hub.Take(next))
	if m := c.next("event"); m.ProductID != s.product {
		t.Errorf("got %+v", m)
	}
}

func TestACommandOfWhoIsSignedOutIsNotDone(t *testing.T) {
	t.Parallel()
	s, run := newShop(t)
	run()
	must(t, s.hub.Begin(0, nil))
	c := s.dial(t, "customer")
	c.say(`{"type":"command","method":"GET","path":"/me/cart"}`)
	c.next("reply")
	s.mayNot.Store(true)
	c.say(`{"type":"command","method":"GET","path":"/me/cart"}`)
	c.closed(4401)
	if done := s.done.Load(); done != 1 {
		t.Errorf("%d commands were done", done)
	}
}

func TestASocketIsNotTakenOverByOtherRights(t *testing.T) {
	t.Parallel()
	s, run := newShop(t)
	run()
	must(t, s.hub.Begin(0, nil))
	c := s.dial(t, "promoted")
	c.say(`{"type":"auth","token":"customer"}`)
	if m := c.next("error"); m.Code != "somebody_else" {
		t.Errorf("got %+v", m)
	}
	c.say(`{"type":"auth","token":"promoted"}`)
	c.next("authenticated")
}

func TestWhatTheDatabaseLostIsReloaded(t *testing.T) {
	t.Parallel()
	s, run := newShop(t)
	run()
	must(t, s.hub.Begin(0, s.happened(10, customer.CustomerID)))
	c := s.dial(t, "customer")
	c.say(`{"type":"subscribe","topic":"orders"}`)
	c.next("subscribed")
	s.mu.Lock()
	s.past, s.position, s.forgotten = s.past[:5], 11, 11 // as events.Feed has it
	s.mu.Unlock()
	must(t, s.hub.Begin(11, nil))
	c.closed(websocket.StatusServiceRestart)
	must(t, s.hub.Take(s.happened(3, customer.CustomerID))) // before the client is back
	back := s.dial(t, "customer")
	back.say(`{"type":"subscribe","topic":"orders","after":10}`)
	back.next("reload")
	if m := back.next("subscribed"); m.Position < 11 {
		t.Errorf("goes on at %d", m.Position)
	}
	must(t, s.hub.Take(s.happened(1, customer.CustomerID)))
	for m := back.next("event"); m.Position != 15; m = back.next("event") {
		if m.Position < 12 {
			t.Errorf("got %d", m.Position)
		}
	}
}

func TestASocketEndsWithItsCredentials(t *testing.T) {
	t.Parallel()
	s, run := newShop(t)
	s.who["brief"] = &identity.Principal{CustomerID: uuid.New(), SessionID: uuid.New(), Role: openapi.RoleCustomer, Expires: time.Now().Add(15 * time.Minute)}
	s.who["longer"] = &identity.Principal{CustomerID: s.who["brief"].CustomerID, SessionID: s.who["brief"].SessionID, Role: openapi.RoleCustomer, Expires: time.Now().Add(25 * time.Minute)}
	run()
	must(t, s.hub.Begin(0, nil))
	c, renewed := s.dial(t, "brief"), s.dial(t, "brief")
	renewed.say(`{"type":"auth","token":"longer"}`)
	renewed.next("authenticated")
	s.later.Store(int64(16 * time.Minute))
	c.closed(4401)
	renewed.say(`{"type":"ping"}`)
	renewed.next("pong")
	s.later.Store(int64(26 * time.Minute))
	renewed.closed(4401)
}

func TestWhoAnswersNoPingIsGivenUp(t *testing.T) {
	t.Parallel()
	s, run := newShop(t)
	run()
	must(t, s.hub.Begin(0, nil))
	dialer := ws.Dialer{Protocols: []string{realtime.Protocol, "bearer.customer"}}
	conn, buffered, _, err := dialer.Dial(t.Context(), s.url)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	answers := s.dial(t, "customer")
	alive := answers.conn.CloseRead(t.Context()) // answers pings
	for step := range 6 {
		s.later.Store(int64(time.Duration(step+1) * 31 * time.Second))
		var from io.Reader = conn
		if buffered != nil {
			from = io.MultiReader(buffered, conn)
			buffered = nil
		}
		for {
			header, err := ws.ReadHeader(from)
			must(t, err)
			payload := make([]byte, header.Length)
			_, err = io.ReadFull(from, payload)
			must(t, err)
			if header.OpCode == ws.OpClose {
				if code, _ := ws.ParseCloseFrameData(payload); code != ws.StatusGoingAway {
					t.Errorf("closed with %d", code)
				}
				if alive.Err() != nil {
					t.Error("who answers is given up, too")
				}
				return
			}
			if header.OpCode == ws.OpPing {
				break
			}
		}
	}
	t.Error("it is still pinged")
}

func TestOnePersonHasAHundredSocketsAtMost(t *testing.T) {
	t.Parallel()
	s, run := newShop(t)
	run()
	must(t, s.hub.Begin(0, nil))
	for range 100 {
		s.dial(t, "customer")
	}
	options := &websocket.DialOptions{Subprotocols: []string{realtime.Protocol, "bearer.customer"}}
	if _, resp, err := websocket.Dial(t.Context(), s.url, options); err == nil || resp == nil {
		t.Errorf("one more is opened: %v", err)
	}
	s.dial(t, "staff")
}

func TestARefusedTopicIsNamed(t *testing.T) {
	t.Parallel()
	s, run := newShop(t)
	run()
	must(t, s.hub.Begin(0, nil))
	c := s.dial(t, "customer")
	c.say(`{"type":"resume","after":0,"topics":["orders","jobs","payments"]}`)
	if m := c.next("error"); m.Topic != "jobs" || m.Code != "forbidden" {
		t.Errorf("got %+v", m)
	}
}
