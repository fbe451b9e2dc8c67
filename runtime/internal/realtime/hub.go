package realtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
	"gitee.com/captainjez/gocart/runtime/internal/websocket"
)

const (
	// remembered is how many events are kept in memory for clients who come
	// back; PostgreSQL is asked for older ones.
	remembered = 10_000
	// most and mostBytes are how many missed events a client is sent; who missed
	// more reloads. They fit into what may wait for one who reads slowly.
	most      = 2_000
	mostBytes = 512 << 10
	// mostRead is how many events PostgreSQL is asked for, to find those that a
	// client missed; maxReads is how often one socket may have it asked in a
	// minute, and maxReplays how many search at once.
	mostRead   = 5 * most
	maxReads   = 10
	maxReplays = 4

	// maxSockets, maxPerAddress and maxPerUser bound the sockets of one process:
	// of all, of one address (IPv6: of one /64) and of one person or key.
	maxSockets    = 20_000
	maxPerAddress = 1_000
	maxPerUser    = 100

	pingEvery = 30 * time.Second
	// recheckEvery is how soon the socket of who was signed out is closed.
	recheckEvery = 5 * time.Second
	// maxReconnect bounds the pause that clients are told to make, each another.
	maxReconnect = 2 * time.Second
)

// Callers knows who shows a credential.
type Callers interface {
	Bearer(ctx context.Context, token string) (*identity.Principal, error)
	Redeem(ctx context.Context, ticket string) (*identity.Principal, error)
	StillHold(ctx context.Context, all []*identity.Principal) (map[*identity.Principal]bool, error)
}

// Past reads events again.
type Past interface {
	Past(ctx context.Context, position int64, most int) ([]events.Published, error)
	Head(ctx context.Context) (int64, error)
}

// Options are what a Hub is made of.
type Options struct {
	Callers  Callers
	Orders   Orders
	Products Products
	Past     Past
	// Redis keeps sessions; nil for a store without it.
	Redis   *redisdb.Redis
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Now     func() time.Time
}

// Hub holds the sockets of one process. It may be used by many at once.
type Hub struct {
	callers  Callers
	orders   Orders
	products Products
	past     Past
	redis    *redisdb.Redis
	log      *slog.Logger
	now      func() time.Time
	sockets  *websocket.Server
	metrics  *metrics
	shards   []*shard
	next     atomic.Uint32
	draining atomic.Bool
	// commands is the store's API.
	commands http.Handler

	counts counts

	// replays is held by those who search what a client missed.
	replays chan struct{}

	mu sync.RWMutex
	// recent events, in order. Elements are never changed.
	recent []*event
	// from is a position after which all events are in recent, -1 before Begin.
	from int64
	// newest is the last position that is known.
	newest int64

	productOf map[uuid.UUID]uuid.UUID // of variants; only Begin and Take use it
}

// NewHub makes a hub without sockets. Serve has to be given the API before the
// first command.
func NewHub(o Options) (*Hub, error) {
	sockets, err := websocket.NewServer()
	if err != nil {
		return nil, err
	}
	h := &Hub{
		callers: o.Callers, orders: o.Orders, products: o.Products, past: o.Past, redis: o.Redis, log: o.Log, now: o.Now,
		sockets: sockets, from: -1, productOf: map[uuid.UUID]uuid.UUID{},
		counts:  counts{address: map[netip.Prefix]int{}, user: map[string]int{}},
		replays: make(chan struct{}, maxReplays),
	}
	h.metrics = newMetrics(o.Metrics, h)
	for range max(2, runtime.GOMAXPROCS(0)) {
		h.shards = append(h.shards, newShard(h))
	}
	return h, nil
}

// Remembered is with how many events of the past a feed for the hub begins.
func (h *Hub) Remembered() int64 { return remembered }

// errStarting is why no socket is opened yet.
var errStarting = errors.New("the replica has not read the last events yet")

// Ready returns an error until the hub knows the last events, and with them
// where a new client begins.
func (h *Hub) Ready(context.Context) error {
	if _, from := h.after(0); from < 0 {
		return errStarting
	}
	return nil
}

// Begin takes the last events there are from the hub's feed. Clients who
// are there already know of others, and are told to come back.
func (h *Hub) Begin(after int64, past []events.Published) error {
	made, err := h.encode(past)
	if err != nil {
		return err
	}
	newest := after
	if n := len(past); n > 0 {
		newest = past[n-1].Position
	}
	h.mu.Lock()
	h.recent, h.from, h.newest = made, after, newest
	h.mu.Unlock()
	for _, sh := range h.shards {
		sh.begin(newest, "the store has lost what it told: come back")
	}
	return nil
}

