// Package limits decides how much each caller may ask for: it finds the limits
// that a request counts in, has package ratelimit count it, tells the caller
// what is left, and answers who asks for too much. What limits there are is
// config.Limits'; that who calls is who they say is not this package's to find.
package limits

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/overload"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/ratelimit"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
	"gitee.com/captainjez/gocart/runtime/status"
)

// Caller is who a request counts for beside its address.
type Caller struct {
	// APIKey and Customer are ids; at most one is set, and both are known to be true.
	APIKey, Customer string
}

// Attack is what the limits need to know of an attack, and what it needs to
// know of them.
type Attack interface {
	Level() int
	Refused(netip.Addr)
}

// Limits are a store's. They may be used by many at once.
type Limits struct {
	limiter *ratelimit.Limiter
	attack  Attack
	caller  func(*gin.Context) Caller
	log     *slog.Logger
	policy  atomic.Pointer[policy]
}

// New limits by a limiter; caller tells who sends a request.
func New(limiter *ratelimit.Limiter, attack Attack, caller func(*gin.Context) Caller, log *slog.Logger) *Limits {
	l := &Limits{limiter: limiter, attack: attack, caller: caller, log: log}
	l.policy.Store(&policy{})
	return l
}

// Configure takes other limits; config.Edge.Validate has found them right.
func (l *Limits) Configure(c config.Limits) {
	p, err := newPolicy(c)
	if err != nil {
		l.log.Error("limits can not be used; the ones before stay in force", "error", err)
		return
	}
	l.policy.Store(p)
	l.limiter.Configure(ratelimit.Options{Leased: c.Consistency == config.ConsistencyLeased, FailureMode: ratelimit.Source(c.FailureMode)})
}

// Gate ends the requests of addresses that are blocked or banned, before
// anything is done for them.
func (l *Limits) Gate() gin.HandlerFunc {
	return func(c *gin.Context) {
		p, client := l.policy.Load(), secure.ClientOf(c)
		switch {
		case p.block.Contains(client):
			l.limiter.Blocked()
			end(c, problem.New(http.StatusForbidden, "address_blocked", "The store does not serve your address."))
		case p.allow.Contains(client):
		case l.limiter.BansAny():
			if left := l.limiter.Banned(addressKey(client)); left > 0 {
				end(c, banned(left))
			}
		}
	}
}

// Ban shuts an address out of all replicas for so long.
func (l *Limits) Ban(ctx context.Context, client netip.Addr, length time.Duration) {
	l.limiter.Ban(ctx, addressKey(client), length)
}

// Status is what the limiter does now.
func (l *Limits) Status() status.Limits {
	return status.Limits{Source: string(l.limiter.Counting()), Refused: l.limiter.Refused(), Bans: l.limiter.Bans()}
}

// Count counts the request, says in its answer what is left, and ends it where
// nothing is.
func (l *Limits) Count() gin.HandlerFunc {
	return func(c *gin.Context) {
		p, client := l.policy.Load(), secure.ClientOf(c)
		if p.allow.Contains(client) {
			return
		}
		n := pool.Get().(*counted)
		defer pool.Put(n)
		n.find(p, c.Request, client, l.caller(c), l.attack.Level())
		if len(n.counters) == 0 {
			return
		}
		d := l.limiter.Decide(c.Request.Context(), n.counters, n.cost, n.states[:0])
		n.states = d.States
		n.describe(c.Writer.Header(), d.States)
		switch {
		case d.Allowed:
		case d.BannedFor > 0:
			end(c, banned(d.BannedFor))
		case d.Source == ratelimit.Closed:
			end(c, uncounted())
		default:
			l.attack.Refused(client)
			end(c, limited(d))
		}
	}
}

func limited(d ratelimit.Decision) *problem.Problem {
	w := tightest(d.States)
	p := problem.New(http.StatusTooManyRequests, "rate_limited", "No more than %d requests are answered within %s. Try again in %d seconds.",
		w.Limit, w.Period, seconds(d.RetryAfter))
	p.RetryAfter = d.RetryAfter
	return p
}

func uncounted() *problem.Problem {
	p := problem.New(http.StatusServiceUnavailable, "limits_unavailable", "The store cannot count requests right now, and so takes none. Please try again.")
	p.RetryAfter = time.Second
	return p
}

