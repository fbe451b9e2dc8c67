// Package overload keeps the store quick when it is asked for more than it can
// do. A Guard stands before everything that costs something: it lets so many
// requests in at once as the store answers without making them wait, turns the
// least valuable of the others away in microseconds, and tells by an attack
// level how hard the store is pressed, by which limits tighten and repeat
// offenders are banned.
//
// It knows no customer and no key, for finding out who calls is a cost too:
// requests are ranked by what they claim. Limits belong to package ratelimit.
package overload

import (
	"context"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/ratelimit"
)

// fewRefusals is how many refusals of one address within a minute count
// towards the level: one caller who hammers is a matter of bans, and must not
// be able to tighten everybody's limits.
const fewRefusals = 10

// Guard protects one process. It may be used by many at once.
type Guard struct {
	now     func() time.Time
	log     *slog.Logger
	ban     func(addr netip.Addr, length time.Duration)
	onLevel []func(level int, why string)
	metrics metrics

	settings atomic.Pointer[settings]
	inFlight atomic.Int64
	// room is how many requests may be in flight for one of a class to join.
	room  [classes]atomic.Int64
	level atomic.Int32
	// due is when, in Unix nanoseconds, limit and level are looked at again.
	due atomic.Int64
	// What happened in this second.
	requests, shed, refused atomic.Int64

	crowds    crowds
	liars     *tally
	offenders *tally

	mu     sync.Mutex // guards what follows
	limit  limit
	levels levels
	// second is when the present second began.
	second time.Time
	past   [300]int64 // shed in each of the last five minutes' seconds
}

// settings are one version of what a store asks for.
type settings struct {
	config.Protection
	allow *ratelimit.List
}

type metrics struct {
	shed    [classes]prometheus.Counter
	changes prometheus.Counter
}

// New makes a Guard that protects as config.DefaultLimits says, by a clock.
func New(now func() time.Time, registry prometheus.Registerer, log *slog.Logger) *Guard {
	g := &Guard{
		now: now, log: log, second: now(), limit: newLimit(now(), runtime.GOMAXPROCS(0)),
		liars: newTally(), offenders: newTally(), crowds: crowds{inside: map[address]int{}},
		ban: func(netip.Addr, time.Duration) {},
	}
	g.admit()
	shed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocart_overload_shed_total", Help: "Requests that were turned away because there was too much to do, by class.",
	}, []string{"class"})
	for c := range classes {
		g.metrics.shed[c] = shed.WithLabelValues(c.String())
	}
	g.metrics.changes = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gocart_attack_level_changes_total", Help: "How often the attack level changed.",
	})
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	registry.MustRegister(shed, g.metrics.changes,
		gauge("gocart_attack_level", "0 while all is well, up to 3 under attack.", func() float64 { return float64(g.Level()) }),
		gauge("gocart_overload_limit", "Requests that may be in flight at the same time.", func() float64 {
			return float64(g.room[checkout].Load())
		}),
		gauge("gocart_overload_in_flight", "Requests in flight.", func() float64 { return float64(g.inFlight.Load()) }))
	g.Configure(config.DefaultLimits())
	return g
}

// OnBan has f called with who is banned, and for how long, on the refused
// request's own goroutine. It must be called before the first request.
func (g *Guard) OnBan(f func(addr netip.Addr, length time.Duration)) { g.ban = f }

// OnLevel has f called with every change of the level, and why it changed. It
// must be called before the first request.
func (g *Guard) OnLevel(f func(level int, why string)) { g.onLevel = append(g.onLevel, f) }

// Configure takes the protection that limits ask for, and whom they never
// limit. It may be called at any time.
func (g *Guard) Configure(l config.Limits) {
	s := &settings{Protection: l.Protection}
	var err error
	if s.allow, err = ratelimit.ParseList(l.Allow); err != nil { // config.Edge was validated
		g.log.Error("the list of allowed addresses can not be used", "error", err)
	}
	g.mu.Lock()
	g.settings.Store(s)
	why := "protection is " + l.Protection.Mode
	var changed bool
	switch l.Protection.Mode {
	case config.ProtectionOff:
		changed = g.levels.bound(0, 0)
	case config.ProtectionOn:
		changed = g.levels.bound(1, highest)
	default:
		changed = g.levels.bound(0, highest)
	}
	n := g.levels.n
	g.level.Store(int32(n))
	g.mu.Unlock()
	if changed {
		g.tell(n, why)
	}
}

// Run looks at the level once a second until ctx ends, for times in which no
// request comes to have it looked at.
func (g *Guard) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			g.step(g.now())
		}
	}
}

// Level is 0 while all is well, up to 3 under attack.
func (g *Guard) Level() int {
	g.step(g.now())
	return int(g.level.Load())
}

// Tightening is what limits of addresses are multiplied by at a level, of
// Levels: 1 while all is well, and half as much with every level. Those of keys
// and customers stay.
func Tightening(level int) float64 { return 1 / float64(int(1)<<level) }

// Shed is how many requests were turned away within the last five minutes.
func (g *Guard) Shed() int64 {
	g.step(g.now())
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.shed.Load()
	for _, past := range g.past {
		n += past
	}
	return n
}

// Refused tells that a request of addr was refused because a limit was used
// up. Who goes on after that while the store is under attack is banned.
func (g *Guard) Refused(addr netip.Addr) {
	s := g.settings.Load()
	if s.Mode == config.ProtectionOff {
		return
	}
	who, now := addressOf(addr), g.now()
	if g.offenders.add(who, now) <= fewRefusals {
		g.refused.Add(1)
	} else {
		g.requests.Add(-1) // neither for nor against a level
	}
	if g.level.Load() > 0 && g.offenders.takeAbove(who, s.BanAfter, now) {
		g.ban(addr, time.Duration(s.BanFor))
	}
}

// step looks at limit and level where that is due.
func (g *Guard) step(now time.Time) {
	if now.UnixNano() < g.due.Load() || !g.mu.TryLock() {
		return
	}
	g.due.Store(now.Add(window).UnixNano())
	g.limit.adjust(now, g.levels.recent[0].shed > 0 && g.shed.Load() > 0)
	g.admit()
	var why string
	before := g.levels.n
	if longest := time.Duration(len(g.past)) * time.Second; now.Sub(g.second) > longest {
		g.second = now.Add(-longest)
	}
	for ; now.Sub(g.second) >= time.Second; g.second = g.second.Add(time.Second) {
		s := counts{requests: g.requests.Swap(0), shed: g.shed.Swap(0), refused: g.refused.Swap(0)}
		g.past[g.second.Unix()%int64(len(g.past))] = s.shed
		if reason := g.levels.add(s); reason != "" {
			why = reason
		}
	}
	n := g.levels.n
	g.level.Store(int32(n))
	g.mu.Unlock()
	if n != before {
		g.tell(n, why)
	}
}

// admit says how many requests may be in flight for one of each class to join.
func (g *Guard) admit() {
	for c := range classes {
		g.room[c].Store(g.limit.room(c))
	}
}

func (g *Guard) tell(level int, why string) {
	g.metrics.changes.Inc()
	g.log.Warn("attack level changed", "level", level, "why", why)
	for _, f := range g.onLevel {
		f(level, why)
	}
}
