package overload

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// address is a caller's: an IPv4 address, or the /64 of an IPv6 one, of which
// a caller has as many as they like.
type address [16]byte

func addressOf(addr netip.Addr) address {
	a := addr.As16()
	if addr.Is6() {
		clear(a[8:])
	}
	return a
}

const (
	// minute is how long what an address did is held against it.
	minute = time.Minute
	// sets of ways each are what a tally holds: 16,384 addresses in 512 kB.
	sets, ways = 2048, 8
)

// tally counts by address, within a minute of the first that counts. It never
// grows: who comes new displaces the least of those who share its set, so that
// a million addresses which come once do not make it forget one which comes
// often.
type tally struct {
	seed maphash.Seed
	mu   sync.Mutex
	sets [][ways]counted
}

type counted struct {
	who   address
	n     int64
	since int64 // Unix nanoseconds; zero is nobody's
}

func (c *counted) holds(now int64) bool { return c.since != 0 && now-c.since < int64(minute) }

func newTally() *tally { return &tally{seed: maphash.MakeSeed(), sets: make([][ways]counted, sets)} }

// find returns who's place, and whether it is theirs already, else the one to
// give them. It wants the lock.
func (t *tally) find(who address, now int64) (place *counted, theirs bool) {
	set := &t.sets[maphash.Comparable(t.seed, who)%sets]
	place = &set[0]
	for i := range set {
		c := &set[i]
		if c.who == who && c.holds(now) {
			return c, true
		}
		if place.holds(now) && (!c.holds(now) || c.n < place.n) {
			place = c
		}
	}
	return place, false
}

// add counts one more, and returns how many there are.
func (t *tally) add(who address, at time.Time) int64 {
	now := at.UnixNano()
	t.mu.Lock()
	defer t.mu.Unlock()
	place, theirs := t.find(who, now)
	if !theirs {
		*place = counted{who: who, since: now}
	}
	place.n++
	return place.n
}

// has reports whether anything is held against who.
func (t *tally) has(who address, at time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, theirs := t.find(who, at.UnixNano())
	return theirs
}

// takeAbove forgets who where they have more than n, and tells whether it was so.
func (t *tally) takeAbove(who address, n int64, at time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	place, theirs := t.find(who, at.UnixNano())
	if !theirs || place.n <= n {
		return false
	}
	*place = counted{}
	return true
}

// crowds counts the requests of each address that are in flight, and so holds
// no more addresses than there are requests.
type crowds struct {
	mu     sync.Mutex
	inside map[address]int
}

// enter lets in at most so many of an address.
func (c *crowds) enter(who address, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inside[who] >= most {
		return false
	}
	c.inside[who]++
	return true
}

func (c *crowds) leave(who address) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inside[who]--; c.inside[who] <= 0 {
		delete(c.inside, who)
	}
}
