package ratelimit

import (
	"slices"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
)

// maxLocal bounds the counters of a process that counts alone. Beyond it, those
// that are asked for least are forgotten.
const maxLocal = 50_000

// local decides in this process, by the rules of decide.lua.
type local struct {
	mu      sync.Mutex
	tallies *otter.Cache[string, *tally]
}

// tally is a counter's windows that have begun.
type tally struct {
	windows []running
}

type running struct {
	period, end time.Duration
	count       int64
}

func newLocal() *local {
	return &local{tallies: otter.Must(&otter.Options[string, *tally]{MaximumSize: maxLocal})}
}

func (l *local) decide(q *request) Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	allowed := true
	for _, c := range q.counters {
		allowed = allowed && (c.Shadow || !l.tally(c.Key).lacks(c, q.cost, q.now))
	}
	d := Decision{Allowed: true, States: q.states, Source: Local}
	for i, c := range q.counters {
		t := l.tally(c.Key)
		counts := allowed && !t.lacks(c, q.cost, q.now)
		if counts {
			t.count(c, q.cost, q.now)
			l.tallies.Set(c.Key, t)
		}
		for _, w := range c.Windows {
			count, reset := int64(0), time.Duration(0)
			if r := t.find(w.Period, q.now); r != nil {
				count, reset = r.count, r.end-q.now
			}
			d.States = append(d.States, state(i, c, w, count, reset, !counts && w.Requests-count < q.cost))
		}
	}
	return d.settle()
}

func (l *local) tally(key string) *tally {
	if t, ok := l.tallies.GetIfPresent(key); ok {
		return t
	}
	return &tally{}
}

// find returns the window of that period, nil where it has ended or not begun.
func (t *tally) find(period, now time.Duration) *running {
	for i := range t.windows {
		if r := &t.windows[i]; r.period == period && now < r.end {
			return r
		}
	}
	return nil
}

func (t *tally) lacks(c Counter, cost int64, now time.Duration) bool {
	return slices.ContainsFunc(c.Windows, func(w Window) bool {
		count := int64(0)
		if r := t.find(w.Period, now); r != nil {
			count = r.count
		}
		return w.Requests-count < cost
	})
}

func (t *tally) count(c Counter, cost int64, now time.Duration) {
	t.windows = slices.DeleteFunc(t.windows, func(r running) bool { return r.end <= now })
	for _, w := range c.Windows {
		r := t.find(w.Period, now)
		if r == nil {
			t.windows = append(t.windows, running{period: w.Period, end: now + w.Period})
			r = &t.windows[len(t.windows)-1]
		}
		r.count += cost
	}
}
