package plan

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/runtime/config"
)

// Verdict is what became of one policy.
type Verdict struct {
	// Refused says why the policy takes no part; nil when it does.
	Refused error
	// Overridden are the fields of the policy that an older one decides, each
	// with that policy's name.
	Overridden []string
}

// merged is what some policies of one Store come to.
type merged struct {
	limits config.Limits
	// by tells which policy decided a field.
	by       map[string]string
	verdicts map[string]Verdict
}

// judge takes the policies together, the oldest first: each has to make sense
// with those before it. With a size, the file's length in bytes is bounded too.
func judge(policies []v1alpha1.RateLimitPolicy, size func(config.Limits) (int, error)) merged {
	m := merged{limits: config.DefaultLimits(), by: map[string]string{}, verdicts: map[string]Verdict{}}
	for _, p := range byAge(policies) {
		limits, by, overridden, err := m.with(p)
		if err == nil {
			err = sensible(m.limits, limits, acknowledged(p))
		}
		if err == nil && size != nil {
			err = fits(limits, size)
		}
		if err != nil {
			m.verdicts[p.Name] = Verdict{Refused: err}
			continue
		}
		m.limits, m.by = limits, by
		m.verdicts[p.Name] = Verdict{Overridden: overridden}
	}
	return m
}

// byAge leaves out what is being deleted.
func byAge(policies []v1alpha1.RateLimitPolicy) []*v1alpha1.RateLimitPolicy {
	var sorted []*v1alpha1.RateLimitPolicy
	for i := range policies {
		if policies[i].DeletionTimestamp.IsZero() {
			sorted = append(sorted, &policies[i])
		}
	}
	slices.SortFunc(sorted, func(a, b *v1alpha1.RateLimitPolicy) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return sorted
}

// with is m and one policy more. It changes nothing of m.
func (m merged) with(p *v1alpha1.RateLimitPolicy) (l config.Limits, by map[string]string, overridden []string, err error) {
	l, by = m.limits, maps.Clone(m.by)
	decides := func(field string, sets bool) bool {
		older, taken := m.by[field]
		switch {
		case !sets:
			return false
		case taken:
			overridden = append(overridden, field+" (by "+older+")")
			return false
		}
		by[field] = p.Name
		return true
	}
	spec := &p.Spec
	if decides("spec.address", spec.Address != nil) {
		l.Address = windows(spec.Address)
	}
	if decides("spec.apiKeys", spec.APIKeys != nil) {
		l.APIKey = windows(spec.APIKeys)
	}
	if decides("spec.customers", spec.Customers != nil) {
		l.Customer = windows(spec.Customers)
	}
	if decides("spec.global", spec.Global != nil) {
		l.Global = windows(spec.Global)
	}
	if decides("spec.ddosProtection", spec.DDoSProtection != nil) {
		l.Protection = protection(spec.DDoSProtection, l.Protection)
	}
	if decides("spec.failureMode", spec.FailureMode != nil) {
		l.FailureMode = strings.ToLower(string(*spec.FailureMode))
	}
	if decides("spec.consistency", spec.Consistency != nil) {
		l.Consistency = strings.ToLower(string(*spec.Consistency))
	}
	l.Rules = slices.Clip(l.Rules)
	for i := range spec.Rules {
		if decides("spec.rules["+spec.Rules[i].Name+"]", true) {
			l.Rules = append(l.Rules, rule(&spec.Rules[i]))
		}
	}
	if l.Block, err = united(l.Block, "spec.blocklist", spec.Blocklist); err != nil {
		return l, by, overridden, err
	}
	l.Allow, err = united(l.Allow, "spec.allowlist", spec.Allowlist)
	return l, by, overridden, err
}

func windows(s *v1alpha1.LimitsSpec) []config.Window {
	var list []config.Window
	for _, w := range s.Windows {
		list = append(list, config.Window{Requests: w.Requests, Period: config.Duration(w.Period.Duration)})
	}
	return list
}

func protection(s *v1alpha1.DDoSProtectionSpec, p config.Protection) config.Protection {
	p.Mode = strings.ToLower(orElse(string(s.Mode), p.Mode))
	p.MaxInFlight = int(orDefault(s.MaxInFlightPerAddress, int32(p.MaxInFlight)))
	p.BanAfter = orDefault(s.BanAfter, p.BanAfter)
	if s.BanDuration != nil {
		p.BanFor = config.Duration(s.BanDuration.Duration)
	}
	return p
}

// identities are the runtime's words for those of the API.
var identities = map[v1alpha1.Identity]string{
	v1alpha1.IdentityAddress:  config.IdentityAddress,
	v1alpha1.IdentityAPIKey:   config.IdentityAPIKey,
	v1alpha1.IdentityCustomer: config.IdentityCustomer,
}

func rule(s *v1alpha1.RateLimitRule) config.Rule {
	r := config.Rule{
		Name: s.Name, Together: s.CountBy == v1alpha1.CountTogether,
		Cost: orDefault(s.Cost, 0), Shadow: orDefault(s.Shadow, false), Disabled: orDefault(s.Disabled, false),
	}
	if s.Limits != nil {
		r.Windows = windows(s.Limits)
	}
	if s.Match == nil {
		return r
	}
	for _, p := range s.Match.Paths {
		r.Paths = append(r.Paths, config.Path{Type: strings.ToLower(string(p.Type)), Value: p.Value})
	}
	for _, m := range s.Match.Methods {
		r.Methods = append(r.Methods, string(m))
	}
	for _, i := range s.Match.Identities {
		r.Identities = append(r.Identities, identities[i])
	}
	return r
}

// united is a list with further networks, none twice.
func united(list []string, field string, s *v1alpha1.AddressList) ([]string, error) {
	if s == nil {
		return list, nil
	}
	list = slices.Clip(list)
	known := make(map[string]bool, len(list)+len(s.CIDRs))
	for _, c := range list {
		known[c] = true
	}
	for _, c := range s.CIDRs {
		network, err := netip.ParsePrefix(c)
		if err != nil {
			return nil, outcome.Terminal(v1alpha1.ReasonInvalid, "%s.cidrs: %q is not a CIDR such as 192.0.2.0/24: correct or remove it", field, c)
		}
		if c = network.Masked().String(); !known[c] {
			known[c] = true
			list = append(list, c)
		}
	}
	return list, nil
}

func acknowledged(p *v1alpha1.RateLimitPolicy) bool {
	return orDefault(p.Spec.AcknowledgeLockout, false)
}

// sensible refuses what the runtime would refuse, a rule whose requests could
// never pass, and a lockout that is new and not acknowledged.
func sensible(before, after config.Limits, acknowledged bool) error {
	e := config.DefaultEdge()
	e.Limits = after
	if err := e.Validate(); err != nil {
		return outcome.Terminal(v1alpha1.ReasonInvalid, "the runtime would refuse it: %s", err)
	}
	if why := unpayable(after); why != "" {
		return outcome.Terminal(v1alpha1.ReasonInvalid, "%s", why)
	}
	if acknowledged {
		return nil
	}
	known := lockouts(before)
	for _, l := range lockouts(after) {
		if !slices.Contains(known, l) {
			return outcome.Terminal(v1alpha1.ReasonLockoutNotAcknowledged, "%s, which locks everyone out: change it, or set spec.acknowledgeLockout: true", l)
		}
	}
	return nil
}

func fits(l config.Limits, size func(config.Limits) (int, error)) error {
	n, err := size(l)
	if err == nil && n > maxEdge {
		err = outcome.Terminal(v1alpha1.ReasonTooLarge,
			"with it the Store's settings come to %d KiB, and a ConfigMap has room for %d of them: unite neighbouring networks of spec.blocklist and spec.allowlist, or remove some", n>>10, maxEdge>>10)
	}
	return err
}

// unpayable tells of a rule that costs more than a window has room for; empty
// for none.
func unpayable(l config.Limits) string {
	for _, r := range l.Rules {
		if r.Shadow || r.Disabled {
			continue
		}
		counted := map[string][]config.Window{"spec.global": l.Global, "its own windows": r.Windows}
		on := func(identity string) bool {
			return len(r.Identities) == 0 || slices.Contains(r.Identities, identity)
		}
		if on(config.IdentityAddress) || on(config.IdentityCustomer) && len(l.Customer) == 0 {
			counted["spec.address"] = l.Address
		}
		if on(config.IdentityAPIKey) {
			counted["spec.apiKeys"] = l.APIKey
		}
		if on(config.IdentityCustomer) {
			counted["spec.customers"] = l.Customer
		}
		for _, level := range slices.Sorted(maps.Keys(counted)) {
			for _, w := range counted[level] {
				if w.Requests > 0 && r.Cost > w.Requests {
					return fmt.Sprintf("spec.rules[%s] costs %d, and %s has room for %d in %s, so that no such request could ever pass: lower the cost, raise the window, or narrow match.identities",
						r.Name, r.Cost, level, w.Requests, short(w.Period))
				}
			}
		}
	}
	return ""
}

// lockouts names what lets nobody in.
func lockouts(l config.Limits) []string {
	var found []string
	if wholeFamily(l.Block, netip.IPv4Unspecified()) {
		found = append(found, "spec.blocklist holds all of IPv4")
	}
	if wholeFamily(l.Block, netip.IPv6Unspecified()) {
		found = append(found, "spec.blocklist holds all of IPv6")
	}
	closed := func(list []config.Window) bool {
		return slices.ContainsFunc(list, func(w config.Window) bool { return w.Requests == 0 })
	}
	if closed(l.Address) {
		found = append(found, "spec.address allows no request to whoever shows no API key")
	}
	if closed(l.Global) {
		found = append(found, "spec.global allows no request")
	}
	for _, r := range l.Rules {
		if closed(r.Windows) && !r.Shadow && !r.Disabled && matchesEveryone(r) {
			found = append(found, "spec.rules["+r.Name+"] matches every request and allows none")
		}
	}
	return found
}

// matchesEveryone tells whether every request of an address matches, but what
// only asks about others: HEAD and OPTIONS.
func matchesEveryone(r config.Rule) bool {
	anyPath := len(r.Paths) == 0 || slices.ContainsFunc(r.Paths, func(p config.Path) bool {
		root := strings.TrimSuffix(p.Value, "/")
		return p.Type == config.PathPrefix && (root == "" || root == "/api/v1")
	})
	anyMethod := len(r.Methods) == 0
	if !anyMethod {
		anyMethod = !slices.ContainsFunc([]string{"GET", "POST", "PUT", "PATCH", "DELETE"}, func(m string) bool { return !slices.Contains(r.Methods, m) })
	}
	return anyPath && anyMethod && (len(r.Identities) == 0 || slices.Contains(r.Identities, config.IdentityAddress))
}

// wholeFamily tells whether networks together hold every address of the
// family whose first one is given, also by parts such as two halves.
func wholeFamily(cidrs []string, first netip.Addr) bool {
	var networks []netip.Prefix
	for _, c := range cidrs {
		if p, err := netip.ParsePrefix(c); err == nil && p.Addr().BitLen() == first.BitLen() {
			networks = append(networks, p.Masked())
		}
	}
	slices.SortFunc(networks, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	next := first // the first address that is in none of those so far
	for _, p := range networks {
		if next.Less(p.Addr()) {
			return false
		}
		if last := lastOf(p); !last.Less(next) {
			if next = last.Next(); !next.IsValid() {
				return true
			}
		}
	}
	return false
}

func lastOf(p netip.Prefix) netip.Addr {
	raw := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(raw)
	return last
}

// short writes 24h where time.Duration writes 24h0m0s.
func short(d config.Duration) string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
