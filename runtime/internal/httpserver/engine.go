// Package httpserver is how the store is reached: its listeners, its
// certificate, and the order in which a request passes through them. What a
// request then asks for is commerce's to answer.
package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/observe"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
)

const (
	maxBody = 1 << 20
	maxURL  = 8 << 10
	// requestDeadline bounds what a request waits for behind the server.
	requestDeadline = 5 * time.Second
	// retryAfter is when a caller should come back while the database is away.
	retryAfter = 2 * time.Second
)

// Passage is what an engine does not know itself.
type Passage struct {
	Settings func() *secure.Settings
	// First turn requests away before anything is done for them.
	First []gin.HandlerFunc
	// Then find out who calls, how much they may ask for, and what they may do.
	Then []gin.HandlerFunc
}

// NewEngine makes an engine on which every request passes what follows, in
// this order.
func NewEngine(p Passage, log *slog.Logger, metrics prometheus.Registerer) *gin.Engine {
	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false
	engine.ForwardedByClientIP = false // secure.ClientAddress knows whom to believe
	engine.Use(
		secure.By(p.Settings),
		secure.RequestID(),
		secure.ClientAddress(),
		secure.AccessLog(log),
		observe.Requests(metrics),
		secure.Headers(),
		problems(log), // answers the errors and panics of all that follow
		secure.URLLimit(maxURL),
		wellFormed,
		secure.CORS(), // before who is turned away, who is to read why
		secure.BodyLimit(maxBody),
	)
	engine.Use(p.First...)
	engine.Use(secure.Deadline(requestDeadline))
	engine.Use(p.Then...)
	engine.NoRoute(func(c *gin.Context) {
		_ = c.Error(problem.New(http.StatusNotFound, "not_found", "Nothing is at %.200q.", c.Request.URL.Path))
	})
	engine.NoMethod(func(c *gin.Context) {
		_ = c.Error(problem.New(http.StatusMethodNotAllowed, "method_not_allowed", "%.20s is not what %.200q takes.", c.Request.Method, c.Request.URL.Path))
	})
	return engine
}

// problems is the one place where an error becomes an answer.
func problems(log *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		defer func() {
			r := recover()
			if r == nil {
				return
			}
			if r == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
				panic(r)
			}
			log.ErrorContext(c.Request.Context(), "panic", "requestId", secure.RequestIDOf(c), "panic", r, "stack", string(debug.Stack()))
			c.Abort()
			if !c.Writer.Written() {
				internal().Write(c.Writer, secure.RequestIDOf(c))
			}
		}()
		c.Next()
		last := c.Errors.Last()
		if last == nil || c.Writer.Written() {
			return
		}
		p := problemOf(last.Err)
		if p.Status >= http.StatusInternalServerError {
			log.ErrorContext(c.Request.Context(), "request failed", "requestId", secure.RequestIDOf(c), "code", p.Code, "error", last.Err)
		}
		p.Write(c.Writer, secure.RequestIDOf(c))
	}
}

func internal() *problem.Problem {
	return problem.New(http.StatusInternalServerError, "internal", "Something went wrong here; the request's id helps to find it.")
}

// problemOf says what a caller may know about an error.
func problemOf(err error) *problem.Problem {
	if p, ok := errors.AsType[*problem.Problem](err); ok {
		return p
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem.New(http.StatusRequestEntityTooLarge, "body_too_large", "The body may have %d bytes.", tooLarge.Limit)
	}
	if db.Unavailable(err) {
		p := problem.New(http.StatusServiceUnavailable, "database_unavailable", "The store cannot reach its data right now. Please try again.")
		p.RetryAfter = retryAfter
		return p
	}
	if errors.Is(err, context.Canceled) { // the caller has gone
		return problem.New(499, "canceled", "The request was canceled.")
	}
	return internal()
}

// wellFormed refuses a query of which a part could not be read, and would be
// taken for left out.
func wellFormed(c *gin.Context) {
	if c.Request.URL.RawQuery == "" {
		return
	}
	if _, err := url.ParseQuery(c.Request.URL.RawQuery); err != nil {
		_ = c.Error(problem.Invalid(problem.Field{Pointer: "query", Detail: fmt.Sprintf("is not well-formed: %.100s", err)}))
		c.Abort()
	}
}

// unreadable finds the parameter's name in an error of the generated code.
var (
	unreadable = regexp.MustCompile(`^(?:Invalid format for parameter|Expected one value for) ([\w-]+)`)
	missing    = regexp.MustCompile(`^(?:Header parameter|Query argument) ([\w-]+) is required`)
)

// BadParameter answers what the generated code cannot read.
func BadParameter(c *gin.Context, err error, _ int) {
	field := problem.Field{Detail: "is not a value of this parameter, or is there more than once"}
	if m := unreadable.FindStringSubmatch(err.Error()); m != nil {
		field.Pointer = m[1]
	} else if m := missing.FindStringSubmatch(err.Error()); m != nil {
		field.Pointer, field.Detail = m[1], "must be there"
	}
	_ = c.Error(problem.Invalid(field))
	c.Abort()
}
