package stats

import (
	"math/rand/v2"
	"testing"
	"time"
	_ "time/tzdata" // as the program has it

	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// zones are some whose clocks do strange things.
var zones = []string{
	"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia",
	"America/Sao_Paulo", "America/St_Johns", "Pacific/Chatham", "Africa/Cairo", "Asia/Beirut", "America/Havana", "Pacific/Kiritimati", "Pacific/Pago_Pago",
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// dateOf is what the calendar shows; of clocks that are set back over midnight
// the day that has begun goes on.
func dateOf(t time.Time) int {
	year, month, dayOf := t.Date()
	return year*10000 + int(month)*100 + dayOf
}

func TestADayBeginsAtTheFirstMomentThatTheCalendarShowsIt(t *testing.T) {
	t.Parallel()
	for _, name := range zones {
		z := zone(t, name)
		for d := time.Date(2005, 1, 1, 0, 0, 0, 0, time.UTC); d.Year() < 2032; d = d.AddDate(0, 0, 1) {
			got := midnight(d.Year(), d.Month(), d.Day(), z)
			if before := dateOf(got.Add(-time.Nanosecond)); before >= dateOf(d) {
				t.Fatalf("%s in %s: %s is not the first", d.Format(time.DateOnly), name, got)
			}
			if is := dateOf(got); is != dateOf(d) && !(name == "Pacific/Apia" && dateOf(d) == 20111230) {
				t.Fatalf("%s in %s: %s is another day", d.Format(time.DateOnly), name, got)
			}
		}
	}
}

func TestADayThatNeverWasIsEmpty(t *testing.T) {
	t.Parallel()
	apia := zone(t, "Pacific/Apia") // it went over the date line
	gone, next := midnight(2011, 12, 30, apia), midnight(2011, 12, 31, apia)
	if !gone.Equal(next) {
		t.Errorf("%s and %s", gone, next)
	}
}

func TestPartsFollowEachOtherAndAreOfOneDateWeekMonthOrYear(t *testing.T) {
	t.Parallel()
	key := map[openapi.StatisticsGranularity]func(time.Time) int{
		openapi.StatisticsGranularityHour: func(t time.Time) int { _, o := t.Zone(); return dateOf(t)*100 + t.Hour() + o*100_000_000 },
		openapi.StatisticsGranularityDay:  dateOf,
		openapi.StatisticsGranularityWeek: func(t time.Time) int { y, w := t.ISOWeek(); return y*100 + w },
		openapi.StatisticsGranularityMonth: func(t time.Time) int {
			return dateOf(t) / 100
		},
		openapi.StatisticsGranularityYear:  func(t time.Time) int { return t.Year() },
		openapi.StatisticsGranularityTotal: func(time.Time) int { return 0 },
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		z := zone(t, zones[random.IntN(len(zones))])
		from := time.Date(2011, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(random.Int64N(int64(18 * 365 * day)))).In(z)
		if random.IntN(2) == 0 {
			from = on(from, 0, 0)
		}
		p := period{from: from, before: from.Add(time.Duration(random.Int64N(int64(25 * day)))), zone: z}
		for g, key := range key {
			parts, err := p.buckets(g)
			if err != nil {
				t.Fatal(err)
			}
			at, last := p.from, 0
			for i, part := range parts {
				if !part.from.Equal(at) || !part.before.After(part.from) {
					t.Fatalf("%s of %v in %s: part %d is %v", g, p, z, i, part)
				}
				at = part.before
				// St. John's clocks were set back over midnight until 2011.
				if z.String() == "America/St_Johns" && part.from.Year() == 2011 {
					continue
				}
				first, end := key(part.from.In(z)), key(part.before.Add(-time.Nanosecond).In(z))
				if first != end || i > 0 && first == last {
					t.Fatalf("%s of %v in %s: part %d is from %d to %d, after %d", g, p, z, i, first, end, last)
				}
				last = end
			}
			if !at.Equal(p.before) {
				t.Fatalf("%s of %v ends at %s", g, p, at)
			}
		}
	}
}

func TestPiecesMakeUpAPeriodExactlyAndAreFewOfTheirLevel(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		from := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(random.Int64N(int64(800 * day))))
		p := period{from: from, before: from.Add(time.Duration(random.Int64N(int64(400 * day))))}
		least := level(random.IntN(2))
		times := map[level]time.Duration{}
		all := p.pieces(least)
		for _, piece := range all {
			if !piece.until.After(piece.from) {
				t.Fatalf("%v has the piece %v", p, piece)
			}
			if piece.level >= 0 && (!piece.level.begin(piece.from).Equal(piece.from) || !piece.level.begin(piece.until).Equal(piece.until)) {
				t.Fatalf("%v has the piece %v", p, piece)
			}
			times[piece.level] += piece.until.Sub(piece.from)
		}
		for range 50 { // a moment counts once within the period, and not at all outside of it
			at := p.from.Add(time.Duration(random.Int64N(int64(500*day))) - 50*day)
			count, is := int64(0), int64(0)
			for _, piece := range all {
				if !at.Before(piece.from) && at.Before(piece.until) {
					count += piece.sign
				}
			}
			if !at.Before(p.from) && at.Before(p.before) {
				is = 1
			}
			if count != is {
				t.Fatalf("%s counts %d times in %v, of %v", at, count, p, all)
			}
		}
		if most := least.next(time.Unix(0, 0)).Sub(time.Unix(0, 0)); times[orders] > most || times[days] > 32*day && least == days {
			t.Fatalf("of %v %s are added up order by order, %s by days", p, times[orders], times[days])
		}
	}
}

func TestThePeriodBeforeIsAsLong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ what, from, to, zone, first, before string }{
		{"days", "2031-03-02", "2031-03-08", "UTC", "2031-02-23T00:00:00Z", "2031-03-02T00:00:00Z"},
		{"a month", "2031-03-01", "2031-03-31", "Europe/Berlin", "2031-01-31T23:00:00Z", "2031-02-28T23:00:00Z"},
		{"a quarter", "2031-04-01", "2031-06-30", "Europe/Berlin", "2030-12-31T23:00:00Z", "2031-03-31T22:00:00Z"},
		{"a year", "2032-01-01", "2032-12-31", "UTC", "2031-01-01T00:00:00Z", "2032-01-01T00:00:00Z"},
		{"the day on which the clocks are changed", "2031-03-30", "2031-03-30", "Europe/Berlin", "2031-03-28T23:00:00Z", "2031-03-29T23:00:00Z"},
		{"moments", "2031-03-02T10:00:00Z", "2031-03-02T16:00:00Z", "Europe/Berlin", "2031-03-02T04:00:00Z", "2031-03-02T10:00:00Z"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			var f problem.Findings
			p := asked{&tt.from, &tt.to, &tt.zone}.period(&f, time.Now())
			if err := f.Err(); err != nil {
				t.Fatal(err)
			}
			got := p.previous()
			if first, before := got.from.UTC().Format(time.RFC3339), got.before.UTC().Format(time.RFC3339); first != tt.first || before != tt.before {
				t.Errorf("from %s before %s, want from %s before %s", first, before, tt.first, tt.before)
			}
		})
	}
}
