// Package cache keeps encoded answers in Redis for a while. It holds only what
// may be lost: a Redis that is slow, full, wrong or away makes answers
// uncached, never late and never an error.
package cache

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"golang.org/x/sync/singleflight"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/status"
)

const (
	// commandTimeout is what Redis may take from one request. After the first
	// that takes longer, no request asks until a probe was answered.
	commandTimeout = 25 * time.Millisecond
	// probeInterval is how often Redis is looked at, and so how soon it is
	// used again.
	probeInterval = time.Second
	probeTimeout  = 500 * time.Millisecond
	// makeTimeout bounds the making of an answer that several wait for.
	makeTimeout = 5 * time.Second
)

// Cache is a store's answers. A nil *Cache keeps nothing.
type Cache struct {
	client redis.UniversalClient
	prefix string
	ttl    time.Duration
	log    *slog.Logger

	up      atomic.Bool
	state   atomic.Pointer[status.Dependency]
	flights singleflight.Group
	// writes counts this process's own: what was asked after one is not
	// answered with what was read before it, also without Redis.
	writes  atomic.Int64
	lookups *prometheus.CounterVec
}

// Open prepares the connection to Redis; it does not connect. Run looks after it.
func Open(c config.Config, log *slog.Logger, metrics prometheus.Registerer) (*Cache, error) {
	options, err := clientOptions(*c.Redis)
	if err != nil {
		return nil, err
	}
	k := &Cache{
		client: redis.NewClient(options),
		prefix: fmt.Sprintf("{%s/%s}:", c.Store.Namespace, c.Store.Name),
		ttl:    time.Duration(c.Cache.TTL),
		log:    log,
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocart_cache_lookups_total",
			Help: "Answers looked for in Redis, by result: hit, miss, or away where Redis was not asked or did not answer.",
		}, []string{"result"}),
	}
	k.state.Store(&status.Dependency{Error: "not tried yet"})
	metrics.MustRegister(k.lookups, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gocart_redis_up", Help: "1 while Redis is in use.",
	}, func() float64 {
		if k.up.Load() {
			return 1
		}
		return 0
	}))
	return k, nil
}

// QuietClient keeps the Redis library from writing to standard error: what it
// has to say is in Status, and in the log once.
func QuietClient() { redis.SetLogger(quiet{}) }

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func clientOptions(c config.Redis) (*redis.Options, error) {
	raw, err := os.ReadFile(c.URLFile)
	if err != nil {
		return nil, fmt.Errorf("redis.urlFile: %w", err)
	}
	o, err := redis.ParseURL(strings.TrimSpace(string(raw)))
	if err != nil { // which would quote the password
		return nil, fmt.Errorf("redis.urlFile: %s holds no URL of the form redis://user:password@host:6379/0", c.URLFile)
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("redis.caFile: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("redis.caFile: %s holds no PEM certificate", c.CAFile)
		}
		if o.TLSConfig == nil {
			return nil, errors.New("redis.caFile: needs a rediss:// URL")
		}
		o.TLSConfig.RootCAs = roots
	}
	if o.TLSConfig != nil {
		o.TLSConfig.MinVersion = tls.VersionTLS12
	}
	o.ContextTimeoutEnabled = true
	o.DialTimeout = probeTimeout
	o.MaxRetries, o.DialerRetries = -1, 1 // the probe is the retry
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o, nil
}

// Run looks at Redis until ctx ends: it turns the cache on and off, and
// forgets old answers whenever Redis comes back, since writes meanwhile could
// not.
func (k *Cache) Run(ctx context.Context) {
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		k.probe(ctx)
		select {
		case <-ctx.Done():
			_ = k.client.Close()
			return
		case <-tick.C:
		}
	}
}

