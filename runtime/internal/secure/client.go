package secure

import (
	"fmt"
	"net/http"
	"net/netip"

	"github.com/gin-gonic/gin"

	"gitee.com/captainjez/gocart/runtime/config"
)

// Proxies are the networks whose word about a request is taken.
type Proxies struct {
	networks []netip.Prefix
	// standard: they give it by Forwarded, and not by X-Forwarded-*.
	standard bool
}

// NewProxies reads CIDRs, and a header of config.Edge.
func NewProxies(list []string, header string) (Proxies, error) {
	p := Proxies{standard: header == config.ForwardedStandard}
	for _, s := range list {
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			return Proxies{}, fmt.Errorf("trustedProxies: %q is not a CIDR such as 10.0.0.0/8", s)
		}
		p.networks = append(p.networks, prefix.Masked())
	}
	return p, nil
}

func (p Proxies) trusts(addr netip.Addr) bool {
	for _, prefix := range p.networks {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// Client is the address that a request comes from: the peer's own, or where
// the peer is a trusted proxy, the right-most address of its header that is
// not one. What stands left of it anybody could have written.
func (p Proxies) Client(r *http.Request) netip.Addr {
	client := peer(r)
	if !p.trusts(client) {
		return client
	}
	hops := p.hops(r)
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := parseHop(hops[i])
		if err != nil {
			break
		}
		client = hop
		if !p.trusts(client) {
			break
		}
	}
	return client
}

// HTTPS reports whether the request's client spoke HTTPS, to us or to a
// trusted proxy that says so.
func (p Proxies) HTTPS(r *http.Request) bool {
	return r.TLS != nil || p.trusts(peer(r)) && p.proto(r) == "https"
}

func peer(r *http.Request) netip.Addr {
	addrPort, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return addrPort.Addr().Unmap().WithZone("")
}

const clientKey = "secure.client"

// ClientAddress finds the client's address once, for those who ask later.
func ClientAddress() gin.HandlerFunc {
	return func(c *gin.Context) { c.Set(clientKey, settingsOf(c).proxies.Client(c.Request)) }
}

// ClientOf is the client's address, invalid before ClientAddress.
func ClientOf(c *gin.Context) netip.Addr {
	addr, _ := c.Value(clientKey).(netip.Addr)
	return addr
}
