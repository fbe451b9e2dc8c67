package webhook

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

func TestAddressesThatAreNotPublicAreRefused(t *testing.T) {
	t.Parallel()
	strict, lax := newGuard(false, false), newGuard(true, false)
	for address, private := range map[string]bool{ // whether a store that allows private ones allows it
		"127.0.0.1": false, "127.255.255.254": false, "10.1.2.3": true, "172.16.0.1": true, "192.168.1.1": true, "100.64.0.1": true, "::1": false, "fd00::1": true,
		"::ffff:10.0.0.1": true, "::ffff:127.0.0.1": false, "64:ff9b::7f00:1": false, "64:ff9b::a00:1": true, "64:ff9b:1::a00:1": true, "2002:7f00:1::": false, "2002:a00:1::": true, "198.18.0.1": true,
		"0.0.0.0": false, "::": false, "169.254.169.254": false, "::ffff:169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "fd00:ec2::254": false,
		"100.100.100.200": false, "168.63.129.16": false, "224.0.0.1": false, "ff02::1": false, "::ffff:0.0.0.0": false,
		"fd00:ec2::23": false, "fd20:ce::254": false, "fd00:c1::a9fe:a9fe": false, "192.0.0.192": false, "64:ff9b::a9fe:a9fe": false, "64:ff9b:1::a9fe:a9fe": false,
		"2002:a9fe:a9fe::1": false, "::169.254.169.254": false, "64:ff9b::c000:c0": false, "::ffff:192.0.0.192": false,
		"240.0.0.1": true, "255.255.255.255": true, "2001:db8::1": true, "0.1.2.3": true,
	} {
		addr := netip.MustParseAddr(address)
		if err := strict.check(addr); !errors.Is(err, errPrivate) {
			t.Errorf("%s is allowed", address)
		}
		if err := lax.check(addr); (err == nil) != private {
			t.Errorf("%s, where private addresses are allowed: %v", address, err)
		}
	}
	for _, address := range []string{"93.184.216.34", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:8.8.8.8"} {
		if err := strict.check(netip.MustParseAddr(address)); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestURLsThatNoDeliveryGoesToAreRefused(t *testing.T) {
	t.Parallel()
	find := func(private bool, raw string) string {
		var f problem.Findings
		newGuard(private, false).checkURL(&f, "/url", raw)
		var all []string
		for _, one := range f {
			all = append(all, one.Detail)
		}
		return strings.Join(all, "; ")
	}
	for raw, want := range map[string]string{
		"http://example.com": "must begin with https://", "ftp://example.com": "must begin with https://", "https://": "is no URL", "example.com": "is no URL",
		"https:example.com": "is no URL", "https://a b": "is no URL", "https://:443": "is no URL", "https://user:secret@example.com": "no user and password", "https://example.com/#x": "no fragment",
		"https://127.0.0.1/": "private or reserved", "https://[::1]:8443/": "private or reserved", "https://169.254.169.254/latest": "private or reserved",
		"https://example.com:99999/": "port of 1 to 65535", "https://example.com:0/": "port of 1 to 65535",
		"https://[::ffff:10.0.0.1]/": "private or reserved", "https://[fe80::1%25eth0]/": "private or reserved",
	} {
		if got := find(false, raw); !strings.Contains(got, want) {
			t.Errorf("%s: %q", raw, got)
		}
	}
	for _, raw := range []string{"https://example.com", "https://example.com:8443/hooks?a=b", "https://8.8.8.8/", "https://localhost/"} { // a name is looked up when it is dialled
		if got := find(false, raw); got != "" {
			t.Errorf("%s: %q", raw, got)
		}
	}
	for raw, want := range map[string]string{"http://10.0.0.1:8080/": "", "ftp://10.0.0.1/": "must begin with https:// or http://", "http://127.0.0.1:99999/": "port of 1 to 65535", "https://127.0.0.1/": "private or reserved", "http://169.254.169.254/": "private or reserved"} {
		if got := find(true, raw); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q", raw, got)
		}
	}
}

func TestThisMachineIsToldInAStoreOfModeDevelopmentAlone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mode             string
		private, allowed bool
	}{
		{config.ModeDevelopment, true, true}, {config.ModeDevelopment, false, false}, {config.ModeProduction, true, false}, {config.ModeProduction, false, false},
	} {
		w := New(config.Config{Store: config.Store{Mode: c.mode}, Webhooks: config.Webhooks{AllowPrivateAddresses: c.private}}, nil, nil, nil)
		for _, address := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
			if err := w.guard.check(netip.MustParseAddr(address)); (err == nil) != c.allowed {
				t.Errorf("%+v: %s is answered %v", c, address, err)
			}
		}
	}
}

