package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/cache"
	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// TestAWriteIsForgottenEverywhereThoughItsWriterDied has a process without a
// cache write, which so tells nobody, and one that only publishes events.
func TestAWriteIsForgottenEverywhereThoughItsWriterDied(t *testing.T) {
	t.Parallel()
	writer := newStore(t)
	p := admin[openapi.Product](writer, "POST", "/products", product("Mug", "MUG", "active"), http.StatusCreated)

	metrics, c := prometheus.NewRegistry(), writer.config
	c.Redis, c.Cache.TTL = &config.Redis{URLFile: testbed.File(t, "redis://"+testbed.Redis(t).Addr)}, config.Duration(time.Hour)
	answers := answersOf(t, c, metrics)
	relay := events.NewRelay(writer.Events, nil, writer.log.Logger(), metrics)
	var told atomic.Int64
	forget := catalog.New(writer.Pool, answers).Forget
	relay.Also(func(ctx context.Context, all []events.Published) {
		forget(ctx, all)
		told.Add(int64(len(all)))
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { relay.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })

	key := cache.NewKey("product", "mug", "product:"+p.Id.String())
	ask := func(says string) string {
		answer, err := answers.Answer(t.Context(), key, func(context.Context) ([]byte, error) { return []byte(says), nil })
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		answer.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		return w.Body.String()
	}
	testbed.Eventually(t, "the product's making is told", func() bool { return told.Load() > 0 })
	testbed.Eventually(t, "the answer is kept", func() bool { return ask("old") == "old" && ask("other") == "old" })
	body := `{"title":"Another mug","slug":"mug","type":"simple","status":"active","variants":[{"sku":"MUG","prices":[{"amount":"9.90","currency":"EUR"}]}]}`
	admin[openapi.Product](writer, "PUT", "/products/"+p.Id.String(), body, http.StatusOK)
	testbed.Eventually(t, "it is forgotten", func() bool { return ask("new") == "new" })
}
