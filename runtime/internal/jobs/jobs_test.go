package jobs_test

import (
	"context"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/commerce"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func TestMain(m *testing.M) { testbed.Main(m) }

func TestRetentionRunsOnceHoweverManyWorkersThereAre(t *testing.T) {
	t.Parallel()
	pools := testbed.Pools(t)
	_, err := pools.Main.Exec(t.Context(), `INSERT INTO idempotency_keys (scope, key, request_hash, created_at) VALUES
		('s', 'old', '', now() - interval '25 hours'), ('s', 'new', '', now() - interval '23 hours')`)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	log := &testbed.Log{}
	var wg sync.WaitGroup
	for range 3 {
		k, err := commerce.New(config.Default(), pools.Main, nil, log.Logger(), commerce.Now)
		if err != nil {
			t.Fatal(err)
		}
		w, err := jobs.New(config.Default(), pools.Main, k.Sweeps(), log.Logger(), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := w.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	count := func(query string) (n int) {
		if err := pools.Main.QueryRow(t.Context(), query).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	testbed.Eventually(t, "retention is done", func() bool {
		return count(`SELECT count(*) FROM river_job WHERE kind = 'retention' AND state = 'completed'`) > 0
	})
	cancel()
	wg.Wait()
	if n := count(`SELECT count(*) FROM river_job WHERE kind = 'retention'`); n != 1 {
		t.Errorf("%d retention jobs", n)
	}
	if old, kept := count(`SELECT count(*) FROM idempotency_keys WHERE key = 'old'`), count(`SELECT count(*) FROM idempotency_keys`); old != 0 || kept != 1 {
		t.Errorf("%d old, %d in all", old, kept)
	}
}
