package stats

import (
	"fmt"
	"time"

	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/stats/statsdb"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const (
	day = 24 * time.Hour
	// usualDays is how long a period is that nobody bounds.
	usualDays = 30
	// mostDays bounds a period, ten years; mostBuckets how finely one is told.
	mostDays    = 3660
	mostBuckets = 750
	// earliest is the first year that is told of. Since long before, all time
	// zones differ by whole quarters of an hour.
	earliest, latest = 2000, 2200
)

// period is a time from a moment on and before another.
type period struct {
	from, before time.Time
	// zone is where days begin.
	zone *time.Location
	// byDays are those that begin and end with days there.
	byDays bool
}

// midnight is when a day begins in a zone: the first moment at which clocks
// there show it, which after a change of the clocks may not be 00:00. Days and
// months beyond their ends are those of the next month or year.
func midnight(year int, month time.Month, dayOf int, zone *time.Location) time.Time {
	wall := time.Date(year, month, dayOf, 0, 0, 0, 0, time.UTC)
	t := wall.Add(-16 * time.Hour).In(zone) // it is the day before, everywhere
	for {
		_, offset := t.Zone()
		begins := wall.Add(-time.Duration(offset) * time.Second).In(zone)
		_, end := t.ZoneBounds()
		if end.IsZero() || begins.Before(end) {
			if begins.Before(t) { // the clocks went past it
				return t
			}
			return begins
		}
		t = end
	}
}

// on is when the day begins that is so many months and days after a moment's.
func on(t time.Time, months, days int) time.Time {
	year, month, dayOf := t.Date()
	return midnight(year, month+time.Month(months), dayOf+days, t.Location())
}

// asked is a period that somebody asks for.
type asked struct {
	From, To, TimeZone *string
}

// period makes sense of what is asked. A date is a whole day in the zone, as
// the last one also; a moment is itself.
func (a asked) period(f *problem.Findings, now time.Time) (p period) {
	name := optional.Value(a.TimeZone)
	if a.TimeZone == nil {
		name = "UTC"
	}
	var err error
	p.zone, err = time.LoadLocation(name)
	known := err == nil && name != "" && name != "Local" && len(name) <= 64
	f.Require(known, "timeZone", "is no time zone of the IANA's list, such as Europe/Berlin or UTC")
	if !known {
		p.zone = time.UTC
	}
	fromDay, toDay := true, true
	p.before = on(now.In(p.zone), 0, 1)
	if a.To != nil {
		var last time.Time
		if last, toDay = moment(f, "to", *a.To, p.zone); toDay {
			last = on(last, 0, 1)
		}
		p.before = last
	}
	p.from = on(p.before.Add(-time.Nanosecond), 0, 1-usualDays)
	if a.From != nil {
		p.from, fromDay = moment(f, "from", *a.From, p.zone)
	}
	p.byDays = fromDay && toDay
	if f.Err() != nil {
		return p
	}
	f.Require(p.from.Before(p.before), "to", "must be after from")
	f.Require(!p.from.AddDate(0, 0, mostDays).Before(p.before), "from", "must be %d days before to at most", mostDays)
	return p
}

// moment reads a date or a moment, and reports which it is.
func moment(f *problem.Findings, pointer, text string, zone *time.Location) (t time.Time, isDay bool) {
	t, err := time.Parse(time.DateOnly, text)
	if isDay = err == nil; isDay {
		t = midnight(t.Year(), t.Month(), t.Day(), zone)
	} else if t, err = time.Parse(time.RFC3339, text); err != nil {
		f.Require(false, pointer, "must be a date such as 2026-11-26, or a moment such as 2026-11-26T09:30:00Z")
		return time.Unix(0, 0), false
	}
	t = t.In(zone).Truncate(time.Microsecond) // what PostgreSQL keeps
	year := t.UTC().Year()
	f.Require(year >= earliest && year < latest, pointer, "must be in the years %d to %d", earliest, latest-1)
	return t, isDay
}

// previous is the period before, of the same length: as many months where it
// is made of whole ones, or days, or just as long.
func (p period) previous() period {
	if !p.byDays {
		p.from, p.before = p.from.Add(-p.before.Sub(p.from)), p.from
		return p
	}
	first, end := p.from, p.before.In(p.zone)
	p.before = p.from
	if first.Day() == 1 && end.Day() == 1 {
		n := 12*(end.Year()-first.Year()) + int(end.Month()-first.Month())
		p.from = on(first, -n, 0)
		return p
	}
	p.from = on(first, 0, -calendarDays(first, end))
	return p
}

