package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics tell of the deliveries of this process.
type metrics struct {
	attempts *prometheus.CounterVec
	took     prometheus.Histogram
	delay    prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gocart_webhook_attempts_total", Help: "Attempts at deliveries to webhooks by this process, by what came of the delivery: succeeded, retried or failed.",
		}, []string{"outcome"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gocart_webhook_attempt_seconds", Help: "How long webhooks took to answer, or did not.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gocart_webhook_delay_seconds", Help: "From when a delivery was made to when it succeeded at its first attempt.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}),
	}
	r.MustRegister(m.attempts, m.took, m.delay)
	return m
}

func (m metrics) observe(r result, state string, now time.Time) {
	outcome := state
	if state == pending {
		outcome = "retried"
	}
	m.attempts.WithLabelValues(outcome).Inc()
	m.took.Observe(r.attempt.took.Seconds())
	if state == succeeded && r.delivery.Attempts == 1 {
		m.delay.Observe(now.Sub(r.delivery.CreatedAt).Seconds())
	}
}
