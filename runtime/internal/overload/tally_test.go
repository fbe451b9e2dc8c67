package overload

import (
	"net/netip"
	"testing"
	"time"
	"unsafe"
)

// many is the nth of a million addresses.
func many(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{11, byte(n >> 16), byte(n >> 8), byte(n)})
}

func TestAMillionAddressesTakeNoMemoryAndHideNobodyWhoComesOften(t *testing.T) {
	t.Parallel()
	tally, now := newTally(), time.Unix(1000, 0)
	often := addressOf(netip.MustParseAddr("192.0.2.1"))
	if size := int(unsafe.Sizeof(tally.sets[0])) * len(tally.sets); size > 1<<20 {
		t.Errorf("a tally has %d bytes", size)
	}
	var n int64
	for i := range 1_000_000 {
		if i%10_000 < 2 {
			n = tally.add(often, now)
		}
		tally.add(addressOf(many(i)), now)
	}
	if n != 200 {
		t.Errorf("counted %d, want 200", n)
	}
	if len(tally.sets) != sets {
		t.Errorf("it grew to %d sets", len(tally.sets))
	}
}

func TestATallyForgetsAfterAMinute(t *testing.T) {
	t.Parallel()
	tally, now := newTally(), time.Unix(1000, 0)
	who := addressOf(netip.MustParseAddr("192.0.2.1"))
	tally.add(who, now)
	if n := tally.add(who, now.Add(59*time.Second)); n != 2 {
		t.Errorf("counted %d within a minute", n)
	}
	if tally.has(who, now.Add(time.Minute)) || tally.add(who, now.Add(time.Minute)) != 1 {
		t.Error("it still held after a minute")
	}
}

func TestTheAddressesOfAnIPv6NetworkAreOne(t *testing.T) {
	t.Parallel()
	of := func(s string) address { return addressOf(netip.MustParseAddr(s)) }
	if of("2001:db8::1") != of("2001:db8::ffff:1") || of("2001:db8::1") == of("2001:db8:0:1::1") || of("192.0.2.1") == of("192.0.2.2") {
		t.Error("addresses are told apart wrongly")
	}
}
