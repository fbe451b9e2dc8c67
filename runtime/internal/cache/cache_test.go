package cache_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/cache"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func TestMain(m *testing.M) {
	redisdb.QuietClient()
	testbed.Main(m)
}

// one and two are answers of one kind, with a tag each and one in common.
var (
	one = cache.NewKey("kind", "one", "tag:one", "tags")
	two = cache.NewKey("kind", "two", "tag:two", "tags")
)

// open gives a cache, of its own connection to the Redis at url.
func open(t *testing.T, url string) (*cache.Cache, *redisdb.Redis) {
	t.Helper()
	metrics := prometheus.NewRegistry()
	r, err := redisdb.Open(config.Redis{URLFile: testbed.File(t, url)}, config.Store{Name: "shop", Namespace: "ns"}, (&testbed.Log{}).Logger(), metrics)
	if err != nil {
		t.Fatal(err)
	}
	return cache.New(r, time.Minute, metrics), r
}

// run gives a cache whose connections are looked after.
func run(t *testing.T, url string) (*cache.Cache, *redisdb.Redis) {
	t.Helper()
	k, r := open(t, url)
	background(t, k, r)
	return k, r
}

func background(t *testing.T, k *cache.Cache, r *redisdb.Redis) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	running.Go(func() { k.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
}

// inUse gives a cache that uses Redis.
func inUse(t *testing.T, url string) (*cache.Cache, *redisdb.Redis) {
	t.Helper()
	k, r := run(t, url)
	testbed.Eventually(t, "the cache uses Redis", r.Up)
	return k, r
}

// counted makes "answer N", N counting from 1.
func counted() (func(context.Context) ([]byte, error), *atomic.Int64) {
	var n atomic.Int64
	return func(context.Context) ([]byte, error) {
		return []byte("answer " + string(rune('0'+n.Add(1)))), nil
	}, &n
}

func ask(t *testing.T, k *cache.Cache, make cache.Make) string {
	t.Helper()
	return askFor(t, k, one, make)
}

func askFor(t *testing.T, k *cache.Cache, key cache.Key, make cache.Make) string {
	t.Helper()
	got, err := k.Answer(t.Context(), key, make)
	if err != nil {
		t.Fatal(err)
	}
	return body(t, got)
}

// body is what an answer sends.
func body(t *testing.T, a *cache.Answer) string {
	t.Helper()
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return w.Body.String()
}

func TestAnAnswerIsKeptUntilItIsInvalidatedByAnyReplica(t *testing.T) {
	t.Parallel()
	url := "redis://" + testbed.Redis(t).Addr
	here, _ := inUse(t, url)
	other, _ := inUse(t, url)
	make, made := counted()
	testbed.Eventually(t, "the answer is kept", func() bool { // until the second one's arrival has renewed the generation
		before := made.Load()
		return ask(t, here, make) == ask(t, other, make) && before == made.Load()
	})
	before := made.Load()
	other.Invalidate(t.Context(), "tag:one")
	testbed.Eventually(t, "the answer is made anew", func() bool { ask(t, here, make); return made.Load() == before+1 })
}

func TestAnAnswerThatWasReadBeforeAWriteIsNotGivenAfterIt(t *testing.T) {
	t.Parallel()
	k, _ := inUse(t, "redis://"+testbed.Redis(t).Addr)
	slow := func(ctx context.Context) ([]byte, error) {
		k.Invalidate(ctx, "tag:one") // somebody writes while we read
		return []byte("old"), nil
	}
	ask(t, k, slow)
	if got := ask(t, k, func(context.Context) ([]byte, error) { return []byte("new"), nil }); got != "new" {
		t.Fatalf("got %q", got)
	}
}

func TestOneMakesWhatManyWaitFor(t *testing.T) {
	t.Parallel()
	k, _ := open(t, "redis://127.0.0.1:1")
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Int64
		release := make(chan struct{})
		read := func(context.Context) ([]byte, error) {
			<-release
			made.Add(1)
			return []byte("x"), nil
		}
		for range 50 {
			go func() { _, _ = k.Answer(t.Context(), one, read) }()
		}
		synctest.Wait()
		k.Invalidate(t.Context(), "tags")
		go func() { _, _ = k.Answer(t.Context(), one, read) }() // asked after a write: must not get what was read before
		synctest.Wait()
		close(release)
		synctest.Wait()
		if n := made.Load(); n != 2 {
			t.Fatalf("made %d times, want once before the write and once after", n)
		}
	})
}

func TestAnErrorIsNotKept(t *testing.T) {
	t.Parallel()
	k, _ := inUse(t, "redis://"+testbed.Redis(t).Addr)
	broken := errors.New("broken")
	if _, err := k.Answer(t.Context(), one, func(context.Context) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	make, _ := counted()
	if got := ask(t, k, make); got != "answer 1" {
		t.Fatal(got)
	}
}

func TestARedisThatNeverAnswersSlowsNobody(t *testing.T) {
	t.Parallel()
	k, r := run(t, "redis://"+testbed.BlackHole(t))
	make, made := counted()
	start := time.Now()
	for range 1000 {
		if _, err := k.Answer(t.Context(), one, make); err != nil {
			t.Fatal(err)
		}
		k.Invalidate(t.Context(), "tags")
	}
	if took := time.Since(start); took > time.Second || made.Load() != 1000 {
		t.Fatalf("1000 answers took %v", took)
	}
	testbed.Eventually(t, "status says why", func() bool { return r.Status().Error == "no answer in time" })
}

func TestAnswersAreKeptAgainAfterRedisCameBack(t *testing.T) {
	t.Parallel()
	server := testbed.Redis(t)
	k, r := inUse(t, "redis://"+server.Addr)
	server.Kill()
	make, _ := counted()
	ask(t, k, make)
	testbed.Eventually(t, "Redis is away", func() bool { return !r.Up() })
	server.Start(t)
	testbed.Eventually(t, "Redis is in use", r.Up)
	first := ask(t, k, make)
	if second := ask(t, k, make); first != second {
		t.Fatalf("%q and %q: not kept after Redis came back", first, second)
	}
}

func TestWhatBreaksWhileAnAnswerIsMadeIsAnErrorForWhoAsked(t *testing.T) {
	t.Parallel()
	k, _ := inUse(t, "redis://"+testbed.Redis(t).Addr)
	key := cache.NewKey("kind", "one", "tag")
	if _, err := k.Answer(t.Context(), key, func(context.Context) ([]byte, error) { panic("a bug") }); err == nil || !strings.Contains(err.Error(), "a bug") {
		t.Errorf("got %v", err)
	}
	if a, err := k.Answer(t.Context(), key, func(context.Context) ([]byte, error) { return []byte("1"), nil }); err != nil || a == nil {
		t.Errorf("afterwards %v, %v", a, err)
	}
}
