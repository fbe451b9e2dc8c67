package rawhttp_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gitee.com/captainjez/gocart/runtime/internal/rawhttp"
)

func TestAnAnswerOfAnyShapeIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789abcdef", 20_000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/chunks":
			for part := range 5 {
				_, _ = io.WriteString(w, long[part*len(long)/5:(part+1)*len(long)/5])
				_ = http.NewResponseController(w).Flush()
			}
		case "/long":
			_, _ = io.WriteString(w, long)
		case "/echo":
			body, _ := io.ReadAll(r.Body)
			_, _ = w.Write(append(body, r.Header.Get("X-Cart-Token")...))
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		default:
			http.Error(w, "no", http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	c, err := rawhttp.Dial(server.Listener.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	for range 2 {
		for _, tt := range []struct {
			request []byte
			keep    bool
			status  int
			body    string
		}{
			{rawhttp.Get("/chunks"), true, 200, long},
			{rawhttp.Get("/chunks"), false, 200, ""},
			{rawhttp.Get("/long"), true, 200, long},
			{rawhttp.Get("/long"), false, 200, ""},
			{rawhttp.Get("/empty"), true, 204, ""},
			{rawhttp.Get("/nothing"), false, 404, "no\n"},
			{rawhttp.Post("/echo", `{"id":"a"}`, "secret"), true, 200, `{"id":"a"}secret`},
		} {
			status, body, err := c.Do(tt.request, tt.keep)
			if err != nil || status != tt.status || string(body) != tt.body {
				t.Fatalf("%.30q: %d, %d bytes of %d, %v", tt.request, status, len(body), len(tt.body), err)
			}
		}
	}
	if got := rawhttp.After([]byte(`{"a":1,"id":"x"}`), `"id":"`); got != "x" {
		t.Errorf("got %q", got)
	}
}