func TestAnEndpointWithPlainHTTPIsSentNothingOnceThatIsNotAllowed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	e, _ := h.endpoint("http://93.184.216.34/", "*")
	h.hooks = h.replica(false)
	h.process(h.hooks, 4)
	made, err := h.hooks.test(t.Context(), e.Id)
	if err != nil {
		t.Fatal(err)
	}
	h.until(filter{kind: testEvent, state: "failed"}, 1)
	if log := *h.read(made.Id).Log; len(log) != 1 || log[0].RemoteAddress != nil || !strings.Contains(*log[0].Error, "must begin with https://") {
		t.Errorf("%+v", log)
	}
}

// resolver answers the first question for a name with one address, and each
// later one with another, as who rebinds a name does.
func resolver(t *testing.T, first, later string) (*net.Resolver, *atomic.Int64) {
	t.Helper()
	socket, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	asked := &atomic.Int64{}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := socket.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				address := later
				if asked.Add(1) == 1 {
					address = first
				}
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
					Body:   &dnsmessage.AResource{A: netip.MustParseAddr(address).As4()},
				}}
			}
			if answer, err := m.Pack(); err == nil {
				_, _ = socket.WriteTo(answer, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", socket.LocalAddr().String())
	}}, asked
}

// TestANameThatIsReboundReachesNothing has a name resolve to a public address
// when it is looked at, and to loopback when it is dialled.
func TestANameThatIsReboundReachesNothing(t *testing.T) {
	t.Parallel()
	names, asked := resolver(t, "93.184.216.34", "127.0.0.1")
	g := newGuard(false, false)
	public, err := names.LookupNetIP(t.Context(), "ip4", "rebind.example")
	if err != nil || len(public) != 1 || g.check(public[0]) != nil {
		t.Fatalf("%v %v", public, err)
	}
	h := newHouse(t)
	h.hooks = h.replica(false)
	reached := atomic.Bool{}
	inside := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	t.Cleanup(inside.Close)
	at, err := url.Parse(inside.URL)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := h.endpoint("https://rebind.example:"+at.Port(), "*")
	h.process(h.hooks, 4, func(d *Dispatcher) { d.sender = newSender(h.hooks.guard, names) })
	made, err := h.hooks.test(t.Context(), e.Id)
	if err != nil {
		t.Fatal(err)
	}
	h.until(filter{kind: testEvent, state: "failed"}, 1)
	log := *h.read(made.Id).Log
	if len(log) != 1 || !strings.Contains(*log[0].Error, "127.0.0.1") || !strings.Contains(*log[0].Error, "private or reserved") || log[0].Status != nil || reached.Load() || asked.Load() < 2 {
		t.Errorf("%+v, asked %d times, reached %v", log, asked.Load(), reached.Load())
	}
}

func TestEveryConnectionIsCheckedAndNotTheNameOnce(t *testing.T) {
	t.Parallel()
	names, _ := resolver(t, "93.184.216.34", "10.0.0.1")
	var mu sync.Mutex
	var verdicts []string
	stop := errors.New("nothing is sent out of a test")
	g := newGuard(false, false)
	d := net.Dialer{Resolver: names, Control: func(network, address string, c syscall.RawConn) error {
		err := g.control(network, address, c)
		mu.Lock()
		defer mu.Unlock()
		if verdicts = append(verdicts, address); err != nil {
			return err
		}
		return stop
	}}
	for _, want := range []error{stop, errPrivate} {
		if conn, err := d.DialContext(t.Context(), "tcp4", "rebind.example:443"); !errors.Is(err, want) {
			t.Errorf("%v %v, want %v", conn, err, want)
		}
	}
	if len(verdicts) != 2 || verdicts[0] != "93.184.216.34:443" || verdicts[1] != "10.0.0.1:443" {
		t.Errorf("%v", verdicts)
	}
}

func TestARedirectIsNotFollowedNorAProxyTaken(t *testing.T) {
	t.Parallel()
	reached := atomic.Bool{}
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	t.Cleanup(inside.Close)
	h := newHouse(t)
	r := newReceiver(t, func(w http.ResponseWriter, _ got) {
		w.Header().Set("Location", inside.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	e, _ := h.endpoint(r.URL, "*")
	h.process(h.hooks, 4)
	made, err := h.hooks.test(t.Context(), e.Id)
	if err != nil {
		t.Fatal(err)
	}
	h.until(filter{kind: testEvent, state: "failed"}, 1)
	if log := *h.read(made.Id).Log; *log[0].Status != http.StatusTemporaryRedirect || reached.Load() {
		t.Errorf("%+v", log)
	}
	if newSender(h.hooks.guard, nil).transport.Proxy != nil {
		t.Error("the environment's proxy is taken")
	}
}
