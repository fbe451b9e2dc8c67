package cache_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/cache"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

// replica is a process of a store with its own memory.
type replica struct {
	*cache.Cache
	redis   *redisdb.Redis
	metrics *prometheus.Registry
}

// replicaOf gives one that gives answers from its memory.
func replicaOf(t *testing.T, addr string, ttl time.Duration) replica {
	t.Helper()
	r := replica{metrics: prometheus.NewRegistry()}
	var err error
	r.redis, err = redisdb.Open(config.Redis{URLFile: testbed.File(t, "redis://"+addr)}, config.Store{Name: "shop", Namespace: "ns"}, (&testbed.Log{}).Logger(), r.metrics)
	if err != nil {
		t.Fatal(err)
	}
	r.Cache = cache.New(r.redis, ttl, r.metrics)
	background(t, r.Cache, r.redis)
	r.awaitUse(t)
	return r
}

func (r replica) awaitUse(t *testing.T) {
	t.Helper()
	testbed.Eventually(t, "answers are given from memory", func() bool { return r.redis.Up() && r.metric(t, "gocart_cache_memory_usable", "") == 1 })
}

// metric is the value of one, with labels such as "memory hit".
func (r replica) metric(t *testing.T, name, labels string) float64 {
	t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if family.GetName() == name && strings.Join(values, " ") == labels {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

func (r replica) hits(t *testing.T) float64 {
	t.Helper()
	return r.metric(t, "gocart_cache_lookups_total", "memory hit")
}

// says makes an answer.
func says(answer string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return []byte(answer), nil }
}

// remember asks until the answer comes from memory, past what the replicas'
// own arrival invalidates.
func (r replica) remember(t *testing.T, answer string) {
	t.Helper()
	testbed.Eventually(t, "the answer is in memory", func() bool {
		before := r.hits(t)
		return ask(t, r.Cache, says(answer)) == answer && r.hits(t) > before
	})
}

func TestAHotAnswerAsksRedisNothing(t *testing.T) {
	t.Parallel()
	server := testbed.Redis(t)
	k := replicaOf(t, server.Addr, time.Minute)
	k.remember(t, "x")
	commands := func() float64 {
		return k.metric(t, "gocart_cache_lookups_total", "redis hit") + k.metric(t, "gocart_cache_lookups_total", "redis miss")
	}
	before := commands()
	for range 1000 {
		ask(t, k.Cache, says("y"))
	}
	if commands() != before {
		t.Fatal("Redis was asked for what is in memory")
	}
}

func TestAWriteEmptiesTheMemoryOfEveryReplica(t *testing.T) {
	t.Parallel()
	addr := testbed.Redis(t).Addr
	here, other := replicaOf(t, addr, time.Minute), replicaOf(t, addr, time.Minute)
	for round := range 20 {
		before, after := "before "+strconv.Itoa(round), "after "+strconv.Itoa(round)
		here.Invalidate(t.Context(), "tags")
		testbed.Eventually(t, "both have it in memory", func() bool {
			return ask(t, here.Cache, says(before)) == before && ask(t, other.Cache, says(before)) == before
		})
		here.remember(t, before)
		other.remember(t, before)
		here.Invalidate(t.Context(), "tags")
		if got := ask(t, here.Cache, says(after)); got != after {
			t.Fatalf("the writer itself is answered %q", got)
		}
		testbed.Eventually(t, "the other replica hears of the write", func() bool { return ask(t, other.Cache, says(after)) == after })
	}
}

func TestWhatASlowReaderReadBeforeAWriteElsewhereIsNotGivenFromMemory(t *testing.T) {
	t.Parallel()
	addr := testbed.Redis(t).Addr
	writer, reader := replicaOf(t, addr, time.Minute), replicaOf(t, addr, time.Minute)
	heard := redis.NewClient(&redis.Options{Addr: addr}).Subscribe(t.Context(), "{ns/shop}:answers:writes")
	defer func() { _ = heard.Close() }()
	if _, err := heard.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		slow := func(ctx context.Context) ([]byte, error) {
			writer.Invalidate(ctx, "tag:one") // somebody writes while we read
			_, err := heard.ReceiveMessage(ctx)
			return []byte("old"), err
		}
		reader.Invalidate(t.Context(), "tags")
		if _, err := heard.ReceiveMessage(t.Context()); err != nil {
			t.Fatal(err)
		}
		ask(t, reader.Cache, slow)
		testbed.Eventually(t, "the old answer is gone", func() bool { return ask(t, reader.Cache, says("new")) == "new" })
		for range 100 {
			if got := ask(t, reader.Cache, says("newer")); got == "old" {
				t.Fatal("what was read before the write came back")
			}
		}
	}
}

func TestACutLineGivesNothingOlderThanTwoSeconds(t *testing.T) {
	t.Parallel()
	server := testbed.Redis(t)
	line := testbed.Slow(t, server.Addr)
	writer, reader := replicaOf(t, server.Addr, time.Hour), replicaOf(t, line.Addr, time.Hour)
	reader.remember(t, "old")
	line.Deaf.Store(true)
	writer.Invalidate(t.Context(), "tags")
	written := time.Now()
	var last time.Duration // at which it was still given
	testbed.Eventually(t, "the old answer is gone", func() bool {
		asked := time.Since(written)
		if ask(t, reader.Cache, says("new")) == "new" {
			return true
		}
		last = asked
		return false
	})
	if last > 2*time.Second {
		t.Errorf("an old answer was given %s after the write", last)
	}
	if reader.metric(t, "gocart_cache_memory_usable", "") != 0 || !reader.redis.Up() {
		t.Error("memory is in use over a line that nothing comes by")
	}
	line.Deaf.Store(false)
	reader.remember(t, "new")
}

