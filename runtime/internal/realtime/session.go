package realtime

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gobwas/ws"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
	"gitee.com/captainjez/gocart/runtime/internal/strictjson"
	"gitee.com/captainjez/gocart/runtime/internal/websocket"
)

const (
	statusGoingAway = ws.StatusGoingAway
	statusRestart   = ws.StatusCode(1012)

	// introduction is how long a client may take to say who it is.
	introduction = 5 * time.Second
	// maxPerMinute is how many messages a client may send.
	maxPerMinute = 100
	// maxTopics is how many topics one socket may subscribe to.
	maxTopics = 100
	// sessionLifetime is how long Redis keeps what a client subscribed to.
	sessionLifetime = 24 * time.Hour
	// requestTimeout bounds what a message has done.
	requestTimeout = 10 * time.Second
)

// session is one socket.
type session struct {
	hub    *Hub
	conn   *websocket.Conn
	shard  *shard
	client netip.Addr
	id     string

	// who is nil until the client has said so.
	who      atomic.Pointer[identity.Principal]
	nextPing atomic.Int64 // in Unix seconds
	silent   atomic.Bool

	// Of the shard.
	keys []key
	last int64 // the position of the event that was sent last
	gone bool

	// Of who reads.
	topics []topic
	window int64 // in Unix minutes
	count  int   // of messages in the window
	reads  int   // and of how often it had PostgreSQL asked
}

// user is as whose the socket counts, empty until the client has said who it is.
func (s *session) user() string {
	if p := s.who.Load(); p != nil {
		return p.Actor()
	}
	return ""
}

func (s *session) subscribe(k key) {
	if !slices.Contains(s.keys, k) {
		s.keys = append(s.keys, k)
	}
}

func (s *session) unsubscribe(k key) {
	s.keys = slices.DeleteFunc(s.keys, func(o key) bool { return o == k })
}

// Serve has sockets opened, by GET /ws; their commands are requests to api.
func (h *Hub) Serve(api http.Handler) gin.HandlerFunc {
	h.commands = api
	return func(c *gin.Context) {
		if err := h.open(c); err != nil {
			_ = c.Error(err) // recorded for who answers
			c.Abort()
		}
	}
}

// open answers a handshake. After its error nothing was written.
func (h *Hub) open(c *gin.Context) error {
	if !websocket.IsUpgrade(c.Request) {
		c.Header("Upgrade", "websocket")
		return problem.New(http.StatusUpgradeRequired, "websocket_required", "Here sockets are opened: connect with a WebSocket client.")
	}
	if h.draining.Load() {
		p := problem.New(http.StatusServiceUnavailable, "stopping", "This replica stops. Please try again.")
		p.RetryAfter = time.Second
		return p
	}
	if h.Ready(c) != nil {
		p := problem.New(http.StatusServiceUnavailable, "starting", "This replica has just started. Please try again.")
		p.RetryAfter = time.Second
		return p
	}
	if err := secure.SocketOrigin(c, identity.ByCookie(c.Request)); err != nil {
		return err
	}
	p, err := h.introduced(c)
	if err != nil {
		return err
	}
	s := &session{hub: h, client: secure.ClientOf(c), id: rand.Text(), shard: h.shards[int(h.next.Add(1))%len(h.shards)]}
	s.nextPing.Store(h.now().Add(pingEvery).Unix())
	from := network(s.client)
	if err := h.counts.open(from); err != nil {
		return err
	}
	if p != nil {
		if err := h.counts.login(p.Actor()); err != nil {
			h.counts.close(from, "")
			return err
		}
		s.who.Store(p)
	}
	if s.conn, err = h.sockets.Upgrade(c.Writer, c.Request, func(p string) bool { return p == Protocol }); err != nil {
		h.counts.close(from, s.user())
		h.log.Debug("a socket was not opened", "client", s.client, "error", err)
		return nil // answered
	}
	s.shard.mu.Lock()
	s.shard.sessions[s] = struct{}{}
	s.shard.mu.Unlock()
	position := s.shard.position()
	hello := response{Type: "hello", Session: s.id, Position: &position, PingSeconds: int(pingEvery / time.Second)}
	if p != nil {
		hello.ExpiresAt = expiry(p)
	} else {
		time.AfterFunc(introduction, func() {
			if s.who.Load() == nil {
				s.conn.Close(websocket.CodeUnauthorized, "say within 5 seconds who you are")
			}
		})
	}
	s.conn.Send(frameOf(hello))
	if err := h.sockets.Start(s.conn, s); err != nil {
		h.log.Warn("a socket was lost", "error", err)
		s.Closed(s.conn)
	}
	return nil
}

