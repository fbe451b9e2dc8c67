package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/lxzan/gws"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/pgserver"
	"gitee.com/captainjez/gocart/runtime/internal/realtime"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
	"gitee.com/captainjez/gocart/runtime/internal/redisserver"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
	sockets "gitee.com/captainjez/gocart/runtime/internal/websocket"
)

// names of the servers, in their order: the store's, the package that holds its
// connections without anything around it, and the peers.
var names = []string{"gocart", "epoll", "gws", "coder", "centrifuge"}

// protocol is what a client says to be subscribed, each answered, and whether the
// server speaks first.
type protocol struct {
	say    []string
	greets bool
}

var protocols = map[string]protocol{
	"gocart":     {[]string{`{"type":"subscribe","topic":"orders"}`}, true},
	"epoll":      {},
	"gws":        {},
	"coder":      {},
	"centrifuge": {[]string{`{"id":1,"connect":{}}`, `{"id":2,"subscribe":{"channel":"orders"}}`}, false},
}

// told is what the peers' clients hear: as long as the store's event of an order.
func told() []byte {
	return fmt.Appendf(nil, `{"type":"event","topic":"orders","position":123456,"event":"order.placed","subject":"01a21568-07b8-76b1-bc1a-a6f95e5aaad8",`+
		`"at":"2026-11-26T01:00:00.123456Z","data":{"number":"1001","to":"confirmed","total":{"amount":"19.90","currency":"EUR"},"stamp":%d}}`, time.Now().UnixNano())
}

// backend is a server's handler, and how it publishes.
type backend struct {
	handler http.Handler
	wrap    func(net.Listener) net.Listener
	publish func(ctx context.Context) error
}

// be serves until standard input ends, and does what it says.
func be(ctx context.Context, name string, secure bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b, stop, err := backends[name](ctx)
	if err != nil {
		return err
	}
	defer stop()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr := listener.Addr().String()
	if b.wrap != nil {
		listener = b.wrap(listener)
	}
	if secure {
		certificate, err := selfSigned()
		if err != nil {
			return err
		}
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}})
	}
	server := &http.Server{Handler: b.handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	fmt.Println(addr)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var n, rate int
		if _, err := fmt.Sscanf(in.Text(), "publish %d %d", &n, &rate); err == nil {
			tick := time.NewTicker(time.Second / time.Duration(rate))
			for range n {
				<-tick.C
				if err := b.publish(ctx); err != nil {
					return err
				}
			}
			tick.Stop()
		} else {
			for range 3 {
				runtime.GC()
			}
			debug.FreeOSMemory()
		}
		fmt.Println("done")
	}
	return in.Err()
}

var backends = map[string]func(context.Context) (backend, func(), error){
	"gocart": store, "epoll": epoll, "gws": gwsServer, "coder": coderServer, "centrifuge": centrifugeServer,
}

// everybody may do everything.
type everybody struct{}

func (everybody) Bearer(context.Context, string) (*identity.Principal, error) { return nil, nil }
func (everybody) Redeem(context.Context, string) (*identity.Principal, error) { return nil, nil }
func (everybody) MaySee(context.Context, uuid.UUID, *identity.Principal) error {
	return nil
}
func (everybody) StillHold(_ context.Context, all []*identity.Principal) (map[*identity.Principal]bool, error) {
	hold := map[*identity.Principal]bool{}
	for _, p := range all {
		hold[p] = true
	}
	return hold, nil
}

type nothing struct{}

func (nothing) MaySee(context.Context, uuid.UUID, bool) error { return nil }
func (nothing) ProductsOf(context.Context, []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	return nil, nil
}

