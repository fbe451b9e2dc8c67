package ratelimit_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/ratelimit"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

// BenchmarkDecide decides by three windows, of one of 1,000 keys.
func BenchmarkDecide(b *testing.B) {
	server := testbed.Redis(b)
	for name, o := range map[string]ratelimit.Options{"strict": strict, "leased": leased, "local": strict} {
		var r *redisdb.Redis
		metrics := prometheus.NewRegistry()
		if name != "local" {
			var err error
			if r, err = redisdb.Open(config.Redis{URLFile: testbed.File(b, "redis://"+server.Addr)}, config.Store{Name: name}, (&testbed.Log{}).Logger(), metrics); err != nil {
				b.Fatal(err)
			}
		}
		l := ratelimit.New(r, o, metrics)
		if r != nil {
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			go r.Run(ctx)
			testbed.Eventually(b, "Redis is in use", r.Up)
		}
		counters := make([][]ratelimit.Counter, 1000)
		for i := range counters {
			counters[i] = []ratelimit.Counter{counter(fmt.Sprint("address:", i), per(time.Minute, 1e12), per(time.Hour, 1e12), per(24*time.Hour, 1e12))}
		}
		b.Run(name+"/one", func(b *testing.B) {
			b.ReportAllocs()
			var states [4]ratelimit.State
			ctx, i := b.Context(), 0
			for b.Loop() {
				if d := l.Decide(ctx, counters[i%len(counters)], 1, states[:]); !d.Allowed {
					b.Fatalf("%+v", d)
				}
				i++
			}
		})
		b.Run(name+"/many", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(25)
			var start atomic.Int64
			b.RunParallel(func(p *testing.PB) {
				var states [4]ratelimit.State
				ctx := b.Context()
				for i := int(start.Add(37)); p.Next(); i++ {
					if d := l.Decide(ctx, counters[i%len(counters)], 1, states[:]); !d.Allowed {
						b.Errorf("%+v", d)
					}
				}
			})
		})
	}
}
