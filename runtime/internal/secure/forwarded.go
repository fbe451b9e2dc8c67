package secure

import (
	"net/http"
	"net/netip"
	"strings"
)

// hops lists who the proxies say that they were asked by, the nearest last. An
// element of Forwarded without "for" stands as an empty one.
func (p Proxies) hops(r *http.Request) []string {
	if !p.standard {
		return elements(r.Header.Values("X-Forwarded-For"))
	}
	list := elements(r.Header.Values("Forwarded"))
	for i := range list {
		list[i] = parameter(list[i], "for")
	}
	return list
}

// proto is the protocol that the nearest proxy was spoken to in.
func (p Proxies) proto(r *http.Request) string {
	name := "X-Forwarded-Proto"
	if p.standard {
		name = "Forwarded"
	}
	list := elements(r.Header.Values(name))
	if len(list) == 0 {
		return ""
	}
	last := list[len(list)-1]
	if p.standard {
		last = parameter(last, "proto")
	}
	return strings.ToLower(last)
}

// elements splits a header's lines at commas; a comma in a quoted string is
// none that a proxy writes, and only spoils the element that it is in.
func elements(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	list := strings.Split(strings.Join(lines, ","), ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// parameter is a value of an element of Forwarded, without its quotes.
func parameter(element, name string) string {
	for pair := range strings.SplitSeq(element, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if strings.EqualFold(key, name) {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

// parseHop reads an address as proxies write it: plain, with a port, or in
// brackets.
func parseHop(s string) (netip.Addr, error) {
	s = strings.TrimSpace(s)
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		var withPort netip.AddrPort
		if withPort, err = netip.ParseAddrPort(s); err != nil {
			return netip.Addr{}, err
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone(""), nil
}
