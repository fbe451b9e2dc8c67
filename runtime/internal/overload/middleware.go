package overload

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
)

// Middleware lets requests in or turns them away. It belongs after
// secure.ClientAddress, secure.BodyLimit and what answers errors, and before
// all that asks who calls. What tells that the store lives always passes.
func (g *Guard) Middleware() gin.HandlerFunc {
	return func(c *gin.Context) {
		s, path := g.settings.Load(), pathOf(c)
		if s.Mode == config.ProtectionOff {
			return
		}
		now := g.now()
		g.step(now)
		g.requests.Add(1)
		if path == "/health" || path == "/api/health" {
			return
		}
		client := secure.ClientOf(c)
		who := addressOf(client)
		if g.level.Load() > 0 && !s.allow.Contains(client) {
			if !g.crowds.enter(who, s.MaxInFlight) {
				g.Refused(client)
				turnAway(c, tooMany)
				return
			}
			defer g.crowds.leave(who)
		}
		claim := classOf(c, path, true)
		worth := claim
		if claim >= credential && g.liars.has(who, now) {
			worth = classOf(c, path, false)
		}
		if g.inFlight.Load() >= g.room[worth].Load() {
			g.turnDown(c, worth)
			return
		}
		if path == "/ws" {
			return // a socket stays for hours, and costs nothing while it does
		}
		// Only a request that is there whole takes a place: who sends slowly
		// keeps it from nobody.
		whole(c.Request)
		p := g.take(c, worth)
		if p == nil {
			g.turnDown(c, worth)
			return
		}
		defer p.leave() // of a panic
		c.Next()
		c.Writer = p.ResponseWriter
		status := statusOf(c)
		p.answered(status)
		if lied(c, path, worth, status) {
			g.liars.add(who, now)
		}
	}
}

// tooMany and busy are what is said to who is turned away, busy by the seconds
// after which to come back.
var (
	tooMany = func() *problem.Problem {
		p := problem.New(http.StatusTooManyRequests, "too_many_at_once",
			"Your address has too many requests in flight; wait for some to be answered before you send more.")
		p.RetryAfter = time.Second
		return p
	}()
	busy = func() (list [1 + 2*(highest+1)]*problem.Problem) {
		for i := range list {
			list[i] = problem.New(http.StatusServiceUnavailable, "overloaded", "The store has more to do than it can at the moment. Please try again.")
			list[i].RetryAfter = time.Duration(i) * time.Second
		}
		return list
	}()
)

// turnDown sheds a request, and spreads out when its like come back: over two
// seconds, and two more with every level.
func (g *Guard) turnDown(c *gin.Context, worth class) {
	g.shed.Add(1)
	g.metrics.shed[worth].Inc()
	turnAway(c, busy[1+rand.IntN(2+2*int(g.level.Load()))]) //nolint:gosec // a spread
}

// turnAway answers at once. It records no error, for that would be logged, and
// a line for each of these would be more work than the answer.
func turnAway(c *gin.Context, p *problem.Problem) {
	p.Write(c.Writer, secure.RequestIDOf(c))
	c.Abort()
}

// place is a request's among those in flight, from when it is there whole to
// the first byte of its answer, which is ready then: who reads slowly keeps it
// from nobody.
type place struct {
	gin.ResponseWriter
	guard    *Guard
	route    route
	began    time.Time
	inFlight int64
	left     bool
}

// take returns nil where there is no room.
func (g *Guard) take(c *gin.Context, worth class) *place {
	for {
		n := g.inFlight.Load()
		if n >= g.room[worth].Load() {
			return nil
		}
		if g.inFlight.CompareAndSwap(n, n+1) {
			p := &place{ResponseWriter: c.Writer, guard: g, began: g.now(), inFlight: n + 1}
			if path := c.FullPath(); path != "" {
				p.route = route{method: c.Request.Method, path: path}
			}
			c.Writer = p
			return p
		}
	}
}

func (p *place) Write(b []byte) (int, error) {
	p.answered(p.Status())
	return p.ResponseWriter.Write(b)
}

func (p *place) WriteString(s string) (int, error) {
	p.answered(p.Status())
	return p.ResponseWriter.WriteString(s)
}

// answered leaves, and notes how long the request took. Refusals say nothing
// of that: no work was done for them.
func (p *place) answered(status int) {
	if p.left {
		return
	}
	inFlight := max(p.inFlight, p.guard.inFlight.Load())
	p.leave()
	well := status < http.StatusBadRequest || status == http.StatusNotFound
	if !well && status < http.StatusInternalServerError {
		return
	}
	g, now := p.guard, p.guard.now()
	g.mu.Lock()
	g.limit.answered(now, p.route, now.Sub(p.began), inFlight, well)
	g.mu.Unlock()
}

func (p *place) leave() {
	if !p.left {
		p.left = true
		p.guard.inFlight.Add(-1)
	}
}

// statusOf is the status of an answer that may be an error yet to be written.
func statusOf(c *gin.Context) int {
	last := c.Errors.Last()
	if last == nil || c.Writer.Written() {
		return c.Writer.Status()
	}
	if p, ok := errors.AsType[*problem.Problem](last.Err); ok {
		return p.Status
	}
	if errors.Is(last.Err, context.Canceled) {
		return 499 // the caller has gone
	}
	return http.StatusInternalServerError
}

// upFront is as much of a body as is read before a place is taken. All but
// imports are shorter.
const upFront = 16 << 10

// whole reads a body before it is asked for.
func whole(r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return
	}
	var read bytes.Buffer
	if r.ContentLength > 0 {
		read.Grow(int(min(r.ContentLength, upFront)) + bytes.MinRead)
	}
	_, err := read.ReadFrom(io.LimitReader(r.Body, upFront))
	r.Body = &again{Reader: io.MultiReader(&read, failing{err}, r.Body), Closer: r.Body}
}

// again is a body of which a part was read.
type again struct {
	io.Reader
	io.Closer
}

// failing is the error that reading ended with, if it did.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}
