package ratelimit_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/ratelimit"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func TestMain(m *testing.M) {
	redisdb.QuietClient()
	testbed.Main(m)
}

var (
	strict = ratelimit.Options{FailureMode: ratelimit.Local}
	leased = ratelimit.Options{FailureMode: ratelimit.Local, Leased: true}
)

// patience is the timeout of tests that a busy machine should not fail.
const patience = 10 * time.Second

// replica is a limiter with a connection of its own.
type replica struct {
	*ratelimit.Limiter
	redis   *redisdb.Redis
	metrics *prometheus.Registry
}

func open(t *testing.T, addr string, o ratelimit.Options, timeout time.Duration) replica {
	t.Helper()
	metrics := prometheus.NewRegistry()
	r, err := redisdb.Open(config.Redis{URLFile: testbed.File(t, "redis://"+addr)}, config.Store{Name: "shop", Namespace: "ns"}, (&testbed.Log{}).Logger(), metrics)
	if err != nil {
		t.Fatal(err)
	}
	r.Timeout = timeout
	l := ratelimit.New(r, o, metrics)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { r.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return replica{l, r, metrics}
}

// inUse gives n replicas that use one Redis.
func inUse(t *testing.T, n int, addr string, o ratelimit.Options) []replica {
	t.Helper()
	replicas := make([]replica, n)
	for i := range replicas {
		replicas[i] = open(t, addr, o, patience)
		testbed.Eventually(t, "Redis is in use", replicas[i].redis.Up)
	}
	return replicas
}

func ask(r replica, cost int64, counters ...ratelimit.Counter) ratelimit.Decision {
	return r.Decide(context.Background(), counters, cost, nil)
}

func counter(key string, windows ...ratelimit.Window) ratelimit.Counter {
	return ratelimit.Counter{Key: key, Windows: windows}
}

func per(period time.Duration, requests int64) ratelimit.Window {
	return ratelimit.Window{Requests: requests, Period: period}
}

// address has the default limits of a client address.
func address(key string) ratelimit.Counter {
	return counter("address:"+key, per(time.Minute, 60), per(time.Hour, 1000), per(24*time.Hour, 10000))
}

// passed asks n times at the same moment, of the replicas in turn.
func passed(replicas []replica, n int, counters ...ratelimit.Counter) int64 {
	var passed atomic.Int64
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if ask(replicas[i%len(replicas)], 1, counters...).Allowed {
				passed.Add(1)
			}
		})
	}
	wg.Wait()
	return passed.Load()
}

// remaining is what the window has left in Redis, asked by a replica of its own.
func remaining(t *testing.T, addr string, c ratelimit.Counter) []int64 {
	t.Helper()
	r := inUse(t, 1, addr, strict)[0]
	var n []int64
	for _, s := range ask(r, 1, c).States {
		n = append(n, s.Remaining)
	}
	return n
}

func TestOfAHundredRequestsToThreeReplicasSixtyPass(t *testing.T) {
	t.Parallel()
	replicas := inUse(t, 3, testbed.Redis(t).Addr, strict)
	for identity := range 10 {
		if n := passed(replicas, 100, address(fmt.Sprint(identity)), counter("all", per(time.Hour, 1_000_000))); n != 60 {
			t.Errorf("identity %d: %d passed, want 60", identity, n)
		}
	}
}

func TestARefusedRequestCostsNothingInTheOtherWindows(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]ratelimit.Options{"strict": strict, "leased": leased} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testbed.Redis(t)
			replicas := inUse(t, 2, server.Addr, o)
			one := counter("one", per(time.Minute, 5), per(time.Hour, 100))
			all := counter("all", per(time.Hour, 19))
			if n := passed(replicas, 12, all, one); n != 5 {
				t.Fatalf("%d passed, want 5", n)
			}
			if got := remaining(t, server.Addr, counter("one", per(time.Hour, 100)))[0]; got != 94 {
				t.Errorf("the hour of the one has %d left after one more, want 94", got)
			}
			n := 0
			for _, r := range replicas {
				for ask(r, 1, all).Allowed {
					n++
				}
			}
			if n != 14 {
				t.Errorf("%d more passed where only all are counted, want 14", n)
			}
		})
	}
}

