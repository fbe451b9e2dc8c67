//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	commerce "gitee.com/captainjez/gocart/runtime/openapi/client"
)

const (
	// shelfSize is of how many products strangers read, by Zipf's law; one of a
	// hundred requests is a write. They do for mixFor with all in order, and for
	// harmFor with Redis flushed and killed.
	shelfSize       = 10_000
	mixFor, harmFor = 20 * time.Second, 12 * time.Second
	// stale is how old an answer may be (docs/concepts/caching.md), and what a
	// busy machine takes besides.
	stale = 2*time.Second + time.Second
)

// shelf is a product whose versions are known from when they were acknowledged.
type shelf struct {
	slug string
	mu   sync.Mutex
	acks []time.Time // of version i+1
}

func (s *shelf) acknowledge(version int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for int64(len(s.acks)) < version {
		s.acks = append(s.acks, time.Now())
	}
}

// owed is the version that a read has to show which began then.
func (s *shelf) owed(asked time.Time) (version int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, at := range s.acks {
		if asked.Sub(at) > stale {
			version = int64(i + 1)
		}
	}
	return version
}

// keepAnswers reads and writes at three replicas: nearly all are answered from
// memory or Redis, nobody with what is too old, and nobody with a 5xx while Redis
// is flushed and killed.
func keepAnswers(t *testing.T, ns string) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	edgeOf(t, ns).trust(t)
	l := &library{edge: edgeOf(t, ns), as: bearer(shop(t, ns, "shop").adminKey()), shelves: make([]*shelf, shelfSize)}
	begun := time.Now()
	l.fill(t)
	t.Logf("%d products were made and read once in %.1f s", shelfSize, time.Since(begun).Seconds())

	begun, idle := time.Now(), l.counted(t)
	<-time.After(2 * time.Second) // what replicas ask the database on their own account
	before := l.counted(t)
	perSecond := (before.statements - idle.statements) / time.Since(begun).Seconds()
	begun = time.Now()
	reads, writes := l.mix(ctx, t, mixFor)
	now := l.counted(t)
	rate := (now.hits - before.hits) / (now.lookups - before.lookups)
	// Without a cache each read is a statement at least; a write costs the same.
	asked := now.statements - before.statements - perSecond*time.Since(begun).Seconds()
	reduction := 1 - asked/float64(reads+writes)
	t.Logf("%d reads and %d writes in %s: %.3f of the reads were answered by kept answers, and the database was asked less by %.3f", reads, writes, mixFor, rate, reduction)
	if reads < 2000 || rate < 0.95 || reduction < 0.80 {
		t.Error("which is too little")
	}

	harmed := make(chan error, 1)
	go func() {
		<-time.After(harmFor / 6)
		err := flushRedis(ctx, ns)
		<-time.After(harmFor / 6)
		harmed <- err
	}()
	var killing sync.WaitGroup
	killing.Go(func() {
		if err := <-harmed; err != nil {
			t.Errorf("flushing Redis: %v", err)
		}
		var pods corev1.PodList
		if err := cluster.List(ctx, &pods, client.InNamespace(ns), podsOf("redis")); err != nil {
			t.Error(err)
			return
		}
		signal(t, pods.Items[0], syscall.SIGKILL)
	})
	reads, writes = l.mix(ctx, t, harmFor)
	killing.Wait()
	t.Logf("%d reads and %d writes in %s, Redis flushed and killed in between", reads, writes, harmFor)
}

// library is a store of many products.
type library struct {
	*edge
	as      []string
	shelves []*shelf
}

func (l *library) input(i int) commerce.ProductInput {
	return commerce.ProductInput{
		Title: fmt.Sprint("Shelf ", i), Slug: ptr(fmt.Sprint("shelf-", i)), Type: commerce.ProductTypeSimple, Status: ptr(commerce.ProductStatusActive),
		Variants: []commerce.VariantInput{{Sku: fmt.Sprint("SHELF-", i), Prices: []commerce.PriceInput{{Amount: "10.00", Currency: "EUR"}}}},
	}
}

// fill makes the products, and reads each once: what is kept of one may go when
// another is made.
func (l *library) fill(t *testing.T) {
	t.Helper()
	l.each(t, func(replica *shopper, i int) error {
		a, err := replica.api(l.as...).CreateProductWithResponse(t.Context(), nil, l.input(i))
		if err != nil {
			return fmt.Errorf("product %d: %w", i, err)
		}
		if a.JSON201 == nil {
			return fmt.Errorf("product %d: %s %s", i, a.Status(), a.Body)
		}
		l.shelves[i] = &shelf{slug: a.JSON201.Slug, acks: make([]time.Time, a.JSON201.Version)}
		return nil
	})
	l.each(t, func(replica *shopper, i int) error {
		resp, body, err := replica.do(http.MethodGet, "/api/v1/products/"+l.shelves[i].slug, stranger(), nil)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("answered %s: %s", resp.Status, body)
		}
		if err != nil {
			return fmt.Errorf("product %d: %w", i, err)
		}
		return nil
	})
}

