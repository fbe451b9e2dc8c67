package ratelimit

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// maxKnown bounds the keys that are kept in memory, some 400 bytes each.
const maxKnown = 50_000

// known is what Redis told about keys. All of it may be forgotten: then Redis
// is asked.
type known struct {
	entries *otter.Cache[string, *entry]
}

// entry is what is known of one key.
type entry struct {
	refusal atomic.Pointer[refusal]
	lease   atomic.Pointer[lease]

	mu sync.Mutex
	// busy is closed when the call for a lease that is on its way returns.
	busy chan struct{}
	// size is what is taken next; unused is given back then.
	size   int64
	unused unused
}

func newKnown() *known {
	return &known{otter.Must(&otter.Options[string, *entry]{MaximumSize: maxKnown})}
}

// entry returns that of the key, and makes it where there is none.
func (k *known) entry(key string) *entry {
	if e, ok := k.entries.GetIfPresent(key); ok {
		return e
	}
	e, _ := k.entries.SetIfAbsent(key, &entry{})
	return e
}

// refusal is what a counter had when it refused. Within its windows there is
// never more.
type refusal struct {
	windows []remembered
}

type remembered struct {
	Window
	remaining int64
	end       time.Duration
}

func newRefusal(c Counter, states []State, now time.Duration) *refusal {
	r := &refusal{make([]remembered, len(states))}
	for i, s := range states {
		r.windows[i] = remembered{c.Windows[i], s.Remaining, now + s.Reset}
	}
	return r
}

// find returns the window where it is the same and still goes on.
func (r *refusal) find(w Window, now time.Duration) (remembered, bool) {
	i := slices.IndexFunc(r.windows, func(o remembered) bool { return o.Window == w && now < o.end })
	if i < 0 {
		return remembered{}, false
	}
	return r.windows[i], true
}

// refuses reports whether Redis is sure to refuse c.
func (r *refusal) refuses(c Counter, cost int64, now time.Duration) bool {
	return r != nil && slices.ContainsFunc(c.Windows, func(w Window) bool {
		known, ok := r.find(w, now)
		return ok && known.remaining < cost
	})
}

// decide refuses q because of c, its i-th counter.
func (r *refusal) decide(i int, c Counter, q *request) Decision {
	d := Decision{Allowed: true, States: q.states, Source: Memory}
	for _, w := range c.Windows {
		s := State{Counter: i, Limit: w.Requests, Period: w.Period, Remaining: w.Requests, Shadow: c.Shadow}
		if known, ok := r.find(w, q.now); ok {
			s.Remaining, s.Reset, s.Refused = known.remaining, known.end-q.now, known.remaining < q.cost
		}
		d.States = append(d.States, s)
	}
	return d.settle()
}

// remembered is the decision about what Redis is sure to refuse.
func (l *Limiter) remembered(q *request) (Decision, bool) {
	for i, c := range q.counters {
		if c.Shadow {
			continue
		}
		e, ok := l.known.entries.GetIfPresent(c.Key)
		if !ok {
			continue
		}
		if r := e.refusal.Load(); r.refuses(c, q.cost, q.now) {
			return r.decide(i, c, q), true
		}
	}
	return Decision{}, false
}