func (k *Cache) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err := k.client.Ping(ctx).Err()
	if err == nil && !k.up.Load() {
		err = k.renew(ctx)
	}
	if err != nil {
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			k.away(err)
		}
		return
	}
	version := ""
	info, _ := k.client.Info(ctx, "server").Result() // a user may be kept from it
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, "redis_version:"); ok {
			version = strings.TrimSpace(v)
		}
	}
	k.state.Store(&status.Dependency{Reachable: true, Version: version})
	if !k.up.Swap(true) {
		k.log.Info("redis is in use", "version", version)
	}
}

// away stops the use of Redis until a probe is answered.
func (k *Cache) away(err error) {
	why := explain(err)
	k.state.Store(&status.Dependency{Version: k.state.Load().Version, Error: why})
	if k.up.Swap(false) {
		k.log.Warn("redis is away; answers are not cached", "reason", why)
	}
}

// Status is what Redis looks like now.
func (k *Cache) Status() *status.Dependency {
	if k == nil {
		return nil
	}
	return k.state.Load()
}

func (k *Cache) generationKey() string { return k.prefix + "answers:generation" }

// An entry is the generation that it was made in, a space, and the answer.
// Invalidate replaces the generation, which makes every entry one of the past:
// also one that a slow request still stores afterwards, because it read the
// generation before it read the database.

// Answer returns what is kept under key, or makes it, at most once at a time,
// and keeps it. Errors are those of make and are not kept.
func (k *Cache) Answer(ctx context.Context, key string, make func(context.Context) ([]byte, error)) ([]byte, error) {
	if k == nil {
		return make(ctx)
	}
	generation, kept := k.get(ctx, key)
	if kept != nil {
		return kept, nil
	}
	flight := k.flights.DoChan(fmt.Sprint(generation, k.writes.Load(), key), func() (any, error) {
		// Whoever came first may go; the others still wait.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), makeTimeout)
		defer cancel()
		answer, err := make(ctx)
		if err == nil && generation != "" {
			k.set(ctx, key, generation, answer)
		}
		return answer, err
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case result := <-flight:
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.([]byte), nil
	}
}

// get returns the generation, empty where nothing should be kept, and the
// answer if there is one.
func (k *Cache) get(ctx context.Context, key string) (generation string, answer []byte) {
	if !k.up.Load() {
		k.lookups.WithLabelValues("away").Inc()
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	values, err := k.client.MGet(ctx, k.generationKey(), k.prefix+"answer:"+key).Result()
	if err != nil {
		k.failed(ctx, err)
		k.lookups.WithLabelValues("away").Inc()
		return "", nil
	}
	generation, _ = values[0].(string)
	if generation == "" { // evicted, or Redis is new
		_ = k.renew(ctx)
	}
	if entry, ok := values[1].(string); ok && generation != "" {
		if rest, ok := strings.CutPrefix(entry, generation+" "); ok {
			k.lookups.WithLabelValues("hit").Inc()
			return generation, []byte(rest)
		}
	}
	k.lookups.WithLabelValues("miss").Inc()
	return generation, nil
}

func (k *Cache) set(ctx context.Context, key, generation string, answer []byte) {
	if !k.up.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	entry := append([]byte(generation+" "), answer...)
	if err := k.client.Set(ctx, k.prefix+"answer:"+key, entry, k.ttl).Err(); err != nil {
		k.failed(ctx, err)
	}
}

// failed tells a Redis that is away from a caller who is.
func (k *Cache) failed(ctx context.Context, err error) {
	if !errors.Is(ctx.Err(), context.Canceled) {
		k.away(err)
	}
}

// Invalidate makes every answer kept so far one of the past. Where Redis is
// away, that is done before it is used again by this process; elsewhere the
// TTL bounds how long an old answer lives.
func (k *Cache) Invalidate(ctx context.Context) {
	if k == nil {
		return
	}
	k.writes.Add(1)
	if !k.up.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTimeout)
	defer cancel()
	if err := k.renew(ctx); err != nil {
		k.away(err)
	}
}

func (k *Cache) renew(ctx context.Context) error {
	return k.client.Set(ctx, k.generationKey(), uuid.NewString(), 0).Err()
}