// each does something about every product, at one replica or another.
func (l *library) each(t *testing.T, do func(replica *shopper, i int) error) {
	t.Helper()
	var next atomic.Int64
	var working errgroup.Group
	for w := range 8 {
		working.Go(func() error {
			for i := int(next.Add(1) - 1); i < shelfSize; i = int(next.Add(1) - 1) {
				if err := do(l.replicas[w%len(l.replicas)], i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := working.Wait(); err != nil {
		t.Fatal(err)
	}
}

// mix reads and writes for a while, and holds each read to what is owed.
func (l *library) mix(ctx context.Context, t *testing.T, during time.Duration) (reads, writes int64) {
	t.Helper()
	begun := time.Now()
	var read, written atomic.Int64
	var working sync.WaitGroup
	pace := time.NewTicker(3 * time.Millisecond) // other tests have their stores on this machine
	defer pace.Stop()
	for range 8 {
		working.Go(func() {
			popular := rand.NewZipf(rand.New(rand.NewPCG(rand.Uint64(), 1)), 1.1, 1, shelfSize-1)
			for n := 0; time.Since(begun) < during && ctx.Err() == nil && !t.Failed(); n++ {
				<-pace.C
				i, replica := int(popular.Uint64()), l.replicas[rand.IntN(len(l.replicas))]
				s := l.shelves[i]
				if n%100 == 99 {
					a, err := replica.api(l.as...).ReplaceProductWithResponse(ctx, s.slug, nil, l.input(i))
					if err != nil || a.JSON200 == nil {
						t.Errorf("a write after %s: %v", time.Since(begun), err)
						return
					}
					s.acknowledge(a.JSON200.Version)
					written.Add(1)
					continue
				}
				asked := time.Now()
				resp, body, err := replica.do(http.MethodGet, "/api/v1/products/"+s.slug, stranger(), nil)
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("after %s: %v %s", time.Since(begun), err, body)
					return
				}
				var p commerce.Product
				if err := json.Unmarshal(body, &p); err != nil || p.Version < s.owed(asked) {
					t.Errorf("after %s: %s is of version %d, %d is owed: %v", time.Since(begun), s.slug, p.Version, s.owed(asked), err)
				}
				read.Add(1)
			}
		})
	}
	working.Wait()
	return read.Load(), written.Load()
}

// flushRedis empties a store's Redis.
func flushRedis(ctx context.Context, ns string) error {
	var secret corev1.Secret
	if err := cluster.Get(ctx, client.ObjectKey{Namespace: ns, Name: "shop-redis"}, &secret); err != nil {
		return err
	}
	var pods corev1.PodList
	if err := cluster.List(ctx, &pods, client.InNamespace(ns), podsOf("redis")); err != nil {
		return err
	}
	options, err := redis.ParseURL(string(secret.Data["url"]))
	if err != nil {
		return err
	}
	options.Addr = net.JoinHostPort(pods.Items[0].Status.PodIP, "6379")
	c := redis.NewClient(options)
	defer func() { _ = c.Close() }()
	return c.FlushAll(ctx).Err()
}

// counters are what the replicas did: the answers that were kept, all that were
// asked for, and statements that the database was sent, a transaction for one.
type counters struct{ hits, lookups, statements float64 }

func (l *library) counted(t *testing.T) (c counters) {
	t.Helper()
	for _, pod := range l.pods {
		resp, err := http.Get("http://" + net.JoinHostPort(pod.Status.PodIP, "9090") + "/metrics") //nolint:noctx // of a test
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), " ")
			n, err := strconv.ParseFloat(value, 64)
			switch {
			case err != nil: // a comment
			case name == "gocart_db_acquires_total":
				c.statements += n
			case strings.HasPrefix(name, "gocart_cache_lookups_total{"):
				if strings.Contains(name, `result="hit"`) || strings.Contains(name, `result="renew"`) {
					c.hits += n
				}
				if strings.Contains(name, `layer="memory"`) {
					c.lookups += n
				}
			}
		}
		_ = resp.Body.Close()
	}
	return c
}