func TestRemainingGoesDownByTheCost(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]ratelimit.Options{"strict": strict, "leased": leased} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := inUse(t, 1, testbed.Redis(t).Addr, o)[0]
			left := []int64{1000, 5000}
			for i := range int64(30) {
				cost := i%3 + 1
				d := ask(r, cost, counter("key", per(time.Hour, 1000), per(24*time.Hour, 5000)))
				for w, s := range d.States {
					left[w] -= cost
					if !d.Allowed || s.Remaining != left[w] || s.Reset <= 59*time.Minute || s.Reset > s.Period {
						t.Fatalf("request %d: %+v, want %d left", i, d, left[w])
					}
				}
			}
		})
	}
}

func TestWhoWaitsForRetryAfterPasses(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]ratelimit.Options{"strict": strict, "leased": leased} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := inUse(t, 1, testbed.Redis(t).Addr, o)[0]
			c := counter("key", per(100*time.Millisecond, 3), per(150*time.Millisecond, 4))
			for range 20 {
				d := ask(r, 1, c)
				for d.Allowed {
					d = ask(r, 1, c)
				}
				if d.RetryAfter <= 0 || d.RetryAfter > 150*time.Millisecond {
					t.Fatalf("%+v", d)
				}
				<-time.After(d.RetryAfter)
				if again := ask(r, 1, c); !again.Allowed {
					t.Fatalf("after %s: %+v", d.RetryAfter, again)
				}
			}
		})
	}
}

func TestARefusalIsRememberedAndASmallerCostIsStillAsked(t *testing.T) {
	t.Parallel()
	r := inUse(t, 1, testbed.Redis(t).Addr, strict)[0]
	c := counter("key", per(time.Minute, 10))
	ask(r, 7, c)
	for i, want := range []struct {
		cost    int64
		allowed bool
		source  ratelimit.Source
		left    int64
	}{
		{4, false, ratelimit.Redis, 3},
		{4, false, ratelimit.Memory, 3},
		{3, true, ratelimit.Redis, 0},
		{1, false, ratelimit.Redis, 0},
		{1, false, ratelimit.Memory, 0},
	} {
		d := ask(r, want.cost, c)
		if d.Allowed != want.allowed || d.Source != want.source || d.States[0].Remaining != want.left {
			t.Errorf("request %d: %+v", i, d)
		}
	}
	if d := ask(r, 1, counter("key", per(time.Minute, 12))); !d.Allowed {
		t.Errorf("a limit that was raised: %+v", d)
	}
}

func TestMoreThanAWindowHoldsIsRefused(t *testing.T) {
	t.Parallel()
	r := inUse(t, 1, testbed.Redis(t).Addr, strict)[0]
	for name, c := range map[string]ratelimit.Counter{
		"a cost above the limit": counter("little", per(time.Minute, 4)),
		"a limit of zero":        counter("nothing", per(time.Minute, 0)),
	} {
		for range 2 {
			if d := ask(r, 5, c); d.Allowed || d.RetryAfter <= 59*time.Second || d.RetryAfter > time.Minute || !d.States[0].Refused {
				t.Errorf("%s: %+v", name, d)
			}
		}
	}
}

