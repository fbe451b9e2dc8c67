package overload

import (
	"math"
	"time"
)

// The limit follows the time that requests wait, as LEDBAT does for packets
// (RFC 6817, of TCP Vegas' family): it grows while they wait less than a
// target and shrinks while they wait more. What they wait is what they take
// beyond the usual of their route, which is learned while little is in flight.
const (
	// target is the wait that is aimed at. There has to be some, or the store
	// runs idle between two requests.
	target = 50 * time.Millisecond
	// window is how often the limit is looked at, and enough how many answers
	// that takes; fewer are waited for until patience ends.
	window   = 100 * time.Millisecond
	enough   = 10
	patience = time.Second

	initial  = 64
	smallest = 10
	largest  = 10_000
	// standing is how many windows in a row requests wait too long before that
	// is a queue which stands, and not a burst which passes (as in CoDel, RFC
	// 8289); waits beyond tooLong are not waited out.
	standing = 4
	tooLong  = 3 * target
	// growth is the most that a window adds to the limit, and decline what it
	// leaves of it at least.
	growth, decline = .1, .5

	// probeAfter is how old a store that sheds lets what it knows to be usual
	// become, before it takes in so little that it sees that again: until
	// probeAnswers have come, or for probeFor. Otherwise what became slower for
	// good would be taken for crowded.
	probeAfter, probeFor = 15 * time.Second, time.Second
	probeAnswers         = 8
)

// limit is how many requests may be in flight.
type limit struct {
	value float64
	usual map[route]time.Duration

	// What this window has seen.
	begun       time.Time
	waits, took time.Duration
	answers     int
	peak        int64
	// crowded is for how many windows requests have waited too long.
	crowded int
	// declined is when the limit fell; what was let in before says nothing of
	// how it does now.
	declined time.Time

	// quiet is how many requests may be in flight for them to take their usual
	// time, and quietAt when that was last so.
	quiet      int64
	quietAt    time.Time
	probeUntil time.Time // zero while there is no probe
	probed     int       // answers that it has seen
}

// route tells requests apart that take different times.
type route struct{ method, path string }

// newLimit is for so many processors, on which as many requests do not wait
// for each other.
func newLimit(now time.Time, processors int) limit {
	return limit{value: initial, usual: map[route]time.Duration{}, begun: now, quiet: int64(max(2, processors)), quietAt: now}
}

// memory is how many answers what is usual remembers; in a probe there are few.
func (l *limit) memory() time.Duration {
	if l.probeUntil.IsZero() {
		return 16
	}
	return 4
}

// room is how many requests may be in flight for one of a class to join.
func (l *limit) room(c class) int64 {
	if !l.probeUntil.IsZero() && c < checkout {
		return l.quiet
	}
	return int64(math.Ceil(l.value * shares[c]))
}

// answered takes note of a request: how many were in flight with it at most, and
// whether it went well, for what fails may fail sooner or later than usual.
func (l *limit) answered(now time.Time, r route, took time.Duration, inFlight int64, well bool) {
	usual, known := l.usual[r]
	if well && inFlight <= l.quiet {
		l.quietAt = now
		l.probed++
		if !known {
			usual = took
		}
		usual += min(took-usual, usual+5*time.Millisecond) / l.memory() // no outlier counts for more than a double
		l.usual[r] = usual
	}
	if now.Add(-took).Before(l.declined) {
		return
	}
	l.waits += min(took-usual, 10*target)
	l.took += took
	l.answers++
	l.peak = max(l.peak, inFlight)
}

// adjust moves the limit by what the window has seen. Shedding is that it was
// reached for more than a moment.
func (l *limit) adjust(now time.Time, shedding bool) {
	switch {
	case now.Before(l.probeUntil) && l.probed < probeAnswers:
		return
	case !l.probeUntil.IsZero():
		l.probeUntil, l.quietAt = time.Time{}, now
		l.begin(now)
		return
	case l.answers < enough && (l.answers == 0 || now.Sub(l.begun) < patience):
		return
	}
	wait := l.waits / time.Duration(l.answers)
	switch {
	case wait > tooLong:
		l.crowded = standing
	case wait > target:
		l.crowded++
	case l.crowded < standing || wait < target/2:
		l.crowded = 0
	}
	switch {
	case wait > target && l.crowded >= standing: // by as much as there are too many at once (Little's law)
		took := l.took / time.Duration(l.answers)
		l.value = max(smallest, l.value*max(decline, float64(took-wait+target)/float64(took)))
		l.declined = now
	case wait < target && (l.value < initial || 4*float64(l.peak) >= l.value): // not far above what is asked for
		l.value = min(largest, l.value*(1+growth*min(1, float64(target-wait)/float64(target))))
	}
	if shedding && now.Sub(l.quietAt) >= probeAfter {
		l.probeUntil, l.probed = now.Add(probeFor), 0
	}
	l.begin(now)
}

func (l *limit) begin(now time.Time) { l.begun, l.waits, l.took, l.answers, l.peak = now, 0, 0, 0, 0 }