func expiry(p *identity.Principal) *time.Time {
	if p.Expires.IsZero() {
		return nil
	}
	return &p.Expires
}

// introduced is who opens a socket, nil where the client has not said so yet:
// by the request's credentials, by a token among the subprotocols, or by a
// ticket there or in the query.
func (h *Hub) introduced(c *gin.Context) (*identity.Principal, error) {
	if p := identity.Of(c); !p.Anonymous() {
		return p, nil
	}
	var token, ticket string
	ours, offered := false, false
	for _, header := range c.Request.Header.Values("Sec-Websocket-Protocol") {
		for protocol := range strings.SplitSeq(header, ",") {
			protocol = strings.TrimSpace(protocol)
			offered = true
			if protocol == Protocol {
				ours = true
			} else if t, ok := strings.CutPrefix(protocol, "bearer."); ok {
				token = t
			} else if t, ok := strings.CutPrefix(protocol, "ticket."); ok {
				ticket = t
			}
		}
	}
	if offered && !ours {
		return nil, problem.New(http.StatusBadRequest, "unknown_protocol", "The subprotocol that is spoken here is %s.", Protocol)
	}
	if q := c.Query("ticket"); ticket == "" {
		ticket = q
	}
	return h.principal(c.Request.Context(), token, ticket)
}

func (h *Hub) principal(ctx context.Context, token, ticket string) (p *identity.Principal, err error) {
	switch {
	case token != "":
		p, err = h.callers.Bearer(ctx, token)
	case ticket != "":
		p, err = h.callers.Redeem(ctx, ticket)
	}
	if identity.Refused(err) {
		return nil, problem.New(http.StatusUnauthorized, "unauthorized", "The token or ticket is not one of this store's, or it no longer holds.")
	}
	return p, err
}

// Closed is called when the socket is no more.
func (s *session) Closed(*websocket.Conn) {
	s.shard.forget(s)
	s.hub.counts.close(network(s.client), s.user())
}