func TestShadowCountsWhatItWouldLetPassAndRefusesNothing(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]ratelimit.Options{"strict": strict, "leased": leased} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := inUse(t, 1, testbed.Redis(t).Addr, o)[0]
			real, shadow := counter("real", per(time.Hour, 4)), counter("shadow", per(time.Hour, 2))
			shadow.Shadow = true
			for i, want := range []struct {
				allowed, shadowed bool
				left              int64
			}{{true, false, 1}, {true, false, 0}, {true, true, 0}, {true, true, 0}} {
				d := ask(r, 1, real, shadow)
				if s := d.States[1]; d.Allowed != want.allowed || s.Refused != want.shadowed || s.Remaining != want.left || !s.Shadow || s.Counter != 1 {
					t.Errorf("request %d: %+v", i, d)
				}
			}
			if d := ask(r, 1, real, shadow); d.Allowed {
				t.Errorf("%+v", d)
			}
			other := counter("shadow", per(24*time.Hour, 100))
			if got := ask(r, 1, other).States[0].Remaining; got != 99 {
				t.Errorf("%d left in another window", got)
			}
		})
	}
}

func TestWhatWasCountedStaysWhereTheWindowsChange(t *testing.T) {
	t.Parallel()
	r := inUse(t, 1, testbed.Redis(t).Addr, strict)[0]
	ask(r, 10, counter("key", per(time.Minute, 60), per(time.Hour, 1000)))
	d := ask(r, 1, counter("key", per(24*time.Hour, 500), per(time.Hour, 100)))
	if d.States[0].Remaining != 499 || d.States[1].Remaining != 89 {
		t.Errorf("%+v", d.States)
	}
	d = ask(r, 1, counter("key", per(time.Minute, 60)))
	if d.States[0].Remaining != 49 {
		t.Errorf("what was left out for a while: %+v", d.States)
	}
}

func TestARestartedRedisIsAskedWithoutAnError(t *testing.T) {
	t.Parallel()
	server := testbed.Redis(t)
	r := inUse(t, 1, server.Addr, strict)[0]
	ask(r, 1, address("a"))
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer client.Close()
	if err := client.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if d := ask(r, 1, address("a")); d.Source != ratelimit.Redis || d.States[0].Remaining != 58 {
		t.Fatalf("without its script: %+v", d)
	}
	server.Kill()
	if d := ask(r, 1, address("a")); d.Source != ratelimit.Local || !d.Allowed {
		t.Fatalf("without Redis: %+v", d)
	}
	server.Start(t)
	testbed.Eventually(t, "Redis is in use", r.redis.Up)
	if d := ask(r, 1, address("a")); d.Source != ratelimit.Redis || d.States[0].Remaining != 59 {
		t.Fatalf("with Redis again: %+v", d)
	}
}

func TestFailureModes(t *testing.T) {
	t.Parallel()
	r := open(t, "127.0.0.1:1", strict, patience)
	c := counter("key", per(time.Minute, 2))
	for i, allowed := range []bool{true, true, false} {
		if d := ask(r, 1, c); d.Allowed != allowed || d.Source != ratelimit.Local || len(d.States) != 1 || d.States[0].Remaining != max(0, int64(1-i)) {
			t.Errorf("local: %+v", d)
		}
	}
	for _, o := range []ratelimit.Options{strict, leased} {
		o.FailureMode = ratelimit.Open
		r.Configure(o)
		if d := ask(r, 1, c); !d.Allowed || d.Source != ratelimit.Open || r.Counting() != ratelimit.Open {
			t.Errorf("open: %+v", d)
		}
		o.FailureMode = ratelimit.Closed
		r.Configure(o)
		if d := ask(r, 1, c); d.Allowed || d.Source != ratelimit.Closed || d.RetryAfter != 0 || r.Counting() != ratelimit.Closed {
			t.Errorf("closed: %+v", d)
		}
	}
	if n := r.Refused(); n != 1 {
		t.Errorf("%d were refused for their own sake, want 1", n)
	}
}

func TestAStoreWithoutRedisCountsByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(nil, ratelimit.Options{FailureMode: ratelimit.Closed}, prometheus.NewRegistry())
		c := []ratelimit.Counter{address("a")}
		n := 0
		for range 100 {
			if l.Decide(t.Context(), c, 1, nil).Allowed {
				n++
			}
		}
		d := l.Decide(t.Context(), c, 1, nil)
		if n != 60 || d.RetryAfter != time.Minute || d.Source != ratelimit.Local || l.Counting() != ratelimit.Local {
			t.Fatalf("%d passed, then %+v", n, d)
		}
		<-time.After(d.RetryAfter)
		if d := l.Decide(t.Context(), c, 1, nil); !d.Allowed || d.States[1].Remaining != 1000-61 {
			t.Fatalf("%+v", d)
		}
		l.Ban(t.Context(), "address:a", time.Hour)
		if d := l.Decide(t.Context(), c, 1, nil); d.Allowed || d.BannedFor != time.Hour || l.Bans() != 1 {
			t.Fatalf("%+v", d)
		}
		if n := l.Refused(); n != 42 {
			t.Errorf("%d were refused, want 42", n)
		}
		<-time.After(6 * time.Minute)
		if n := l.Refused(); n != 0 {
			t.Errorf("%d were refused in five minutes of rest", n)
		}
	})
}

func TestASlowRedisIsWaitedForOnce(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]ratelimit.Options{"strict": strict, "leased": leased} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testbed.Slow(t, testbed.Redis(t).Addr)
			r := open(t, server.Addr, o, redisdb.Timeout)
			testbed.Eventually(t, "Redis is in use", r.redis.Up)
			server.Delay.Store(int64(time.Second))
			var wg sync.WaitGroup
			start := time.Now()
			for i := range 200 {
				wg.Go(func() {
					if d := ask(r, 1, address(fmt.Sprint(i))); !d.Allowed || d.Source != ratelimit.Local {
						t.Errorf("%+v", d)
					}
				})
			}
			wg.Wait()
			if took := time.Since(start); took > 20*redisdb.Timeout {
				t.Errorf("the first took %s", took)
			}
			start = time.Now()
			for range 1000 {
				ask(r, 1, address("b"))
			}
			if took := time.Since(start); took > 20*redisdb.Timeout {
				t.Errorf("1000 more took %s", took)
			}
			server.Delay.Store(0)
			testbed.Eventually(t, "Redis decides again", func() bool {
				source := ask(r, 1, address("c")).Source
				return source == ratelimit.Redis || source == ratelimit.Lease
			})
		})
	}
}

func TestABanIsSeenByAllReplicas(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]ratelimit.Options{"strict": strict, "leased": leased} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			replicas := inUse(t, 3, testbed.Redis(t).Addr, o)
			for _, r := range replicas { // who has a lease sees the ban when that ends
				ask(r, 1, address("a"))
			}
			replicas[0].Ban(t.Context(), "address:a", time.Hour)
			for i, r := range replicas {
				var d ratelimit.Decision
				testbed.Eventually(t, "the ban is seen", func() bool {
					d = ask(r, 1, counter("all", per(time.Hour, 1_000_000)), counter("address:a"))
					return !d.Allowed
				})
				if d.BannedFor <= 59*time.Minute || d.BannedFor > time.Hour || d.RetryAfter != d.BannedFor || r.Bans() != 1 {
					t.Errorf("replica %d: %+v", i, d)
				}
				if d = ask(r, 1, address("a")); d.Allowed || d.Source != ratelimit.Memory {
					t.Errorf("replica %d: %+v", i, d)
				}
			}
		})
	}
}

func TestABanHoldsHereWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	server := testbed.Redis(t)
	r := inUse(t, 1, server.Addr, strict)[0]
	server.Kill()
	ask(r, 1, address("b"))
	r.Ban(t.Context(), "address:a", time.Hour)
	if d := ask(r, 1, address("a")); d.Allowed || d.BannedFor == 0 {
		t.Fatalf("%+v", d)
	}
	server.Start(t)
	testbed.Eventually(t, "Redis is in use", r.redis.Up)
	if d := ask(r, 1, address("a")); d.Allowed || d.BannedFor == 0 {
		t.Fatalf("after Redis came back: %+v", d)
	}
}

