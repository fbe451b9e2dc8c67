// Package ratelimit decides whether a request may pass, by counters that all
// replicas of a store share in Redis.
//
// A counter has windows. A window begins with the first request that it counts
// and lasts its whole period, by Redis' clock, so that those of the replicas
// do not matter; the first request after its end begins the next. So "60 per
// minute" means: never more than 60 in one window, and exactly 60 of any burst
// pass, whatever the number of replicas. Two windows that adjoin can together
// pass up to 120 in less than a minute.
//
// A request names several counters and a cost, and all is decided in one call
// of one script: where any window lacks room, the request is refused and
// counts nowhere. A counter in shadow refuses nothing; it counts what it would
// have let pass, as if it were the only other one, and tells what it would
// have refused.
//
// Strict asks Redis for every request and is exact. What is asked at the same
// moment shares a call. What was refused is remembered until the window that
// refused it ends, and is refused again without a call.
//
// Leased takes room from Redis in batches and decides in memory. What is taken
// counts at once, so never more pass than the windows allow, as long as Redis
// keeps its counts. A replica may hold up to a twentieth of the smallest
// window unused (one, where that is less), so that a caller who is spread
// over N replicas may be refused up to N-1 times that many requests early. A
// lease lasts a second, and never longer than its windows; what is left of it
// is given back when Redis is next asked about its counter. Where the smallest
// window ends while the next lease is on its way, up to a sixtieth of it is so
// kept from the longer windows besides.
//
// Without Redis, or while it is away, FailureMode says what is done; a Redis
// that is slow costs the requests on their way redisdb.Timeout, once.
package ratelimit

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
)

// Window is at most Requests within Period, of whole milliseconds.
type Window struct {
	Requests int64
	Period   time.Duration
}

// Counter counts what one identity, or all, asked for.
type Counter struct {
	// Key names it, such as "address:203.0.113.9" or "rule:login:key:7". A
	// request names a key once.
	Key string
	// Windows have different periods. When they are changed, what was counted
	// stays where the period does. Without any the key is asked for bans only.
	Windows []Window
	// Shadow counts and reports, and refuses nothing but what is banned.
	Shadow bool
}

// State is one window after the decision.
type State struct {
	// Counter is the index of the window's counter.
	Counter int
	Limit   int64
	Period  time.Duration
	// Remaining is the room that is left.
	Remaining int64
	// Reset is the time until the window ends, zero for one that has not begun
	// and refuses nothing.
	Reset time.Duration
	// Shadow is the counter's; Refused is set where the window lacked room,
	// also in shadow.
	Shadow, Refused bool
}

// Source tells where a decision was made.
type Source string

// Sources.
const (
	// Redis decided, for all replicas.
	Redis Source = "redis"
	// Lease is room that this process took from Redis before.
	Lease Source = "lease"
	// Memory is a refusal or ban that Redis told before.
	Memory Source = "memory"
	// Local is this process alone, because Redis is away or there is none.
	Local Source = "local"
	// Open and Closed are the failure modes, because Redis is away.
	Open   Source = "open"
	Closed Source = "closed"
)

// Decision is what becomes of a request.
type Decision struct {
	Allowed bool
	// States tell of all windows, in their order; a refusal by Memory or without
	// a lease only of the counter that refused. There are none where Open or
	// Closed decided, or a ban.
	States []State
	// RetryAfter is the time after which what was refused has room again. It is
	// zero where Closed decided: that is not the caller's fault.
	RetryAfter time.Duration
	// BannedFor is above zero for who is banned, and is the time left.
	BannedFor time.Duration
	Source    Source
}

// Options say how to decide.
type Options struct {
	// Leased decides in memory within the bounds that the package states.
	Leased bool
	// FailureMode is Local, Open or Closed; empty is Local, as is always a store
	// without Redis.
	FailureMode Source
}

// Limiter decides. It may be used by many at once.
type Limiter struct {
	redis   *redisdb.Redis
	options atomic.Pointer[Options]
	start   time.Time

	script  *script
	known   *known
	bans    *bans
	local   *local
	metrics *metrics
	refused Recent
}

// New makes a limiter that counts in r, which may be nil. It is made before r
// is run.
func New(r *redisdb.Redis, o Options, registry prometheus.Registerer) *Limiter {
	l := &Limiter{redis: r, start: time.Now(), known: newKnown(), bans: newBans(), local: newLocal()}
	l.Configure(o)
	l.metrics = newMetrics(registry, l)
	l.script = newScript(r, l.metrics.roundTrip)
	return l
}

// Configure has every further decision follow o.
func (l *Limiter) Configure(o Options) { l.options.Store(&o) }

