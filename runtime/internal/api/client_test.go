package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

// clientPage connects by the JavaScript client, and posts what it hears.
const clientPage = `
import { connect } from '/gocart-realtime.js';
const headers = { Authorization: 'Bearer ADMIN-KEY' };
let queue = Promise.resolve();
const report = (what) => { queue = queue.then(() => fetch('/report', { method: 'POST', body: JSON.stringify(what) })); };
const live = connect({
  url: location.origin.replace('http', 'ws') + '/ws',
  ticket: async () => (await (await fetch('/api/v1/ws/tickets', { method: 'POST', headers })).json()).ticket,
});
live.on('state', (state) => report({ state }));
live.on('error', (e) => report({ error: e.code + ': ' + e.message }));
live.on('reload', () => report({ error: 'reload' }));
live.command({ method: 'POST', path: '/carts', body: {} }).then(({ status }) => report({ status }));
live.subscribe('inventory', (e) => {
  if (e.event !== 'stock.changed') return; // but low
  report({ available: e.data.available });
  if (e.data.available === 0) live.close();
});
`

// heard is what the page tells.
type heard struct {
	State, Error string
	Status       int
	Available    *int
}

func TestAPageInABrowserComesBackToAnotherReplicaAndMissesNothing(t *testing.T) {
	t.Parallel()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("NOTHING WAS TESTED: chromium is not installed (Debian's package chromium)")
	}
	uri, redis := testbed.Database(t), testbed.Redis(t).Addr
	a, b := liveOver(t, uri, redis), liveOver(t, uri, redis)
	a.stocked("MUG", "10.00", 1000)

	// One origin before both replicas, as a Service is.
	var replica atomic.Pointer[url.URL]
	use := func(l *live) {
		u, err := url.Parse("http" + strings.TrimSuffix(strings.TrimPrefix(l.url, "ws"), "/ws"))
		if err != nil {
			t.Error(err)
		}
		replica.Store(u)
	}
	use(a)
	told := make(chan heard, 1000)
	mux := http.NewServeMux()
	mux.Handle("/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(replica.Load())
		r.Out.Host = r.In.Host
	}})
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Security-Policy", "default-src 'self'")
		fmt.Fprint(w, `<!doctype html><title>page</title><script type="module" src="/page.js"></script>`)
	})
	mux.HandleFunc("GET /page.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprint(w, strings.ReplaceAll(clientPage, "ADMIN-KEY", adminKey))
	})
	mux.HandleFunc("GET /gocart-realtime.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "../../../clients/javascript/gocart-realtime.js")
	})
	mux.HandleFunc("POST /report", func(_ http.ResponseWriter, r *http.Request) {
		var h heard
		if err := json.NewDecoder(r.Body).Decode(&h); err != nil {
			t.Error(err)
		}
		told <- h
	})
	front := httptest.NewServer(mux)
	t.Cleanup(front.Close)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := &strings.Builder{}
	folder, err := os.MkdirTemp("", "page") // t.TempDir's name is too long for its socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	chromium := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--no-proxy-server", "--remote-debugging-port=0", "--user-data-dir="+folder, front.URL+"/page")
	chromium.Stdout, chromium.Stderr = log, log
	chromium.Env = append(os.Environ(), "TMPDIR="+folder, "HOME="+folder)
	// With all of its processes.
	chromium.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	chromium.Cancel = func() error { return syscall.Kill(-chromium.Process.Pid, syscall.SIGKILL) }
	chromium.WaitDelay = 10 * time.Second
	if err := chromium.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = chromium.Wait(); close(ended) }()
	defer func() { cancel(); <-ended }()

	var next func() heard
	next = func() heard {
		t.Helper()
		select {
		case h := <-told:
			if h.Available != nil && *h.Available == 1000 { // which may be told before or after it has connected
				return next()
			}
			return h
		case <-ended:
			t.Fatalf("the browser ended: %s", log)
		case <-time.After(30 * time.Second):
			t.Fatal("the page tells nothing more")
		}
		return heard{}
	}
	state := func(want string) {
		t.Helper()
		if h := next(); h.State != want {
			t.Fatalf("the page told %+v, not that it is %s", h, want)
		}
	}
	stock := func(n int) {
		t.Helper()
		if h := next(); h.Available == nil || *h.Available != n {
			t.Fatalf("the page told %+v, not that there are %d", h, n)
		}
	}
	state("open")
	if h := next(); h.Status != http.StatusCreated {
		t.Fatalf("the page told %+v, not that it has a cart", h)
	}
	a.count("MUG", 5)
	stock(5)

	use(b)
	a.hub.Drain(10 * time.Millisecond)
	state("waiting")
	for n := 6; n <= 15; n++ {
		b.count("MUG", int64(n))
	}
	// It comes back after a time of the store's choice: some are told by then.
	state("connecting")
	for n, open := 6, false; n <= 15 || !open; {
		h := next()
		switch {
		case h.State == "open":
			open = true
		case h.Available != nil && *h.Available == n:
			n++
		default:
			t.Fatalf("the page told %+v, not that it is open or that there are %d", h, n)
		}
	}
	b.count("MUG", 0)
	stock(0)
	state("closed")
}
