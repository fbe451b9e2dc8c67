package httpserver_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/httpserver"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func TestEveryErrorIsAProblemThatTellsNoMoreThanItShould(t *testing.T) {
	t.Parallel()
	gin.SetMode(gin.TestMode)
	settings, err := secure.NewSettings(config.DefaultEdge())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		err  error // nil panics
		code string
		want int
	}{
		{"a panic", nil, "internal", 500},
		{"an error nobody knows", errors.New("DETAILSECRET"), "internal", 500},
		{"a statement that is wrong", &pgconn.PgError{Code: "42601", Message: "DETAILSECRET"}, "internal", 500},
		{"a server that shuts down", fmt.Errorf("reading: %w", &pgconn.PgError{Code: "57P01", Message: "DETAILSECRET"}), "database_unavailable", 503},
		{"a connection that is refused", &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "database_unavailable", 503},
		{"an answer that does not come", context.DeadlineExceeded, "database_unavailable", 503},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log testbed.Log
			engine := httpserver.NewEngine(httpserver.Passage{Settings: func() *secure.Settings { return settings }}, log.Logger(), prometheus.NewRegistry())
			engine.GET("/", func(c *gin.Context) {
				if tt.err == nil {
					panic("DETAILSECRET")
				}
				_ = c.Error(tt.err)
			})
			w := httptest.NewRecorder()
			engine.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			body := w.Body.String()
			if w.Code != tt.want || !strings.Contains(body, `"code":"`+tt.code+`"`) || strings.Contains(body, "SECRET") {
				t.Errorf("%d %s", w.Code, body)
			}
			if w.Header().Get("X-Frame-Options") != "DENY" || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("headers %v", w.Header())
			}
			if (w.Header().Get("Retry-After") != "") != (tt.want == http.StatusServiceUnavailable) {
				t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
			}
			if !strings.Contains(log.String(), fmt.Sprintf(`"status":%d`, tt.want)) {
				t.Errorf("not in the access log: %s", log.String())
			}
		})
	}
}
