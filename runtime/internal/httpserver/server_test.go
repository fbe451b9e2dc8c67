package httpserver_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/httpserver"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func TestNothingIsAnsweredAfterARequestWhoseEndIsInDoubt(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.Server.Public.Address, c.Server.Internal.Address = "127.0.0.1:0", "127.0.0.1:0"
	c.Server.DrainTimeout = config.Duration(time.Millisecond)
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	var log testbed.Log
	s, err := httpserver.Listen(c, &httpserver.Public{Engine: echo}, &httpserver.Internal{Metrics: prometheus.NewRegistry()}, log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	const next = "GET /next HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"
	for _, tt := range []struct {
		name, request string
		answers       int
	}{
		{"a length", "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\nhi", 2},
		{"chunks", "POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 1},
		{"a length beside chunks", "POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 1},
		{"chunks in HTTP/1.0", "POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nhi", 1},
	} {
		conn, err := net.Dial("tcp", s.Addrs()[1].String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, tt.request+next); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		_ = conn.Close()
		if n := strings.Count(string(answer), " 200 OK\r\n"); err != nil || n != tt.answers || !strings.Contains(string(answer), "hi") {
			t.Errorf("%s: %d answers, %v: %s", tt.name, n, err, answer)
		}
	}
}
