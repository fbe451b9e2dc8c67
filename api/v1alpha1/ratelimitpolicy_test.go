package v1alpha1_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	commercev1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

// levels are the fields that hold windows, each with what it takes to have them.
var levels = map[string]string{
	"spec.address":        `address: %s`,
	"spec.apiKeys":        `apiKeys: %s`,
	"spec.customers":      `customers: %s`,
	"spec.global":         `global: %s`,
	"spec.rules[].limits": `rules: [{name: a, match: {identities: [Address]}, limits: %s}]`,
}

const someWindows = `{windows: [{requests: 60, period: 1m}]}`

// rateLimitPolicies is the kind RateLimitPolicy.
var rateLimitPolicies = kind{
	name: "RateLimitPolicy", plural: "ratelimitpolicies",
	minimal: `
apiVersion: commerce.rcommerce.app/v1alpha1
kind: RateLimitPolicy
metadata: {name: limits}
spec: {targetRef: {name: shop}}
`,
	rules: policyRules(),
	bounds: slices.Concat(
		lengths("spec.targetRef.name", 1, 63),
		[]bound{{"spec.targetRef.group", "maxLength", 253}, {"spec.targetRef.kind", "maxLength", 63}, {"spec.rules", "maxItems", 64}},
		windowBounds(),
		lengths("spec.rules[].name", 1, 63),
		numbers("spec.rules[].cost", 1, 1000000),
		items("spec.rules[].match.paths", 1, 16),
		lengths("spec.rules[].match.paths[].value", 1, 512),
		items("spec.rules[].match.methods", 1, 7),
		items("spec.rules[].match.identities", 1, 3),
		items("spec.blocklist.cidrs", 1, 5000),
		items("spec.allowlist.cidrs", 1, 5000),
		[]bound{{"spec.blocklist.cidrs[]", "maxLength", 43}, {"spec.allowlist.cidrs[]", "maxLength", 43}},
		numbers("spec.ddosProtection.maxInFlightPerAddress", 1, 100000),
		numbers("spec.ddosProtection.banAfter", 1, 1000000),
		[]bound{{"spec.ddosProtection.banDuration", "maxLength", 32}},
	),
	enums: map[string][]string{
		"spec.ddosProtection.mode":        {"Off", "Auto", "On"},
		"spec.failureMode":                {"Local", "Open", "Closed"},
		"spec.consistency":                {"Strict", "Leased"},
		"spec.rules[].countBy":            {"Identity", "Together"},
		"spec.rules[].match.paths[].type": {"Exact", "Prefix"},
		"spec.rules[].match.methods[]":    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"},
		"spec.rules[].match.identities[]": {"Address", "APIKey", "Customer"},
	},
	required: slices.Concat(
		[]string{"spec", "spec.targetRef", "spec.targetRef.name", "spec.rules[].name", "spec.rules[].match.paths[].value", "spec.blocklist.cidrs", "spec.allowlist.cidrs"},
		under(".windows"), under(".windows[].requests"), under(".windows[].period"),
	),
	surroundings: policySurroundings(),
	sized:        policySizes(),
}

func policySizes() map[string]func(n int64) any {
	all := map[string]func(n int64) any{
		// No group and no kind is as long as the bound, which only limits what the rule costs.
		"spec.targetRef.group":             atMost(253, "commerce.rcommerce.app"),
		"spec.targetRef.kind":              atMost(63, "Store"),
		"spec.rules":                       list(func(i int64) any { return map[string]any{"name": fmt.Sprintf("r%d", i), "disabled": true} }),
		"spec.rules[].match.paths":         list(func(i int64) any { return map[string]any{"value": fmt.Sprintf("/%d", i)} }),
		"spec.rules[].match.paths[].value": func(n int64) any { return strings.Repeat("/", int(n)) },
		"spec.rules[].match.methods": list(func(i int64) any {
			return [...]any{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "GET"}[i]
		}),
		"spec.rules[].match.identities":   list(func(i int64) any { return [...]any{"Address", "APIKey", "Customer", "Address"}[i] }),
		"spec.blocklist.cidrs":            list(network),
		"spec.allowlist.cidrs":            list(network),
		"spec.blocklist.cidrs[]":          longNetwork,
		"spec.allowlist.cidrs[]":          longNetwork,
		"spec.ddosProtection.banDuration": period,
	}
	for level := range levels {
		all[level+".windows"] = list(func(i int64) any {
			return map[string]any{"requests": int64(60), "period": fmt.Sprintf("%dm", i+1)}
		})
		all[level+".windows[].period"] = period
	}
	return all
}

func atMost(n int64, word string) func(int64) any {
	return func(wanted int64) any {
		if wanted > n {
			return strings.Repeat("a", int(wanted))
		}
		return word
	}
}

