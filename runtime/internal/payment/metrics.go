package payment

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/internal/payment/paymentdb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// metrics count what is asked of providers, and what they tell.
type metrics struct {
	requests, events, changes *prometheus.CounterVec
	open                      *open
}

func newMetrics(s *Payments) *metrics {
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocart_payment_requests_total", Help: "What this process asked of payment providers, by provider, kind and outcome: done, refused, unanswered, or misconfigured where the provider does not take the store's key.",
		}, []string{"provider", "kind", "outcome"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocart_payment_events_total", Help: "What payment providers told this process, by provider and outcome: refused, stored, repeated, applied, unknown or ignored.",
		}, []string{"provider", "outcome"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocart_payment_changes_total", Help: "What became of payments after they were made, by provider and event, as this process stored it.",
		}, []string{"provider", "event"}),
		open: &open{payments: s, count: prometheus.NewDesc("gocart_payment_discrepancies", "What store and payment providers do not agree about, by kind.", []string{"kind"}, nil)},
	}
}

func (m *metrics) register(r prometheus.Registerer) {
	r.MustRegister(m.requests, m.events, m.changes, m.open)
}

func (m *metrics) asked(provider, kind string, err error) {
	if _, not := errors.AsType[unsent](err); not {
		return
	}
	outcome := "done"
	if err != nil {
		outcome = "unanswered"
		_, refused := errors.AsType[*Refusal](err)
		if p, isProblem := errors.AsType[*problem.Problem](err); refused || isProblem && p.Status < 500 {
			outcome = "refused"
		}
		if errors.Is(err, ErrKey) {
			outcome = "misconfigured"
		}
	}
	m.requests.WithLabelValues(provider, kind, outcome).Inc()
}

func (m *metrics) heard(provider, outcome string) { m.events.WithLabelValues(provider, outcome).Inc() }

func (m *metrics) changed(c Change) {
	if c.Type != "" {
		m.changes.WithLabelValues(c.Payment.Provider, c.Type).Inc()
	}
}

// lookEvery bounds how often a scrape asks the database.
const lookEvery = 10 * time.Second

// open are the discrepancies that there are, for Prometheus. What the database
// can not tell is left out.
type open struct {
	payments *Payments
	count    *prometheus.Desc

	mu    sync.Mutex
	asked time.Time
	rows  []paymentdb.OpenDiscrepanciesRow
	known bool
}

// Describe is for Prometheus.
func (o *open) Describe(to chan<- *prometheus.Desc) { to <- o.count }

// Collect is for Prometheus.
func (o *open) Collect(to chan<- prometheus.Metric) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := o.payments.now(); now.Sub(o.asked) > lookEvery {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		rows, err := paymentdb.New(o.payments.pool).OpenDiscrepancies(ctx)
		o.asked, o.rows, o.known = now, rows, err == nil
	}
	if !o.known {
		return
	}
	for _, r := range o.rows {
		to <- prometheus.MustNewConstMetric(o.count, prometheus.GaugeValue, float64(r.Count), r.Kind)
	}
}
