package httpserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gitee.com/captainjez/gocart/runtime/status"
)

// readyTimeout bounds /readyz below a kubelet's usual second or two.
const readyTimeout = 900 * time.Millisecond

// Internal is the port that is not for shoppers: health, metrics, status and
// profiles. It asks for no credentials, so nothing outside the cluster may
// reach it.
type Internal struct {
	// Ready are the checks that must pass for traffic to come.
	Ready []func(context.Context) error
	// Status is asked for each GET /internal/status.
	Status func(context.Context) status.Status
	// Jobs is asked for each GET /internal/jobs and /internal/schedules/{name}.
	Jobs    Jobs
	Metrics *prometheus.Registry

	stopping atomic.Bool
}

// Jobs tells of background jobs.
type Jobs interface {
	Queues(ctx context.Context) (status.Jobs, error)
	Schedule(ctx context.Context, name string) (status.Schedule, error)
}

// Handler serves the port.
func (i *Internal) Handler() http.Handler {
	mux := http.NewServeMux()
	// Alive is whoever answers: a restart mends no dependency.
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", i.readyz)
	mux.HandleFunc("GET /internal/status", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(i.Status(ctx)) // the caller may have gone
	})
	mux.HandleFunc("GET /internal/jobs", func(w http.ResponseWriter, r *http.Request) {
		tell(w, r, i.Jobs.Queues)
	})
	mux.HandleFunc("GET /internal/schedules/{name}", func(w http.ResponseWriter, r *http.Request) {
		tell(w, r, func(ctx context.Context) (status.Schedule, error) { return i.Jobs.Schedule(ctx, r.PathValue("name")) })
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(i.Metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// Stop makes /readyz fail, so that no new traffic comes.
func (i *Internal) Stop() { i.stopping.Store(true) }

func (i *Internal) readyz(w http.ResponseWriter, r *http.Request) {
	if err := i.check(r.Context()); err != nil {
		text(w, http.StatusServiceUnavailable, err.Error()+"\n")
		return
	}
	text(w, http.StatusOK, "ok\n")
}

func (i *Internal) check(ctx context.Context) error {
	if i.stopping.Load() {
		return errors.New("stopping")
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var errs []error
	for _, ready := range i.Ready {
		errs = append(errs, ready(ctx))
	}
	return errors.Join(errs...)
}

// tell answers with what can be found out in time; where the database is away
// that is 503.
func tell[T any](w http.ResponseWriter, r *http.Request, ask func(context.Context) (T, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	v, err := ask(ctx)
	if err != nil {
		text(w, http.StatusServiceUnavailable, err.Error()+"\n")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the caller may have gone
}

func text(w http.ResponseWriter, code int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(body)) // the caller may have gone
}
