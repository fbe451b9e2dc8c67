package ratelimit

import (
	"context"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// leaseTime bounds a lease, and so how late bans are seen and how long what
	// is not used is kept from other replicas that ask.
	leaseTime = time.Second
	// leaseShare is the part of its smallest window that is taken at once. Up to
	// half as much may be left of the lease before.
	leaseShare = 30
	// unbounded is what is taken of a counter without windows.
	unbounded = 1 << 40
)

// lease is room that was taken from all windows of one counter. But for what is
// left of it, it never changes.
type lease struct {
	left atomic.Int64
	// renewing is set once somebody sees to the next lease.
	renewing atomic.Bool

	key     string
	taken   int64
	windows []leased
	// until is when it ends; from half of what was taken, or from renew on, the
	// next one is taken in the background.
	until, renew time.Duration
}

// leased is a window as Redis told it.
type leased struct {
	Window
	count int64         // with everything that was taken
	end   time.Duration // by this process' clock, early rather than late
	id    int64         // the end by Redis' clock
}

// unused is what was taken from windows and not spent.
type unused struct {
	left    int64
	windows []leased
}

// of is what of u can be given back to c.
func (u unused) of(c Counter) take {
	t := take{back: u.left}
	if u.left == 0 {
		return t
	}
	t.ends = make([]int64, len(c.Windows))
	for i, w := range c.Windows {
		if j := slices.IndexFunc(u.windows, func(o leased) bool { return o.Period == w.Period }); j >= 0 {
			t.ends[i] = u.windows[j].id
		}
	}
	return t
}

// spend takes the cost from the lease where it is one of c and has it, and
// tells what is left.
func (l *lease) spend(c *Counter, cost int64, now time.Duration) (left int64, ok bool) {
	if l == nil || now >= l.until || !l.isOf(c) {
		return 0, false
	}
	for {
		left = l.left.Load()
		if left < cost {
			return 0, false
		}
		if l.left.CompareAndSwap(left, left-cost) {
			return left - cost, true
		}
	}
}

// isOf reports whether the lease was taken from c's windows.
func (l *lease) isOf(c *Counter) bool {
	if len(l.windows) != len(c.Windows) {
		return false
	}
	for i := range l.windows {
		if l.windows[i].Window != c.Windows[i] {
			return false
		}
	}
	return true
}

// due reports, once, that the next lease is to be taken.
func (l *lease) due(now time.Duration) bool {
	return l.taken > 1 && (l.left.Load() <= l.taken/2 || now >= l.renew) && !l.renewing.Load() && l.renewing.CompareAndSwap(false, true)
}

// states are those of the lease's counter as far as this process knows, with
// that much left of the lease.
func (l *lease) states(i int, left int64, now time.Duration, shadow bool, into []State) []State {
	for j := range l.windows {
		w := &l.windows[j]
		into = append(into, State{
			Counter: i, Limit: w.Requests, Period: w.Period, Shadow: shadow,
			Remaining: max(0, w.Requests-w.count+left), Reset: min(w.Period, w.end-now),
		})
	}
	return into
}

// has reports whether the lease still has the cost.
func (l *lease) has(cost int64, now time.Duration) bool {
	return l != nil && now < l.until && l.left.Load() >= cost
}

// rest is n of the lease.
func (l *lease) rest(n int64) unused { return unused{n, l.windows} }

// sameWindows reports whether both were taken from the same windows.
func (u unused) sameWindows(o unused) bool {
	return slices.EqualFunc(u.windows, o.windows, func(a, b leased) bool { return a.Window == b.Window && a.id == b.id })
}

// leased sets d by what was taken before, and takes where that is not enough.
func (l *Limiter) leased(ctx context.Context, q *request, d *Decision) error {
	var few [4]spending
	spent := few[:0]
	for i := range q.counters {
		c := &q.counters[i]
		e := l.known.entry(c.Key)
		from := e.lease.Load()
		if r := e.refusal.Load(); r != nil && !c.Shadow && !from.has(q.cost, q.now) && r.refuses(*c, q.cost, q.now) {
			*d = r.decide(i, *c, q) // before anything is spent
			return nil
		}
		spent = append(spent, spending{entry: e, lease: from})
	}
	d.Allowed, d.Source = true, Lease
	states := q.states
	for i := range q.counters {
		c, s := &q.counters[i], &spent[i]
		left, ok := s.lease.spend(c, q.cost, q.now)
		switch {
		case !ok:
			var refused Decision
			var err error
			s.lease, left, refused, err = l.fetch(ctx, s.entry, i, q)
			if err != nil {
				undo(spent[:i], q.cost)
				return err
			}
			if s.lease == nil && (refused.BannedFor > 0 || !c.Shadow) {
				undo(spent[:i], q.cost)
				*d = refused
				return nil
			}
			states = append(states, refused.States...)
		case s.lease.due(q.now) && l.redis.Up():
			go l.prefetch(context.WithoutCancel(ctx), s.entry, s.lease)
		}
		if s.lease != nil {
			states = s.lease.states(i, left, q.now, c.Shadow, states)
		}
	}
	d.States = states
	return nil
}

// spending is what a request spent of; the lease is nil where it spent nothing.
type spending struct {
	entry *entry
	lease *lease
}

