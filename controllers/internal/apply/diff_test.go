package apply

import (
	"slices"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestDiff(t *testing.T) {
	for _, c := range []struct {
		name, planned, live string
		want                []string
	}{
		{"what is as planned differs nowhere", `{spec: {replicas: 2}}`, `{spec: {replicas: 2}}`, nil},
		{"a changed field is named by its path", `{spec: {template: {spec: {priority: 1}}}}`, `{spec: {template: {spec: {priority: 2}}}}`, []string{"spec.template.spec.priority"}},
		{"a removed field is named", `{metadata: {labels: {a: b}}}`, `{metadata: {labels: {}}}`, []string{"metadata.labels.a"}},
		{"a field that the plan does not have is its owner's", `{spec: {a: 1}}`, `{spec: {a: 1, b: 2}}`, nil},
		{"a zero for unset is no wish", `{spec: {a: "", b: 0, c: false}}`, `{spec: {}}`, nil},
		{"a zero where something else stands is a wish", `{spec: {replicas: 0}}`, `{spec: {replicas: 1}}`, []string{"spec.replicas"}},
		{"an empty map is no wish", `{spec: {strategy: {}}}`, `{spec: {strategy: {type: RollingUpdate}}}`, nil},
		{"containers are compared by name", `{containers: [{name: a, image: x}, {name: b, image: y}]}`, `{containers: [{name: b, image: y}, {name: a, image: z}]}`, []string{"containers[a].image"}},
		{"a sidecar is its owner's", `{containers: [{name: a}]}`, `{containers: [{name: mesh}, {name: a}]}`, nil},
		{"a removed container is named", `{containers: [{name: a}]}`, `{containers: []}`, []string{"containers[a]"}},
		{"one volume mounted twice is told apart by path", `{volumeMounts: [{name: v, mountPath: /a}]}`, `{volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /b}]}`, nil},
		{"another list is one value", `{args: [a, b]}`, `{args: [a, b, c]}`, []string{"args"}},
		{"an item of another list is named by its place", `{args: [a, b]}`, `{args: [a, c]}`, []string{"args[1]"}},
		{"a list of references is one value", `{parentRefs: [{name: a}]}`, `{parentRefs: [{name: a}, {name: b}]}`, []string{"parentRefs"}},
		{"a default within a list's item is no change", `{parentRefs: [{name: a}]}`, `{parentRefs: [{name: a, kind: Gateway}]}`, nil},
		{"a further label in a selector is a change", `{spec: {selector: {a: b}}}`, `{spec: {selector: {a: b, c: d}}}`, []string{"spec.selector.c"}},
		{"a further requirement in a label selector is a change", `{spec: {selector: {matchLabels: {a: b}}}}`, `{spec: {selector: {matchLabels: {a: b}, matchExpressions: [{key: x}]}}}`, []string{"spec.selector.matchExpressions"}},
		{"a wider peer of a NetworkPolicy is a change", `{kind: NetworkPolicy, spec: {ingress: [{from: [{podSelector: {matchLabels: {a: b}}}]}]}}`, `{kind: NetworkPolicy, spec: {ingress: [{from: [{podSelector: {matchLabels: {a: b}}, namespaceSelector: {matchLabels: {c: d}}}]}]}}`, []string{"spec.ingress[0].from[0].namespaceSelector"}},
		{"an empty selector, which selects everything, is a change", `{kind: NetworkPolicy, spec: {ingress: [{from: [{podSelector: {}}]}]}}`, `{kind: NetworkPolicy, spec: {ingress: [{from: [{podSelector: {}, namespaceSelector: {}}]}]}}`, []string{"spec.ingress[0].from[0].namespaceSelector"}},
		{"the digest itself is not compared", `{metadata: {annotations: {commerce.rcommerce.app/applied: a}}}`, `{metadata: {annotations: {commerce.rcommerce.app/applied: b}}}`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Diff(parse(t, c.planned), parse(t, c.live)); !slices.Equal(got, c.want) {
				t.Errorf("Diff is %q, want %q", got, c.want)
			}
		})
	}
}

func TestAnEventNamesFiveFieldsAtMost(t *testing.T) {
	got := shorten([]string{"a", "b", "c", "d", "e", "f", "g"})
	if want := []string{"a", "b", "c", "d", "e", "and 2 more"}; !slices.Equal(got, want) {
		t.Errorf("shortened to %q, want %q", got, want)
	}
}

func parse(t *testing.T, s string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := yaml.Unmarshal([]byte(s), &v); err != nil {
		t.Fatal(err)
	}
	return v
}
