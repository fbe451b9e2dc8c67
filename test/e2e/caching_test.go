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
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	commerce "gitee.com/captainjez/gocart/runtime/openapi/client"
)

const (
	// shelfSize is of how many products strangers read, by Zipf's law, for
	// readFor; one of a hundred requests is a write.
	shelfSize = 100
	readFor   = 20 * time.Second
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

// keepAnswers reads and writes at three replicas while Redis is killed: nobody
// is answered 5xx or what is too old, and most are answered from memory.
func keepAnswers(t *testing.T, ns string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	edgeOf(t, ns).trust(t)
	e, staff := edgeOf(t, ns), shop(t, ns, "shop")
	as := bearer(staff.adminKey())
	input := func(i int) commerce.ProductInput {
		return commerce.ProductInput{
			Title: fmt.Sprint("Shelf ", i), Slug: ptr(fmt.Sprint("shelf-", i)), Type: commerce.ProductTypeSimple, Status: ptr(commerce.ProductStatusActive),
			Variants: []commerce.VariantInput{{Sku: fmt.Sprint("SHELF-", i), Prices: []commerce.PriceInput{{Amount: "10.00", Currency: "EUR"}}}},
		}
	}
	shelves := make([]*shelf, shelfSize)
	for i := range shelves {
		p := created[commerce.Product](t)(staff.api(as...).CreateProductWithResponse(ctx, nil, input(i)))
		shelves[i] = &shelf{slug: *input(i).Slug, acks: make([]time.Time, p.Version)}
	}
	hits, lookups := lookedUp(t, e)
	begun := time.Now()
	var reads, writes atomic.Int64
	var working sync.WaitGroup
	pace := time.NewTicker(3 * time.Millisecond) // other tests have their stores on this machine
	defer pace.Stop()
	for range 8 {
		working.Go(func() {
			popular := rand.NewZipf(rand.New(rand.NewPCG(rand.Uint64(), 1)), 1.1, 1, shelfSize-1)
			for n := 0; time.Since(begun) < readFor && ctx.Err() == nil && !t.Failed(); n++ {
				<-pace.C
				i, replica := int(popular.Uint64()), e.replicas[rand.IntN(len(e.replicas))]
				s := shelves[i]
				if n%100 == 99 {
					a, err := replica.api(as...).ReplaceProductWithResponse(ctx, s.slug, nil, input(i))
					if err != nil || a.JSON200 == nil {
						t.Errorf("a write after %s: %v", time.Since(begun), err)
						return
					}
					s.acknowledge(a.JSON200.Version)
					writes.Add(1)
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
				reads.Add(1)
			}
		})
	}
	<-time.After(readFor / 3)
	var pods corev1.PodList
	if err := cluster.List(ctx, &pods, client.InNamespace(ns), podsOf("redis")); err != nil {
		t.Fatal(err)
	}
	signal(t, pods.Items[0], syscall.SIGKILL)
	working.Wait()
	hitsNow, lookupsNow := lookedUp(t, e)
	t.Logf("%d reads and %d writes in %s, Redis killed in between: %.2f of the answers were kept ones", reads.Load(), writes.Load(), readFor,
		(hitsNow-hits)/(lookupsNow-lookups))
	if reads.Load() < 200 || hitsNow == hits {
		t.Error("which shows little")
	}
}

// lookedUp are the replicas' answers that were kept, and all that were asked for.
func lookedUp(t *testing.T, e *edge) (hits, lookups float64) {
	t.Helper()
	for _, pod := range e.pods {
		resp, err := http.Get("http://" + net.JoinHostPort(pod.Status.PodIP, "9090") + "/metrics") //nolint:noctx // of a test
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), "} ")
			var n float64
			if !strings.HasPrefix(name, "gocart_cache_lookups_total{") {
				continue
			}
			if _, err := fmt.Sscan(value, &n); err != nil {
				t.Fatal(err)
			}
			memory := strings.Contains(name, `layer="memory"`)
			if strings.Contains(name, `result="hit"`) {
				hits += n
			}
			if memory {
				lookups += n
			}
		}
		_ = resp.Body.Close()
	}
	return hits, lookups
}
