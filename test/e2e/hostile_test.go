//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

const (
	// patient is how long a caller who is no attacker may be made to wait. It
	// leaves room for a machine that does much else meanwhile.
	patient = 2 * time.Second
	// attackTime bounds each attack.
	attackTime = 15 * time.Second
)

// attacked is a store of one replica, at which attackers are all of this
// machine's address and everybody else of an own one.
type attacked struct {
	ns     string
	pod    corev1.Pod
	domain string
	web    *shopper
	set    *kubernetes.Clientset
}

func TestHostileConnectionsSlowNobodyDown(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	create(t, newStore(ns, "shop", func(s *v1alpha1.Store) {
		s.Spec.Security = &v1alpha1.SecuritySpec{TrustedProxies: []string{ownAddress(t)}}
	}))
	ready(t, ns, "shop")
	pods := podUIDs(t, ns)
	var list corev1.PodList
	if err := cluster.List(t.Context(), &list, client.InNamespace(ns), podsOf("api")); err != nil || len(list.Items) != 1 {
		t.Fatalf("%d api pods: %v", len(list.Items), err)
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		t.Fatal(err)
	}
	set, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	a := &attacked{ns: ns, pod: list.Items[0], domain: domain(ns, "shop"), web: shopAtPod(t, ns, "shop", list.Items[0]), set: set}
	a.web.client.Transport.(*http.Transport).DisableKeepAlives = true
	a.web.answers()

	t.Run("slow callers", a.during(a.slowCallers))
	t.Run("requests that are too large", a.during(a.tooLarge))
	t.Run("requests within requests", a.during(a.smuggled))
	t.Run("streams that are reset at once", a.during(a.rapidReset))
	t.Run("headers without an end", a.during(a.endlessHeaders))
	t.Run("settings and pings without an end", a.during(a.endlessControl))
	if now := podUIDs(t, ns); now != pods {
		t.Errorf("pods were replaced or restarted: %s, then %s", pods, now)
	}
}

// during has visitors come to the store while it is attacked, and sees that it
// answers afterwards.
func (a *attacked) during(attack func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) {
		leave := visiting(t, 3, func(int) (int, error) { return a.visit() })
		most, limit := int64(0), a.pod.Spec.Containers[0].Resources.Limits.Memory().Value()
		stop := visiting(t, 1, func(int) (int, error) {
			memory, err := a.memory(t.Context())
			most = max(most, memory)
			return 0, err
		})
		begun := time.Now()
		attack(t)
		took := time.Since(begun)
		v, measured := leave(), stop()
		if status, err := a.visit(); err != nil || status != http.StatusOK {
			t.Errorf("afterwards a visitor was answered %d, %v", status, err)
		}
		t.Logf("the attack took %.1f s; %s; the pod had at most %d of %d MiB", took.Seconds(), v, most>>20, limit>>20)
		// It takes a store that is short of processors seconds to find out who
		// crowds it; until then a few may be told to come back.
		if told := v.answered[http.StatusServiceUnavailable]; v.answered[http.StatusOK]+told != v.requests() || told > v.requests()/10 {
			t.Errorf("visitors were not answered: %s", v)
		}
		if v.requests() > 0 && v.took[v.requests()-1] > patient {
			t.Errorf("a visitor had to wait longer than %s: %s", patient, v)
		}
		if len(measured.errs) > 0 || most > limit*9/10 {
			t.Errorf("the pod had %d MiB of memory, of %d, %v", most>>20, limit>>20, measured.errs)
		}
	}
}

// visit is by somebody new, whom the store has to let in first.
func (a *attacked) visit() (status int, err error) {
	resp, _, err := a.web.do(http.MethodGet, "/api/v1/products", stranger(), nil)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}

var residentMemory = regexp.MustCompile(`(?m)^process_resident_memory_bytes (\S+)$`)

// memory is what the pod's process has, in bytes.
func (a *attacked) memory(ctx context.Context) (int64, error) {
	raw, err := a.set.CoreV1().Pods(a.ns).ProxyGet("http", a.pod.Name, "9090", "/metrics", nil).DoRaw(ctx)
	if err != nil {
		return 0, err
	}
	m := residentMemory.FindSubmatch(raw)
	if m == nil {
		return 0, errors.New("the pod tells nothing of its memory")
	}
	bytes, err := strconv.ParseFloat(string(m[1]), 64)
	return int64(bytes), err
}

