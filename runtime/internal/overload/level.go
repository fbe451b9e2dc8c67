package overload

import "fmt"

// Levels is how many there are, 0 among them.
const Levels = highest + 1

const (
	highest = 3
	// enoughRequests, within the seconds that are looked at, are needed to say
	// anything about a share of them.
	enoughRequests = 100
	// settle is for how many seconds a higher level is given time to help.
	settle = 3
	// calmFor is after how many calm seconds a level ends.
	calmFor = 10
)

// counts are what happened in a second.
type counts struct{ requests, shed, refused int64 }

// levels go up a step when more than a fifth of the requests of the last five
// seconds were turned away, and down a step after ten seconds in which it was
// no more than a twentieth. Refusals lead to the first level only: limits that
// a level tightened refuse more, which must not be what raises it or keeps it.
type levels struct {
	n, least, most int
	recent         [5]counts // the last second first
	calm, since    int       // seconds
}

// bound keeps the level between least and most, and tells whether that
// changed it.
func (l *levels) bound(least, most int) bool {
	before := l.n
	l.least, l.most = least, most
	l.n = min(max(l.n, least), most)
	return l.n != before
}

// add takes a second, and returns why the level changed, if it did.
func (l *levels) add(s counts) (why string) {
	copy(l.recent[1:], l.recent[:])
	l.recent[0] = s
	l.since++
	var sum counts
	for _, s := range l.recent {
		sum.requests += s.requests
		sum.shed += s.shed
		sum.refused += s.refused
	}
	up, down := sum.shed, sum.shed
	if l.n == 0 {
		up += sum.refused
	}
	if l.n <= 1 {
		down += sum.refused
	}
	l.calm++
	if down >= 5 && 20*down > sum.requests {
		l.calm = 0
	}
	switch {
	case l.n < l.most && l.since >= settle && sum.requests >= enoughRequests && 5*up > sum.requests:
		l.n++
		why = fmt.Sprintf("of %d requests within %d s, %d were shed and %d refused", sum.requests, len(l.recent), sum.shed, sum.refused)
		l.recent = [5]counts{}
	case l.n > l.least && l.calm >= calmFor:
		l.n--
		why = fmt.Sprintf("calm for %d s", calmFor)
	default:
		return ""
	}
	l.calm, l.since = 0, 0
	return why
}
