package ratelimit_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"gitee.com/captainjez/gocart/runtime/internal/ratelimit"
)

func TestAListHoldsItsAddresses(t *testing.T) {
	t.Parallel()
	l, err := ratelimit.ParseList([]string{"10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "2001:db9::1", "::ffff:198.51.100.0/120"})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{
		"10.1.2.3": true, "11.1.2.3": false, "192.0.2.7": true, "192.0.2.8": false,
		"::ffff:10.1.2.3": true, "198.51.100.9": true, "198.51.101.9": false,
		"2001:db8:1::": true, "2001:db9::1": true, "2001:db9::2": false, "2001:db8::1%eth0": true,
	} {
		if got := l.Contains(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	var none *ratelimit.List
	if none.Contains(netip.MustParseAddr("10.0.0.1")) || l.Contains(netip.Addr{}) {
		t.Error("nothing is in a list")
	}
}

func TestAListSaysWhichEntryIsWrong(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{"10.0.0.0/33", "store.example", "", "fe80::1%eth0", "::ffff:0:0/64"} {
		if _, err := ratelimit.ParseList([]string{"10.0.0.0/8", entry}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", entry)) {
			t.Errorf("%q: %v", entry, err)
		}
	}
}

func TestAnAddressIsKnownByItsHostOrNetwork(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"203.0.113.9": "203.0.113.9", "::ffff:203.0.113.9": "203.0.113.9",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2::%eth0": "2001:db8:1:2::/64",
	} {
		if got := string(ratelimit.AppendAddressKey(nil, netip.MustParseAddr(address))); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
	if got := string(ratelimit.AppendAddressKey(nil, netip.Addr{})); got != "unknown" {
		t.Error(got)
	}
}

// BenchmarkList looks addresses up in 100,000 networks.
func BenchmarkList(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	address := func() netip.Addr {
		n := random.Uint32()
		return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	entries := make([]string, 100_000)
	for i := range entries {
		entries[i] = fmt.Sprintf("%s/%d", address(), 16+random.IntN(17))
	}
	l, err := ratelimit.ParseList(entries)
	if err != nil {
		b.Fatal(err)
	}
	addresses := make([]netip.Addr, 4096)
	for i := range addresses {
		addresses[i] = address()
	}
	i := 0
	for b.Loop() {
		l.Contains(addresses[i%len(addresses)])
		i++
	}
}