func (a *attacked) dial(ctx context.Context) (net.Conn, error) {
	return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", net.JoinHostPort(a.pod.Status.PodIP, "8443"))
}

// connect opens a connection of TLS for one protocol.
func (a *attacked) connect(ctx context.Context, protocol string) (*tls.Conn, error) {
	raw, err := a.dial(ctx)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{RootCAs: acmeCAs, ServerName: a.domain, NextProtos: []string{protocol}, MinVersion: tls.VersionTLS13})
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(attackTime))
}

// slowCallers are three hundred: some never begin, some send a header's bytes
// one by one, some a body's, and some stop within the headers of a stream.
func (a *attacked) slowCallers(t *testing.T) {
	const each, look = 75, 8 * time.Second
	callers := []struct {
		name string
		call func(ctx context.Context) (net.Conn, error)
		// ended tells that the store ends the call while it is looked at.
		ended bool
	}{
		{"never begins", a.dial, true},
		{"sends headers byte by byte", a.dripping("GET /api/health HTTP/1.1\r\nHost: " + a.domain + "\r\nX-Slow: "), true},
		{"sends a body byte by byte", a.dripping("POST /api/v1/carts HTTP/1.1\r\nHost: " + a.domain +
			"\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"), false},
		{"stops within headers", func(ctx context.Context) (net.Conn, error) {
			h, err := a.http2(ctx)
			if err != nil {
				return nil, err
			}
			return h.Conn, h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.request()})
		}, false},
	}
	var all sync.WaitGroup
	for _, caller := range callers {
		var lasted atomic.Int64
		var group sync.WaitGroup
		for range each {
			group.Go(func() {
				conn, err := caller.call(t.Context())
				if err != nil {
					t.Errorf("who %s: %v", caller.name, err)
					return
				}
				defer func() { _ = conn.Close() }()
				begun := time.Now()
				if err := conn.SetReadDeadline(begun.Add(look)); err != nil {
					t.Error(err)
				}
				_, err = io.Copy(io.Discard, conn)
				if took := time.Since(begun); took > time.Duration(lasted.Load()) {
					lasted.Store(int64(took))
				}
				if timeout := net.Error(nil); caller.ended && errors.As(err, &timeout) && timeout.Timeout() {
					t.Errorf("who %s is still there after %s", caller.name, look)
				}
			})
		}
		all.Go(func() {
			group.Wait()
			t.Logf("who %s: %d connections lasted up to %.1f s", caller.name, each, time.Duration(lasted.Load()).Seconds())
		})
	}
	all.Wait()
}

// dripping begins a request and goes on with a byte every tick, for as long as
// it is let.
func (a *attacked) dripping(begin string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		conn, err := a.connect(ctx, "http/1.1")
		if err != nil {
			return nil, err
		}
		_, err = io.WriteString(conn, begin)
		go func() {
			ticker := time.NewTicker(tick)
			defer ticker.Stop()
			for range ticker.C {
				if _, err := io.WriteString(conn, "1"); err != nil {
					return
				}
			}
		}()
		return conn, err
	}
}

func (a *attacked) tooLarge(t *testing.T) {
	resp, body, err := a.web.get("/api/v1/products?q=" + strings.Repeat("x", 16<<10))
	if err != nil || resp.StatusCode != http.StatusRequestURITooLong {
		t.Errorf("a URL of 16 KiB: answered %v %.100s, %v", resp, body, err)
	}
	for name, raw := range map[string]string{
		"a line of 1 MiB":            "GET /" + strings.Repeat("x", 1<<20) + " HTTP/1.1\r\nHost: " + a.domain + "\r\n\r\n",
		"a header of 1 MiB":          "GET / HTTP/1.1\r\nHost: " + a.domain + "\r\nX-Large: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
		"a hundred thousand headers": "GET / HTTP/1.1\r\nHost: " + a.domain + "\r\n" + strings.Repeat("X: y\r\n", 100_000) + "\r\n",
	} {
		if answer, err := a.raw(t, raw); err != nil || !strings.HasPrefix(answer, "HTTP/1.1 431 ") {
			t.Errorf("%s: answered %.60q, %v", name, answer, err)
		}
	}
}