func undo(spent []spending, cost int64) {
	for _, s := range spent {
		if s.lease != nil {
			s.entry.mu.Lock()
			s.entry.keep(s.lease.rest(cost), s.entry.lease.Load())
			s.entry.mu.Unlock()
		}
	}
}

// keep has u spent by the lease that is in force, or given back with the next;
// e.mu is held.
func (e *entry) keep(u unused, by *lease) {
	switch {
	case u.left == 0:
	case by != nil && u.sameWindows(by.rest(0)):
		by.left.Add(u.left)
	case u.sameWindows(e.unused):
		e.unused.left += u.left
	default:
		e.unused = u
	}
}

// fetch takes the i-th counter's next lease, with the cost already spent, or
// lets another goroutine do so, and tells what was left then. Without a lease
// the decision says what refuses.
func (l *Limiter) fetch(ctx context.Context, e *entry, i int, q *request) (next *lease, left int64, d Decision, err error) {
	c := q.counters[i]
	for {
		now := l.now()
		e.mu.Lock()
		from := e.lease.Load()
		if left, ok := from.spend(&c, q.cost, now); ok {
			e.mu.Unlock()
			return from, left, Decision{}, nil
		}
		if r := e.refusal.Load(); r.refuses(c, q.cost, now) {
			e.mu.Unlock()
			return nil, 0, r.decide(i, c, &request{cost: q.cost, now: now}), nil
		}
		if !l.redis.Up() {
			e.mu.Unlock()
			return nil, 0, Decision{}, errAway
		}
		if e.busy == nil {
			return l.take(ctx, e, i, c, q.cost)
		}
		busy := e.busy
		e.mu.Unlock()
		<-busy
	}
}

// take asks for c's next lease with the cost spent. e.mu is held; it is not
// afterwards.
func (l *Limiter) take(ctx context.Context, e *entry, i int, c Counter, cost int64) (next *lease, left int64, d Decision, err error) {
	if old := e.lease.Load(); old != nil && e.unused.left == 0 {
		e.unused = old.drain()
	}
	e.grow(c, e.unused.left > 0)
	next, left, d, err = l.renew(ctx, e, c, cost, cost)
	for j := range d.States {
		d.States[j].Counter, d.States[j].Shadow = i, c.Shadow
	}
	return next, left, d, err
}

// prefetch takes the lease that follows old while that still has something and
// has not ended.
func (l *Limiter) prefetch(ctx context.Context, e *entry, old *lease) {
	e.mu.Lock()
	if e.busy != nil || e.lease.Load() != old || l.now() >= old.until {
		e.mu.Unlock()
		return
	}
	c := Counter{Key: old.key}
	for _, w := range old.windows {
		c.Windows = append(c.Windows, w.Window)
	}
	e.grow(c, old.left.Load() > old.taken/2)
	_, _, _, _ = l.renew(ctx, e, c, 1, 0) // what refuses is remembered, who is away is noted
}

// renew gives back what is unused, asks for need or more, spends of that, and
// adds what is left of the lease before; it tells how much there is now. e.mu is
// held, but neither while Redis is asked nor afterwards.
func (l *Limiter) renew(ctx context.Context, e *entry, c Counter, need, spend int64) (next *lease, left int64, d Decision, err error) {
	busy := make(chan struct{})
	e.busy = busy
	t := e.unused.of(c)
	t.need, t.want = need, max(need, e.size)
	e.unused = unused{}
	e.mu.Unlock()

	c.Shadow = false // whoever asked knows
	sent := l.now()
	a, err := l.script.ask(ctx, []Counter{c}, t)

	e.mu.Lock()
	defer e.mu.Unlock()
	e.busy = nil
	close(busy)
	if err != nil {
		return nil, 0, Decision{}, err
	}
	d = l.heed(&request{counters: []Counter{c}, cost: need}, a)
	if !d.Allowed {
		return nil, 0, d, nil
	}
	next = newLease(c, a, sent)
	next.left.Store(next.taken - spend)
	// Before the next one is in force: nobody is to be told of less than there is.
	if old := e.lease.Load(); old != nil {
		e.keep(old.drain(), next)
	}
	left = next.left.Load()
	e.lease.Store(next)
	return next, left, Decision{}, nil
}

func newLease(c Counter, a answer, sent time.Duration) *lease {
	l := &lease{key: c.Key, windows: make([]leased, len(c.Windows)), until: sent + leaseTime}
	_, l.taken = a.counter()
	for i, w := range c.Windows {
		id := a.rest[0]
		reset, count := a.window()
		l.windows[i] = leased{w, count, sent + reset, id}
		l.until = min(l.until, l.windows[i].end)
	}
	l.renew = l.until - (l.until-sent)/4
	return l
}

// drain takes what is left of a lease.
func (l *lease) drain() unused {
	for {
		left := l.left.Load()
		if left <= 0 {
			return unused{}
		}
		if l.left.CompareAndSwap(left, 0) {
			return l.rest(left)
		}
	}
}

// grow sets what to take next: twice as much as last time, up to the bound, or
// half where that was too much.
func (e *entry) grow(c Counter, tooMuch bool) {
	bound := int64(unbounded)
	for _, w := range c.Windows {
		bound = min(bound, w.Requests/leaseShare)
	}
	if tooMuch {
		e.size /= 2
	} else {
		e.size *= 2
	}
	e.size = max(1, min(e.size, bound))
	if bound == unbounded {
		e.size = unbounded
	}
}
