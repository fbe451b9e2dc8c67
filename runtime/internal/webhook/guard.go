package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
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
	// loopback: this machine's own are, too, where others are.
	loopback bool
	public   *ssrf.Guardian
}

func newGuard(private, loopback bool) *guard {
	return &guard{private: private, loopback: loopback, public: ssrf.New()}
}

// errPrivate is the error of an address that deliveries do not go to.
var errPrivate = errors.New("the address is private or reserved, and the store sends nothing there")

// errPlain is the error of a URL that was allowed once and is no more.
var errPlain = errors.New("the URL must begin with https://")

// never are addresses that no receiver has, and from which clouds hand out
// credentials: link-local ones, those of Amazon, Google, Oracle, Alibaba and Azure.
var never = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("fd00:ec2::/32"),
	netip.MustParsePrefix("fd20:ce::/32"), netip.MustParsePrefix("fd00:c1::/32"), netip.MustParsePrefix("192.0.0.192/32"),
	netip.MustParsePrefix("100.100.100.200/32"), netip.MustParsePrefix("168.63.129.16/32"),
}

// embedding are prefixes of IPv6 addresses that have an IPv4 address in them,
// and at which byte it begins: NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056) and
// IPv4-compatible ones (RFC 4291).
var embedding = map[netip.Prefix]int{
	netip.MustParsePrefix("64:ff9b::/96"): 12, netip.MustParsePrefix("64:ff9b:1::/48"): 12, netip.MustParsePrefix("2002::/16"): 2,
	netip.MustParsePrefix("::/96"): 12,
}

// formsOf are an address and the one that it has in it, if any.
func formsOf(addr netip.Addr) []netip.Addr {
	all := []netip.Addr{addr}
	for prefix, at := range embedding {
		if prefix.Contains(addr) {
			raw := addr.As16()
			all = append(all, netip.AddrFrom4([4]byte(raw[at:at+4])))
		}
	}
	return all
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
	refused := func(addr netip.Addr) bool {
		return addr.IsUnspecified() || addr.IsMulticast() || addr.IsLoopback() && !g.loopback ||
			slices.ContainsFunc(never, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	if slices.ContainsFunc(formsOf(addr), refused) || !g.private && g.public.SafeAddr(addr) != nil {
		return fmt.Errorf("%w: %s", errPrivate, addr)
	}
	return nil
}

// checkScheme reports a URL by which nothing is sent as errPlain.
func (g *guard) checkScheme(u *url.URL) error {
	if u.Scheme == "https" || u.Scheme == "http" && g.private {
		return nil
	}
	return errPlain
}

// checkURL notes what is wrong with the URL of an endpoint.
func (g *guard) checkURL(f *problem.Findings, pointer, raw string) {
	f.Text(pointer, raw, 1, 2000)
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "" || strings.ContainsAny(raw, " \t\r\n") {
		f.Require(false, pointer, "is no URL such as https://example.com/hooks")
		return
	}
	if g.private {
		f.Require(g.checkScheme(u) == nil, pointer, "must begin with https:// or http://")
	} else {
		f.Require(g.checkScheme(u) == nil, pointer, "must begin with https://")
	}
	if port := u.Port(); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		f.Require(err == nil && n > 0, pointer, "has no port of 1 to 65535")
	}
	f.Require(u.User == nil, pointer, "must hold no user and password: receivers know a delivery by its signature")
	f.Require(u.Fragment == "", pointer, "must have no fragment (#)")
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		f.Require(g.check(addr) == nil, pointer, "is a private or reserved address, and the store sends nothing there")
	}
}