func network(i int64) any { return fmt.Sprintf("2001:db8:aaaa:bbbb:cccc:dddd:eeee:%x/128", 0x1000+i) }

func longNetwork(n int64) any {
	return atMost(43, "2001:0db8:aaaa:bbbb:cccc:dddd:eeee:ffff/128")(n)
}

// period is 1m with so many digits.
func period(n int64) any { return strings.Repeat("0", int(n)-2) + "1m" }

func under(field string) []string {
	var fields []string
	for level := range levels {
		fields = append(fields, level+field)
	}
	return fields
}

func windowBounds() []bound {
	var all []bound
	for level := range levels {
		all = slices.Concat(all, items(level+".windows", 1, 4), numbers(level+".windows[].requests", 0, 1000000000),
			[]bound{{level + ".windows[].period", "maxLength", 32}})
	}
	return all
}

func policySurroundings() map[string]string {
	const acknowledged = ", acknowledgeLockout: true"
	all := map[string]string{
		"spec.rules[]":            `rules: [{name: a, disabled: true}]`,
		"spec.rules[].cost":       `rules: [{name: a}]`,
		"spec.rules[].match":      `rules: [{name: a, disabled: true, match: {paths: [{value: /a}], methods: [GET], identities: [Address]}}]`,
		"spec.blocklist":          `blocklist: {cidrs: [192.0.2.0/24]}`,
		"spec.allowlist":          `allowlist: {cidrs: [192.0.2.0/24]}`,
		"spec.ddosProtection":     `ddosProtection: {}`,
		"spec.ddosProtection.ban": `ddosProtection: {mode: "On"}`,
	}
	for level, spec := range levels {
		all[level] = fmt.Sprintf(spec, someWindows) + acknowledged
	}
	return all
}

