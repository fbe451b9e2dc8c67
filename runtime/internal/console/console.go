// Package console is what staff see in a browser: a page to sign in, and the
// pages of background jobs, which are River's own (riverqueue.com/riverui).
// Who may not look after jobs sees nothing of it.
package console

import (
	"context"
	"embed"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"riverqueue.com/riverui"

	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
)

// Where the pages are.
const (
	prefix = "/admin"
	jobs   = prefix + "/jobs"
	signIn = prefix + "/sign-in"
	// scope is what the pages of jobs need: they retry, cancel and delete.
	scope = "jobs:admin"
	// policy lets pages have what they bring along; River's set styles by script.
	policy = "default-src 'self'; img-src 'self' data:; style-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

//go:embed pages
var pages embed.FS

// Console serves the pages.
type Console struct {
	river *riverui.Handler
	// start has River count jobs in the background, which is not for nothing:
	// from the first look on, until the process ends.
	start func()
}

// Open makes the pages over a store's jobs. It asks the database nothing until
// somebody looks.
func Open(pool *pgxpool.Pool, log *slog.Logger) (*Console, error) {
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: log})
	if err != nil {
		return nil, err
	}
	handler, err := riverui.NewHandler(&riverui.HandlerOpts{
		Endpoints: riverui.NewEndpoints(client, nil), Logger: log, Prefix: jobs, JobListHideArgsByDefault: true,
	})
	if err != nil {
		return nil, fmt.Errorf("the pages of jobs: %w", err)
	}
	return &Console{river: handler, start: sync.OnceFunc(func() {
		if err := handler.Start(context.Background()); err != nil {
			log.Warn("the pages of jobs show no counts", "error", err)
		}
	})}, nil
}

// Mount puts the pages on an engine behind which the caller is known.
func (k *Console) Mount(engine *gin.Engine) error {
	engine.GET(prefix, func(c *gin.Context) { c.Redirect(http.StatusSeeOther, jobs+"/") })
	engine.GET(jobs, func(c *gin.Context) { c.Redirect(http.StatusSeeOther, jobs+"/") })
	for name, contentType := range map[string]string{"sign-in.html": "text/html; charset=utf-8", "sign-in.js": "text/javascript; charset=utf-8", "style.css": "text/css; charset=utf-8"} {
		body, err := pages.ReadFile("pages/" + name)
		if err != nil {
			return err
		}
		engine.GET(prefix+"/"+strings.TrimSuffix(name, ".html"), func(c *gin.Context) {
			c.Header("Content-Security-Policy", policy)
			c.Header("Cache-Control", "no-cache")
			c.Data(http.StatusOK, contentType, body)
		})
	}
	engine.Any(jobs+"/*path", k.allow, func(c *gin.Context) {
		k.start()
		c.Header("Content-Security-Policy", policy)
		c.Header("Cache-Control", "private, no-store")
		k.river.ServeHTTP(c.Writer, c.Request)
	})
	return nil
}

// allow lets those pass who look after jobs. A browser is led to where one
// signs in.
func (k *Console) allow(c *gin.Context) {
	who := identity.Of(c)
	switch {
	case who.Can(scope):
	case who.Anonymous() && c.Request.Method == http.MethodGet && strings.Contains(c.GetHeader("Accept"), "text/html"):
		c.Redirect(http.StatusSeeOther, signIn+"?"+url.Values{"next": {c.Request.URL.Path}}.Encode())
		c.Abort()
	case who.Anonymous():
		rest.Fail(c, problem.New(http.StatusUnauthorized, "unauthorized", "Sign in at %s.", signIn))
	default:
		rest.Fail(c, problem.New(http.StatusForbidden, "forbidden", "This needs the scope %s.", scope))
	}
}
