package api_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/cache"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// answersOf are kept where the configuration has a Redis.
func answersOf(t testing.TB, c config.Config, metrics prometheus.Registerer) *cache.Cache {
	t.Helper()
	if c.Redis == nil {
		return nil
	}
	r, err := redisdb.Open(*c.Redis, c.Store, (&testbed.Log{}).Logger(), metrics)
	if err != nil {
		t.Fatal(err)
	}
	answers := cache.New(r, time.Duration(c.Cache.TTL), metrics)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	running.Go(func() { answers.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	testbed.Eventually(t, "Redis is in use", r.Up)
	return answers
}

// keeping is a store of some replicas that keep answers in a Redis of the
// test's own.
func keeping(t testing.TB, replicas int) ([]*store, *redis.Client) {
	t.Helper()
	server, uri := testbed.Redis(t), testbed.Database(t)
	url := testbed.File(t, "redis://"+server.Addr)
	stores := make([]*store, replicas)
	for i := range stores {
		stores[i] = storeWith(t, uri, 8, func(c *config.Config) { c.Redis = &config.Redis{URLFile: url} })
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	t.Cleanup(func() { _ = client.Close() })
	return stores, client
}

// shelf is a product that is written again and again, by one at a time.
type shelf struct {
	openapi.Product
	sku string

	writing sync.Mutex
	mu      sync.Mutex
	acks    []ack
}

// ack is a write that its writer was told of.
type ack struct {
	version int64
	at      time.Time
	replica int
}

// owed is the oldest version that a read may have that began at a replica.
func (s *shelf) owed(replica int, began time.Time) (version int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.acks {
		if began.Sub(a.at) > bound || a.replica == replica && !a.at.After(began) {
			version = max(version, a.version)
		}
	}
	return version
}

// latest is what was written last.
func (s *shelf) latest(before time.Time) (version int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.acks {
		if a.at.Before(before) {
			version = max(version, a.version)
		}
	}
	return version
}

// bound is how old an answer may be, as docs/concepts/caching.md says.
const bound = 2 * time.Second

// Readers and writers go at three replicas, of which first the lines are cut and
// the Redis is flushed; then it is calm for longer than the bound, so that
// nothing but what is told of writes makes anybody forget. Each product is
// written by one replica, as a replica forgets what it writes by itself.
func TestNoReadIsOlderThanTheBoundSaysOnAnyOfThreeReplicas(t *testing.T) {
	t.Parallel()
	const products, readers, length = 6, 2, 8 * time.Second
	replicas, client := keeping(t, 3)
	shelves, at := make([]*shelf, products), map[string]*shelf{}
	for i := range shelves {
		sku := fmt.Sprintf("S-%d", i)
		s := &shelf{sku: sku, Product: admin[openapi.Product](replicas[0], "POST", "/products", product(sku, sku, "active"), http.StatusCreated)}
		s.acks = []ack{{version: s.Version, at: time.Now()}}
		shelves[i], at[s.Id.String()] = s, s
	}
	began := time.Now()
	var reads, writes, behind atomic.Int64
	check := func(replica int, asked time.Time, p openapi.Product) {
		s := at[p.Id.String()]
		reads.Add(1)
		if p.Version < s.latest(asked) {
			behind.Add(1)
		}
		if owed := s.owed(replica, asked); p.Version < owed {
			t.Errorf("replica %d gave version %d of %s %s after the beginning, and owed %d", replica, p.Version, p.Slug, asked.Sub(began), owed)
		}
	}
	var group sync.WaitGroup
	repeat := func(times int, do func()) {
		for range times {
			group.Go(func() {
				for time.Since(began) < length && !t.Failed() {
					do()
				}
			})
		}
	}
	write := func(n int) {
		s, replica := shelves[n], n%len(replicas)
		s.writing.Lock()
		defer s.writing.Unlock()
		w := replicas[replica].asAdmin("PUT", "/products/"+s.Id.String(), product(s.sku, s.sku, "active"))
		if w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
			return
		}
		p := decode[openapi.Product](t, w)
		s.mu.Lock()
		s.acks = append(s.acks, ack{p.Version, time.Now(), replica})
		s.mu.Unlock()
		writes.Add(1)
	}
	repeat(2, func() { write(rand.IntN(products)) })
	for i, replica := range replicas {
		repeat(readers, func() {
			asked, s := time.Now(), shelves[rand.IntN(products)]
			name := s.Slug
			if rand.IntN(2) == 0 {
				name = s.Id.String()
			}
			check(i, asked, want[openapi.Product](t, replica.do("GET", "/products/"+name, ""), http.StatusOK))
		})
		repeat(1, func() {
			asked := time.Now()
			for _, p := range want[openapi.ProductPage](t, replica.do("GET", "/products", ""), http.StatusOK).Products {
				check(i, asked, p)
			}
		})
	}
	trouble := []func() error{
		func() error { return client.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err() },
		func() error { return client.Del(t.Context(), "{ns/shop}:answers:versions").Err() },
		func() error { return client.FlushAll(t.Context()).Err() },
	}
	group.Go(func() {
		tick := time.NewTicker(length / 20)
		defer tick.Stop()
		for n := 0; time.Since(began) < length/2; n++ {
			<-tick.C
			if err := trouble[n%len(trouble)](); err != nil {
				t.Error(err)
			}
		}
	})
	group.Wait()
	t.Logf("%d reads and %d writes; %d reads were behind a write elsewhere, within the bound", reads.Load(), writes.Load(), behind.Load())
	if reads.Load() < 200 || writes.Load() < 20 { // a busy machine does few
		t.Errorf("%d reads and %d writes show little", reads.Load(), writes.Load())
	}
}

// statementsFor is how many statements a replica sends for what is done.
func (s *store) statementsFor(do func()) int64 {
	before := s.statements.Load()
	do()
	return s.statements.Load() - before
}

func TestWhatIsNotThereIsKeptAndIsGoneWhenItIsThere(t *testing.T) {
	t.Parallel()
	replicas, _ := keeping(t, 2)
	here, other := replicas[0], replicas[1]
	missing := func(s *store) func() *httptest.ResponseRecorder {
		return func() *httptest.ResponseRecorder { return s.do("GET", "/products/new-mug", "") }
	}
	for _, s := range replicas {
		wantProblem(t, missing(s)(), http.StatusNotFound, "product_not_found")
		testbed.Eventually(t, "it is kept", func() bool { return s.statementsFor(func() { missing(s)() }) == 0 })
	}
	if n := here.statementsFor(func() { here.do("GET", "/products/No_Slug", "") }); n != 0 {
		t.Errorf("%d statements for what nothing can be called", n)
	}
	created := admin[openapi.Product](here, "POST", "/products", `{"title":"New mug","slug":"new-mug","type":"simple","status":"draft","variants":[{"sku":"M","prices":[{"amount":"1.00","currency":"EUR"}]}]}`, http.StatusCreated)
	wantProblem(t, missing(here)(), http.StatusNotFound, "product_not_found") // a draft
	body := `{"title":"New mug","slug":"new-mug","type":"simple","status":"active","variants":[{"sku":"M","prices":[{"amount":"1.00","currency":"EUR"}]}]}`
	admin[openapi.Product](here, "PUT", "/products/"+created.Id.String(), body, http.StatusOK)
	if w := missing(here)(); w.Code != http.StatusOK {
		t.Fatalf("the replica that wrote answers %d", w.Code)
	}
	testbed.Within(t, bound, "the other has it", func() bool { return missing(other)().Code == http.StatusOK })
	admin[openapi.Product](here, "PUT", "/products/new-mug", `{"title":"New mug","slug":"old-mug","type":"simple","status":"active","variants":[{"sku":"M","prices":[{"amount":"1.00","currency":"EUR"}]}]}`, http.StatusOK)
	wantProblem(t, missing(here)(), http.StatusNotFound, "product_not_found")
	testbed.Within(t, bound, "the other has not", func() bool { return missing(other)().Code == http.StatusNotFound })
	if w := here.do("GET", "/products/old-mug", ""); w.Code != http.StatusOK {
		t.Errorf("by its new name: %d", w.Code)
	}
}

func TestAWriteToOneProductLeavesTheAnswersOfOthers(t *testing.T) {
	t.Parallel()
	replicas, _ := keeping(t, 1)
	s := replicas[0]
	for _, sku := range []string{"A", "B"} {
		admin[openapi.Product](s, "POST", "/products", product(sku, sku, "active"), http.StatusCreated)
	}
	admin[openapi.Category](s, "POST", "/categories", `{"name":"Mugs"}`, http.StatusCreated)
	collection := admin[openapi.Collection](s, "POST", "/collections", `{"name":"New"}`, http.StatusCreated)
	reads := []string{"/products/a", "/products/b", "/products", "/categories", "/categories/mugs", "/collections", "/collections/new", "/products?include=tax&country=DE"}
	kept := func() (free string) { // which of them cost no statement
		for _, path := range reads {
			if s.statementsFor(func() { want[any](t, s.do("GET", path, ""), http.StatusOK) }) == 0 {
				free += path + " "
			}
		}
		return free
	}
	all := "/products/a /products/b /products /categories /categories/mugs /collections /collections/new /products?include=tax&country=DE "
	for name, tt := range map[string]struct {
		write func()
		left  string
	}{
		"a product": {
			func() { admin[openapi.Product](s, "PUT", "/products/a", product("A", "A", "active"), http.StatusOK) },
			"/products/b /categories /categories/mugs /collections /collections/new ",
		},
		"a category": {
			func() { admin[openapi.Category](s, "PUT", "/categories/mugs", `{"name":"Mugs"}`, http.StatusOK) },
			"/products/a /products/b /collections /collections/new ",
		},
		"a collection": {
			func() {
				admin[openapi.Collection](s, "PUT", "/collections/"+collection.Id.String(), `{"name":"New"}`, http.StatusOK)
			},
			"/products/a /products/b /categories /categories/mugs ",
		},
		"a rule of tax": {
			func() {
				admin[openapi.Zone](s, "POST", "/zones", `{"name":"`+time.Now().String()+`","areas":["AT"]}`, http.StatusCreated)
			},
			"/products/a /products/b /products /categories /categories/mugs /collections /collections/new ",
		},
	} {
		testbed.Eventually(t, "all are kept", func() bool { return kept() == all })
		if tt.write(); true {
			if got := kept(); got != tt.left {
				t.Errorf("after a write to %s these were kept: %s", name, got)
			}
		}
	}
}

func TestAKeptProductIsSentCompressedAndNotToWhoHasIt(t *testing.T) {
	t.Parallel()
	replicas, _ := keeping(t, 1)
	s := replicas[0]
	for i := range 10 {
		admin[openapi.Product](s, "POST", "/products", product(fmt.Sprint("Mug ", i), fmt.Sprint("M-", i), "active"), http.StatusCreated)
	}
	plain := s.do("GET", "/products", "")
	w := s.do("GET", "/products", "", "Accept-Encoding", "br")
	if w.Header().Get("Content-Encoding") != "br" || w.Body.Len() > plain.Body.Len()/3 || w.Header().Get("ETag") == plain.Header().Get("ETag") {
		t.Fatalf("%d bytes %v", w.Body.Len(), w.Header())
	}
	if vary := w.Header().Values("Vary"); fmt.Sprint(vary) != "[Authorization Accept-Encoding]" {
		t.Errorf("it varies by %v", vary)
	}
	if again := s.do("GET", "/products", "", "Accept-Encoding", "br", "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified {
		t.Errorf("%d", again.Code)
	}
	if own := s.asAdmin("GET", "/products", "", "Accept-Encoding", "br"); own.Header().Get("Content-Encoding") != "" || own.Header().Get("Cache-Control") != "private, no-store" {
		t.Errorf("staff get %v", own.Header())
	}
}

// As a write to the catalogue is: a process that dies after its commit leaves
// word of it.
func TestAChangeOfTheRulesLeavesWordInItsTransaction(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	words := func() (n int) {
		s.scan(`SELECT count(*) FROM events WHERE topic = 'catalog' AND data = '{"tags": ["tax"]}'`, &n)
		return n
	}
	before := words()
	zone := admin[openapi.Zone](s, "POST", "/zones", openapi.ZoneInput{Name: "Malta", Areas: []string{"MT"}}, http.StatusCreated)
	if now := words(); now != before+1 {
		t.Errorf("a new zone left %d words", now-before)
	}
	s.asAdmin("POST", "/zones", `{}`) // which is refused
	s.asAdmin("DELETE", "/zones/"+zone.Id.String(), "")
	if now := words(); now != before+2 {
		t.Errorf("a zone that is deleted left %d words", now-before-1)
	}
}

// discard is a writer that keeps only headers.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// BenchmarkAKeptProduct is what a hit costs from the first middleware to the
// last byte, without a network.
func BenchmarkAKeptProduct(b *testing.B) {
	stores, _ := keeping(b, 1)
	s := stores[0]
	p := admin[openapi.Product](s, "POST", "/products", openapi.ProductInput{
		Title: "Shelf", Type: openapi.ProductTypeSimple, Status: new(openapi.ProductStatusActive),
		Variants: []openapi.VariantInput{{Sku: "SHELF", Prices: []openapi.PriceInput{{Amount: "10.00", Currency: "EUR"}}}},
	}, http.StatusCreated)
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), "GET", "/api/v1/products/"+p.Slug, nil)
		s.engine.ServeHTTP(&discard{http.Header{}}, r)
	}
}