func policyRules() []rule {
	all := []rule{
		{
			name: "A policy is for a Store", field: "spec.targetRef",
			accepted: `targetRef: {group: commerce.rcommerce.app, kind: Store, name: shop}`, refused: `targetRef: {kind: Gateway, name: shop}`,
			says: []string{"targetRef must name a Store", "remove targetRef.group and targetRef.kind"},
		}, {
			name: "A policy is for a Store of this group", field: "spec.targetRef",
			accepted: `targetRef: {name: shop}`, refused: `targetRef: {group: apps, kind: Store, name: shop}`,
			says: []string{"targetRef must name a Store"},
		}, {
			name: "Two rules have different names", field: "spec.rules",
			accepted: `rules: [{name: a, disabled: true}, {name: b, disabled: true}]`, refused: `rules: [{name: a, disabled: true}, {name: a, cost: 2}]`,
			says: []string{"spec.rules[1]", "Duplicate value"},
		}, {
			name: "A method is named once", field: "spec.rules[].match.methods",
			accepted: `rules: [{name: a, disabled: true, match: {methods: [GET, POST]}}]`, refused: `rules: [{name: a, disabled: true, match: {methods: [GET, GET]}}]`,
			says: []string{"methods[1]", "Duplicate value"},
		}, {
			name: "An identity is named once", field: "spec.rules[].match.identities",
			accepted: `rules: [{name: a, disabled: true, match: {identities: [Address, APIKey]}}]`, refused: `rules: [{name: a, disabled: true, match: {identities: [APIKey, APIKey]}}]`,
			says: []string{"identities[1]", "Duplicate value"},
		}, {
			name: "A rule's name can be part of a header and of a key", field: "spec.rules[].name",
			accepted: `rules: [{name: check-out-2, disabled: true}]`, refused: `rules: [{name: "Check out", disabled: true}]`,
			says: []string{"a rule's name must consist of lower-case letters"},
		}, {
			name: "A rule does something", field: "spec.rules[]",
			accepted: `rules: [{name: a, cost: 2}]`, refused: `rules: [{name: a, match: {methods: [GET]}}]`,
			says: []string{"a rule needs limits, cost or disabled: true"},
		}, {
			name: "A rule that frees does nothing else", field: "spec.rules[]",
			accepted: `rules: [{name: a, disabled: false, cost: 2}]`, refused: `rules: [{name: a, disabled: true, cost: 2}]`,
			says: []string{"a rule with disabled: true frees what it matches", "remove its limits, cost and shadow"},
		}, {
			name: "A shadow has something to report on", field: "spec.rules[]",
			accepted: `rules: [{name: a, shadow: true, limits: ` + someWindows + `}]`, refused: `rules: [{name: a, shadow: true}]`,
			says: []string{"a rule with shadow: true needs limits"},
		}, {
			name: "A shadow costs nothing", field: "spec.rules[]",
			accepted: `rules: [{name: a, shadow: true, limits: ` + someWindows + `}]`, refused: `rules: [{name: a, shadow: true, cost: 2, limits: ` + someWindows + `}]`,
			says: []string{"a rule with shadow: true changes nothing", "remove cost"},
		}, {
			name: "A request that costs more than its rule's window could never pass", field: "spec.rules[]",
			accepted: `rules: [{name: a, cost: 60, limits: ` + someWindows + `}]`, refused: `rules: [{name: a, cost: 61, limits: ` + someWindows + `}]`,
			says: []string{"cost is above the requests of a window", "lower cost, or raise requests"},
		}, {
			name: "A path begins with a slash", field: "spec.rules[].match.paths[].value",
			accepted: `rules: [{name: a, disabled: true, match: {paths: [{value: /checkout}]}}]`, refused: `rules: [{name: a, disabled: true, match: {paths: [{value: "https://shop.example.com/checkout"}]}}]`,
			says: []string{"a path must begin with '/'", "remove the scheme"},
		}, {
			name: "A path has no query", field: "spec.rules[].match.paths[].value",
			accepted: `rules: [{name: a, disabled: true, match: {paths: [{value: /}]}}]`, refused: `rules: [{name: a, disabled: true, match: {paths: [{value: "/a?b=c"}]}}]`,
			says: []string{"have no query"},
		}, {
			name: "What is blocked is a CIDR", field: "spec.blocklist.cidrs[]",
			accepted: `blocklist: {cidrs: [192.0.2.7/32, "2001:db8::/32"]}`, refused: `blocklist: {cidrs: [192.0.2.0/24, 192.0.2.7]}`,
			says: []string{"spec.blocklist.cidrs[1]", "must be a CIDR such as 192.0.2.0/24"},
		}, {
			name: "What is allowed is a CIDR", field: "spec.allowlist.cidrs[]",
			accepted: `allowlist: {cidrs: [10.0.0.0/8]}`, refused: `allowlist: {cidrs: [example.com]}`,
			says: []string{"spec.allowlist.cidrs[0]", "must be a CIDR such as 192.0.2.0/24"},
		}, {
			name: "A ban ends", field: "spec.ddosProtection.banDuration",
			accepted: `ddosProtection: {banDuration: 744h}`, refused: `ddosProtection: {banDuration: 745h}`,
			says: []string{"ddosProtection.banDuration must be between 1s and 744h"},
		}, {
			name: "Blocking all of IPv4 is acknowledged", field: "spec",
			accepted: `acknowledgeLockout: true, blocklist: {cidrs: [0.0.0.0/0]}`, refused: `blocklist: {cidrs: [192.0.2.0/24, 0.0.0.0/0]}`,
			says: []string{"blocklist.cidrs holds a whole address family", "set acknowledgeLockout: true"},
		}, {
			name: "Blocking all of IPv6 is acknowledged", field: "spec",
			accepted: `blocklist: {cidrs: ["2001:db8::/32"]}`, refused: `acknowledgeLockout: false, blocklist: {cidrs: ["::/0"]}`,
			says: []string{"blocklist.cidrs holds a whole address family"},
		}, {
			name: "Letting no address in is acknowledged", field: "spec",
			accepted: `acknowledgeLockout: true, address: {windows: [{requests: 0, period: 1m}]}`, refused: `address: {windows: [{requests: 0, period: 1m}]}`,
			says: []string{"address.windows allows no request", "raise requests, or set acknowledgeLockout: true"},
		}, {
			name: "Letting nobody in is acknowledged", field: "spec",
			accepted: `acknowledgeLockout: true, global: {windows: [{requests: 0, period: 1m}]}`, refused: `global: {windows: [{requests: 9, period: 1m}, {requests: 0, period: 1h}]}`,
			says: []string{"global.windows allows no request"},
		}, {
			name: "A rule that lets nobody in is acknowledged", field: "spec",
			accepted: `rules: [{name: a, shadow: true, limits: {windows: [{requests: 0, period: 1m}]}}]`, refused: `rules: [{name: a, limits: {windows: [{requests: 0, period: 1m}]}}]`,
			says: []string{"a rule of rules matches every request and allows none", "set its match"},
		}, {
			name: "A rule that closes one path is not a lockout", field: "spec",
			accepted: `rules: [{name: a, match: {paths: [{value: /admin}]}, limits: {windows: [{requests: 0, period: 1m}]}}]`, refused: `rules: [{name: b, cost: 2}, {name: a, limits: {windows: [{requests: 0, period: 1m}]}}]`,
			says: []string{"a rule of rules matches every request and allows none"},
		},
	}
	for level, spec := range levels {
		one := func(window string) string { return fmt.Sprintf(spec, `{windows: [`+window+`]}`) }
		all = append(all, rule{
			name: level + " has windows of different periods", field: level + ".windows",
			accepted: one(`{requests: 60, period: 60s}, {requests: 600, period: 60m}`), refused: one(`{requests: 60, period: 60s}, {requests: 600, period: 1m}`),
			says: []string{"two windows have the same period", "remove one of them"},
		}, rule{
			name: level + " has windows of a second at least", field: level + ".windows[].period",
			accepted: one(`{requests: 60, period: 1s}`), refused: one(`{requests: 60, period: 999ms}`),
			says: []string{"a window's period must be between 1s and 744h"},
		}, rule{
			name: level + " has windows of 31 days at most", field: level + ".windows[].period",
			accepted: one(`{requests: 60, period: 744h}`), refused: one(`{requests: 60, period: 745h}`),
			says: []string{"a window's period must be between 1s and 744h"},
		})
	}
	return all
}

