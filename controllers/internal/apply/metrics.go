package apply

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// writes counts requests that change something; a steady operator's stands still.
var writes = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "gocart_operator_writes_total",
	Help: "Objects that the operator created, changed or deleted, by kind.",
}, []string{"kind"})

// RegisterMetrics makes the package's metrics part of the operator's.
func RegisterMetrics() error { return metrics.Registry.Register(writes) }

// Writes is the counter of writes, for tests of steadiness.
func Writes() *prometheus.CounterVec { return writes }