// calendarDays is how many days one date is after another.
func calendarDays(first, last time.Time) int {
	date := func(t time.Time) time.Time {
		year, month, dayOf := t.Date()
		return time.Date(year, month, dayOf, 0, 0, 0, 0, time.UTC)
	}
	return int(date(last).Sub(date(first)) / day)
}

// after is when the time ends, by the clocks of the zone, in which a moment is.
func after(t time.Time, g openapi.StatisticsGranularity) time.Time {
	switch g {
	case openapi.StatisticsGranularityHour:
		return nextHour(t)
	case openapi.StatisticsGranularityDay:
		return on(t, 0, 1)
	case openapi.StatisticsGranularityWeek: // they begin on Mondays
		return on(t, 0, 7-(int(t.Weekday())+6)%7)
	case openapi.StatisticsGranularityMonth:
		return midnight(t.Year(), t.Month()+1, 1, t.Location())
	case openapi.StatisticsGranularityYear:
		return midnight(t.Year()+1, time.January, 1, t.Location())
	case openapi.StatisticsGranularityTotal:
	}
	return t.AddDate(latest, 0, 0)
}

// nextHour is when the clocks show the next full hour. An hour ends when the
// clocks are changed: one that is shown twice is two.
func nextHour(t time.Time) time.Time {
	next := t.Add(time.Hour - time.Duration(t.Minute())*time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
	if _, end := t.ZoneBounds(); !end.IsZero() && end.After(t) && end.Before(next) {
		return end
	}
	return next
}

// buckets cuts a period: each begins where the one before ends.
func (p period) buckets(g openapi.StatisticsGranularity) ([]period, error) {
	var all []period
	for t := p.from; t.Before(p.before); {
		if len(all) == mostBuckets {
			return nil, problem.Invalid(problem.Field{
				Pointer: "granularity", Detail: fmt.Sprintf("cuts the period into more than %d parts: ask for a shorter one, or for longer parts", mostBuckets),
			})
		}
		next := after(t, g).In(p.zone)
		for probe := t; !next.After(t); next = after(probe, g).In(p.zone) { // clocks that were set back show a day that is over
			probe = probe.Add(time.Hour)
		}
		if next.After(p.before) {
			next = p.before
		}
		all = append(all, period{from: t, before: next, zone: p.zone})
		t = next
	}
	return all, nil
}

// piece is a time that sums of a level make up. Its sign is -1 where it is to be
// taken off, for a longer one that was taken whole.
type piece struct {
	level       level
	from, until time.Time
	sign        int64
}

// pieces makes a period up of sums of a level and longer ones, and of orders
// what these leave out. Of a time that is partly in the period, the
// shorter part is added up: what is in it, or what is to be taken off.
func (p period) pieces(least level) []piece { return p.add(nil, 1, least, years) }

func (p period) add(all []piece, sign int64, least, most level) []piece {
	if !p.from.Before(p.before) {
		return all
	}
	for l := most; l >= least; l-- {
		from, until := l.nearest(p.from), l.nearest(p.before)
		if !from.Before(until) {
			continue
		}
		all = append(all, piece{l, from, until, sign})
		for _, end := range [2]struct{ is, whole time.Time }{{p.from, from}, {until, p.before}} {
			all = period{from: end.is, before: end.whole}.add(all, sign, least, l-1)
			all = period{from: end.whole, before: end.is}.add(all, -sign, least, l-1)
		}
		return all
	}
	return append(all, piece{orders, p.from.UTC(), p.before.UTC(), sign})
}

// salesPieces are those of buckets.
func salesPieces(buckets []period) (r statsdb.SalesInParams) {
	for i, b := range buckets {
		for _, piece := range b.pieces(quarters) {
			r.Buckets, r.Levels = append(r.Buckets, int32(i)), append(r.Levels, int16(piece.level))
			r.Firsts, r.Befores, r.Signs = append(r.Firsts, piece.from), append(r.Befores, piece.until), append(r.Signs, piece.sign)
		}
	}
	return r
}
