package limits_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/limits"
	"gitee.com/captainjez/gocart/runtime/internal/ratelimit"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

// BenchmarkCount is what the middleware costs a request beside asking Redis.
func BenchmarkCount(b *testing.B) {
	c := config.DefaultLimits()
	c.Address = perMinute(1 << 40)
	limiter := ratelimit.New(nil, ratelimit.Options{FailureMode: ratelimit.Local}, prometheus.NewRegistry())
	l := limits.New(limiter, &attack{}, func(*gin.Context) limits.Caller { return limits.Caller{} }, (&testbed.Log{}).Logger())
	l.Configure(c)
	context, _ := gin.CreateTestContext(httptest.NewRecorder())
	context.Request = httptest.NewRequest(http.MethodGet, "/products", nil)
	count := l.Count()
	b.ReportAllocs()
	for b.Loop() {
		count(context)
	}
}
