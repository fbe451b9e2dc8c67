// Package api puts the handlers of the packages of commerce together into the
// one HTTP API that openapi.yaml describes.
package api

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/audit"
	"gitee.com/captainjez/gocart/runtime/internal/cart"
	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/internal/checkout"
	"gitee.com/captainjez/gocart/runtime/internal/commerce"
	"gitee.com/captainjez/gocart/runtime/internal/console"
	"gitee.com/captainjez/gocart/runtime/internal/customer"
	"gitee.com/captainjez/gocart/runtime/internal/edge"
	"gitee.com/captainjez/gocart/runtime/internal/httpserver"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/inventory"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/limits"
	"gitee.com/captainjez/gocart/runtime/internal/order"
	"gitee.com/captainjez/gocart/runtime/internal/payment"
	"gitee.com/captainjez/gocart/runtime/internal/privacy"
	"gitee.com/captainjez/gocart/runtime/internal/realtime"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
	"gitee.com/captainjez/gocart/runtime/internal/rules"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
	"gitee.com/captainjez/gocart/runtime/internal/stats"
	"gitee.com/captainjez/gocart/runtime/internal/transfer"
	"gitee.com/captainjez/gocart/runtime/internal/webhook"
	"gitee.com/captainjez/gocart/runtime/openapi"
	"gitee.com/captainjez/gocart/runtime/version"
)

// Each package has its Handlers; their names here tell them apart.
type (
	products  = catalog.Handlers
	stock     = inventory.Handlers
	carts     = cart.Handlers
	placing   = checkout.Handlers
	orders    = order.Handlers
	payments  = payment.Handlers
	customers = customer.Handlers
	rulebook  = rules.Handlers
	ledger    = jobs.Handlers
	sums      = stats.Handlers
	tickets   = realtime.Handlers
	hooks     = webhook.Handlers
	acts      = audit.Handlers
	files     = transfer.Handlers
	personal  = privacy.Handlers
)

// handlers is openapi.ServerInterface: each package's part of it, embedded.
type handlers struct {
	products
	stock
	carts
	placing
	orders
	payments
	customers
	rulebook
	ledger
	sums
	tickets
	hooks
	acts
	files
	personal
	store string
}

var _ openapi.ServerInterface = handlers{}

// New serves the store's API under /api/v1 and by its short paths, behind an
// edge.
func New(c config.Config, e *edge.Edge, k *commerce.Commerce, log *slog.Logger, metrics prometheus.Registerer) (*gin.Engine, error) {
	authorize, err := identity.Authorize(openapi.YAML)
	if err != nil {
		return nil, err
	}
	recorded, err := audit.Middleware(openapi.YAML)
	if err != nil {
		return nil, err
	}
	engine := httpserver.NewEngine(httpserver.Passage{
		Settings: e.Secure,
		First:    []gin.HandlerFunc{e.Limits.Gate(), e.Guard.Middleware()},
		Then:     []gin.HandlerFunc{secure.CrossOrigin(identity.ByCookie), k.Callers.Identify(), e.Limits.Count(), authorize, recorded},
	}, log, metrics)
	h := handlers{
		products: products{Catalog: k.Catalog}, stock: stock{Stock: k.Stock}, carts: carts{Carts: k.Carts},
		placing: placing{Checkout: k.Checkout}, orders: orders{Orders: k.Orders}, payments: payments{Payments: k.Payments},
		customers: customers{Customers: k.Customers, APIKeys: k.APIKeys}, rulebook: rulebook{Rules: k.Rules},
		ledger: ledger{Ledger: k.Jobs}, sums: sums{Statistics: k.Statistics}, tickets: tickets{Tickets: k.Callers},
		hooks: hooks{Webhooks: k.Webhooks}, acts: acts{Log: k.Audit}, files: files{Transfers: k.Transfers}, personal: personal{Privacy: k.Privacy}, store: c.Store.Name,
	}
	for _, prefix := range []string{"/api/v1", ""} {
		openapi.RegisterHandlersWithOptions(engine, h, openapi.GinServerOptions{BaseURL: prefix, ErrorHandler: httpserver.BadParameter})
	}
	engine.GET("/api/health", h.GetHealth)
	pages, err := console.Open(k.Pool, log)
	if err != nil {
		return nil, err
	}
	if err := pages.Mount(engine); err != nil {
		return nil, err
	}
	return engine, httpserver.Docs(engine)
}

// Sockets opens WebSockets at /ws for those whom the API knows. The hub hears of
// what happens by a feed that has it for its Listener.
func Sockets(engine *gin.Engine, k *commerce.Commerce, r *redisdb.Redis, log *slog.Logger, metrics prometheus.Registerer) (*realtime.Hub, error) {
	hub, err := realtime.NewHub(realtime.Options{
		Callers: k.Callers, Orders: k.Orders, Products: k.Catalog, Past: k.Events, Redis: r, Log: log, Metrics: metrics, Now: commerce.Now,
	})
	if err != nil {
		return nil, err
	}
	engine.GET("/ws", hub.Serve(engine))
	return hub, nil
}

// Caller is whom a request counts for, where limits are concerned.
func Caller(c *gin.Context) limits.Caller {
	p := identity.Of(c)
	switch {
	case p.Anonymous() && strings.HasSuffix(c.FullPath(), "/webhooks/payments/:provider"):
		// Providers tell of much from few addresses, and are known by what they sign.
		return limits.Caller{APIKey: "webhooks " + secure.ClientOf(c).String()}
	case p.SignedIn() && len(p.Scopes) > 0: // staff, whose pages ask as programs do
		return limits.Caller{APIKey: "staff " + p.CustomerID.String()}
	case p.SignedIn():
		return limits.Caller{Customer: p.CustomerID.String()}
	case p.KeyID != uuid.Nil:
		return limits.Caller{APIKey: p.KeyID.String()}
	}
	return limits.Caller{APIKey: p.KeyName} // the first key has no id; nobody has no name
}

// GetHealth answers GET /health without asking anything behind it.
func (h handlers) GetHealth(c *gin.Context) {
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, openapi.Health{Status: "ok", Store: h.store, Version: version.Version, Time: time.Now().UTC()})
}