// Message takes what the client says.
func (s *session) Message(_ *websocket.Conn, text []byte) {
	s.hub.metrics.received.Inc()
	if minute := s.hub.now().Unix() / 60; minute != s.window {
		s.window, s.count, s.reads = minute, 0, 0
	}
	if s.count++; s.count > maxPerMinute {
		s.conn.Close(websocket.CodeTooMany, "more than 100 messages in a minute")
		return
	}
	var r request
	if err := strictjson.Unmarshal(text, &r); err != nil {
		s.answer(failure("", err))
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	defer func() {
		if broken := recover(); broken != nil {
			s.hub.log.Error("a message broke the store's code", "type", r.Type, "error", broken, "stack", string(debug.Stack()))
			s.conn.Close(ws.StatusInternalServerError, "the store made a mistake: come back")
		}
	}()
	if r.Type != "auth" && r.Type != "ping" && s.who.Load() == nil {
		s.answer(failure(r.ID, problem.New(http.StatusUnauthorized, "unauthorized", `Say first who you are: {"type":"auth","token":"..."} or with a "ticket".`)))
		return
	}
	s.answer(s.do(ctx, r))
}

func (s *session) answer(r response) {
	if r.Type != "" {
		s.conn.Send(frameOf(r))
	}
}

func (s *session) do(ctx context.Context, r request) response {
	var out response
	var err error
	switch r.Type {
	case "auth":
		out, err = s.auth(ctx, r)
	case "ping":
		position := s.shard.position()
		out = response{Type: "pong", Position: &position}
	case "subscribe":
		out, err = s.subscribeTo(ctx, r)
	case "unsubscribe":
		out, err = s.unsubscribeFrom(ctx, r)
	case "resume":
		out, err = s.resume(ctx, r)
	case "command":
		out, err = s.command(ctx, r)
	default:
		err = problem.New(http.StatusBadRequest, "unknown_type", "There is no message %.100q: they are auth, subscribe, unsubscribe, resume, command and ping.", r.Type)
	}
	if err != nil {
		out = failure(r.ID, err)
		if a, ok := errors.AsType[about](err); ok {
			out.Topic = a.topic.String()
		}
		if _, ok := errors.AsType[*problem.Problem](err); !ok {
			s.hub.log.Error("a message could not be answered", "type", r.Type, "error", err)
		}
	}
	out.ID = r.ID
	return out
}

// auth says who the client is, or shows that it still is who it was.
func (s *session) auth(ctx context.Context, r request) (response, error) {
	p, err := s.hub.principal(ctx, r.Token, r.Ticket)
	if err == nil && p == nil {
		err = problem.New(http.StatusUnauthorized, "unauthorized", "Send a token or a ticket.")
	}
	if err != nil {
		return response{}, err
	}
	before := s.who.Load()
	if before != nil && (before.Actor() != p.Actor() || before.Role != p.Role) {
		return response{}, problem.New(http.StatusConflict, "somebody_else", "The socket is somebody else's, or theirs with other rights: open another one.")
	}
	if before == nil {
		if err := s.hub.counts.login(p.Actor()); err != nil {
			return response{}, err
		}
	}
	s.who.Store(p)
	return response{Type: "authenticated", ExpiresAt: expiry(p)}, nil
}

func (s *session) subscribeTo(ctx context.Context, r request) (response, error) {
	t, err := parseTopic(r.Topic)
	if err != nil {
		return response{}, err
	}
	position, err := s.enter(ctx, []topic{t}, r.After)
	if err != nil {
		return response{}, err
	}
	s.keep(ctx)
	return response{Type: "subscribed", Topic: t.String(), Position: &position}, nil
}

// enter subscribes to topics, all or none, and sends what happened after a
// position.
func (s *session) enter(ctx context.Context, topics []topic, after *int64) (position int64, err error) {
	total := s.topics
	for _, t := range topics {
		if !slices.Contains(total, t) {
			total = append(slices.Clip(total), t)
		}
		if len(total) > maxTopics {
			return 0, about{t, tooManyTopics()}
		}
	}
	keys := make([]key, len(topics))
	for i, t := range topics {
		if keys[i], err = s.hub.authorize(ctx, t, s.who.Load()); err != nil {
			return 0, about{t, err}
		}
	}
	switch {
	case after == nil:
		position = s.shard.addNew(s, keys)
	case *after < 0:
		return 0, problem.New(http.StatusBadRequest, "invalid_request", `"after" is a position, or left out.`)
	default:
		position, err = s.replay(ctx, keys, *after)
		if errors.Is(err, events.ErrForgotten) {
			s.answer(response{Type: "reload", Topics: names(topics)})
			position, err = s.shard.addNew(s, keys), nil
		}
	}
	if err == nil {
		s.topics = total
	}
	return position, err
}

// about says which of several topics an error is about.
type about struct {
	topic topic
	error
}

func (a about) Unwrap() error { return a.error }

func tooManyTopics() error {
	return problem.New(http.StatusBadRequest, "too_many_topics", "A socket may subscribe to %d topics.", maxTopics)
}

// replay sends what the client missed since a position, and subscribes it to
// what comes after. While it is sent that, more may happen.
func (s *session) replay(ctx context.Context, keys []key, known int64) (position int64, err error) {
	wants := s.wants(keys)
	for {
		given := s.shard.position() // what is behind that the shard gives, in order with the other topics
		found, err := s.hub.missed(ctx, known, given, wants, s.mayRead)
		if err != nil {
			return 0, err
		}
		for _, e := range found {
			s.conn.Send(e.frameFor(s))
		}
		known = max(known, given)
		if position, ok := s.shard.add(s, keys, known); ok {
			return position, nil
		}
	}
}

// wants tells which events are for who subscribes by keys.
func (s *session) wants(keys []key) func(*event) bool {
	return func(e *event) bool {
		return slices.ContainsFunc(e.keys(), func(k key) bool { return slices.Contains(keys, k) && s.maySee(k, e) })
	}
}

// mayRead counts that PostgreSQL is asked for what the client missed.
func (s *session) mayRead() bool {
	s.reads++
	return s.reads <= maxReads
}

func names(topics []topic) []string {
	list := make([]string, len(topics))
	for i, t := range topics {
		list[i] = t.String()
	}
	return list
}

func (s *session) unsubscribeFrom(ctx context.Context, r request) (response, error) {
	t, err := parseTopic(r.Topic)
	if err != nil {
		return response{}, err
	}
	keys := []key{{t.name, one, t.object}}
	if t.object == uuid.Nil {
		keys = []key{{topic: t.name}, {t.name, own, s.who.Load().CustomerID}}
	}
	for _, k := range keys {
		s.shard.remove(s, k)
	}
	s.topics = slices.DeleteFunc(slices.Clone(s.topics), func(o topic) bool { return o == t })
	s.keep(ctx)
	return response{Type: "unsubscribed", Topic: t.String()}, nil
}

// resume takes up where another socket of the same client ended: with the
// topics that are named, or those that the session had.
func (s *session) resume(ctx context.Context, r request) (response, error) {
	if r.After == nil {
		return response{}, problem.New(http.StatusBadRequest, "invalid_request", `"after" is missing: the position of the last event that you know.`)
	}
	list := r.Topics
	if list == nil {
		list = s.kept(ctx, r.Session)
	}
	if list == nil {
		return response{}, problem.New(http.StatusNotFound, "unknown_session", "The session is not known any more: name your topics.")
	}
	var topics []topic
	for _, name := range list {
		t, err := parseTopic(name)
		if err != nil {
			return response{}, err
		}
		if !slices.Contains(topics, t) {
			topics = append(topics, t)
		}
		if len(topics) > maxTopics {
			return response{}, about{t, tooManyTopics()}
		}
	}
	position, err := s.enter(ctx, topics, r.After)
	if err != nil {
		return response{}, err
	}
	if r.Session != "" && len(r.Session) <= 64 && s.kept(ctx, r.Session) != nil {
		s.id = r.Session
	}
	s.keep(ctx)
	return response{Type: "resumed", Session: s.id, Topics: names(s.topics), Position: &position}, nil
}

// memory is what Redis keeps of a session.
type memory struct {
	User   string   `json:"user"`
	Topics []string `json:"topics"`
}

func (s *session) redisKey(id string) string { return s.hub.redis.Key("socket:" + id) }

// keep has Redis remember what the client subscribed to. Without Redis the
// client has to say so itself when it comes back.
func (s *session) keep(ctx context.Context) {
	r := s.hub.redis
	if !r.Up() {
		return
	}
	value, err := json.Marshal(memory{User: s.user(), Topics: names(s.topics)})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Timeout) // a late message is not Redis' fault
	defer cancel()
	if err := r.Client().Set(ctx, s.redisKey(s.id), value, sessionLifetime).Err(); err != nil {
		r.Failed(ctx, err)
	}
}

