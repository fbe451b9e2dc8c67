package overload

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// shop is a store that works on so many requests at once, each for so long,
// and on the others after that. It lives in a time of its own.
type shop struct {
	limit   limit
	now     time.Time
	workers int
	service time.Duration
	random  *rand.Rand

	free     []time.Time // when each worker is
	inFlight finishes
	last     time.Time // adjusted
}

type finish struct {
	at, began time.Time
	inFlight  int64
}

type finishes []finish

func (f finishes) Len() int           { return len(f) }
func (f finishes) Less(i, j int) bool { return f[i].at.Before(f[j].at) }
func (f finishes) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *finishes) Push(x any)        { *f = append(*f, x.(finish)) }
func (f *finishes) Pop() any {
	last := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return last
}

func newShop(workers int, service time.Duration) *shop {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return &shop{
		limit: newLimit(start, 2), now: start, last: start, workers: workers, service: service,
		free: make([]time.Time, workers), random: rand.New(rand.NewPCG(1, 2)),
	}
}

func (s *shop) capacity() float64 { return float64(s.workers) / s.service.Seconds() }

// serve offers so many anonymous reads a second for a while, and returns how
// many were answered in a second, how many were shed, and how long the slowest
// percent of those answered took.
func (s *shop) serve(rate float64, length time.Duration) (goodput float64, shed int, p99 time.Duration) {
	var took []time.Duration
	shedBefore := 0
	for end := s.now.Add(length); s.now.Before(end); {
		s.now = s.now.Add(time.Duration(s.random.ExpFloat64() / rate * float64(time.Second)))
		for len(s.inFlight) > 0 && s.inFlight[0].at.Before(s.now) {
			f := heap.Pop(&s.inFlight).(finish)
			took = append(took, f.at.Sub(f.began))
			s.limit.answered(f.at, route{}, f.at.Sub(f.began), max(f.inFlight, int64(len(s.inFlight)+1)), true)
		}
		if s.now.Sub(s.last) >= window {
			s.last = s.now
			s.limit.adjust(s.now, shed > shedBefore)
			shedBefore = shed
		}
		if int64(len(s.inFlight)) >= s.limit.room(anonymousRead) {
			shed++
			continue
		}
		worker := 0
		for i := range s.free {
			if s.free[i].Before(s.free[worker]) {
				worker = i
			}
		}
		begin := s.now
		if s.free[worker].After(begin) {
			begin = s.free[worker]
		}
		s.free[worker] = begin.Add(time.Duration(float64(s.service) * (.5 + s.random.Float64())))
		heap.Push(&s.inFlight, finish{at: s.free[worker], began: s.now, inFlight: int64(len(s.inFlight) + 1)})
	}
	slices.Sort(took)
	return float64(len(took)) / length.Seconds(), shed, took[len(took)*99/100]
}

func TestUnderTenTimesItsLoadAStoreDoesNineTenthsOfWhatItCanAndStaysQuick(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		workers int
		service time.Duration
	}{
		{"a small one", 2, 7 * time.Millisecond},
		{"a slow one", 4, 40 * time.Millisecond},
		{"a quick one", 4, time.Millisecond},
		{"a large one", 64, 10 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(tt.workers, tt.service)
			_, shed, _ := s.serve(s.capacity()*.3, 5*time.Second)
			if _, more, _ := s.serve(s.capacity()*.7, 20*time.Second); shed+more > 0 {
				t.Errorf("%d were shed while there was room", shed+more)
			}
			s.serve(s.capacity()*10, 3*time.Second) // until the limit has found its place
			goodput, _, p99 := s.serve(s.capacity()*10, time.Minute)
			if goodput < .9*s.capacity() || p99 > 200*time.Millisecond {
				t.Errorf("%.0f/s of %.0f/s, p99 %s, limit %.1f", goodput, s.capacity(), p99, s.limit.value)
			}
			s.serve(s.capacity()*.5, 5*time.Second)
			if _, shed, _ := s.serve(s.capacity()*.7, 20*time.Second); shed > 0 {
				t.Errorf("%d were shed afterwards", shed)
			}
		})
	}
}

func TestTheLimitFallsWhenRequestsWaitAndRisesAgain(t *testing.T) {
	t.Parallel()
	s := newShop(8, 5*time.Millisecond)
	s.serve(400, 10*time.Second)
	before := s.limit.value
	s.service = 50 * time.Millisecond
	s.serve(400, 5*time.Second)
	pressed := s.limit.value
	s.service = 5 * time.Millisecond
	s.serve(400, 10*time.Second)
	if after := s.limit.value; pressed > before/2 || after < before*.9 {
		t.Errorf("the limit was %.1f, then %.1f, then %.1f", before, pressed, after)
	}
}

func TestABurstIsNotShed(t *testing.T) {
	t.Parallel()
	s := newShop(2, 5*time.Millisecond)
	s.serve(s.capacity()/2, 10*time.Second)
	for range 20 {
		_, during, _ := s.serve(s.capacity()*1.5, 100*time.Millisecond)
		if _, after, _ := s.serve(s.capacity()/2, 5*time.Second); during+after > 0 {
			t.Fatalf("%d were shed", during+after)
		}
	}
}

func TestHoursOfOverloadDoNotTeachItThatSlowIsUsual(t *testing.T) {
	t.Parallel()
	s := newShop(2, 7*time.Millisecond)
	s.serve(s.capacity()*.5, 10*time.Second)
	s.serve(s.capacity()*3, 2*time.Hour)
	if goodput, _, p99 := s.serve(s.capacity()*3, time.Minute); goodput < .9*s.capacity() || p99 > 200*time.Millisecond {
		t.Errorf("%.0f/s of %.0f/s, p99 %s, limit %.1f", goodput, s.capacity(), p99, s.limit.value)
	}
}

func TestWhatBecomesSlowerForGoodIsNotTakenForCrowded(t *testing.T) {
	t.Parallel()
	s := newShop(100, 5*time.Millisecond)
	s.serve(1000, 10*time.Second)
	s.service = 100 * time.Millisecond // as from a database that moved away
	s.serve(2*s.capacity(), 2*time.Minute)
	if goodput, _, _ := s.serve(2*s.capacity(), time.Minute); goodput < .8*s.capacity() {
		t.Errorf("%.0f/s of %.0f/s, limit %.1f", goodput, s.capacity(), s.limit.value)
	}
}

func TestAnotherMixOfQuickAndSlowRequestsIsNotTakenForCrowded(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	l := newLimit(now, 2)
	quick, slow := route{"GET", "/products"}, route{"POST", "/auth/login"}
	serve := func(r route, took time.Duration, inFlight int64) {
		for range 500 {
			now = now.Add(10 * time.Millisecond)
			l.answered(now, r, took, inFlight, true)
			l.adjust(now, false)
		}
	}
	serve(quick, time.Millisecond, 1)
	serve(slow, 80*time.Millisecond, 1)
	before := l.value
	serve(slow, 80*time.Millisecond, 60)
	if l.value < before {
		t.Errorf("the limit fell from %.1f to %.1f", before, l.value)
	}
}
