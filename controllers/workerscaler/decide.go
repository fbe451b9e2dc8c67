package workerscaler

import (
	"fmt"
	"slices"
	"time"

	"gitee.com/captainjez/gocart/runtime/status"
)

const (
	// settle is how long a pod more is given to make a difference before another
	// one is added for the age of the oldest job.
	settle = 15 * time.Second
	// mostAdded is added at once where there are few pods; where there are more,
	// as many as there are.
	mostAdded = 4
)

// Bounds are what a Store's spec says.
type Bounds struct {
	Min, Max int32
	// Target is how many jobs may wait for each pod.
	Target int64
	// Capacity is how many jobs of each queue a pod works at once.
	Capacity int64
	MaxAge   time.Duration
	// Window is how long fewer pods must have been enough.
	Window time.Duration
	// Queues that the pods serve.
	Queues []string
}

// History is what was wanted before. The zero value knows nothing.
type History struct {
	// since is the first look; changed is when the number was changed last.
	since, changed time.Time
	wanted         []sample
}

type sample struct {
	at time.Time
	n  int32
}

// load of the queues that the pods serve.
type load struct {
	waiting, running int64
	oldest           time.Duration
	// full is how many pods the running jobs fill.
	full int64
}

func (b Bounds) load(queues []status.Queue) (l load) {
	for _, q := range queues {
		if !slices.Contains(b.Queues, q.Name) {
			continue
		}
		l.waiting += q.Waiting
		l.running += q.Running
		l.oldest = max(l.oldest, time.Duration(q.OldestSeconds*float64(time.Second)))
		l.full = max(l.full, ceil(q.Running, b.Capacity))
	}
	return l
}

// Decide is how many pods there should be now, and why, in words for an event.
//
// More are wanted at once: for the depth of the queues, for jobs that run, and
// one after the other while the oldest job waits for too long. They are added a
// few at a time, for a flood may be gone before all could have started. Fewer
// are wanted when the most that was wanted within the window is less than there
// are, and then never more than half of them go at once.
func (h *History) Decide(b Bounds, queues []status.Queue, current int32, now time.Time) (next int32, why string) {
	if h.since.IsZero() {
		h.since = now
	}
	l := b.load(queues)
	n := max(ceil(l.waiting, b.Target), l.full)
	why = fmt.Sprintf("%d jobs wait and %d run", l.waiting, l.running)
	if l.waiting > 0 {
		n = max(n, 1)
		if l.oldest > b.MaxAge {
			why = fmt.Sprintf("%d jobs wait, the oldest for %s", l.waiting, l.oldest.Round(time.Second))
			n = max(n, int64(current))
			if now.Sub(h.changed) >= settle {
				n = max(n, int64(current)+1)
			}
		}
	}
	need := within(b, int32(min(n, int64(b.Max))))
	most := h.remember(need, now, b.Window)
	next = current
	switch {
	case need > current:
		next = min(need, current+max(current, mostAdded))
	case most < current && now.Sub(h.since) >= b.Window:
		next = max(most, current/2)
	}
	next = within(b, next)
	if next != current {
		h.changed = now
	}
	return next, why
}

// remember returns the most that was wanted within the window, now included.
func (h *History) remember(need int32, now time.Time, window time.Duration) int32 {
	h.wanted = slices.DeleteFunc(append(h.wanted, sample{now, need}), func(s sample) bool { return now.Sub(s.at) > window })
	most := need
	for _, s := range h.wanted {
		most = max(most, s.n)
	}
	return most
}

func within(b Bounds, n int32) int32 { return min(b.Max, max(b.Min, n)) }

func ceil(n, by int64) int64 { return (n + by - 1) / by }
