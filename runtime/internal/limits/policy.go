package limits

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/overload"
	"gitee.com/captainjez/gocart/runtime/internal/ratelimit"
)

// policy is a config.Limits made ready to decide by.
type policy struct {
	// address is tightened by attack level.
	address                  [overload.Levels]group
	apiKey, customer, global group
	rules                    []rule
	block, allow             *ratelimit.List
}

// group is windows that count together, with what answers say of them.
type group struct {
	windows []ratelimit.Window
	// names are how answers call the windows, in quotes, by period.
	names map[time.Duration]string
	// described is the group's part of the header RateLimit-Policy.
	described string
}

type rule struct {
	config.Rule
	group
}

func newPolicy(c config.Limits) (*policy, error) {
	p := &policy{
		apiKey: newGroup("key", c.APIKey, 1), customer: newGroup("customer", c.Customer, 1), global: newGroup("global", c.Global, 1),
	}
	for level := range p.address {
		p.address[level] = newGroup("address", c.Address, overload.Tightening(level))
	}
	for _, r := range c.Rules {
		p.rules = append(p.rules, rule{Rule: r, group: newGroup(r.Name, r.Windows, 1)})
	}
	var err error
	if p.block, err = ratelimit.ParseList(c.Block); err != nil {
		return nil, err
	}
	p.allow, err = ratelimit.ParseList(c.Allow)
	return p, err
}

// newGroup has windows of a part of the requests, one at least where there was
// any. It calls them address-60s and the like.
func newGroup(name string, list []config.Window, part float64) group {
	g := group{names: map[time.Duration]string{}}
	var described []string
	for _, w := range list {
		requests := int64(float64(w.Requests) * part)
		if requests == 0 && w.Requests > 0 {
			requests = 1
		}
		period := time.Duration(w.Period)
		g.windows = append(g.windows, ratelimit.Window{Requests: requests, Period: period})
		g.names[period] = fmt.Sprintf(`"%s-%ds"`, name, seconds(period))
		described = append(described, fmt.Sprintf("%s;q=%d;w=%d", g.names[period], requests, seconds(period)))
	}
	g.described = strings.Join(described, ", ")
	return g
}

// seconds rounds up, so that who comes back then is not early.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// plain is a path without the prefix that may be left out.
func plain(path string) string {
	for _, prefix := range []string{"/api/v1", "/api"} {
		if rest, ok := strings.CutPrefix(path, prefix); ok && strings.HasPrefix(rest, "/") {
			return rest
		}
	}
	return path
}

// matches tells whether the rule is for a request to a path without prefix.
func (r *rule) matches(method, path, identity string) bool {
	return (len(r.Methods) == 0 || slices.Contains(r.Methods, method)) &&
		(len(r.Identities) == 0 || slices.Contains(r.Identities, identity)) &&
		(len(r.Paths) == 0 || slices.ContainsFunc(r.Paths, func(p config.Path) bool { return matchesPath(p, path) }))
}

func matchesPath(p config.Path, path string) bool {
	want := plain(p.Value)
	if p.Type == config.PathExact {
		return path == want
	}
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(want, "/"))
	return ok && (rest == "" || rest[0] == '/')
}
