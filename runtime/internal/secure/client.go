package secure

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/gin-gonic/gin"
)

// Proxies are the networks whose X-Forwarded-* headers are believed.
type Proxies []netip.Prefix

// ParseProxies reads CIDRs and single addresses.
func ParseProxies(list []string) (Proxies, error) {
	var proxies Proxies
	for _, s := range list {
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			addr, addrErr := netip.ParseAddr(s)
			if addrErr != nil {
				return nil, fmt.Errorf("server.trustedProxies: %q is neither a CIDR nor an address", s)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		proxies = append(proxies, prefix.Masked())
	}
	return proxies, nil
}

func (p Proxies) trusts(addr netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// Client is the address that a request comes from: the peer's own, or where
// the peer is a trusted proxy, the right-most address of X-Forwarded-For that
// is not one. What stands left of that anybody could have written.
func (p Proxies) Client(r *http.Request) netip.Addr {
	client := peer(r)
	if !p.trusts(client) {
		return client
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		client = hop.Unmap().WithZone("")
		if !p.trusts(client) {
			break
		}
	}
	return client
}

// HTTPS reports whether the request's client spoke HTTPS, to us or to a
// trusted proxy that says so.
func (p Proxies) HTTPS(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" && p.trusts(peer(r))
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
func ClientAddress(p Proxies) gin.HandlerFunc {
	return func(c *gin.Context) { c.Set(clientKey, p.Client(c.Request)) }
}

// ClientOf is the client's address, invalid before ClientAddress.
func ClientOf(c *gin.Context) netip.Addr {
	addr, _ := c.Value(clientKey).(netip.Addr)
	return addr
}
