package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"code.dny.dev/ssrf"

	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// guard says where deliveries may go. Names are not resolved to find out:
// what counts is the address that a connection is about to be made to, for a
// name may have another by then.
type guard struct {
	// private: addresses of one's own network are allowed, and http.
	private bool
	public  *ssrf.Guardian
}

func newGuard(private bool) *guard {
	return &guard{private: private, public: ssrf.New()}
}

// errPrivate is the error of an address that deliveries do not go to.
var errPrivate = errors.New("the address is private or reserved, and the store sends nothing there")

// never are addresses that no receiver has, and from which clouds hand out
// credentials.
var never = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("fd00:ec2::254/128"),
	netip.MustParsePrefix("100.100.100.200/32"), netip.MustParsePrefix("168.63.129.16/32"),
}

// control is a net.Dialer's: it sees each address before a connection to it.
func (g *guard) control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s", errPrivate, address)
	}
	return g.check(at.Addr())
}

// check reports an address that deliveries do not go to as errPrivate.
func (g *guard) check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	refused := addr.IsUnspecified() || addr.IsMulticast() || !g.private && g.public.SafeAddr(addr) != nil ||
		slices.ContainsFunc(never, func(p netip.Prefix) bool { return p.Contains(addr) })
	if refused {
		return fmt.Errorf("%w: %s", errPrivate, addr)
	}
	return nil
}

// checkURL notes what is wrong with the URL of an endpoint.
func (g *guard) checkURL(f *problem.Findings, pointer, raw string) {
	f.Text(pointer, raw, 1, 2000)
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "" || strings.ContainsAny(raw, " \t\r\n") {
		f.Require(false, pointer, "is no URL such as https://example.com/hooks")
		return
	}
	f.Require(u.Scheme == "https" || u.Scheme == "http" && g.private, pointer, "must begin with https://")
	f.Require(u.User == nil, pointer, "must hold no user and password: receivers know a delivery by its signature")
	f.Require(u.Fragment == "", pointer, "must have no fragment (#)")
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		f.Require(g.check(addr) == nil, pointer, "is a private or reserved address, and the store sends nothing there")
	}
}
