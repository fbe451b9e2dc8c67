package webhook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events"
)

// sink is a receiver that counts, and says when so many came.
type sink struct {
	*httptest.Server
	left atomic.Int64
	done chan struct{}
}

func newSink(b *testing.B, n int) *sink {
	b.Helper()
	s := &sink{done: make(chan struct{})}
	s.left.Store(int64(n))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
		if s.left.Add(-1) == 0 {
			close(s.done)
		}
	}))
	b.Cleanup(s.Close)
	return s
}

// benchEvents are what happened to so many orders, in turn.
func benchEvents(h *house, n, orders int) []events.Event {
	subjects := make([]uuid.UUID, orders)
	for i := range subjects {
		subjects[i] = uuid.New()
	}
	all := make([]events.Event, n)
	for i := range all {
		all[i] = events.Event{
			Type: "order.shipped", Topic: events.Orders, Subject: subjects[i%orders], Actor: "store", At: h.now(),
			Data: map[string]any{"number": fmt.Sprint(1000 + i), "from": "processing", "to": "shipped", "total": map[string]string{"amount": "19.90", "currency": "EUR"}},
		}
	}
	return all
}

// BenchmarkDeliveries makes b.N deliveries to endpoints on loopback, from the
// outbox to the recorded answers, and beside it posts the same bodies with a
// bare http.Client, as many at once as one endpoint is told (16). What is
// measured is deliveries a second, with PostgreSQL as tests have it, which
// does not flush.
func BenchmarkDeliveries(b *testing.B) {
	for name, c := range map[string]struct{ endpoints, orders int }{"of many orders": {1, 1 << 20}, "of one order": {1, 1}, "to ten endpoints": {10, 1 << 20}} {
		b.Run(name, func(b *testing.B) {
			h := newHouse(b)
			n := max(b.N/c.endpoints, 1)
			s := newSink(b, n*c.endpoints)
			for range c.endpoints {
				h.endpoint(s.URL, "*")
			}
			all := benchEvents(h, n, min(c.orders, n))
			if err := db.WithTx(b.Context(), h.pool, func(tx pgx.Tx) error { return h.log.Append(b.Context(), tx, all...) }); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			stop := h.process(h.hooks, WorkerSlots)
			<-s.done
			stop() // when all is recorded
			b.StopTimer()
			if n := len(h.list(filter{state: pending})); n > 0 {
				b.Fatalf("%d are left", n)
			}
			b.ReportMetric(float64(n*c.endpoints)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
	b.Run("bare client", func(b *testing.B) {
		h := newHouse(b)
		s := newSink(b, b.N)
		all := benchEvents(h, b.N, b.N)
		bodies := make([][]byte, len(all))
		for i, e := range all {
			bodies[i] = encoded(bodyOf(events.Published{Position: int64(i), ID: uuid.New(), Type: e.Type, Subject: e.Subject, Data: encoded(e.Data), At: e.At}))
		}
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * claimed}}
		var next atomic.Int64
		var running sync.WaitGroup
		b.ResetTimer()
		for range 2 * claimed {
			running.Go(func() {
				for i := next.Add(1) - 1; i < int64(len(bodies)); i = next.Add(1) - 1 {
					response, err := client.Post(s.URL, "application/json", bytes.NewReader(bodies[i]))
					if err != nil {
						b.Error(err)
						return
					}
					_ = response.Body.Close()
				}
			})
		}
		running.Wait()
		b.StopTimer()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
	})
}

// BenchmarkFanOut makes deliveries for ten endpoints of events that are there,
// and sends none.
func BenchmarkFanOut(b *testing.B) {
	h := newHouse(b)
	for range 10 {
		h.endpoint("http://127.0.0.1:1/", "order.*")
	}
	all := benchEvents(h, b.N, b.N)
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { events.NewRelay(h.log, nil, h.said.Logger(), prometheus.NewRegistry()).Run(ctx) })
	if err := db.WithTx(ctx, h.pool, func(tx pgx.Tx) error { return h.log.Append(ctx, tx, all...) }); err != nil {
		b.Fatal(err)
	}
	for head := int64(0); head < int64(b.N); {
		var err error
		if head, err = h.log.Head(ctx); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	running.Wait()
	d := NewDispatcher(h.hooks, 0, h.said.Logger(), prometheus.NewRegistry())
	b.ResetTimer()
	if err := d.spread(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(10*b.N)/b.Elapsed().Seconds(), "deliveries/s")
}
