package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	descriptor "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	envoy "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	envoyconfig "github.com/envoyproxy/ratelimit/src/config"
	envoyredis "github.com/envoyproxy/ratelimit/src/redis"
	"github.com/envoyproxy/ratelimit/src/settings"
	envoystats "github.com/envoyproxy/ratelimit/src/stats"
	"github.com/envoyproxy/ratelimit/src/utils"
	"github.com/go-redis/redis_rate/v10"
	gostats "github.com/lyft/gostats"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/sirupsen/logrus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/ratelimit"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
	"gitee.com/captainjez/gocart/runtime/internal/redisserver"
)

// plenty is a limit that nobody reaches: what passes is what costs most.
const plenty = 1_000_000_000

// bareScript is the least that counts in one window.
const bareScript = `local n = redis.call('INCRBY', KEYS[1], ARGV[1])
if n == tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return n`

func prepare(ctx context.Context, server *redisserver.Server) ([]subject, error) {
	client := redis.NewClient(&redis.Options{Addr: server.Addr, PoolSize: callers})
	sha, err := client.ScriptLoad(ctx, bareScript).Result()
	if err != nil {
		return nil, err
	}
	bareKeys := named("bare:%d")
	rate := redis_rate.NewLimiter(client)
	rateKeys := named("address:%d")
	strict, err := limiter(ctx, server, "strict", false)
	if err != nil {
		return nil, err
	}
	leased, err := limiter(ctx, server, "leased", true)
	if err != nil {
		return nil, err
	}
	counters := make([][]ratelimit.Counter, keys)
	for i, key := range named("address:%d") {
		counters[i] = []ratelimit.Counter{{Key: key, Windows: []ratelimit.Window{{Requests: plenty, Period: time.Minute}, {Requests: plenty, Period: time.Hour}, {Requests: plenty, Period: 24 * time.Hour}}}}
	}
	list, addresses, err := cidrs()
	if err != nil {
		return nil, err
	}
	gets, err := getSubjects(strict, leased)
	if err != nil {
		return nil, err
	}
	return append([]subject{
		{"redis_benchmark", "floor: bare script, one window, by redis-benchmark", func(ctx context.Context, each time.Duration) (float64, error) {
			return benchmark(ctx, server.Addr, each, "EVALSHA", sha, "1", "bare:__rand_int__", "1", "60000")
		}},
		{"bare", "floor: the same by a bare go-redis client", atOnce(func(ctx context.Context, i int) error {
			return client.EvalSha(ctx, sha, bareKeys[i:i+1], 1, 60000).Err()
		})},
		{"redis_rate", "redis_rate, one window", atOnce(func(ctx context.Context, i int) error {
			r, err := rate.Allow(ctx, rateKeys[i], redis_rate.Limit{Rate: plenty, Burst: plenty, Period: time.Minute})
			return passed(err, err == nil && r.Allowed > 0)
		})},
		{"envoy", "envoyproxy/ratelimit, one window", atOnce(envoyLimiter(server.Addr))},
		{"strict", "strict, three windows", atOnce(func(ctx context.Context, i int) error {
			return passed(nil, strict.Decide(ctx, counters[i], 1, nil).Allowed)
		})},
		{"leased", "leased, three windows, a second of one processor", ofProcessor(1, func(i int, states []ratelimit.State) {
			leased.Decide(ctx, counters[i], 1, states)
		})},
		{"leased_all", "leased, the same where all processors decide", ofProcessor(runtime.GOMAXPROCS(0), func(i int, states []ratelimit.State) {
			leased.Decide(ctx, counters[i], 1, states)
		})},
		{"list", "an address among 100,000 networks, the same", ofProcessor(1, func(i int, _ []ratelimit.State) {
			list.Contains(addresses[i%len(addresses)])
		})},
	}, gets...), nil
}

func named(format string) []string {
	names := make([]string, keys)
	for i := range names {
		names[i] = fmt.Sprintf(format, i)
	}
	return names
}

func passed(err error, allowed bool) error {
	if err == nil && !allowed {
		return errors.New("a request was refused")
	}
	return err
}