// raw sends bytes over a connection of HTTP/1.1 and returns all that comes back
// until the store ends it. A store that goes on waiting is an error.
func (a *attacked) raw(t *testing.T, bytes string) (string, error) {
	conn, err := a.connect(t.Context(), "http/1.1")
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	go func() { _, _ = io.WriteString(conn, bytes) }() // of which it need not take all
	answer, err := io.ReadAll(conn)
	if len(answer) > 0 && !errors.Is(err, context.DeadlineExceeded) {
		err = nil // reset with bytes of ours unread
	}
	return string(answer), err
}

var statusLine = regexp.MustCompile(`HTTP/1\.[01] (\d{3}) `)

// smuggled are requests of which a proxy and the store could see the end at
// different places. The store answers each once and ends the connection, so
// that no other caller's request is ever joined to one.
func (a *attacked) smuggled(t *testing.T) {
	host := "Host: " + a.domain + "\r\n"
	const within = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	length := func(n int) string { return "Content-Length: " + strconv.Itoa(n) + "\r\n" }
	post := "POST /api/health HTTP/1.1\r\n" + host
	get := "GET /api/health HTTP/1.1\r\n" + host
	const chunked, none = "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"
	var all sync.WaitGroup
	for name, shape := range map[string]struct {
		bytes string
		// refused tells that the store does not even look at the request.
		refused bool
	}{
		"a length beside chunks":           {post + length(len(none)) + chunked + "\r\n" + none + within, false},
		"chunks beside a length":           {post + chunked + length(len(none)+len(within)) + "\r\n" + none + within, false},
		"two lengths":                      {post + length(0) + length(len(within)) + "\r\n" + within, true},
		"two lengths in one line":          {post + "Content-Length: 0, 37\r\n\r\n" + within, true},
		"a length with a sign":             {post + "Content-Length: +37\r\n\r\n" + within, true},
		"a length of which some is hidden": {post + "Content-Length: 0x25\r\n\r\n" + within, true},
		"a coding that is none":            {post + length(len(within)) + "Transfer-Encoding: xchunked\r\n\r\n" + within, true},
		"chunks and another coding":        {post + "Transfer-Encoding: chunked, identity\r\n\r\n" + none + within, true},
		"two codings":                      {post + chunked + "Transfer-Encoding: identity\r\n\r\n" + none + within, true},
		"a coding behind a vertical tab":   {post + "Transfer-Encoding: \x0bchunked\r\n\r\n" + none + within, true},
		"a blank before the colon":         {post + "Transfer-Encoding : chunked\r\n\r\n" + none + within, true},
		"chunks in capitals":               {post + length(len(none)) + "Transfer-Encoding: CHUNKED\r\n\r\n" + none + within, false},
		"a coding on a folded line":        {post + length(len(none)) + "Transfer-Encoding:\r\n chunked\r\n\r\n" + none + within, false},
		"chunks in HTTP/1.0":               {strings.Replace(post, "1.1", "1.0", 1) + "Connection: keep-alive\r\n" + length(len(none)) + chunked + "\r\n" + none + within, false},
		"a chunk's line without a return":  {post + chunked + "\r\n5;x\nhello\r\n" + none + within, false},
		"a chunk of hexadecimal with 0x":   {post + chunked + "\r\n0x5\r\nhello\r\n" + none + within, false},
		"a header hidden by a return":      {get + "X: y\rContent-Length: 37\r\n\r\n" + within, true},
		"a header's NUL":                   {get + "X: y\x00z\r\n\r\n" + within, true},
		"a header's name with a NUL":       {get + "X\x00: y\r\n\r\n" + within, true},
		"a line with three parts too many": {"GET /api/health HTTP/1.1 GET /smuggled HTTP/1.1\r\n" + host + "\r\n", true},
		"two hosts":                        {get + "Host: b\r\n\r\n" + within, true},
		"no host":                          {"GET /api/health HTTP/1.1\r\n\r\n" + within, true},
		"the beginning of HTTP/2":          {http2.ClientPreface + within, false},
	} {
		all.Go(func() {
			answer, err := a.raw(t, shape.bytes)
			lines := statusLine.FindAllStringSubmatch(answer, -1)
			switch {
			case err != nil:
				t.Errorf("%s: %v: %q", name, err, answer)
			case len(lines) != 1:
				t.Errorf("%s: answered %d times: %q", name, len(lines), answer)
			case shape.refused && lines[0][1] != "400" && lines[0][1] != "501":
				t.Errorf("%s: answered %q", name, answer)
			}
		})
	}
	all.Wait()
}

