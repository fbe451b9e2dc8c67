package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"sigs.k8s.io/yaml"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/internal/webhook"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// told is what a webhook heard, by event.
type told struct {
	mu     sync.Mutex
	secret string
	times  map[string]int
	// lines are the positions of a subject's events as they came first.
	lines map[string][]int64
}

func (h *told) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return // who sent it was killed
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var e struct {
		ID, Subject string
		Position    int64
	}
	if webhook.Verify(r.Header, raw, h.secret, time.Now()) != nil || json.Unmarshal(raw, &e) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if h.times[e.ID]++; h.times[e.ID] == 1 {
		h.lines[e.Subject] = append(h.lines[e.Subject], e.Position)
	}
}

// TestNoEventIsLostForWebhooksWhenProcessesAndPostgreSQLAreKilled places
// orders and writes notes about them while the processes that store them, those
// that tell of them, and once the database are ended by kill -9. Of every event
// there is one delivery, it arrives, and what happened to an order arrives in
// its order; what comes twice is known by its id. And statistics count every
// order once.
func TestNoEventIsLostForWebhooksWhenProcessesAndPostgreSQLAreKilled(t *testing.T) {
	t.Parallel()
	const orders, notes, buyers, kills = 200, 3, 8, 6
	server := durable(t)
	c := storeConfig(t, server.URL("postgres"))
	c.Store.Mode, c.Webhooks.AllowPrivateAddresses = config.ModeDevelopment, true
	c.Worker.Workers, c.Worker.Concurrency = 1, 1
	migrated(t, c)
	var all [2]*child
	var store *buyer
	for i, role := range []string{"api", "worker"} {
		c.Server.Public.Address, c.Server.Internal.Address = freeAddress(t), freeAddress(t)
		file, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = &child{t: t, role: role, file: testbed.File(t, string(file))}
		all[i].start()
		defer all[i].kill()
		if role == "api" {
			store = &buyer{t: t, url: "http://" + c.Server.Public.Address}
		}
	}
	hears := &told{times: map[string]int{}, lines: map[string][]int64{}}
	receiver := httptest.NewServer(hears)
	defer receiver.Close()
	admin := []string{"Authorization", "Bearer " + adminKey, "Idempotency-Key"}
	made := send[openapi.CreatedWebhookEndpoint](store, "/webhooks/endpoints", openapi.WebhookEndpointInput{Url: receiver.URL, Events: []string{"order.*"}}, append(admin, "hook")...)
	hears.mu.Lock()
	hears.secret = *made.Secret
	hears.mu.Unlock()
	variant := store.shelf(orders)

	var done atomic.Int64
	var wg sync.WaitGroup
	for b := range buyers {
		wg.Go(func() {
			for i := range orders / buyers {
				id := store.buy(variant, fmt.Sprintf("%d-%d", b, i))
				for n := range notes {
					send[openapi.TimelineEntry](store, "/orders/"+id+"/notes", openapi.NoteInput{Text: fmt.Sprint(n)}, append(slices.Clone(admin), fmt.Sprintf("%d-%d-%d", b, i, n))...)
				}
				done.Add(1)
			}
		})
	}
	for k := range kills {
		testbed.Within(t, time.Minute, "more orders are placed", func() bool { return done.Load() >= int64((k+1)*orders/(kills+2)) })
		victim := all[rand.IntN(len(all))]
		victim.kill()
		victim.start()
		if k == kills/2 {
			server.Kill()
			if err := server.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	wg.Wait()
	pool, err := pgxpool.New(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	testbed.Within(t, 90*time.Second, "every event is told", func() bool {
		var left int
		err := pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM webhook_deliveries WHERE state <> 'succeeded')
			+ (SELECT sum(p.position - r.position) FROM event_position p, event_readers r) + (SELECT count(*) FROM events WHERE position IS NULL AND topic <> '')`).Scan(&left)
		return err == nil && left == 0
	})
	rows, err := pool.Query(t.Context(), `SELECT e.id::text, count(d.id) FROM events e LEFT JOIN webhook_deliveries d ON d.message_id = e.id
		WHERE e.type LIKE 'order.%' GROUP BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	hears.mu.Lock()
	defer hears.mu.Unlock()
	var id string
	var deliveries, events, again int
	_, err = pgx.ForEachRow(rows, []any{&id, &deliveries}, func() error {
		events++
		again += hears.times[id] - 1
		if deliveries != 1 || hears.times[id] < 1 {
			t.Errorf("event %s has %d deliveries and came %d times", id, deliveries, hears.times[id])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if events != orders*(1+notes) || len(hears.times) != events {
		t.Errorf("%d events, %d came", events, len(hears.times))
	}
	for subject, line := range hears.lines {
		if !slices.IsSorted(line) {
			t.Errorf("of order %s came %v", subject, line)
		}
	}
	t.Logf("%d events came, %d of them again", events, again)

	// Nor do statistics count one twice, or leave one out.
	var is, counted string
	err = pool.QueryRow(t.Context(), `SELECT (SELECT (count(*), sum(item_count), sum(subtotal), sum(tax), sum(total))::text FROM orders WHERE state <> 'cancelled'),
		(SELECT (sum(orders), sum(items), sum(subtotal), sum(tax), sum(total))::text FROM statistics_sales WHERE level = 3)`).Scan(&is, &counted)
	if err != nil || is != counted {
		t.Errorf("the orders come to %s, statistics to %s: %v", is, counted, err)
	}
}
