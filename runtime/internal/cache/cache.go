// Package cache keeps encoded answers for a while: in Redis for all replicas,
// and in the memory of each process in front of it, so that what many ask for
// costs neither Redis nor the database anything. It holds only what may be
// lost: a Redis that is slow, full, wrong or away makes answers uncached, never
// late and never an error.
//
// No answer is given that was read before a write of the same process, or of
// another whose Invalidate this one has heard of. It hears at once; where the
// line to Redis is cut without a sign, an answer from memory can be 2 s older
// than a write. What could not be told to Redis the TTL bounds, from when the
// answer was read. Without Redis nothing is kept, for then nobody would tell.
package cache

import (
	"context"
	"fmt"
	"strings"
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
	redis  *redisdb.Redis
	ttl    time.Duration
	memory *memory

	flights singleflight.Group
	// lookups by layer.
	inMemory, inRedis results
}

// results count lookups.
type results struct{ hit, miss, away prometheus.Counter }

// New keeps answers in Redis and, while Run runs, in memory, for ttl. It
// forgets the old ones whenever Redis comes back, since writes meanwhile could
// not.
func New(r *redisdb.Redis, ttl time.Duration, metrics prometheus.Registerer) *Cache {
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocart_cache_lookups_total",
		Help: "Answers looked for, by layer, memory before redis, and result: hit, miss, or away where the layer was not asked or did not answer.",
	}, []string{"layer", "result"})
	metrics.MustRegister(lookups)
	of := func(layer string) results {
		return results{lookups.WithLabelValues(layer, "hit"), lookups.WithLabelValues(layer, "miss"), lookups.WithLabelValues(layer, "away")}
	}
	k := &Cache{redis: r, ttl: ttl, memory: newMemory(metrics), inMemory: of("memory"), inRedis: of("redis")}
	r.OnReturn(k.renew)
	return k
}

func (k *Cache) generationKey() string { return k.redis.Key("answers:generation") }

// channel is where each new generation is told.
func (k *Cache) channel() string { return k.redis.Key("answers:generations") }

// An entry in Redis is the generation that it was made in, a space, and the
// answer. Invalidate replaces the generation, which makes every entry one of
// the past: also one that a slow request still stores afterwards, because it
// read the generation before it read the database. In memory the epoch is that.

// Answer returns what is kept under key, or makes it, at most once at a time,
// and keeps it. Errors are those of make and are not kept.
func (k *Cache) Answer(ctx context.Context, key string, make func(context.Context) ([]byte, error)) (*Answer, error) {
	if k == nil {
		return made(make(ctx))
	}
	began, epoch := time.Now(), k.memory.epoch.Load()
	if answer := k.remembered(key, epoch); answer != nil {
		return answer, nil
	}
	generation, answer, left := k.get(ctx, key)
	if answer != nil {
		k.memory.set(key, epoch, answer, left)
		return answer, nil
	}
	flight := k.flights.DoChan(fmt.Sprint(generation, epoch, key), func() (any, error) {
		// Whoever came first may go; the others still wait.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), makeTimeout)
		defer cancel()
		answer, err := made(make(ctx))
		if err == nil && generation != "" {
			k.set(ctx, key, generation, answer)
			k.memory.set(key, epoch, answer, k.ttl-time.Since(began))
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
		return result.Val.(*Answer), nil
	}
}

func made(body []byte, err error) (*Answer, error) {
	if err != nil {
		return nil, err
	}
	return NewAnswer(body), nil
}

// remembered is the answer in memory, nil where there is none to give.
func (k *Cache) remembered(key string, epoch int64) *Answer {
	if !k.redis.Up() || !k.memory.usable() {
		k.inMemory.away.Inc()
		return nil
	}
	answer := k.memory.get(key, epoch)
	if answer == nil {
		k.inMemory.miss.Inc()
		return nil
	}
	k.inMemory.hit.Inc()
	return answer
}

// get returns the generation, empty where nothing should be kept, and the
// answer if there is one, with how long it may still be given.
func (k *Cache) get(ctx context.Context, key string) (generation string, answer *Answer, left time.Duration) {
	if !k.redis.Up() {
		k.inRedis.away.Inc()
		return "", nil, 0
	}
	ctx, cancel := context.WithTimeout(ctx, k.redis.Timeout)
	defer cancel()
	commands := k.redis.Client().Pipeline()
	ttl := commands.PTTL(ctx, k.redis.Key("answer:"+key)) // first: of one that is stored in between, it is less than the truth
	found := commands.MGet(ctx, k.generationKey(), k.redis.Key("answer:"+key))
	if _, err := commands.Exec(ctx); err != nil {
		k.redis.Failed(ctx, err)
		k.inRedis.away.Inc()
		return "", nil, 0
	}
	generation, _ = found.Val()[0].(string)
	if generation == "" { // evicted, or Redis is new
		_ = k.renew(ctx)
	}
	if entry, ok := found.Val()[1].(string); ok && generation != "" {
		if rest, ok := strings.CutPrefix(entry, generation+" "); ok {
			k.inRedis.hit.Inc()
			return generation, NewAnswer([]byte(rest)), ttl.Val()
		}
	}
	k.inRedis.miss.Inc()
	return generation, nil, 0
}

func (k *Cache) set(ctx context.Context, key, generation string, answer *Answer) {
	if !k.redis.Up() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, k.redis.Timeout)
	defer cancel()
	entry := append([]byte(generation+" "), answer.body...)
	if err := k.redis.Client().Set(ctx, k.redis.Key("answer:"+key), entry, k.ttl).Err(); err != nil {
		k.redis.Failed(ctx, err)
	}
}

// Invalidate makes every answer kept so far one of the past, in all replicas.
// Where Redis is away, that is done before it is used again by this process;
// elsewhere the TTL bounds how long an old answer lives.
func (k *Cache) Invalidate(ctx context.Context) {
	if k == nil {
		return
	}
	// Before, for those who wait for what is read now; and after, for those who
	// found in Redis meanwhile what was of the past.
	k.memory.nextEpoch()
	defer k.memory.nextEpoch()
	if !k.redis.Up() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.redis.Timeout)
	defer cancel()
	if err := k.renew(ctx); err != nil {
		k.redis.Failed(ctx, err)
	}
}

// renew begins a generation, and tells everybody: in this order, so that who
// hears of it finds it.
func (k *Cache) renew(ctx context.Context) error {
	generation, commands := uuid.NewString(), k.redis.Client().Pipeline()
	commands.Set(ctx, k.generationKey(), generation, 0)
	commands.Publish(ctx, k.channel(), generation)
	_, err := commands.Exec(ctx)
	return err
}