// now is a clock that nobody sets.
func (l *Limiter) now() time.Duration { return time.Since(l.start) }

// Decide counts a request of that cost, one where it is less, in all of the
// counters, or refuses it. States are put into the memory of into, where it
// has room; nil is as good.
func (l *Limiter) Decide(ctx context.Context, counters []Counter, cost int64, into []State) (d Decision) {
	l.decide(ctx, &request{counters: counters, cost: max(cost, 1), now: l.now(), states: into[:0]}, &d)
	l.metrics.count(&d)
	if !d.Allowed && d.Source != Closed {
		l.refused.Add()
	}
	return d
}

// request is what is decided.
type request struct {
	counters []Counter
	cost     int64
	now      time.Duration
	states   []State
}

// decide sets d, which costs less than returning it.
func (l *Limiter) decide(ctx context.Context, q *request, d *Decision) {
	o := l.options.Load()
	banned, ask := l.bans.check(q, l.redis.Up())
	if banned > 0 {
		*d = Decision{RetryAfter: banned, BannedFor: banned, Source: Memory}
		return
	}
	if l.redis == nil {
		*d = l.local.decide(q)
		return
	}
	var err error
	if o.Leased && !ask {
		err = l.leased(ctx, q, d)
	} else {
		*d, err = l.strict(ctx, q)
	}
	if err == nil {
		return
	}
	switch o.FailureMode {
	case Open:
		*d = Decision{Allowed: true, Source: Open}
	case Closed:
		*d = Decision{Source: Closed}
	default:
		var ok bool
		if *d, ok = l.remembered(q); !ok {
			*d = l.local.decide(q)
		}
	}
}

// strict has Redis decide.
func (l *Limiter) strict(ctx context.Context, q *request) (Decision, error) {
	if !l.redis.Up() {
		return Decision{}, errAway
	}
	if d, ok := l.remembered(q); ok {
		return d, nil
	}
	a, err := l.script.ask(ctx, q.counters, take{need: q.cost, want: q.cost})
	if err != nil {
		return Decision{}, err
	}
	return l.heed(q, a), nil
}

// heed is the decision that Redis answered, and remembers what it refuses.
func (l *Limiter) heed(q *request, a answer) Decision {
	d := Decision{Allowed: true, States: q.states, Source: Redis}
	now := l.now() // late rather than early: who waits for RetryAfter passes
	for i, c := range q.counters {
		banned, taken := a.counter()
		d.BannedFor = max(d.BannedFor, l.bans.told(c.Key, banned, now))
		first, lacks := len(d.States), false
		for _, w := range c.Windows {
			reset, count := a.window()
			s := state(i, c, w, count, reset, taken == 0 && w.Requests-count < q.cost)
			lacks = lacks || s.Refused
			d.States = append(d.States, s)
		}
		if lacks {
			l.known.entry(c.Key).refusal.Store(newRefusal(c, d.States[first:], now))
		}
	}
	return d.settle()
}

// state is a window of c in which count is counted.
func state(i int, c Counter, w Window, count int64, reset time.Duration, refused bool) State {
	if refused && reset == 0 { // more than the window ever has room for
		reset = w.Period
	}
	return State{
		Counter: i, Limit: w.Requests, Period: w.Period, Remaining: max(0, w.Requests-count), Reset: reset,
		Shadow: c.Shadow, Refused: refused,
	}
}

// settle sums up what the states say.
func (d Decision) settle() Decision {
	if d.BannedFor > 0 {
		return Decision{RetryAfter: d.BannedFor, BannedFor: d.BannedFor, Source: d.Source}
	}
	for _, s := range d.States {
		if s.Refused && !s.Shadow {
			d.Allowed = false
			d.RetryAfter = max(d.RetryAfter, s.Reset)
		}
	}
	return d
}

// Ban refuses whatever names the key for that long: here at once, by other
// replicas when they next ask Redis about it, which those that know the key do
// within a second of a request. Where Redis cannot be told, it holds here only.
func (l *Limiter) Ban(ctx context.Context, key string, d time.Duration) {
	told := l.redis != nil && l.script.ban(ctx, key, d) == nil
	l.bans.set(key, l.now(), d, !told)
}

// Bans is the number of bans in force that this process knows of.
func (l *Limiter) Bans() int64 { return l.bans.count(l.now()) }

// Refused is how many requests were refused within the last five minutes.
func (l *Limiter) Refused() int64 { return l.refused.Count() }

// Counting is where requests are counted now: Redis, Local, Open or Closed.
func (l *Limiter) Counting() Source {
	switch {
	case l.redis == nil:
		return Local
	case l.redis.Up():
		return Redis
	}
	return cmp.Or(l.options.Load().FailureMode, Local)
}