func TestThePeriodOfAWindowIsADuration(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	for _, period := range []string{"1d", "", "minute", "-1m"} {
		expectRefusal(t, dryRun(t, c, rateLimitPolicies.object(t, namespace, `global: {windows: [{requests: 1, period: "`+period+`"}]}`)), "spec.global.windows[0].period")
	}
}

// The lists are as long as they may be, both at once, with names as long as
// they come: the API server takes it, and etcd has room for it.
func TestTheLongestListsAreTaken(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	made := rateLimitPolicies.object(t, namespace, ``)
	for _, field := range []string{"blocklist", "allowlist"} {
		if err := unstructured.SetNestedSlice(made.Object, list(network)(5000).([]any), "spec", field, "cidrs"); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Create(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	applied := made.DeepCopy()
	applied.SetManagedFields(nil)
	applied.SetResourceVersion("")
	if err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner("gitops"), client.ForceOwnership); err != nil {
		t.Errorf("server-side apply by a second owner: %v", err)
	}
}

func TestTheDefaultsOfAPolicyAreLeftToTheRuntime(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	made := rateLimitPolicies.object(t, namespace, ``)
	if err := dryRun(t, c, made); err != nil {
		t.Fatal(err)
	}
	spec := made.Object["spec"].(map[string]any)
	if keys := slices.Collect(maps.Keys(spec)); !slices.Equal(keys, []string{"targetRef"}) {
		t.Errorf("of a policy that sets nothing the API server makes %v", spec)
	}
	if target := spec["targetRef"].(map[string]any); target["group"] != commercev1alpha1.GroupVersion.Group || target["kind"] != "Store" {
		t.Errorf("the target is %v", target)
	}
}

func TestPrinterColumnsOfAPolicy(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	if err := c.Create(t.Context(), rateLimitPolicies.object(t, namespace, ``)); err != nil {
		t.Fatal(err)
	}
	made := &commercev1alpha1.RateLimitPolicy{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "limits"}, made); err != nil {
		t.Fatal(err)
	}
	condition := func(of string, status metav1.ConditionStatus) metav1.Condition {
		return metav1.Condition{Type: of, Status: status, Reason: "Because", Message: "of " + of, LastTransitionTime: metav1.NewTime(time.Now())}
	}
	made.Status = commercev1alpha1.RateLimitPolicyStatus{
		Conditions:       []metav1.Condition{condition("Accepted", "True"), condition("Enforced", "False")},
		EnforcedReplicas: "2/3", RefusedLastMinutes: new(int64(40)), Bans: new(int64(2)), AttackLevel: new(int32(1)), Source: "Redis",
	}
	if err := c.Status().Update(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	narrow, shown := columns(t, namespace, "ratelimitpolicies", made.Name)
	if want := []string{"Name", "Target", "Accepted", "Enforced", "Replicas", "Refused", "Attack", "Age"}; !slices.Equal(narrow, want) {
		t.Errorf("kubectl get shows %q, want %q", narrow, want)
	}
	for name, want := range map[string]string{
		"Target": "shop", "Accepted": "True", "Enforced": "False", "Replicas": "2/3", "Refused": "40", "Attack": "1",
		"Counted": "Redis", "Bans": "2", "Message": "of Enforced",
	} {
		if shown[name] != want {
			t.Errorf("column %s shows %q, want %q", name, shown[name], want)
		}
	}
}

func TestAPolicyIsFoundByItsShortNameAndCategories(t *testing.T) {
	if r := served(t, "ratelimitpolicies"); !slices.Equal(r.ShortNames, []string{"rlp"}) || !slices.Equal(r.Categories, []string{"all", "gocart"}) {
		t.Errorf("short names %q, categories %q", r.ShortNames, r.Categories)
	}
}