func banned(left time.Duration) *problem.Problem {
	p := problem.New(http.StatusTooManyRequests, "banned", "Your address went on after it was refused many times, and is shut out for a while.")
	p.RetryAfter = left
	return p
}

func end(c *gin.Context, p *problem.Problem) {
	_ = c.Error(p)
	c.Abort()
}

func addressKey(client netip.Addr) string {
	var room [64]byte
	return string(ratelimit.AppendAddressKey(append(room[:0], "address:"...), client))
}

// counted is what one request counts in.
type counted struct {
	counters []ratelimit.Counter
	groups   []*group // of each counter
	cost     int64
	states   []ratelimit.State
}

var pool = sync.Pool{New: func() any { return &counted{} }}

// find finds the counters of a request, none where it is free.
func (n *counted) find(p *policy, r *http.Request, client netip.Addr, caller Caller, attackLevel int) {
	n.counters, n.groups, n.cost = n.counters[:0], n.groups[:0], 1
	address := addressKey(client)
	identity, key, own := config.IdentityAddress, address, &p.address[min(attackLevel, overload.Levels-1)]
	switch {
	case caller.APIKey != "":
		identity, key, own = config.IdentityAPIKey, "key:"+caller.APIKey, &p.apiKey
	case caller.Customer != "":
		identity = config.IdentityCustomer
		if len(p.customer.windows) > 0 {
			key, own = "customer:"+caller.Customer, &p.customer
		}
	}
	n.add(key, own, false)
	n.add("global", &p.global, false)
	path := plain(r.URL.Path)
	for i := range p.rules {
		rule := &p.rules[i]
		if !rule.matches(r.Method, path, identity) {
			continue
		}
		if rule.Disabled {
			n.counters = n.counters[:0]
			return
		}
		if !rule.Shadow {
			n.cost = max(n.cost, rule.Cost)
		}
		of := "rule:" + rule.Name
		if !rule.Together {
			of += ":" + key
		}
		n.add(of, &rule.group, rule.Shadow)
	}
	if len(n.counters) > 0 && address != key {
		// Not to be counted, but to hear of a ban.
		n.counters, n.groups = append(n.counters, ratelimit.Counter{Key: address}), append(n.groups, &nothing)
	}
}

// nothing is the group of a counter that counts nothing.
var nothing group

func (n *counted) add(key string, g *group, shadow bool) {
	if len(g.windows) > 0 {
		n.counters = append(n.counters, ratelimit.Counter{Key: key, Windows: g.windows, Shadow: shadow})
		n.groups = append(n.groups, g)
	}
}

// describe writes the window that is nearest its end as X-RateLimit-*, and by
// the IETF's draft (draft-ietf-httpapi-ratelimit-headers) that one and all that
// there are. Names are as net/http writes them.
func (n *counted) describe(h http.Header, states []ratelimit.State) {
	if len(states) == 0 {
		return
	}
	w := tightest(states)
	group := n.groups[w.Counter]
	remaining, reset := strconv.FormatInt(w.Remaining, 10), strconv.FormatInt(seconds(w.Reset), 10)
	described := n.groups[0].described
	for _, g := range n.groups[1:] {
		if g.described != "" {
			described += ", " + g.described
		}
	}
	values := []string{strconv.FormatInt(w.Limit, 10), remaining, reset, group.names[w.Period] + ";r=" + remaining + ";t=" + reset, described}
	for i, name := range [...]string{"X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Ratelimit-Reset", "Ratelimit", "Ratelimit-Policy"} {
		h[name] = values[i : i+1 : i+1]
	}
}

// tightest is the window that refused for longest, else that with least room;
// those in shadow tell nobody anything unless there are no others.
func tightest(states []ratelimit.State) *ratelimit.State {
	best := &states[0]
	for i := 1; i < len(states); i++ {
		if s := &states[i]; tighter(s, best) {
			best = s
		}
	}
	return best
}

func tighter(a, b *ratelimit.State) bool {
	switch {
	case a.Shadow != b.Shadow:
		return b.Shadow
	case a.Refused != b.Refused:
		return a.Refused
	case a.Refused:
		return a.Reset > b.Reset
	}
	return a.Remaining < b.Remaining
}
