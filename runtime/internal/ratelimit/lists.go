package ratelimit

import (
	"fmt"
	"net/netip"

	"github.com/gaissmai/bart"
)

// List is a set of addresses. A nil *List holds none.
type List struct {
	table bart.Lite
}

// ParseList reads addresses and CIDRs, IPv4 and IPv6.
func ParseList(entries []string) (*List, error) {
	l := &List{}
	for _, entry := range entries {
		p, err := netip.ParsePrefix(entry)
		if err != nil {
			a, notAddress := netip.ParseAddr(entry)
			if notAddress != nil || a.Zone() != "" {
				return nil, fmt.Errorf("%q is neither an address nor a CIDR such as 10.0.0.0/8", entry)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if a := p.Addr(); a.Is4In6() {
			if p.Bits() < 96 {
				return nil, fmt.Errorf("%q mixes IPv4 and IPv6: write it as IPv4", entry)
			}
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		l.table.Insert(p)
	}
	return l, nil
}

// Contains reports whether the address is in the list.
func (l *List) Contains(a netip.Addr) bool {
	return l != nil && a.IsValid() && l.table.Contains(a.Unmap().WithZone(""))
}

// AppendAddressKey names who is behind an address: an IPv4 address is one host,
// while of IPv6 a /64 is what one customer gets at least.
func AppendAddressKey(to []byte, a netip.Addr) []byte {
	a = a.Unmap()
	switch {
	case !a.IsValid():
		return append(to, "unknown"...)
	case a.Is4():
		return a.AppendTo(to)
	}
	p, _ := a.WithZone("").Prefix(64) // it has that many bits
	return p.AppendTo(to)
}
