package redisdb_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func TestMain(m *testing.M) {
	redisdb.QuietClient()
	testbed.Main(m)
}

func open(t *testing.T, url string, log *testbed.Log) *redisdb.Redis {
	t.Helper()
	r, err := redisdb.Open(config.Redis{URLFile: testbed.File(t, url)}, config.Store{Name: "shop", Namespace: "ns"}, log.Logger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func run(t *testing.T, r *redisdb.Redis) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { r.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
}

func TestRedisGoesAndComesBack(t *testing.T) {
	t.Parallel()
	server := testbed.Redis(t)
	r := open(t, "redis://"+server.Addr, &testbed.Log{})
	var returns atomic.Int64
	r.OnReturn(func(context.Context) error {
		if r.Up() {
			t.Error("Redis is in use before what must be done first")
		}
		returns.Add(1)
		return nil
	})
	run(t, r)
	testbed.Eventually(t, "Redis is in use", r.Up)
	if s := r.Status(); !s.Reachable || s.Version == "" {
		t.Errorf("got %+v", s)
	}
	server.Kill()
	testbed.Eventually(t, "status says that Redis is away", func() bool { return !r.Status().Reachable })
	if got := r.Status().Error; r.Up() || got != "connection refused" && got != "the connection was lost" {
		t.Errorf("got %q", got)
	}
	server.Start(t)
	testbed.Eventually(t, "Redis is in use again", r.Up)
	if n := returns.Load(); n != 2 {
		t.Errorf("what must be done first was done %d times", n)
	}
}

func TestRedisStaysAwayUntilWhatMustBeDoneFirstIsDone(t *testing.T) {
	t.Parallel()
	r := open(t, "redis://"+testbed.Redis(t).Addr, &testbed.Log{})
	var tries atomic.Int64
	r.OnReturn(func(context.Context) error {
		if tries.Add(1) == 1 {
			return errors.New("OOM command not allowed")
		}
		return nil
	})
	run(t, r)
	testbed.Eventually(t, "status says why", func() bool { return r.Status().Error == "the server is out of memory" })
	testbed.Eventually(t, "Redis is in use", r.Up)
}

func TestARedisThatAnswersTooLateIsNotUsed(t *testing.T) {
	t.Parallel()
	server := testbed.Slow(t, testbed.Redis(t).Addr)
	var returns atomic.Int64
	r := open(t, "redis://"+server.Addr, &testbed.Log{})
	r.OnReturn(func(context.Context) error { returns.Add(1); return nil })
	run(t, r)
	testbed.Eventually(t, "Redis is in use", r.Up)
	server.Delay.Store(int64(2 * redisdb.Timeout))
	ctx, cancel := context.WithTimeout(t.Context(), redisdb.Timeout)
	defer cancel()
	r.Failed(ctx, r.Client().Get(ctx, "key").Err())
	before := server.Answers.Load()
	testbed.Eventually(t, "it is looked at a few times", func() bool { return server.Answers.Load() > before+4 })
	if r.Up() || returns.Load() != 1 {
		t.Fatal("a Redis that answers after twice the time is in use")
	}
	server.Delay.Store(0)
	testbed.Eventually(t, "Redis is in use again", r.Up)
}

func TestACallerWhoGoesDoesNotMakeRedisGo(t *testing.T) {
	t.Parallel()
	r := open(t, "redis://"+testbed.Redis(t).Addr, &testbed.Log{})
	run(t, r)
	testbed.Eventually(t, "Redis is in use", r.Up)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.Failed(ctx, r.Client().Get(ctx, "key").Err())
	if !r.Up() {
		t.Fatal("Redis is away because a caller went")
	}
}

func TestAStoreWithoutRedisHasOneThatIsNeverUp(t *testing.T) {
	t.Parallel()
	var none *redisdb.Redis
	if none.Up() || none.Status() != nil {
		t.Fatal("no Redis is up")
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
			r := open(t, tt.url, &log)
			run(t, r)
			testbed.Eventually(t, "status says why", func() bool { return r.Status().Error == tt.want })
			if strings.Contains(log.String(), "SECRET") {
				t.Fatal(log.String())
			}
		})
	}
	t.Run("a URL that is none", func(t *testing.T) {
		t.Parallel()
		c := config.Redis{URLFile: testbed.File(t, "redis://:SECRET%zz@host")}
		_, err := redisdb.Open(c, config.Store{}, (&testbed.Log{}).Logger(), prometheus.NewRegistry())
		if err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Fatal(err)
		}
	})
}