// kept is what the same person's session of that id subscribed to, nil where
// that is not known.
func (s *session) kept(ctx context.Context, id string) []string {
	r := s.hub.redis
	if id == "" || !r.Up() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Timeout)
	defer cancel()
	value, err := r.Client().Get(ctx, s.redisKey(id)).Bytes()
	if err != nil {
		if !errors.Is(err, redis.Nil) {
			r.Failed(ctx, err)
		}
		return nil
	}
	var m memory
	if json.Unmarshal(value, &m) != nil || m.User != s.user() {
		return nil
	}
	return m.Topics
}

// commands that a socket takes: what changes carts, and what makes an order of
// one.
var (
	cartPath = regexp.MustCompile(`^/carts(/[A-Za-z0-9][A-Za-z0-9._-]*){0,3}$`)
	orderly  = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,200}$`)
)

// command does what a request to the API would, as who the client is, and
// within the same limits.
func (s *session) command(ctx context.Context, r request) (response, error) {
	switch {
	case r.Method == http.MethodPost && r.Path == "/orders":
	case r.Method == http.MethodGet && r.Path == "/me/cart":
	case cartPath.MatchString(r.Path) && slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, r.Method):
	default:
		return response{}, problem.New(http.StatusBadRequest, "unknown_command", "A command is a method and a path: POST /orders, GET /me/cart, or one of /carts.")
	}
	if r.Method == http.MethodPost && !orderly.MatchString(r.IdempotencyKey) {
		return response{}, problem.New(http.StatusBadRequest, "idempotency_key_required", `"idempotencyKey" is missing, by which the command is done once although it is sent again.`)
	}
	who := s.who.Load()
	hold, err := s.hub.callers.StillHold(ctx, []*identity.Principal{who})
	if err != nil {
		return response{}, err
	}
	if !hold[who] {
		s.expel()
		return response{}, problem.New(http.StatusUnauthorized, "unauthorized", "The credentials hold no more: sign in again.")
	}
	body := []byte(r.Body)
	q, err := http.NewRequestWithContext(identity.With(ctx, who), r.Method, r.Path, bytes.NewReader(body))
	if err != nil {
		return response{}, err
	}
	q.RemoteAddr = netip.AddrPortFrom(s.client, 0).String()
	q.RequestURI = r.Path
	if len(body) > 0 {
		q.Header.Set("Content-Type", "application/json")
	}
	if r.IdempotencyKey != "" {
		q.Header.Set("Idempotency-Key", r.IdempotencyKey)
	}
	if r.CartToken != "" {
		q.Header.Set("X-Cart-Token", r.CartToken)
	}
	w := &answer{header: http.Header{}, status: http.StatusOK}
	s.hub.commands.ServeHTTP(w, q)
	out := response{Type: "reply", Status: w.status}
	if json.Valid(w.body.Bytes()) {
		out.Body = w.body.Bytes()
	}
	return out, nil
}

// expel closes the socket of who is not signed in any more.
func (s *session) expel() {
	s.conn.Close(websocket.CodeUnauthorized, "the credentials hold no more: sign in again")
}

// answer is an http.ResponseWriter that keeps what it is given.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