// Take takes the next events from the hub's feed.
func (h *Hub) Take(next []events.Published) error {
	made, err := h.encode(next)
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.newest = next[len(next)-1].Position
	h.recent = append(h.recent, made...)
	if over := len(h.recent) - 2*remembered; over > 0 {
		cut := len(h.recent) - remembered
		h.from = h.recent[cut-1].position
		h.recent = slices.Clone(h.recent[cut:])
	}
	h.mu.Unlock()
	for _, sh := range h.shards {
		select {
		case sh.news <- struct{}{}:
		default:
		}
	}
	return nil
}

// encode makes of events what clients are told, of which the store's own are none.
func (h *Hub) encode(all []events.Published) ([]*event, error) {
	const bound = 100_000
	if len(h.productOf) > bound {
		clear(h.productOf)
	}
	if err := h.learnProducts(context.Background(), all, h.productOf); err != nil {
		return nil, err
	}
	made := make([]*event, 0, len(all))
	for _, p := range all {
		if e := outline(p, h.productOf[p.Subject]); e != nil {
			e.encode(p)
			made = append(made, e)
		}
	}
	return made, nil
}

// learnProducts adds to known of which products the variants of events are.
func (h *Hub) learnProducts(ctx context.Context, all []events.Published, known map[uuid.UUID]uuid.UUID) error {
	var unknown []uuid.UUID
	for _, p := range all {
		if _, ok := known[p.Subject]; p.Topic == events.Inventory && !ok {
			unknown = append(unknown, p.Subject)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	found, err := h.products.ProductsOf(ctx, unknown)
	if err != nil {
		return fmt.Errorf("finding the products of events: %w", err)
	}
	maps.Copy(known, found)
	return nil
}

// after are the recent events after a position, all of them where it is not
// before from.
func (h *Hub) after(position int64) (recent []*event, from int64) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	i := sort.Search(len(h.recent), func(i int) bool { return h.recent[i].position > position })
	return h.recent[i:], h.from
}

func (h *Hub) position() int64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.newest
}

// missed finds the events between two positions that somebody wants. The error is
// events.ErrForgotten also where they are too many; mayRead is whether PostgreSQL
// may be asked.
func (h *Hub) missed(ctx context.Context, after, upTo int64, wants func(*event) bool, mayRead func() bool) (found []*event, err error) {
	select {
	case h.replays <- struct{}{}:
		defer func() { <-h.replays }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if after > h.position() { // of another replica that was faster, or of another life of the store
		head, err := h.past.Head(ctx)
		if err == nil && after > head {
			err = events.ErrForgotten
		}
		return nil, err
	}
	recent, from := h.after(after)
	if after < from {
		if !mayRead() || from-after > mostRead {
			return nil, events.ErrForgotten
		}
		if found, err = h.read(ctx, after, from, wants); err != nil {
			return nil, err
		}
	}
	bytes := 0
	for _, e := range recent {
		if e.position <= upTo && wants(e) {
			found = append(found, e)
		}
	}
	for _, e := range found {
		bytes += e.frame.Len()
	}
	if len(found) > most || bytes > mostBytes {
		return nil, events.ErrForgotten
	}
	return found, nil
}

// read asks PostgreSQL for the events between two positions that somebody wants.
func (h *Hub) read(ctx context.Context, after, to int64, wants func(*event) bool) ([]*event, error) {
	all, err := h.past.Past(ctx, after, int(to-after))
	if err != nil {
		return nil, err
	}
	products := map[uuid.UUID]uuid.UUID{}
	if err := h.learnProducts(ctx, all, products); err != nil {
		return nil, err
	}
	var found []*event
	for _, p := range all {
		if e := outline(p, products[p.Subject]); p.Position <= to && e != nil && wants(e) {
			if len(found) == most {
				return nil, events.ErrForgotten
			}
			e.encode(p)
			found = append(found, e)
		}
	}
	return found, nil
}

// Run looks after the sockets until ctx ends.
func (h *Hub) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, sh := range h.shards {
		running.Go(func() { sh.run(ctx) })
	}
	running.Go(func() { every(ctx, time.Second, h.tend) })
	running.Go(func() { every(ctx, recheckEvery, func() { h.recheck(ctx) }) })
	running.Wait()
	for _, s := range h.all() {
		s.conn.Close(statusGoingAway, "the store stops")
	}
	h.sockets.Close()
}