func TestLeasesNeverLetMorePassThanTheLimitAndKeepNoMoreThanTheirShare(t *testing.T) {
	t.Parallel()
	replicas := inUse(t, 3, testbed.Redis(t).Addr, leased)
	for identity := range 10 {
		const limit = 1000
		c := counter(fmt.Sprint("key:", identity), per(time.Hour, limit), per(24*time.Hour, 10*limit))
		n := passed(replicas, 3*limit, c)
		if least := int64(limit - 2*limit/20); n > limit || n < least {
			t.Errorf("identity %d: %d passed, want %d to %d", identity, n, least, limit)
		}
	}
	small := counter("small", per(time.Hour, 39))
	if n := passed(replicas, 100, small); n != 39 { // of which a lease is one
		t.Errorf("%d of a small limit passed, want 39", n)
	}
}

func TestRemainingIsTrueWhileTheNextLeaseIsOnItsWay(t *testing.T) {
	t.Parallel()
	r := inUse(t, 1, testbed.Redis(t).Addr, leased)[0]
	const limit = 100_000 // with some dozen leases
	c := counter("key", per(time.Hour, limit))
	for left := int64(limit - 1); left >= 0; left-- {
		if d := ask(r, 1, c); !d.Allowed || d.States[0].Remaining != left {
			t.Fatalf("%+v, want %d left", d, left)
		}
	}
}

func TestWhatIsLeftOfALeaseIsGivenBack(t *testing.T) {
	t.Parallel()
	server := testbed.Redis(t)
	r := inUse(t, 1, server.Addr, leased)[0]
	c := counter("key", per(100*time.Millisecond, 1000), per(time.Hour, 10_000))
	asked := int64(0)
	for range 20 { // windows of 100 ms
		var d ratelimit.Decision
		for range 10 {
			d = ask(r, 1, c)
			asked++
		}
		<-time.After(d.States[0].Reset)
	}
	ask(r, 1, c)
	asked++
	got := remaining(t, server.Addr, counter("key", per(time.Hour, 10_000)))[0]
	if want := 10_000 - asked - 1; got > want || got < want-1000/20-1000/60 { // what is in hand
		t.Errorf("the hour has %d left of %d", got, want)
	}
}

func TestDecisionsAreCounted(t *testing.T) {
	t.Parallel()
	r := inUse(t, 1, testbed.Redis(t).Addr, strict)[0]
	c := counter("key", per(time.Minute, 1))
	for range 3 {
		ask(r, 1, c)
	}
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		switch f.GetName() {
		case "gocart_ratelimit_redis_duration_seconds":
			if n := f.GetMetric()[0].GetHistogram().GetSampleCount(); n != 2 {
				t.Errorf("%d calls were timed, want 2", n)
			}
		case "gocart_ratelimit_decisions_total":
			for _, m := range f.GetMetric() {
				if v := m.GetCounter().GetValue(); v > 0 {
					got[m.GetLabel()[1].GetValue()+" "+m.GetLabel()[0].GetValue()] = v
				}
			}
		}
	}
	if len(got) != 3 || got["redis allowed"] != 1 || got["redis refused"] != 1 || got["memory refused"] != 1 {
		t.Errorf("got %v", got)
	}
}

func TestAClusterCountsAsOneServerDoes(t *testing.T) {
	t.Parallel()
	replicas := inUse(t, 3, testbed.Cluster(t, 3)[0].Addr+"?cluster=true", strict)
	for identity := range 5 {
		if n := passed(replicas, 100, address(fmt.Sprint(identity)), counter("all", per(time.Hour, 1_000_000))); n != 60 {
			t.Errorf("identity %d: %d passed, want 60", identity, n)
		}
	}
}
