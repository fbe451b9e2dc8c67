// Package cache keeps encoded answers in Redis for a while. It holds only what
// may be lost: a Redis that is slow, full, wrong or away makes answers
// uncached, never late and never an error.
package cache

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
)

// makeTimeout bounds the making of an answer that several wait for.
const makeTimeout = 5 * time.Second

// Cache is a store's answers. A nil *Cache keeps nothing.
type Cache struct {
	redis *redisdb.Redis
	ttl   time.Duration

	flights singleflight.Group
	// writes counts this process's own: what was asked after one is not
	// answered with what was read before it, also without Redis.
	writes  atomic.Int64
	lookups *prometheus.CounterVec
}

// New keeps answers in Redis for ttl. It forgets the old ones whenever Redis
// comes back, since writes meanwhile could not.
func New(r *redisdb.Redis, ttl time.Duration, metrics prometheus.Registerer) *Cache {
	k := &Cache{
		redis: r,
		ttl:   ttl,
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocart_cache_lookups_total",
			Help: "Answers looked for in Redis, by result: hit, miss, or away where Redis was not asked or did not answer.",
		}, []string{"result"}),
	}
	metrics.MustRegister(k.lookups)
	r.OnReturn(k.renew)
	return k
}

func (k *Cache) generationKey() string { return k.redis.Key("answers:generation") }

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
	if !k.redis.Up() {
		k.lookups.WithLabelValues("away").Inc()
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.redis.Timeout)
	defer cancel()
	values, err := k.redis.Client().MGet(ctx, k.generationKey(), k.redis.Key("answer:"+key)).Result()
	if err != nil {
		k.redis.Failed(ctx, err)
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
	if !k.redis.Up() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, k.redis.Timeout)
	defer cancel()
	entry := append([]byte(generation+" "), answer...)
	if err := k.redis.Client().Set(ctx, k.redis.Key("answer:"+key), entry, k.ttl).Err(); err != nil {
		k.redis.Failed(ctx, err)
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
	if !k.redis.Up() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.redis.Timeout)
	defer cancel()
	if err := k.renew(ctx); err != nil {
		k.redis.Failed(ctx, err)
	}
}

func (k *Cache) renew(ctx context.Context) error {
	return k.redis.Client().Set(ctx, k.generationKey(), uuid.NewString(), 0).Err()
}
