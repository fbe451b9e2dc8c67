// Package observe holds what the runtime tells of itself to Prometheus.
package observe

import (
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"gitee.com/captainjez/gocart/runtime/version"
)

// NewRegistry has the process's own metrics.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gocart_build_info", Help: "1, labelled with the runtime's version.",
		ConstLabels: prometheus.Labels{"version": version.Version},
	})
	build.Set(1)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build)
	return r
}

// Requests times the requests of the public port by route, method and status.
func Requests(r prometheus.Registerer) gin.HandlerFunc {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gocart_http_request_duration_seconds",
		Help:    "Time from a request's headers to the end of its answer.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .2, .5, 1, 2.5, 5},
	}, []string{"route", "method", "status"})
	r.MustRegister(seconds)
	return func(c *gin.Context) {
		start := time.Now()
		c.Next()
		route := c.FullPath()
		if route == "" {
			route = "none"
		}
		seconds.WithLabelValues(route, method(c.Request.Method), strconv.Itoa(c.Writer.Status())).
			Observe(time.Since(start).Seconds())
	}
}

// method bounds what a caller can make a label of.
func method(m string) string {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return m
	}
	return "other"
}

// Pool tells how a pool of database connections is used.
func Pool(r prometheus.Registerer, pool *pgxpool.Pool) {
	for _, m := range []struct {
		name, help string
		kind       prometheus.ValueType
		value      func(*pgxpool.Stat) float64
	}{
		{"gocart_db_connections_max", "Connections that the pool may hold.", prometheus.GaugeValue,
			func(s *pgxpool.Stat) float64 { return float64(s.MaxConns()) }},
		{"gocart_db_connections_open", "Connections that the pool holds.", prometheus.GaugeValue,
			func(s *pgxpool.Stat) float64 { return float64(s.TotalConns()) }},
		{"gocart_db_connections_in_use", "Connections in use.", prometheus.GaugeValue,
			func(s *pgxpool.Stat) float64 { return float64(s.AcquiredConns()) }},
		{"gocart_db_acquires_total", "Connections taken from the pool.", prometheus.CounterValue,
			func(s *pgxpool.Stat) float64 { return float64(s.AcquireCount()) }},
		{"gocart_db_acquires_waited_total", "Connections that had to be waited for.", prometheus.CounterValue,
			func(s *pgxpool.Stat) float64 { return float64(s.EmptyAcquireCount()) }},
		{"gocart_db_acquire_wait_seconds_total", "Time spent waiting for a connection where none was free.", prometheus.CounterValue,
			func(s *pgxpool.Stat) float64 { return s.EmptyAcquireWaitTime().Seconds() }},
		{"gocart_db_acquires_canceled_total", "Waits for a connection that were given up.", prometheus.CounterValue,
			func(s *pgxpool.Stat) float64 { return float64(s.CanceledAcquireCount()) }},
		{"gocart_db_acquire_seconds_total", "Time spent taking connections.", prometheus.CounterValue,
			func(s *pgxpool.Stat) float64 { return s.AcquireDuration().Seconds() }},
	} {
		value := func() float64 { return m.value(pool.Stat()) }
		if m.kind == prometheus.CounterValue {
			r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: m.name, Help: m.help}, value))
		} else {
			r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: m.name, Help: m.help}, value))
		}
	}
}
