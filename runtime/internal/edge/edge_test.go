package edge_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/edge"
	"gitee.com/captainjez/gocart/runtime/internal/limits"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

// write replaces the file in one step, as Kubernetes does.
func write(t *testing.T, file, text string) string {
	t.Helper()
	if err := errors.Join(os.WriteFile(file+".next", []byte(text), 0o600), os.Rename(file+".next", file)); err != nil {
		t.Fatal(err)
	}
	return config.EdgeHash([]byte(text))
}

func open(file string) (*edge.Edge, error) {
	caller := func(*gin.Context) limits.Caller { return limits.Caller{} }
	return edge.Open(edge.Options{File: file, Caller: caller, Log: (&testbed.Log{}).Logger(), Metrics: prometheus.NewRegistry()})
}

// referrer is the policy that answers are sent with.
func referrer(e *edge.Edge) string {
	gin.SetMode(gin.TestMode)
	engine := gin.New()
	engine.Use(secure.By(e.Secure), secure.Headers())
	w := httptest.NewRecorder()
	engine.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	return w.Header().Get("Referrer-Policy")
}

func TestAChangedFileIsInForceAndAWrongOneIsNot(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "edge.yaml")
	write(t, file, "security: {headers: {referrerPolicy: origin}}")
	e, err := open(file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go e.Run(ctx)
	if referrer(e) != "origin" {
		t.Errorf("to begin with: %s", referrer(e))
	}

	hash := write(t, file, "security: {headers: {referrerPolicy: same-origin}}")
	testbed.Eventually(t, "status tells the new hash", func() bool { return e.Status().Hash == hash })
	if referrer(e) != "same-origin" {
		t.Errorf("after a change: %s", referrer(e))
	}

	write(t, file, "limits: {failureMode: sideways}")
	testbed.Eventually(t, "status tells why the file is refused", func() bool { return strings.Contains(e.Status().Error, "limits.failureMode") })
	if e.Status().Hash != hash {
		t.Errorf("in force is %s, not %s", e.Status().Hash, hash)
	}
	write(t, file, "security: {headers: {referrerPolicy: same-origin}}")
	testbed.Eventually(t, "the complaint ends with the mistake", func() bool { return e.Status().Error == "" })
}

func TestAnEdgeThatIsWrongToBeginWithIsRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "edge.yaml")
	if _, err := open(file); err == nil || !strings.Contains(err.Error(), "edgeFile") {
		t.Errorf("a missing file: %v", err)
	}
	write(t, file, "trustedProxies: [nobody]")
	if _, err := open(file); err == nil || !strings.Contains(err.Error(), "trustedProxies") {
		t.Errorf("a wrong file: %v", err)
	}
}