func every(ctx context.Context, d time.Duration, do func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

func (h *Hub) all() []*session {
	var list []*session
	for _, sh := range h.shards {
		list = append(list, sh.all()...)
	}
	return list
}

// tend pings those whose turn it is, and gives up who did not answer.
func (h *Hub) tend() {
	now := h.now()
	for _, s := range h.all() {
		if p := s.who.Load(); p != nil && !p.Expires.IsZero() && !p.Expires.After(now) {
			s.conn.Close(websocket.CodeUnauthorized, "the credentials have expired: connect with new ones")
			continue
		}
		if now.Unix() < s.nextPing.Load() {
			continue
		}
		s.nextPing.Store(now.Add(pingEvery).Unix())
		if quiet := s.conn.Quiet(); quiet && s.silent.Swap(quiet) {
			s.conn.Close(statusGoingAway, "no answer to two pings")
			continue
		} else if !quiet {
			s.silent.Store(false)
		}
		s.conn.Ping()
	}
}

// recheck closes the sockets of those whose credentials hold no more. While
// that can not be found out, it is not known that they do not.
func (h *Hub) recheck(ctx context.Context) {
	sessions := h.all()
	var known []*identity.Principal
	seen := map[*identity.Principal]bool{}
	for _, s := range sessions {
		if p := s.who.Load(); p != nil && !seen[p] {
			seen[p] = true
			known = append(known, p)
		}
	}
	if len(known) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, recheckEvery)
	defer cancel()
	hold, err := h.callers.StillHold(ctx, known)
	if err != nil {
		h.log.Warn("whether those with a socket are still signed in is not known", "error", err)
		return
	}
	for _, s := range sessions {
		if p := s.who.Load(); p != nil && seen[p] && !hold[p] {
			s.expel()
		}
	}
}

// Drain sends clients elsewhere, a few at a time, within a time, and takes no
// new ones.
func (h *Hub) Drain(within time.Duration) {
	if h == nil {
		return
	}
	h.draining.Store(true)
	sessions := h.all()
	if len(sessions) == 0 {
		return
	}
	rand.Shuffle(len(sessions), func(i, j int) { sessions[i], sessions[j] = sessions[j], sessions[i] }) //nolint:gosec // nobody gains by guessing it
	const steps = 50
	tick := time.NewTicker(max(within/steps, time.Millisecond))
	defer tick.Stop()
	for part := range slices.Chunk(sessions, (len(sessions)+steps-1)/steps) {
		for _, s := range part {
			pause := rand.N(maxReconnect).Milliseconds() //nolint:gosec // nor this
			s.conn.Send(frameOf(response{Type: "reconnect", AfterMillis: &pause}))
			s.conn.Close(statusRestart, "the store is updated: come back")
		}
		<-tick.C
	}
}

// counts are how many sockets there are, and whose.
type counts struct {
	mu      sync.Mutex
	sockets int
	address map[netip.Prefix]int
	user    map[string]int
}

func network(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil { // an address that is none
		return netip.Prefix{}
	}
	return p
}

// open counts one more, unless there are too many.
func (c *counts) open(from netip.Prefix) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.sockets >= maxSockets:
		p := problem.New(http.StatusServiceUnavailable, "too_many_sockets", "This replica has as many sockets as it can hold. Please try again.")
		p.RetryAfter = time.Second
		return p
	case c.address[from] >= maxPerAddress:
		p := problem.New(http.StatusTooManyRequests, "too_many_sockets", "From one address come %d sockets at most.", maxPerAddress)
		p.RetryAfter = pingEvery
		return p
	}
	c.sockets++
	c.address[from]++
	return nil
}

// login counts a socket as somebody's.
func (c *counts) login(user string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.user[user] >= maxPerUser {
		return problem.New(http.StatusTooManyRequests, "too_many_sockets", "One person or key has %d sockets at most.", maxPerUser)
	}
	c.user[user]++
	return nil
}

func (c *counts) close(from netip.Prefix, user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sockets--
	if c.address[from]--; c.address[from] == 0 {
		delete(c.address, from)
	}
	c.logout(user)
}

// logout has c.mu held.
func (c *counts) logout(user string) {
	if user == "" {
		return
	}
	if c.user[user]--; c.user[user] == 0 {
		delete(c.user, user)
	}
}

func (c *counts) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sockets
}

type metrics struct {
	sent, received prometheus.Counter
	delay          prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, h *Hub) *metrics {
	m := &metrics{
		sent:     prometheus.NewCounter(prometheus.CounterOpts{Name: "gocart_socket_events_total", Help: "Events that were sent, to one client each."}),
		received: prometheus.NewCounter(prometheus.CounterOpts{Name: "gocart_socket_messages_total", Help: "Messages that clients sent."}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gocart_socket_delay_seconds", Help: "From when an event happened to when it was sent to the last of a shard's clients.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}),
	}
	r.MustRegister(m.sent, m.received, m.delay, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gocart_sockets", Help: "WebSockets that are open.",
	}, func() float64 { return float64(h.counts.total()) }))
	return m
}
