package cache_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/cache"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func TestMain(m *testing.M) {
	cache.QuietClient()
	testbed.Main(m)
}

func open(t *testing.T, url string, log *testbed.Log) *cache.Cache {
	t.Helper()
	c := config.Default()
	c.Store = config.Store{Name: "shop", Namespace: "ns"}
	c.Redis = &config.Redis{URLFile: testbed.File(t, url)}
	k, err := cache.Open(c, log.Logger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { k.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return k
}

func up(t *testing.T, k *cache.Cache) {
	t.Helper()
	testbed.Eventually(t, "the cache uses Redis", func() bool { return k.Status().Reachable })
}

// counted makes "answer N", N counting from 1.
func counted() (func(context.Context) ([]byte, error), *atomic.Int64) {
	var n atomic.Int64
	return func(context.Context) ([]byte, error) {
		return []byte("answer " + string(rune('0'+n.Add(1)))), nil
	}, &n
}

func ask(t *testing.T, k *cache.Cache, make func(context.Context) ([]byte, error)) string {
	t.Helper()
	got, err := k.Answer(t.Context(), "key", make)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func TestAnAnswerIsKeptUntilItIsInvalidatedByAnyReplica(t *testing.T) {
	t.Parallel()
	url := "redis://" + testbed.Redis(t).Addr
	one, other := open(t, url, &testbed.Log{}), open(t, url, &testbed.Log{})
	up(t, one)
	up(t, other)
	make, made := counted()
	testbed.Eventually(t, "the answer is kept", func() bool { // until the second one's arrival has renewed the generation
		before := made.Load()
		return ask(t, one, make) == ask(t, other, make) && before == made.Load()
	})
	before := made.Load()
	other.Invalidate(t.Context())
	ask(t, one, make)
	if made.Load() != before+1 {
		t.Fatalf("an old answer was given after it was invalidated")
	}
}

func TestAnAnswerThatWasReadBeforeAWriteIsNotGivenAfterIt(t *testing.T) {
	t.Parallel()
	k := open(t, "redis://"+testbed.Redis(t).Addr, &testbed.Log{})
	up(t, k)
	slow := func(ctx context.Context) ([]byte, error) {
		k.Invalidate(ctx) // somebody writes while we read
		return []byte("old"), nil
	}
	ask(t, k, slow)
	if got := ask(t, k, func(context.Context) ([]byte, error) { return []byte("new"), nil }); got != "new" {
		t.Fatalf("got %q", got)
	}
}

func TestOneMakesWhatManyWaitFor(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.Redis = &config.Redis{URLFile: testbed.File(t, "redis://127.0.0.1:1")}
	k, err := cache.Open(c, (&testbed.Log{}).Logger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Int64
		release := make(chan struct{})
		read := func(context.Context) ([]byte, error) {
			<-release
			made.Add(1)
			return []byte("x"), nil
		}
		for range 50 {
			go func() { _, _ = k.Answer(t.Context(), "hot", read) }()
		}
		synctest.Wait()
		k.Invalidate(t.Context())
		go func() { _, _ = k.Answer(t.Context(), "hot", read) }() // asked after a write: must not get what was read before
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
	k := open(t, "redis://"+testbed.Redis(t).Addr, &testbed.Log{})
	up(t, k)
	broken := errors.New("broken")
	if _, err := k.Answer(t.Context(), "key", func(context.Context) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	make, _ := counted()
	if got := ask(t, k, make); got != "answer 1" {
		t.Fatal(got)
	}
}

func TestARedisThatNeverAnswersSlowsNobody(t *testing.T) {
	t.Parallel()
	k := open(t, "redis://"+testbed.BlackHole(t), &testbed.Log{})
	make, made := counted()
	start := time.Now()
	for range 1000 {
		if _, err := k.Answer(t.Context(), "key", make); err != nil {
			t.Fatal(err)
		}
		k.Invalidate(t.Context())
	}
	if took := time.Since(start); took > time.Second || made.Load() != 1000 {
		t.Fatalf("1000 answers took %v", took)
	}
	testbed.Eventually(t, "status says why", func() bool { return k.Status().Error == "no answer in time" })
}

func TestRedisGoesAndComesBack(t *testing.T) {
	t.Parallel()
	server := testbed.Redis(t)
	k := open(t, "redis://"+server.Addr, &testbed.Log{})
	up(t, k)
	if k.Status().Version == "" {
		t.Error("no version")
	}
	server.Kill()
	make, _ := counted()
	ask(t, k, make)
	testbed.Eventually(t, "status says that Redis is away", func() bool { return !k.Status().Reachable })
	if got := k.Status().Error; got != "connection refused" && got != "the connection was lost" {
		t.Errorf("got %q", got)
	}
	server.Start(t)
	up(t, k)
	first := ask(t, k, make)
	if second := ask(t, k, make); first != second {
		t.Fatalf("%q and %q: not kept after Redis came back", first, second)
	}
}

func TestNoSecretOfRedisIsTold(t *testing.T) {
	t.Parallel()
	server := testbed.Redis(t, "--requirepass", "RIGHTSECRET")
	for name, tt := range map[string]struct{ url, want string }{
		"a wrong password": {"redis://:WRONGSECRET@" + server.Addr, "authentication failed"},
		"no password":      {"redis://" + server.Addr, "authentication failed: a password is needed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log testbed.Log
			k := open(t, tt.url, &log)
			testbed.Eventually(t, "status says why", func() bool { return k.Status().Error == tt.want })
			if strings.Contains(log.String(), "SECRET") {
				t.Fatal(log.String())
			}
		})
	}
	t.Run("a URL that is none", func(t *testing.T) {
		t.Parallel()
		c := config.Default()
		c.Redis = &config.Redis{URLFile: testbed.File(t, "redis://:SECRET%zz@host")}
		_, err := cache.Open(c, (&testbed.Log{}).Logger(), prometheus.NewRegistry())
		if err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Fatal(err)
		}
	})
}
