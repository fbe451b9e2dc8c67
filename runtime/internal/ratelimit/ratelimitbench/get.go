package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/cache"
	"gitee.com/captainjez/gocart/runtime/internal/httpserver"
	"gitee.com/captainjez/gocart/runtime/internal/limits"
	"gitee.com/captainjez/gocart/runtime/internal/overload"
	"gitee.com/captainjez/gocart/runtime/internal/ratelimit"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
)

// getters is how many ask for the answer at a time.
const getters = 16

// getSubjects are a GET that is answered from memory, by the store's own
// server, without the limiter's middlewares and with them.
func getSubjects(strict, leased *ratelimit.Limiter) ([]subject, error) {
	bare, err := getter(nil, "")
	if err != nil {
		return nil, err
	}
	subjects := []subject{{"get", "a cached GET, a second of the server's processor", bare}}
	for _, with := range []struct {
		name, consistency string
		limiter           *ratelimit.Limiter
	}{{"get_leased", config.ConsistencyLeased, leased}, {"get_strict", config.ConsistencyStrict, strict}} {
		measure, err := getter(with.limiter, with.consistency)
		if err != nil {
			return nil, err
		}
		subjects = append(subjects, subject{with.name, "the same behind the limiter, " + with.consistency, measure})
	}
	l := limitsOf(leased, config.ConsistencyLeased, overload.New(time.Now, prometheus.NewRegistry(), slog.New(slog.DiscardHandler)))
	c, _ := gin.CreateTestContext(httptest.NewRecorder())
	c.Request = httptest.NewRequest(http.MethodGet, "/api/v1/products/mug", nil)
	settings, err := secure.NewSettings(config.DefaultEdge())
	if err != nil {
		return nil, err
	}
	secure.By(func() *secure.Settings { return settings })(c)
	secure.ClientAddress()(c)
	gate, count := l.Gate(), l.Count()
	return append(subjects, subject{"middleware", "the limiter's middlewares alone, leased", ofProcessor(1, func(int, []ratelimit.State) {
		gate(c)
		count(c)
	})}), nil
}

// limitsOf are limits that nobody reaches.
func limitsOf(limiter *ratelimit.Limiter, consistency string, guard *overload.Guard) *limits.Limits {
	l := limits.New(limiter, guard, func(*gin.Context) limits.Caller { return limits.Caller{} }, slog.New(slog.DiscardHandler))
	c := config.DefaultLimits()
	for i := range c.Address {
		c.Address[i].Requests = plenty
	}
	c.Consistency = consistency
	l.Configure(c)
	return l
}

// getter measures how many GETs are answered in a second of this process's
// processor time; those who ask are a process of their own.
func getter(limiter *ratelimit.Limiter, consistency string) (func(context.Context, time.Duration) (float64, error), error) {
	engine, err := engine(limiter, consistency)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, each time.Duration) (float64, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		server := &http.Server{Handler: engine, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(l) }() // ends with Close
		defer func() { _ = server.Close() }()
		before := processorTime()
		ask := exec.CommandContext(ctx, os.Args[0], "-get", l.Addr().String(), "-seconds", strconv.FormatFloat(each.Seconds(), 'f', -1, 64))
		ask.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		ask.Stderr = os.Stderr
		out, err := ask.Output()
		if err != nil {
			return 0, err
		}
		answered, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		return answered / (processorTime() - before).Seconds(), err
	}, nil
}

// engine is the store's with one answer of 2 KB, and a limiter or none.
func engine(limiter *ratelimit.Limiter, consistency string) (*gin.Engine, error) {
	settings, err := secure.NewSettings(config.DefaultEdge())
	if err != nil {
		return nil, err
	}
	log, metrics := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	guard := overload.New(time.Now, metrics, log)
	p := httpserver.Passage{Settings: func() *secure.Settings { return settings }, First: []gin.HandlerFunc{guard.Middleware()}}
	if limiter != nil {
		l := limitsOf(limiter, consistency, guard)
		p.First = []gin.HandlerFunc{l.Gate(), guard.Middleware()}
		p.Then = []gin.HandlerFunc{l.Count()}
	}
	gin.SetMode(gin.ReleaseMode)
	e := httpserver.NewEngine(p, log, metrics)
	answer := cache.NewAnswer([]byte(`{"title":"` + strings.Repeat("x", 2<<10) + `"}`))
	e.GET("/api/v1/products/:id", func(c *gin.Context) { answer.ServeHTTP(c.Writer, c.Request) })
	return e, nil
}

// get asks for the answer for a while, and prints how often it came.
func get(addr string, each time.Duration) error {
	var wg sync.WaitGroup
	var answered atomic.Int64
	var failed atomic.Pointer[error]
	start := time.Now()
	for range getters {
		wg.Go(func() {
			n, err := getOn(addr, start.Add(each))
			if answered.Add(n); err != nil {
				failed.Store(&err)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	_, err := fmt.Println(answered.Load())
	return err
}

func getOn(addr string, end time.Time) (n int64, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for time.Now().Before(end) {
		if _, err := io.WriteString(conn, "GET /api/v1/products/mug HTTP/1.1\r\nHost: bench\r\n\r\n"); err != nil {
			return n, err
		}
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			return n, err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		if err = errors.Join(err, answer.Body.Close()); err != nil {
			return n, err
		}
		if answer.StatusCode != http.StatusOK {
			return n, errors.New(answer.Status)
		}
		n++
	}
	return n, nil
}
