package ratelimit

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	redis, lease, memory, local, open, closed results

	roundTrip prometheus.Histogram
}

// results count the decisions of one source.
type results struct {
	allowed, shadowed, refused, banned striped
}

// striped counts what all processors do, without their waiting for each other:
// each adds to one of several numbers, of a cache line each.
type striped [16]struct {
	n atomic.Int64
	_ [56]byte
}

func (t *striped) inc() { t[rand.Uint32()%uint32(len(t))].n.Add(1) } //nolint:gosec // any will do

func (t *striped) sum() float64 {
	n := int64(0)
	for i := range t {
		n += t[i].n.Load()
	}
	return float64(n)
}

func newMetrics(registry prometheus.Registerer, l *Limiter) *metrics {
	m := &metrics{roundTrip: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "gocart_ratelimit_redis_duration_seconds", Help: "Time of calls to Redis, each of which decides one request or many.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1},
	})}
	for _, source := range []Source{Redis, Lease, Memory, Local, Open, Closed} {
		of := m.of(source)
		for result, t := range map[string]*striped{"allowed": &of.allowed, "shadowed": &of.shadowed, "refused": &of.refused, "banned": &of.banned} {
			registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
				Name: "gocart_ratelimit_decisions_total",
				Help: "Decisions by source: redis, lease, memory of a refusal, and, with Redis away, local, open or closed; " +
					"and by result: allowed, shadowed where a rule in shadow would have refused, refused, banned.",
				ConstLabels: prometheus.Labels{"source": string(source), "result": result},
			}, t.sum))
		}
	}
	registry.MustRegister(m.roundTrip, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gocart_ratelimit_bans", Help: "Bans in force that this process knows of.",
	}, func() float64 { return float64(l.Bans()) }))
	return m
}

func (m *metrics) of(source Source) *results {
	switch source {
	case Lease:
		return &m.lease
	case Redis:
		return &m.redis
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
		r.banned.inc()
	case !d.Allowed:
		r.refused.inc()
	case slices.ContainsFunc(d.States, func(s State) bool { return s.Refused }):
		r.shadowed.inc()
	default:
		r.allowed.inc()
	}
}
