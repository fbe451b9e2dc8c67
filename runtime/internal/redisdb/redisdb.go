// Package redisdb is a store's connection to Redis, which holds only what may
// be lost. It knows whether Redis answers in time, so that nobody waits for
// one that does not: who gets an error, or no answer within the Timeout, says so
// by Failed, and does without Redis until Up.
package redisdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/status"
)

const (
	// Timeout is what Redis may take from one request. After the first that
	// takes longer, no request asks until Redis was seen to answer in time. It is
	// long for a Redis, so that a machine that is short of processors for a
	// moment does not pass for a Redis that is away, and its counts are kept.
	Timeout = 100 * time.Millisecond
	// probeInterval is how often Redis is looked at. It is also looked at as
	// soon as it goes away, so that one slow answer costs milliseconds.
	probeInterval = time.Second
	// probeRoom is how many times its timeout a look may take, which may need a
	// new connection.
	probeRoom = 5
)

// Redis is a connection to Redis. A nil *Redis is that of a store without one:
// it is never up.
type Redis struct {
	// Timeout is the constant Timeout, unless another is set before Run.
	Timeout time.Duration

	client redis.UniversalClient
	prefix string
	log    *slog.Logger

	up    atomic.Bool
	state atomic.Pointer[status.Dependency]
	// lost has Run look at once.
	lost     chan struct{}
	returned time.Time
	onReturn []func(context.Context) error
}

// Open prepares the connection; it does not connect. Run looks after it.
func Open(c config.Redis, store config.Store, log *slog.Logger, metrics prometheus.Registerer) (*Redis, error) {
	client, err := newClient(c)
	if err != nil {
		return nil, err
	}
	r := &Redis{
		Timeout: Timeout,
		client:  client,
		prefix:  fmt.Sprintf("{%s/%s}:", store.Namespace, store.Name),
		log:     log,
		lost:    make(chan struct{}, 1),
	}
	r.state.Store(&status.Dependency{Error: "not tried yet"})
	metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gocart_redis_up", Help: "1 while Redis is in use.",
	}, func() float64 {
		if r.Up() {
			return 1
		}
		return 0
	}))
	return r, nil
}

// QuietClient keeps the Redis library from writing to standard error: what it
// has to say is in Status, and in the log once.
func QuietClient() { redis.SetLogger(quiet{}) }

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// Client sends commands; it is used while Up.
func (r *Redis) Client() redis.UniversalClient { return r.client }

// Key is the store's own key of that name. All of a store's keys share a hash
// tag, so that one script may use several on a Redis Cluster.
func (r *Redis) Key(name string) string { return r.prefix + name }

// Up reports whether Redis is worth asking.
func (r *Redis) Up() bool { return r != nil && r.up.Load() }

// OnReturn has f called each time before Redis is used again, the first time
// included; while f fails Redis stays away. It is said before Run.
func (r *Redis) OnReturn(f func(context.Context) error) {
	r.onReturn = append(r.onReturn, f)
}

// Failed stops the use of Redis for err, which a command returned, unless ctx
// says that the caller went: that is not Redis' fault.
func (r *Redis) Failed(ctx context.Context, err error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	why := explain(err)
	r.state.Store(&status.Dependency{Version: r.state.Load().Version, Error: why})
	if r.up.Swap(false) {
		r.log.Warn("redis is away; the store serves on without it", "reason", why)
		select {
		case r.lost <- struct{}{}:
		default:
		}
	}
}

// Status is what Redis looks like now, nil for a store without one.
func (r *Redis) Status() *status.Dependency {
	if r == nil {
		return nil
	}
	return r.state.Load()
}

// Run looks at Redis until ctx ends, and then closes the connection.
func (r *Redis) Run(ctx context.Context) {
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		if err := r.probe(ctx); err != nil {
			r.Failed(ctx, err)
		}
		lost := r.lost
		if time.Since(r.returned) < probeInterval { // one that comes and goes does so slowly
			lost = nil
		}
		select {
		case <-ctx.Done():
			r.up.Store(false)
			_ = r.client.Close()
			return
		case <-tick.C:
		case <-lost:
		}
	}
}

func (r *Redis) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeRoom*r.Timeout)
	defer cancel()
	if err := r.client.Ping(ctx).Err(); err != nil {
		return err
	}
	if r.Up() {
		r.look(ctx)
		return nil
	}
	if err := r.inTime(ctx); err != nil {
		return err
	}
	for _, f := range r.onReturn {
		if err := f(ctx); err != nil {
			return err
		}
	}
	r.look(ctx)
	r.returned = time.Now()
	r.up.Store(true)
	r.log.Info("redis is in use", "version", r.state.Load().Version)
	return nil
}

// inTime asks over a connection that is there, as a request would.
func (r *Redis) inTime(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	return r.client.Ping(ctx).Err()
}

// look notes what Redis says of itself.
func (r *Redis) look(ctx context.Context) {
	version := ""
	info, _ := r.client.Info(ctx, "server").Result() // a user may be kept from it
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, "redis_version:"); ok {
			version = strings.TrimSpace(v)
		}
	}
	r.state.Store(&status.Dependency{Reachable: true, Version: version})
}