// hostileHTTP2 writes the frames that it is told to.
type hostileHTTP2 struct {
	net.Conn
	*http2.Framer
	domain string
}

// http2 begins a connection of HTTP/2.
func (a *attacked) http2(ctx context.Context) (*hostileHTTP2, error) {
	conn, err := a.connect(ctx, "h2")
	if err != nil {
		return nil, err
	}
	h := &hostileHTTP2{Conn: conn, Framer: http2.NewFramer(conn, conn), domain: a.domain}
	h.AllowIllegalWrites = true
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, err
	}
	return h, h.WriteSettings()
}

// request is the head of one, as HPACK writes it.
func (h *hostileHTTP2) request() []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", h.domain}, {":path", "/api/v1/products"}} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}) // into memory
	}
	return block.Bytes()
}

// flood has attackers write frames over one connection after the other, until
// they wrote as many as they want or attackTime is over. It returns how many
// frames the store took, and how many connections it ended.
func (a *attacked) flood(t *testing.T, attackers, frames int, read bool, write func(h *hostileHTTP2, n int) error) (taken, ended int64) {
	ctx, cancel := context.WithTimeout(t.Context(), attackTime)
	defer cancel()
	var all sync.WaitGroup
	var sent, closed atomic.Int64
	for range attackers {
		all.Go(func() {
			for ctx.Err() == nil && sent.Load() < int64(frames) {
				h, err := a.http2(ctx)
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("connecting: %v", err)
					}
					return
				}
				if read {
					go func() { _, _ = io.Copy(io.Discard, h.Conn) }()
				}
				for n := 0; err == nil && ctx.Err() == nil && sent.Add(1) <= int64(frames); n++ {
					err = write(h, n)
				}
				if err != nil {
					closed.Add(1)
				}
				_ = h.Conn.Close()
			}
		})
	}
	all.Wait()
	return min(sent.Load(), int64(frames)), closed.Load()
}

// rapidReset is CVE-2023-44487.
func (a *attacked) rapidReset(t *testing.T) {
	const resets = 20_000
	taken, ended := a.flood(t, 4, resets, true, func(h *hostileHTTP2, n int) error {
		id := uint32(2*n + 1)
		err := h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h.request(), EndStream: true, EndHeaders: true})
		return errors.Join(err, h.WriteRSTStream(id, http2.ErrCodeCancel))
	})
	t.Logf("%d streams were opened and reset; the store ended %d connections", taken, ended)
}

// endlessHeaders is CVE-2023-45288.
func (a *attacked) endlessHeaders(t *testing.T) {
	const frames = 1_000 // of 16 KiB
	var fragment bytes.Buffer
	encoder := hpack.NewEncoder(&fragment)
	for fragment.Len() < 15<<10 {
		_ = encoder.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("y", 500), Sensitive: true}) // into memory
	}
	taken, ended := a.flood(t, 4, frames, true, func(h *hostileHTTP2, n int) error {
		if n == 0 {
			return h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.request()})
		}
		return h.WriteContinuation(1, false, fragment.Bytes())
	})
	t.Logf("%d frames were sent; the store ended %d connections", taken, ended)
	if ended == 0 {
		t.Error("the store ended no connection")
	}
}

// endlessControl asks for answers and reads none (CVE-2019-9512 and -9515).
func (a *attacked) endlessControl(t *testing.T) {
	const frames = 200_000
	taken, ended := a.flood(t, 4, frames, false, func(h *hostileHTTP2, n int) error {
		if n%2 == 0 {
			return h.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65_535})
		}
		return h.WritePing(false, [8]byte{byte(n)})
	})
	t.Logf("%d frames were sent; the store ended %d connections", taken, ended)
}
