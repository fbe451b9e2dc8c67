package ratelimit

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	redis, lease, memory, local, open, closed results

	roundTrip prometheus.Histogram
}

// results count the decisions of one source.
type results struct {
	allowed, shadowed, refused, banned prometheus.Counter
}

func newMetrics(registry prometheus.Registerer, l *Limiter) *metrics {
	decisions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocart_ratelimit_decisions_total",
		Help: "Decisions by source: redis, lease, memory of a refusal, and, with Redis away, local, open or closed; " +
			"and by result: allowed, shadowed where a rule in shadow would have refused, refused, banned.",
	}, []string{"source", "result"})
	m := &metrics{
		roundTrip: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gocart_ratelimit_redis_duration_seconds", Help: "Time of calls to Redis, each of which decides one request or many.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05},
		}),
	}
	for _, source := range []Source{Redis, Lease, Memory, Local, Open, Closed} {
		of := func(result string) prometheus.Counter { return decisions.WithLabelValues(string(source), result) }
		*m.of(source) = results{of("allowed"), of("shadowed"), of("refused"), of("banned")}
	}
	registry.MustRegister(decisions, m.roundTrip, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gocart_ratelimit_bans", Help: "Bans in force that this process knows of.",
	}, func() float64 { return float64(l.Bans()) }))
	return m
}

func (m *metrics) of(source Source) *results {
	switch source {
	case Redis:
		return &m.redis
	case Lease:
		return &m.lease
	case Memory:
		return &m.memory
	case Local:
		return &m.local
	case Open:
		return &m.open
	}
	return &m.closed
}

func (m *metrics) count(d *Decision) {
	r := m.of(d.Source)
	switch {
	case d.BannedFor > 0:
		r.banned.Inc()
	case !d.Allowed:
		r.refused.Inc()
	case slices.ContainsFunc(d.States, func(s State) bool { return s.Refused }):
		r.shadowed.Inc()
	default:
		r.allowed.Inc()
	}
}