// store is GoCart's, with PostgreSQL and Redis.
func store(ctx context.Context) (backend, func(), error) {
	fail := func(err error) (backend, func(), error) { return backend{}, nil, err }
	dir, err := os.MkdirTemp("", "socketbench")
	if err != nil {
		return fail(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's user passes through
		return fail(err)
	}
	postgres, err := pgserver.Start(ctx, pgserver.Options{Dir: filepath.Join(dir, "postgres")})
	if err != nil {
		return fail(err)
	}
	stop := func() { postgres.Stop(); _ = os.RemoveAll(dir) }
	file := dir + "/uri"
	if err := os.WriteFile(file, []byte(postgres.URL("postgres")), 0o600); err != nil {
		return fail(err)
	}
	redisdb.QuietClient()
	log := slog.New(slog.DiscardHandler)
	c := config.Database{URIFile: file, MaxConnections: 10}
	if _, err := db.Migrate(ctx, c, 30*time.Second, log); err != nil {
		stop()
		return fail(err)
	}
	pools, err := db.Open(c, "socketbench")
	if err != nil {
		stop()
		return fail(err)
	}
	redis, err := redisserver.Start(ctx)
	if err != nil {
		stop()
		return fail(err)
	}
	urlFile, err := redis.URLFile()
	if err != nil {
		stop()
		return fail(err)
	}
	metrics := prometheus.NewRegistry()
	r, err := redisdb.Open(config.Redis{URLFile: urlFile}, config.Store{Name: "shop", Namespace: "bench"}, log, metrics)
	if err != nil {
		stop()
		return fail(err)
	}
	happened := events.NewLog(pools.Main)
	hub, err := realtime.NewHub(realtime.Options{
		Callers: everybody{}, Orders: everybody{}, Products: nothing{}, Past: happened, Redis: r, Log: log, Metrics: metrics, Now: time.Now,
	})
	if err != nil {
		stop()
		return fail(err)
	}
	relay := events.NewRelay(happened, r, log, metrics)
	feed := events.NewFeed(happened, r, relay, log, hub)
	go r.Run(ctx)
	go relay.Run(ctx)
	go feed.Run(ctx, 0)
	go hub.Run(ctx)
	for !r.Up() || hub.Ready(ctx) != nil {
		time.Sleep(time.Millisecond)
	}
	settings, err := secure.NewSettings(config.DefaultEdge())
	if err != nil {
		stop()
		return fail(err)
	}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.Use(secure.By(func() *secure.Settings { return settings }), secure.ClientAddress(), func(c *gin.Context) {
		identity.Set(c, &identity.Principal{KeyID: uuid.New(), KeyName: "bench", Scopes: []string{"orders:read"}})
	})
	engine.GET("/ws", hub.Serve(engine))
	data := struct {
		Number string            `json:"number"`
		To     string            `json:"to"`
		Total  map[string]string `json:"total"`
		Stamp  int64             `json:"stamp"`
	}{"1001", "confirmed", map[string]string{"amount": "19.90", "currency": "EUR"}, 0}
	publish := func(ctx context.Context) error {
		return db.WithTx(ctx, pools.Main, func(tx pgx.Tx) error {
			data := data
			data.Stamp = time.Now().UnixNano()
			return happened.Append(ctx, tx, events.Event{
				Type: "order.placed", Topic: events.Orders, Subject: uuid.New(), Actor: "store", Public: true, Data: data, At: time.Now(),
			})
		})
	}
	return backend{engine, sockets.Listen, publish}, func() { pools.Close(); redis.Kill(); stop() }, nil
}

// set is a set of connections to which texts are sent.
type set[T comparable] struct {
	mu  sync.Mutex
	all map[T]struct{}
}

func (s *set[T]) add(c T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[T]struct{}{}
	}
	s.all[c] = struct{}{}
}

func (s *set[T]) each(do func(T)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.all {
		do(c)
	}
}

// bare is a handler of package websocket that hears nothing.
type bare struct{}

func (bare) Message(*sockets.Conn, []byte) {}
func (bare) Closed(*sockets.Conn)          {}

func epoll(context.Context) (backend, func(), error) {
	server, err := sockets.NewServer()
	if err != nil {
		return backend{}, nil, err
	}
	var conns set[*sockets.Conn]
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := server.Upgrade(w, r, func(string) bool { return false })
		if err == nil && server.Start(c, bare{}) == nil {
			conns.add(c)
		}
	})
	publish := func(context.Context) error {
		frame := sockets.Text(told())
		conns.each(func(c *sockets.Conn) { c.Send(frame) })
		return nil
	}
	return backend{handler, sockets.Listen, publish}, func() {}, nil
}

func gwsServer(context.Context) (backend, func(), error) {
	var conns set[*gws.Conn]
	upgrader := gws.NewUpgrader(&gws.BuiltinEventHandler{}, &gws.ServerOption{ParallelEnabled: false})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r)
		if err != nil {
			return
		}
		conns.add(c)
		go c.ReadLoop()
	})
	publish := func(context.Context) error {
		b := gws.NewBroadcaster(gws.OpcodeText, told())
		defer func() { _ = b.Close() }()
		conns.each(func(c *gws.Conn) { _ = b.Broadcast(c) })
		return nil
	}
	return backend{handler, nil, publish}, func() {}, nil
}

func coderServer(context.Context) (backend, func(), error) {
	var conns set[*websocket.Conn]
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		conns.add(c)
		<-c.CloseRead(context.Background()).Done()
	})
	publish := func(ctx context.Context) error {
		text := told()
		conns.each(func(c *websocket.Conn) { _ = c.Write(ctx, websocket.MessageText, text) })
		return nil
	}
	return backend{handler, nil, publish}, func() {}, nil
}

func centrifugeServer(context.Context) (backend, func(), error) {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return backend{}, nil, err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials:    &centrifuge.Credentials{UserID: uuid.NewString()},
			PingPongConfig: &centrifuge.PingPongConfig{PingInterval: -1},
		}, nil
	})
	node.OnConnect(func(c *centrifuge.Client) {
		c.OnSubscribe(func(_ centrifuge.SubscribeEvent, reply centrifuge.SubscribeCallback) {
			reply(centrifuge.SubscribeReply{}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return backend{}, nil, err
	}
	publish := func(context.Context) error {
		_, err := node.Publish("orders", json.RawMessage(strings.TrimSpace(string(told()))))
		return err
	}
	handler := centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{CheckOrigin: func(*http.Request) bool { return true }})
	return backend{handler, nil, publish}, func() { _ = node.Shutdown(context.Background()) }, nil
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop.example"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