func TestWhatWasWrittenWhileTheLineWasDownIsKnownWhenItIsUp(t *testing.T) {
	t.Parallel()
	server := testbed.Redis(t)
	writer, reader := replicaOf(t, server.Addr, time.Hour), replicaOf(t, server.Addr, time.Hour)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer func() { _ = client.Close() }()
	for round := range 3 {
		answer := strconv.Itoa(round)
		writer.Invalidate(t.Context(), "tags")
		testbed.Eventually(t, "the reader has it", func() bool { return ask(t, reader.Cache, says(answer)) == answer })
		reader.remember(t, answer)
		if err := client.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err(); err != nil {
			t.Fatal(err)
		}
		testbed.Eventually(t, "the reader sees that the line is cut", func() bool { return reader.metric(t, "gocart_cache_memory_usable", "") == 0 })
		writer.Invalidate(t.Context(), "tags")
		if got := ask(t, reader.Cache, says("new")); got != "new" {
			t.Fatalf("got %q while the line is down", got)
		}
		reader.awaitUse(t)
		for range 100 {
			if got := ask(t, reader.Cache, says("new")); got != "new" {
				t.Fatalf("got %q after the line came back", got)
			}
		}
	}
}

func TestNothingIsGivenFromMemoryWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	server := testbed.Redis(t)
	k := replicaOf(t, server.Addr, time.Hour)
	k.remember(t, "old")
	server.Kill()
	testbed.Eventually(t, "memory is out of use", func() bool { return k.metric(t, "gocart_cache_memory_usable", "") == 0 || !k.redis.Up() })
	if got := ask(t, k.Cache, says("new")); got != "new" {
		t.Fatalf("got %q", got)
	}
	server.Start(t)
	k.awaitUse(t)
	k.remember(t, "newer")
}

func TestAnAnswerFromAnotherReplicaIsNotKeptLongerThanItHasLeft(t *testing.T) {
	t.Parallel()
	const ttl = 4 * time.Second
	addr := testbed.Redis(t).Addr
	here, other := replicaOf(t, addr, ttl), replicaOf(t, addr, ttl)
	here.Invalidate(t.Context(), "tags")
	testbed.Eventually(t, "the first has heard of its own write", func() bool { return ask(t, here.Cache, says("old")) == "old" })
	made := time.Now()
	testbed.Eventually(t, "half of the TTL is over", func() bool { return time.Since(made) > ttl/2 })
	if got := ask(t, other.Cache, says("new")); got != "old" {
		t.Fatalf("got %q: it is not in Redis", got)
	}
	testbed.Eventually(t, "it is old", func() bool { return ask(t, other.Cache, says("new")) == "new" })
	if took := time.Since(made); took > ttl+ttl/4 {
		t.Errorf("it was given for %s, and was good for %s", took, ttl)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	const bound, size, many = 32 << 20, 1 << 20, 100
	k := replicaOf(t, testbed.Redis(t).Addr, time.Hour)
	answer := says(string(bytes.Repeat([]byte("x"), size)))
	for i := range many {
		if _, err := k.Answer(t.Context(), cache.NewKey("kind", strconv.Itoa(i), "tag:"+strconv.Itoa(i)), answer); err != nil {
			t.Fatal(err)
		}
	}
	testbed.Eventually(t, "as much is held as may be", func() bool {
		held := k.metric(t, "gocart_cache_memory_bytes", "kind")
		return held > bound/2 && held <= bound && k.metric(t, "gocart_cache_memory_entries", "") <= bound/size
	})
}

func TestAnAnswerIsSentWithItsTagAndNotAgainToWhoHasIt(t *testing.T) {
	t.Parallel()
	a := cache.NewAnswer([]byte(`{"a":1}`))
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	tag := w.Header().Get("ETag")
	if w.Code != http.StatusOK || w.Body.String() != `{"a":1}` || w.Header().Get("Content-Length") != "7" || tag == "" {
		t.Fatalf("%d %s %v", w.Code, w.Body, w.Header())
	}
	for _, have := range []string{tag, "W/" + tag} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("If-None-Match", have)
		w = httptest.NewRecorder()
		if a.ServeHTTP(w, r); w.Code != http.StatusNotModified || w.Body.Len() != 0 || w.Header().Get("ETag") != tag {
			t.Errorf("%s: %d %v", have, w.Code, w.Header())
		}
	}
}

func BenchmarkAHotAnswer(b *testing.B) {
	server := testbed.Redis(b)
	r, err := redisdb.Open(config.Redis{URLFile: testbed.File(b, "redis://"+server.Addr)}, config.Store{Name: "shop", Namespace: "ns"}, (&testbed.Log{}).Logger(), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	k := cache.New(r, time.Hour, prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go r.Run(ctx)
	go k.Run(ctx)
	made := 0
	make := func(context.Context) ([]byte, error) { made++; return []byte("x"), nil }
	testbed.Eventually(b, "the answer is in memory", func() bool {
		before := made
		_, err := k.Answer(ctx, one, make)
		return err == nil && made == before && r.Up()
	})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Answer(ctx, one, make); err != nil {
			b.Fatal(err)
		}
	}
}
