// Package api puts the packages of commerce together into the one HTTP API
// that openapi.yaml describes.
package api

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/internal/httpserver"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
	"gitee.com/captainjez/gocart/runtime/openapi"
	"gitee.com/captainjez/gocart/runtime/version"
)

// handlers is openapi.ServerInterface: each package's part of it, embedded.
type handlers struct {
	catalog.Handlers
	store string
}

var _ openapi.ServerInterface = handlers{}

// New serves the store's API under /api/v1 and by its short paths.
func New(c config.Config, products *catalog.Catalog, log *slog.Logger, metrics prometheus.Registerer) (*gin.Engine, error) {
	proxies, err := secure.ParseProxies(c.Server.TrustedProxies)
	if err != nil {
		return nil, err
	}
	engine := httpserver.NewEngine(c, proxies, log, metrics)
	h := handlers{Handlers: catalog.Handlers{Catalog: products}, store: c.Store.Name}
	for _, prefix := range []string{"/api/v1", ""} {
		openapi.RegisterHandlersWithOptions(engine, h, openapi.GinServerOptions{BaseURL: prefix, ErrorHandler: httpserver.BadParameter})
	}
	engine.GET("/api/health", h.GetHealth)
	return engine, httpserver.Docs(engine)
}

// GetHealth answers GET /health without asking anything behind it.
func (h handlers) GetHealth(c *gin.Context) {
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, openapi.Health{Status: "ok", Store: h.store, Version: version.Version, Time: time.Now().UTC()})
}
