package api_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/api"
	"gitee.com/captainjez/gocart/runtime/internal/cache"
	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/internal/catalog/catalogdb"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/status"
)

// loaded is a database with 2,000 products of 4 variants.
func loaded(b *testing.B) *pgxpool.Pool {
	b.Helper()
	pool, err := pgxpool.New(b.Context(), testbed.Database(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	for _, statement := range []string{
		`INSERT INTO products (id, slug, title, description, type, status, option_names)
		 SELECT md5('p' || i)::uuid, 'product-' || i, 'Product ' || i, repeat('Described in words. ', 10), 'variable', 'active', '{Size}'
		 FROM generate_series(1, 2000) i`,
		`INSERT INTO variants (id, product_id, position, sku, options, price, currency)
		 SELECT md5('v' || i || '-' || j)::uuid, md5('p' || i)::uuid, j, 'SKU-' || i || '-' || j, jsonb_build_object('Size', j::text), 1999, 'EUR'
		 FROM generate_series(1, 2000) i, generate_series(1, 4) j`,
		`ANALYZE`,
	} {
		if _, err := pool.Exec(b.Context(), statement); err != nil {
			b.Fatal(err)
		}
	}
	return pool
}

func benchEngine(b *testing.B, pool *pgxpool.Pool, answers *cache.Cache) http.Handler {
	b.Helper()
	c := config.Default()
	c.Store = config.Store{Name: "shop", Namespace: "ns", URL: "https://shop.example"}
	engine, err := api.New(c, catalog.New(pool, answers), slog.New(slog.NewJSONHandler(io.Discard, nil)), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	return engine
}

func serveInParallel(b *testing.B, h http.Handler, path string) {
	b.Helper()
	b.ReportAllocs()
	b.SetParallelism(8) // 16 callers on 2 cores
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			if w.Code != http.StatusOK {
				b.Errorf("%d %s", w.Code, w.Body)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}

// BenchmarkProductList reads 20 products with their 80 variants: from
// PostgreSQL, from the cache in Redis, and beside it the floors: the same
// statement alone, and a bare Gin handler that writes the same bytes.
func BenchmarkProductList(b *testing.B) {
	pool := loaded(b)
	const path = "/api/v1/products"
	b.Run("store", func(b *testing.B) { serveInParallel(b, benchEngine(b, pool, nil), path) })
	b.Run("cached", func(b *testing.B) { serveInParallel(b, benchEngine(b, pool, openCache(b)), path) })
	b.Run("floor-sql", func(b *testing.B) {
		q := catalogdb.New(pool)
		sqlInParallel(b, func() (int, error) {
			rows, err := q.ListProducts(b.Context(), catalogdb.ListProductsParams{Statuses: []string{"active"}, Before: uuid.Max, PageSize: 21})
			return len(rows), err
		})
	})
	b.Run("floor-gin", func(b *testing.B) { bareGin(b, benchEngine(b, pool, nil), path) })
}

// BenchmarkProduct reads one product with its variants.
func BenchmarkProduct(b *testing.B) {
	pool := loaded(b)
	const path = "/api/v1/products/product-1000"
	b.Run("store", func(b *testing.B) { serveInParallel(b, benchEngine(b, pool, nil), path) })
	b.Run("cached", func(b *testing.B) { serveInParallel(b, benchEngine(b, pool, openCache(b)), path) })
	b.Run("floor-sql", func(b *testing.B) {
		q := catalogdb.New(pool)
		sqlInParallel(b, func() (int, error) {
			rows, err := q.ProductBySlug(b.Context(), catalogdb.ProductBySlugParams{Slug: "product-1000", Statuses: []string{"active"}})
			return len(rows), err
		})
	})
	b.Run("floor-gin", func(b *testing.B) { bareGin(b, benchEngine(b, pool, nil), path) })
}

func openCache(b *testing.B) *cache.Cache {
	b.Helper()
	c := config.Default()
	c.Store = config.Store{Name: "shop", Namespace: "ns"}
	c.Cache.TTL = config.Duration(time.Hour)
	c.Redis = &config.Redis{URLFile: testbed.File(b, "redis://"+testbed.Redis(b).Addr)}
	k, err := cache.Open(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	go k.Run(b.Context())
	testbed.Eventually(b, "the cache uses Redis", func() bool { return *k.Status() != status.Dependency{} && k.Status().Reachable })
	return k
}

func sqlInParallel(b *testing.B, query func() (int, error)) {
	b.Helper()
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if n, err := query(); err != nil || n == 0 {
				b.Error(fmt.Errorf("%d rows: %w", n, err))
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}

func bareGin(b *testing.B, store http.Handler, path string) {
	b.Helper()
	w := httptest.NewRecorder()
	store.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	body := w.Body.Bytes()
	engine := gin.New()
	engine.GET(path, func(c *gin.Context) { c.Data(http.StatusOK, "application/json", body) })
	b.ResetTimer()
	serveInParallel(b, engine, path)
}