// ofProcessor measures what needs no Redis, by goroutines with keys of their
// own: how often it is done in a second of one processor's time, which
// other work on the machine takes no part of.
func ofProcessor(goroutines int, do func(i int, states []ratelimit.State)) func(context.Context, time.Duration) (float64, error) {
	return func(_ context.Context, each time.Duration) (float64, error) {
		var wg sync.WaitGroup
		var done atomic.Int64
		start, before := time.Now(), processorTime()
		for g := range goroutines {
			wg.Go(func() {
				states := make([]ratelimit.State, 4)
				n, own := 0, keys/goroutines
				for time.Since(start) < each {
					for range 1000 {
						do(g*own+n%own, states)
						n++
					}
				}
				done.Add(int64(n))
			})
		}
		wg.Wait()
		return float64(done.Load()) / (processorTime() - before).Seconds(), nil
	}
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // fails for no process of its own
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// atOnce measures ask with a key's number, by all callers at the same time.
func atOnce(ask func(ctx context.Context, key int) error) func(context.Context, time.Duration) (float64, error) {
	return func(ctx context.Context, each time.Duration) (float64, error) {
		var wg sync.WaitGroup
		var asked atomic.Int64
		var failed atomic.Pointer[error]
		start := time.Now()
		for caller := range callers {
			wg.Go(func() {
				n := int64(0)
				for i := caller * 37; time.Since(start) < each; i++ {
					if err := ask(ctx, i%keys); err != nil {
						failed.Store(&err)
						return
					}
					n++
				}
				asked.Add(n)
			})
		}
		wg.Wait()
		if err := failed.Load(); err != nil {
			return 0, *err
		}
		return float64(asked.Load()) / time.Since(start).Seconds(), nil
	}
}

// limiter is the store's, as the runtime opens it.
func limiter(ctx context.Context, server *redisserver.Server, name string, leased bool) (*ratelimit.Limiter, error) {
	path, err := server.URLFile()
	if err != nil {
		return nil, err
	}
	metrics := prometheus.NewRegistry()
	r, err := redisdb.Open(config.Redis{URLFile: path}, config.Store{Name: name, Namespace: "bench"}, slog.New(slog.DiscardHandler), metrics)
	if err != nil {
		return nil, err
	}
	l := ratelimit.New(r, ratelimit.Options{Leased: leased, FailureMode: ratelimit.Closed}, metrics)
	go r.Run(ctx)
	for !r.Up() {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return l, nil
}

// envoyLimiter asks envoyproxy/ratelimit's Redis limiter, without its server.
func envoyLimiter(addr string) func(context.Context, int) error {
	logrus.SetOutput(io.Discard)
	store := gostats.NewStore(gostats.NewNullSink(), false)
	manager := envoystats.NewStatManager(store, settings.Settings{})
	client := envoyredis.NewClientImpl(store, false, "", "tcp", "single", addr, callers, 0, 0, nil, false, nil, time.Second, "", "")
	cache := envoyredis.NewFixedRateLimitCacheImpl(client, nil, utils.NewTimeSourceImpl(), nil, 0, nil, 0.8, "", manager, false)
	limits := []*envoyconfig.RateLimit{{
		FullKey: "bench.address", Stats: manager.NewStats("bench.address"),
		Limit: &envoy.RateLimitResponse_RateLimit{RequestsPerUnit: plenty, Unit: envoy.RateLimitResponse_RateLimit_MINUTE},
	}}
	requests := make([]*envoy.RateLimitRequest, keys)
	for i, name := range named("%d") {
		requests[i] = &envoy.RateLimitRequest{Domain: "bench", HitsAddend: 1, Descriptors: []*descriptor.RateLimitDescriptor{
			{Entries: []*descriptor.RateLimitDescriptor_Entry{{Key: "address", Value: name}}},
		}}
	}
	return func(ctx context.Context, i int) error {
		return passed(nil, cache.DoLimit(ctx, requests[i], limits)[0].Code == envoy.RateLimitResponse_OK)
	}
}

// cidrs is a list of 100,000 networks, and addresses to look up.
func cidrs() (*ratelimit.List, []netip.Addr, error) {
	random := rand.New(rand.NewPCG(1, 2))
	address := func() netip.Addr {
		n := random.Uint32()
		return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	entries := make([]string, 100_000)
	for i := range entries {
		entries[i] = fmt.Sprintf("%s/%d", address(), 16+random.IntN(17))
	}
	addresses := make([]netip.Addr, 4096)
	for i := range addresses {
		addresses[i] = address()
	}
	list, err := ratelimit.ParseList(entries)
	return list, addresses, err
}
