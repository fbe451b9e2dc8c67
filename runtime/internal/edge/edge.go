// Package edge holds what stands between callers and the store's commerce, and
// swaps its settings in place when their file changes. It owns no middleware:
// those are of packages secure, limits and overload, which it puts together.
package edge

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/limits"
	"gitee.com/captainjez/gocart/runtime/internal/overload"
	"gitee.com/captainjez/gocart/runtime/internal/ratelimit"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
	"gitee.com/captainjez/gocart/runtime/internal/watch"
	"gitee.com/captainjez/gocart/runtime/status"
)

// Edge is the settings in force and those who go by them. It may be used by
// many at once.
type Edge struct {
	Limits *limits.Limits
	Guard  *overload.Guard

	file    string
	log     *slog.Logger
	current atomic.Pointer[settings]
	// refused is why the file that is there is not in force.
	refused atomic.Pointer[refusal]
}

// settings are one version of them.
type settings struct {
	hash   string
	secure *secure.Settings
}

type refusal struct{ hash, why string }

// Options are what an Edge is made of.
type Options struct {
	// File holds a config.Edge. Without one the defaults are in force.
	File string
	// Redis is nil for a store without it.
	Redis *redisdb.Redis
	// Caller tells who sends a request.
	Caller  func(*gin.Context) limits.Caller
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Open reads the file, which must be right to begin with. It is called before
// Redis runs.
func Open(o Options) (*Edge, error) {
	limiter := ratelimit.New(o.Redis, ratelimit.Options{FailureMode: ratelimit.Local}, o.Metrics)
	e := &Edge{file: o.File, log: o.Log, Guard: overload.New(time.Now, o.Metrics, o.Log)}
	e.Limits = limits.New(limiter, e.Guard, o.Caller, o.Log)
	e.Guard.OnBan(func(client netip.Addr, length time.Duration) {
		o.Log.Warn("an address is banned: it went on after it was refused many times", "client", client, "for", length.String())
		e.Limits.Ban(context.Background(), client, length)
	})
	if o.File == "" {
		return e, e.take(config.DefaultEdge(), "")
	}
	raw, err := os.ReadFile(o.File)
	if err != nil {
		return nil, fmt.Errorf("edgeFile: %w", err)
	}
	if err := e.read(raw); err != nil {
		return nil, fmt.Errorf("edgeFile %s: %w", o.File, err)
	}
	return e, nil
}

func (e *Edge) read(raw []byte) error {
	c, err := config.ParseEdge(raw)
	if err != nil {
		return err
	}
	return e.take(c, config.EdgeHash(raw))
}

func (e *Edge) take(c config.Edge, hash string) error {
	s, err := secure.NewSettings(c)
	if err != nil {
		return err
	}
	e.current.Store(&settings{hash: hash, secure: s})
	e.Limits.Configure(c.Limits)
	e.Guard.Configure(c.Limits)
	return nil
}

// Secure are the current settings of package secure.
func (e *Edge) Secure() *secure.Settings { return e.current.Load().secure }

// Run takes the file's changes until ctx ends. A file that is wrong leaves the
// settings before it in force, and Status says so.
func (e *Edge) Run(ctx context.Context) {
	if e.file != "" {
		go watch.Files(ctx, e.log, e.reload, e.file)
	}
	e.Guard.Run(ctx)
}

func (e *Edge) reload() {
	raw, err := os.ReadFile(e.file)
	hash := config.EdgeHash(raw)
	if err == nil && hash == e.current.Load().hash {
		e.refused.Store(nil)
		return
	}
	if err == nil {
		err = e.read(raw)
	}
	if err == nil {
		e.refused.Store(nil)
		e.log.Info("edge settings are in force", "hash", hash)
		return
	}
	before := e.refused.Swap(&refusal{hash: hash, why: err.Error()})
	if before == nil || before.hash != hash {
		e.log.Error("edge settings can not be used; the ones before stay in force", "file", e.file, "error", err)
	}
}

// Status tells which settings are in force. A nil *Edge has none.
func (e *Edge) Status() *status.Edge {
	if e == nil {
		return nil
	}
	s := &status.Edge{Hash: e.current.Load().hash, Limits: e.Limits.Status()}
	s.Limits.AttackLevel, s.Limits.Shed = e.Guard.Level(), e.Guard.Shed()
	if r := e.refused.Load(); r != nil {
		s.Error = r.why
	}
	return s
}
