package plan_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/runtime/config"
)

// policy is one of a spec, made so many hours after the first.
func policy(t testing.TB, name string, age int, spec string) v1alpha1.RateLimitPolicy {
	t.Helper()
	p := v1alpha1.RateLimitPolicy{ObjectMeta: metav1.ObjectMeta{
		Name: name, Namespace: "shops", CreationTimestamp: metav1.NewTime(time.Date(2026, 1, 1, age, 0, 0, 0, time.UTC)),
	}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	return p
}

func edgeOf(t testing.TB, policies ...v1alpha1.RateLimitPolicy) plan.EdgeFile {
	t.Helper()
	e, err := plan.Edge(input(t, plain).Store, policies)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func reasonOf(v plan.Verdict) string {
	if v.Refused == nil {
		return ""
	}
	e, ok := outcome.As(v.Refused)
	if !ok {
		return "untyped"
	}
	return e.Reason
}

func TestAPolicyThatSetsNothingLeavesTheDefaults(t *testing.T) {
	t.Parallel()
	with, without := edgeOf(t, policy(t, "empty", 0, `{}`)), edgeOf(t)
	if with.Hash != without.Hash || !reflect.DeepEqual(without.Config.Limits, config.DefaultLimits()) {
		t.Errorf("limits are %+v with it and %+v without", with.Config.Limits, without.Config.Limits)
	}
	if v := with.Verdicts["empty"]; v.Refused != nil || v.Overridden != nil {
		t.Errorf("and of it is said %+v", v)
	}
}

func TestOfAFieldThatTwoPoliciesSetTheOldestDecides(t *testing.T) {
	t.Parallel()
	one, two := config.Duration(time.Minute), int64(7)
	for field, spec := range map[string]string{
		"spec.address":        `address: {windows: [{requests: %s, period: 1m}]}`,
		"spec.apiKeys":        `apiKeys: {windows: [{requests: %s, period: 1m}]}`,
		"spec.customers":      `customers: {windows: [{requests: %s, period: 1m}]}`,
		"spec.global":         `global: {windows: [{requests: %s, period: 1m}]}`,
		"spec.rules[a]":       `rules: [{name: a, limits: {windows: [{requests: %s, period: 1m}]}}]`,
		"spec.ddosProtection": `ddosProtection: {banAfter: %s}`,
	} {
		older, younger := policy(t, "older", 1, fmt.Sprintf(spec, "7")), policy(t, "younger", 2, fmt.Sprintf(spec, "9"))
		got, alone := edgeOf(t, younger, older), edgeOf(t, older)
		if got.Hash != alone.Hash {
			t.Errorf("%s: the younger policy changed %+v into %+v", field, alone.Config.Limits, got.Config.Limits)
		}
		if lost := got.Verdicts["younger"].Overridden; !slices.Equal(lost, []string{field + " (by older)"}) {
			t.Errorf("%s: the younger policy is told of %q", field, lost)
		}
		if lost := got.Verdicts["older"].Overridden; lost != nil {
			t.Errorf("%s: the older policy is told of %q", field, lost)
		}
	}
	// Of the same second, the name decides.
	got := edgeOf(t, policy(t, "b", 1, `global: {windows: [{requests: 9, period: 1m}]}`), policy(t, "a", 1, `global: {windows: [{requests: 7, period: 1m}]}`))
	if w := got.Config.Limits.Global; !slices.Equal(w, []config.Window{{Requests: two, Period: one}}) {
		t.Errorf("of two policies of the same second %v holds", w)
	}
	// A field that a policy leaves out is free for the next.
	got = edgeOf(t, policy(t, "a", 1, `failureMode: Open`), policy(t, "b", 2, `{failureMode: Closed, consistency: Leased}`))
	if l := got.Config.Limits; l.FailureMode != config.FailureOpen || l.Consistency != config.ConsistencyLeased {
		t.Errorf("failure mode %s and consistency %s", l.FailureMode, l.Consistency)
	}
}

func TestListsAreUnitedAndHoldNothingTwice(t *testing.T) {
	t.Parallel()
	got := edgeOf(t,
		policy(t, "a", 1, `{blocklist: {cidrs: [192.0.2.7/24, 192.0.2.0/24]}, allowlist: {cidrs: ["2001:db8::1/32"]}}`),
		policy(t, "b", 2, `{blocklist: {cidrs: [192.0.2.0/24, 198.51.100.1/32]}}`))
	l := got.Config.Limits
	if !slices.Equal(l.Block, []string{"192.0.2.0/24", "198.51.100.1/32"}) || !slices.Equal(l.Allow, []string{"2001:db8::/32"}) {
		t.Errorf("blocked are %q and allowed %q", l.Block, l.Allow)
	}
	if v := got.Verdicts["b"]; v.Refused != nil || v.Overridden != nil {
		t.Errorf("of the second policy is said %+v", v)
	}
}

func TestAPolicyThatMakesNoSenseTakesNoPart(t *testing.T) {
	t.Parallel()
	const zero = `limits: {windows: [{requests: 0, period: 1m}]}`
	for _, c := range []struct {
		name, older, spec, reason, says string
	}{
		{"all of IPv4", ``, `blocklist: {cidrs: [0.0.0.0/0]}`, v1alpha1.ReasonLockoutNotAcknowledged, "all of IPv4"},
		{"all of IPv6", ``, `blocklist: {cidrs: ["::/0"]}`, v1alpha1.ReasonLockoutNotAcknowledged, "all of IPv6"},
		{"all of IPv4 by halves", ``, `blocklist: {cidrs: [128.0.0.0/1, 0.0.0.0/1]}`, v1alpha1.ReasonLockoutNotAcknowledged, "all of IPv4"},
		{"all of IPv4 by parts that overlap", ``, `blocklist: {cidrs: [128.0.0.0/1, 10.0.0.0/8, 0.0.0.0/2, 64.0.0.0/2, 192.0.0.0/3]}`, v1alpha1.ReasonLockoutNotAcknowledged, "all of IPv4"},
		{"all of IPv6 by halves", ``, `blocklist: {cidrs: ["::/1", "8000::/1"]}`, v1alpha1.ReasonLockoutNotAcknowledged, "all of IPv6"},
		{"the half that an older policy leaves", `blocklist: {cidrs: [0.0.0.0/1]}`, `blocklist: {cidrs: [128.0.0.0/1]}`, v1alpha1.ReasonLockoutNotAcknowledged, "all of IPv4"},
		{"nearly all of IPv4", ``, `blocklist: {cidrs: [0.0.0.0/1, 128.0.0.0/2, 192.0.0.0/3, 224.0.0.0/4, 240.0.0.0/5]}`, "", ""},
		{"a lockout that is acknowledged", ``, `{acknowledgeLockout: true, blocklist: {cidrs: [0.0.0.0/0]}, global: {windows: [{requests: 0, period: 1m}]}}`, "", ""},
		{"a policy beside an acknowledged lockout", `{acknowledgeLockout: true, blocklist: {cidrs: [0.0.0.0/0]}}`, `blocklist: {cidrs: [192.0.2.0/24]}`, "", ""},
		{"no request for addresses", ``, `address: {windows: [{requests: 0, period: 1m}]}`, v1alpha1.ReasonLockoutNotAcknowledged, "spec.address allows no request"},
		{"no request for addresses, which an older policy decides", `address: {windows: [{requests: 9, period: 1m}]}`, `address: {windows: [{requests: 0, period: 1m}]}`, "", ""},
		{"no request for API keys", ``, `apiKeys: {windows: [{requests: 0, period: 1m}]}`, "", ""},
		{"no request at all", ``, `global: {windows: [{requests: 9, period: 1m}, {requests: 0, period: 1h}]}`, v1alpha1.ReasonLockoutNotAcknowledged, "spec.global allows no request"},
		{"a rule for everything that allows nothing", ``, `rules: [{name: a, ` + zero + `}]`, v1alpha1.ReasonLockoutNotAcknowledged, "spec.rules[a] matches every request"},
		{"the same in other words", ``, `rules: [{name: a, match: {paths: [{type: Prefix, value: /}], methods: [GET, POST, PUT, PATCH, DELETE], identities: [Address]}, ` + zero + `}]`, v1alpha1.ReasonLockoutNotAcknowledged, "spec.rules[a]"},
		{"the same as a shadow", ``, `rules: [{name: a, shadow: true, ` + zero + `}]`, "", ""},
		{"a rule for one path that allows nothing", ``, `rules: [{name: a, match: {paths: [{type: Prefix, value: /admin}]}, ` + zero + `}]`, "", ""},
		{"a rule for API keys that allows nothing", ``, `rules: [{name: a, match: {identities: [APIKey]}, ` + zero + `}]`, "", ""},
		{"a cost above the address' window", ``, `rules: [{name: a, cost: 61}]`, v1alpha1.ReasonInvalid, "spec.rules[a] costs 61, and spec.address has room for 60 in 1m"},
		{"a cost within every window", ``, `rules: [{name: a, cost: 60}]`, "", ""},
		{"a cost above a key's window", ``, `rules: [{name: a, cost: 1001, match: {identities: [APIKey]}}]`, v1alpha1.ReasonInvalid, "spec.apiKeys has room for 1000 in 1m"},
		{"a cost that a key's window has room for", ``, `rules: [{name: a, cost: 1000, match: {identities: [APIKey]}}]`, "", ""},
		{"a cost above the window of customers, who count on their address", ``, `rules: [{name: a, cost: 100, match: {identities: [Customer]}}]`, v1alpha1.ReasonInvalid, "spec.address"},
		{"a cost that customers' own window has room for", ``, `{customers: {windows: [{requests: 100, period: 24h}]}, rules: [{name: a, cost: 100, match: {identities: [Customer]}}]}`, "", ""},
		{"a cost above the rule's own window", ``, `rules: [{name: a, cost: 7, limits: {windows: [{requests: 5, period: 90m}]}}]`, v1alpha1.ReasonInvalid, "its own windows has room for 5 in 1h30m"},
		{"a window below the cost of an older policy's rule", `rules: [{name: a, cost: 50}]`, `global: {windows: [{requests: 49, period: 24h}]}`, v1alpha1.ReasonInvalid, "spec.global has room for 49 in 24h"},
		{"a network that is none", ``, `blocklist: {cidrs: [192.0.2.0]}`, v1alpha1.ReasonInvalid, `spec.blocklist.cidrs: "192.0.2.0" is not a CIDR`},
		{"what only the runtime would find", ``, `global: {windows: [{requests: 1, period: 1ms}]}`, v1alpha1.ReasonInvalid, "limits.global: a period is between"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var others []v1alpha1.RateLimitPolicy
			if c.older != "" {
				others = append(others, policy(t, "older", 0, c.older))
			}
			alone := edgeOf(t, others...)
			got := edgeOf(t, append(others, policy(t, "p", 1, c.spec))...)
			v := got.Verdicts["p"]
			if reasonOf(v) != c.reason {
				t.Fatalf("it is refused with %q (%v), want %q", reasonOf(v), v.Refused, c.reason)
			}
			if c.reason != "" && !strings.Contains(v.Refused.Error(), c.says) {
				t.Errorf("the refusal should say %q, it says: %v", c.says, v.Refused)
			}
			if c.reason != "" && got.Hash != alone.Hash {
				t.Errorf("it takes part although it is refused:\n%s", got.Raw)
			}
		})
	}
}

// networks are as many different ones as a list may hold.
func networks(second byte) *v1alpha1.AddressList {
	l := &v1alpha1.AddressList{}
	for i := range 5000 {
		l.CIDRs = append(l.CIDRs, fmt.Sprintf("2001:db8:%x:%x:ffff:ffff:ffff:ffff/128", second, 0x1000+i))
	}
	return l
}

func TestWhatFitsNoConfigMapIsLeftOutAndTold(t *testing.T) {
	t.Parallel()
	var policies []v1alpha1.RateLimitPolicy
	for i := range 4 {
		p := policy(t, fmt.Sprintf("p%d", i), i, `{}`)
		p.Spec.Blocklist, p.Spec.Allowlist = networks(byte(2*i)), networks(byte(2*i+1))
		policies = append(policies, p)
	}
	policies = append(policies, policy(t, "small", 9, `failureMode: Open`))
	got := edgeOf(t, policies...)
	if len(got.Raw) > 1<<20-64<<10 {
		t.Errorf("the file has %d bytes", len(got.Raw))
	}
	for name, reason := range map[string]string{"p0": "", "p1": "", "p2": v1alpha1.ReasonTooLarge, "p3": v1alpha1.ReasonTooLarge, "small": ""} {
		if is := reasonOf(got.Verdicts[name]); is != reason {
			t.Errorf("policy %s is refused with %q, want %q: %v", name, is, reason, got.Verdicts[name].Refused)
		}
	}
}

func TestTheSamplesTakePart(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../../config/samples/ratelimitpolicy-*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var p v1alpha1.RateLimitPolicy
		read(t, string(raw), "ratelimitpolicies", &p)
		if v := edgeOf(t, p).Verdicts[p.Name]; v.Refused != nil {
			t.Errorf("%s: %v", file, v.Refused)
		}
	}
}

func TestAPolicyThatIsBeingDeletedIsGone(t *testing.T) {
	t.Parallel()
	p := policy(t, "p", 0, `failureMode: Open`)
	p.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	if got := edgeOf(t, p); got.Hash != edgeOf(t).Hash || len(got.Verdicts) != 0 {
		t.Errorf("it holds on: %+v", got)
	}
}

// What a Store costs at every look that has a list as long as it may be.
func BenchmarkEdge(b *testing.B) {
	s := input(b, plain).Store
	big := policy(b, "big", 0, `{}`)
	big.Spec.Blocklist = networks(1)
	for name, policies := range map[string][]v1alpha1.RateLimitPolicy{"policies=0": nil, "blocked=5000": {big}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := plan.Edge(s, policies); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
