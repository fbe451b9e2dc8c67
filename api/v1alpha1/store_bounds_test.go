package v1alpha1_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A bound is one keyword of one field's schema, written here a second time:
// TestEveryRuleHasACase compares the two.
type bound struct {
	field   string // "[]" is the list's first item
	keyword string
	limit   int64
}

func lengths(field string, low, high int64) []bound {
	return []bound{{field, "minLength", low}, {field, "maxLength", high}}
}

func numbers(field string, low, high int64) []bound {
	return []bound{{field, "minimum", low}, {field, "maximum", high}}
}

func items(field string, low, high int64) []bound {
	return []bound{{field, "minItems", low}, {field, "maxItems", high}}
}

// reference is a reference to a Secret's key.
func reference(field string) []bound {
	return slices.Concat(lengths(field+".name", 1, 253), lengths(field+".key", 1, 253))
}

// placement is where a pod may run.
func placement(field string) []bound {
	return []bound{
		{field + ".nodeSelector", "maxProperties", 50},
		{field + ".tolerations", "maxItems", 50},
		{field + ".priorityClassName", "maxLength", 253},
	}
}

func workload(field string) []bound {
	return slices.Concat(
		numbers(field+".replicas", 0, 1000),
		numbers(field+".autoscaling.minReplicas", 1, 1000),
		numbers(field+".autoscaling.maxReplicas", 1, 1000),
		numbers(field+".autoscaling.targetCPUUtilizationPercentage", 1, 1000),
		placement(field+".scheduling"),
		[]bound{{field + ".scheduling.topologySpreadConstraints", "maxItems", 10}},
	)
}

func server(field string) []bound {
	return slices.Concat(
		lengths(field+".image", 1, 512),
		placement(field+".scheduling"),
		[]bound{{field + ".storage.className", "maxLength", 253}},
	)
}

var bounds = slices.Concat(
	items("spec.domains", 1, 20),
	[]bound{{"spec.domains[]", "maxLength", 253}},
	lengths("spec.image.repository", 1, 255),
	lengths("spec.image.tag", 1, 128),
	[]bound{{"spec.image.digest", "maxLength", 71}, {"spec.image.pullSecrets", "maxItems", 10}},
	lengths("spec.image.pullSecrets[].name", 1, 253),
	workload("spec.api"),
	workload("spec.worker"),
	numbers("spec.worker.concurrency", 1, 1000),
	items("spec.worker.queues", 1, 3),
	lengths("spec.tls.secretName", 1, 253),
	lengths("spec.tls.issuerRef.name", 1, 253),
	lengths("spec.tls.issuerRef.kind", 1, 63),
	lengths("spec.tls.issuerRef.group", 1, 253),
	numbers("spec.tls.hsts.maxAgeSeconds", 0, 63072000),
	[]bound{{"spec.tls.letsEncrypt.email", "maxLength", 254}},
	lengths("spec.tls.letsEncrypt.solver.http01.ingress.className", 1, 253),
	reference("spec.tls.letsEncrypt.solver.dns01.cloudflare.apiTokenSecretRef"),
	lengths("spec.tls.letsEncrypt.solver.dns01.rfc2136.nameserver", 1, 259),
	lengths("spec.tls.letsEncrypt.solver.dns01.rfc2136.tsigKeyName", 1, 255),
	reference("spec.tls.letsEncrypt.solver.dns01.rfc2136.tsigSecretRef"),
	[]bound{
		{"spec.security.headers.contentSecurityPolicy", "maxLength", 4096},
		{"spec.security.headers.permissionsPolicy", "maxLength", 4096},
		{"spec.security.cors.allowedOrigins[]", "maxLength", 300},
		{"spec.security.trustedProxies", "maxItems", 64},
		{"spec.security.trustedProxies[]", "maxLength", 64},
	},
	items("spec.security.cors.allowedOrigins", 1, 64),
	server("spec.database.managed"),
	reference("spec.database.external.uriSecretRef"),
	reference("spec.database.external.caSecretRef"),
	lengths("spec.database.cloudNativePG.clusterName", 1, 50),
	numbers("spec.database.maxConnections", 2, 1000),
	server("spec.redis.managed"),
	reference("spec.redis.external.urlSecretRef"),
	reference("spec.redis.external.caSecretRef"),
	[]bound{
		{"spec.exposure.service.annotations", "maxProperties", 50},
		{"spec.exposure.service.loadBalancerClass", "maxLength", 253},
		{"spec.exposure.ingress.annotations", "maxProperties", 50},
		{"spec.observability.serviceMonitor.labels", "maxProperties", 20},
		{"spec.networkPolicy.publicFrom", "maxItems", 32},
		{"spec.networkPolicy.metricsFrom", "maxItems", 32},
	},
	lengths("spec.exposure.ingress.className", 1, 253),
	items("spec.exposure.gateway.parentRefs", 1, 8),
)

// enums lists every value that a field takes.
var enums = map[string][]string{
	"spec.mode":                        {"Production", "Development"},
	"spec.deletionPolicy":              {"Retain", "Delete"},
	"spec.image.pullPolicy":            {"Always", "IfNotPresent", "Never"},
	"spec.worker.queues[]":             {"high", "normal", "low"},
	"spec.tls.minVersion":              {"1.2", "1.3"},
	"spec.tls.letsEncrypt.environment": {"Production", "Staging"},
	"spec.tls.letsEncrypt.solver.dns01.rfc2136.tsigAlgorithm": {"HMACSHA256", "HMACSHA512"},
	"spec.security.headers.frameOptions":                      {"", "DENY", "SAMEORIGIN"},
	"spec.security.headers.referrerPolicy": {"", "no-referrer", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin",
		"same-origin", "strict-origin", "strict-origin-when-cross-origin", "unsafe-url"},
	"spec.security.headers.crossOriginOpenerPolicy":   {"", "unsafe-none", "same-origin-allow-popups", "same-origin", "noopener-allow-popups"},
	"spec.security.headers.crossOriginResourcePolicy": {"", "same-site", "same-origin", "cross-origin"},
	"spec.security.headers.xssProtection":             {"", "0", "1; mode=block"},
	"spec.exposure.service.type":                      {"ClusterIP", "LoadBalancer", "NodePort"},
	"spec.exposure.service.externalTrafficPolicy":     {"Cluster", "Local"},
	"spec.observability.logLevel":                     {"debug", "info", "warn", "error"},
}

// patterns lists a value that matches and one that does not.
var patterns = map[string][2]string{
	"spec.database.managed.storage.size": {"1.5Gi", "big"},
	"spec.redis.managed.storage.size":    {"500M", "1 Gi"},
}

// required lists the fields that must be given, where their parent is.
var required = []string{
	"spec", "spec.domains", "spec.tls",
	"spec.image.pullSecrets[].name",
	"spec.api.autoscaling.maxReplicas", "spec.worker.autoscaling.maxReplicas",
	"spec.tls.issuerRef.name",
	"spec.tls.letsEncrypt.email", "spec.tls.letsEncrypt.solver",
	"spec.tls.letsEncrypt.solver.http01.ingress.className",
	"spec.tls.letsEncrypt.solver.dns01.cloudflare.apiTokenSecretRef",
	"spec.tls.letsEncrypt.solver.dns01.cloudflare.apiTokenSecretRef.name", "spec.tls.letsEncrypt.solver.dns01.cloudflare.apiTokenSecretRef.key",
	"spec.tls.letsEncrypt.solver.dns01.rfc2136.nameserver", "spec.tls.letsEncrypt.solver.dns01.rfc2136.tsigKeyName", "spec.tls.letsEncrypt.solver.dns01.rfc2136.tsigSecretRef",
	"spec.tls.letsEncrypt.solver.dns01.rfc2136.tsigSecretRef.name", "spec.tls.letsEncrypt.solver.dns01.rfc2136.tsigSecretRef.key",
	"spec.security.cors.allowedOrigins",
	"spec.payments.test.enabled",
	"spec.database.external.uriSecretRef",
	"spec.database.external.uriSecretRef.name", "spec.database.external.uriSecretRef.key",
	"spec.database.external.caSecretRef.name", "spec.database.external.caSecretRef.key",
	"spec.database.cloudNativePG.clusterName",
	"spec.redis.external.urlSecretRef",
	"spec.redis.external.urlSecretRef.name", "spec.redis.external.urlSecretRef.key",
	"spec.redis.external.caSecretRef.name", "spec.redis.external.caSecretRef.key",
	"spec.exposure.ingress.className", "spec.exposure.gateway.parentRefs",
}

// surroundings are what a field needs beside it, by the longest prefix of its path.
var surroundings = map[string]string{
	"spec.image":                            `image: {tag: "1"}`,
	"spec.image.digest":                     `image: {digest: x}`,
	"spec.image.pullSecrets":                `image: {tag: "1", pullSecrets: [{name: a}]}`,
	"spec.api.autoscaling":                  `api: {autoscaling: {maxReplicas: 1000}}`,
	"spec.worker.autoscaling":               `worker: {autoscaling: {maxReplicas: 1000}}`,
	"spec.worker.queues":                    `worker: {queues: [high]}`,
	"spec.tls.secretName":                   `tls: {disabled: null}`,
	"spec.tls.hsts":                         `tls: {disabled: null, secretName: s}`,
	"spec.tls.issuerRef":                    `tls: {disabled: null, issuerRef: {name: ca}}`,
	"spec.tls.letsEncrypt":                  fmt.Sprintf(letsEncrypt, http01),
	"spec.tls.letsEncrypt.solver.dns01.rfc": fmt.Sprintf(letsEncrypt, `{dns01: {rfc2136: `+rfc2136+`}}`),
	"spec.tls.letsEncrypt.solver.dns01.clo": fmt.Sprintf(letsEncrypt, `{dns01: {cloudflare: `+cloudflare+`}}`),
	"spec.security.cors":                    `security: {cors: {allowedOrigins: ["https://a.example"]}}`,
	"spec.security.trustedProxies":          `security: {trustedProxies: [10.0.0.0/8]}`,
	"spec.database.external":                `database: {external: ` + uri + `}`,
	"spec.database.external.caSecretRef":    `database: {external: {uriSecretRef: {name: a, key: b}, caSecretRef: {name: a, key: b}}}`,
	"spec.database.cloudNativePG":           `database: {cloudNativePG: {clusterName: a}}`,
	"spec.database.maxConnections":          `database: {managed: {}}`,
	"spec.redis.external":                   `redis: {external: {urlSecretRef: {name: a, key: b}}}`,
	"spec.redis.external.caSecretRef":       `redis: {external: {urlSecretRef: {name: a, key: b}, caSecretRef: {name: a, key: b}}}`,
	"spec.exposure.ingress":                 `exposure: {ingress: {className: a}}`,
	"spec.exposure.gateway":                 `exposure: {gateway: {parentRefs: [{name: a}]}}`,
	"spec.exposure.service.loadBalancer":    `exposure: {service: {type: LoadBalancer}}`,
	"spec.exposure.service.external":        `exposure: {service: {type: NodePort}}`,
}

// sized makes a value of a length (or with so many items) that breaks no other rule.
var sized = map[string]func(n int64) any{
	"spec.domains":                        list(func(i int64) any { return fmt.Sprintf("shop%d.example.com", i) }),
	"spec.domains[]":                      func(n int64) any { return hostName(n) },
	"spec.image.digest":                   func(n int64) any { return "sha256:" + strings.Repeat("a", int(n)-len("sha256:")) },
	"spec.image.pullSecrets":              list(func(i int64) any { return map[string]any{"name": fmt.Sprintf("pull-%d", i)} }),
	"spec.worker.queues":                  list(func(i int64) any { return [...]any{"high", "normal", "low", "high"}[i] }),
	"spec.tls.letsEncrypt.email":          func(n int64) any { return strings.Repeat("a", int(n)-len("@example.com")) + "@example.com" },
	"spec.security.cors.allowedOrigins":   list(func(i int64) any { return fmt.Sprintf("https://shop%d.example", i) }),
	"spec.security.cors.allowedOrigins[]": func(n int64) any { return "https://" + strings.Repeat("a", int(n)-len("https://")) },
	"spec.security.trustedProxies":        list(func(i int64) any { return fmt.Sprintf("10.%d.0.0/16", i) }),
	// No CIDR is as long as the bound, which only limits what the rule costs: the longest one stands for it.
	"spec.security.trustedProxies[]": func(n int64) any {
		if n > 64 {
			return strings.Repeat("1", int(n))
		}
		return "2001:0db8:aaaa:bbbb:cccc:dddd:eeee:0000/112"
	},
	"spec.api.scheduling.topologySpreadConstraints":    list(spread),
	"spec.worker.scheduling.topologySpreadConstraints": list(spread),
	"spec.exposure.gateway.parentRefs":                 list(func(i int64) any { return map[string]any{"name": fmt.Sprintf("edge-%d", i)} }),
}

func spread(i int64) any {
	return map[string]any{"maxSkew": int64(1), "topologyKey": fmt.Sprintf("example.com/%d", i), "whenUnsatisfiable": "ScheduleAnyway"}
}

func TestBounds(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	for _, b := range bounds {
		t.Run(b.field+" keeps to its "+b.keyword, func(t *testing.T) {
			accepted, refused := b.limit, b.limit+1
			if strings.HasPrefix(b.keyword, "min") {
				refused = b.limit - 1
			}
			if err := dryRun(t, c, with(t, namespace, b.field, value(b, accepted))); err != nil {
				t.Errorf("%d is within the bound: %v", accepted, err)
			}
			expectRefusal(t, dryRun(t, c, with(t, namespace, b.field, value(b, refused))),
				strings.ReplaceAll(b.field, "[]", "[0]"), strconv.FormatInt(b.limit, 10))
		})
	}
}

func TestEnums(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	for field, values := range enums {
		t.Run(field+" takes one of its words", func(t *testing.T) {
			for _, word := range values {
				if err := dryRun(t, c, with(t, namespace, field, word)); err != nil {
					t.Errorf("%q: %v", word, err)
				}
			}
			says := []string{strings.ReplaceAll(field, "[]", "[0]"), "supported values"}
			for _, word := range values {
				says = append(says, strconv.Quote(word))
			}
			expectRefusal(t, dryRun(t, c, with(t, namespace, field, "bogus")), says...)
		})
	}
}

func TestPatterns(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	for field, values := range patterns {
		t.Run(field+" has its form", func(t *testing.T) {
			if err := dryRun(t, c, with(t, namespace, field, values[0])); err != nil {
				t.Errorf("%q: %v", values[0], err)
			}
			expectRefusal(t, dryRun(t, c, with(t, namespace, field, values[1])), field, "should match")
		})
	}
}

func TestRequiredFields(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	for _, field := range required {
		t.Run(field+" must be given", func(t *testing.T) {
			if err := dryRun(t, c, with(t, namespace, field, keep)); err != nil {
				t.Errorf("with it: %v", err)
			}
			expectRefusal(t, dryRun(t, c, with(t, namespace, field, leaveOut)),
				strings.ReplaceAll(field, "[]", "[0]"), "Required value")
		})
	}
}

// TestEveryRuleHasACase walks the installed schema and fails for a rule that no
// table above has a case for, and for a case whose rule is gone.
func TestEveryRuleHasACase(t *testing.T) {
	tested := map[string]bool{}
	refusals := map[string][]string{}
	for _, r := range rules {
		refusals[r.field] = append(refusals[r.field], r.says...)
	}
	for _, r := range transitions {
		refusals[r.field] = append(refusals[r.field], r.says...)
	}
	for _, b := range bounds {
		tested[fmt.Sprintf("%s %s %d", b.field, b.keyword, b.limit)] = false
	}
	for field, values := range enums {
		tested[fmt.Sprintf("%s enum %q", field, values)] = false
	}
	for field := range patterns {
		tested[field+" pattern"] = false
	}
	for _, field := range required {
		tested[field+" required"] = false
	}
	for _, found := range constraints("", definition(t)) {
		if field, message, isRule := strings.Cut(found, " rule "); isRule {
			if !slices.ContainsFunc(refusals[field], func(says string) bool { return strings.Contains(message, says) }) {
				t.Errorf("no case is refused by the rule of %q that says %q", field, message)
			}
			continue
		}
		if _, ok := tested[found]; !ok {
			t.Errorf("the schema has %q and no case tests it", found)
		}
		tested[found] = true
	}
	for name, found := range tested {
		if !found {
			t.Errorf("a case tests %q and the schema has no such rule", name)
		}
	}
}

// constraints lists a schema's rules as TestEveryRuleHasACase names them. What
// Kubernetes' own types hold within themselves is theirs to test.
func constraints(path string, schema *apiextensionsv1.JSONSchemaProps) []string {
	if path == "status" {
		return nil
	}
	var found []string
	add := func(format string, args ...any) { found = append(found, path+" "+fmt.Sprintf(format, args...)) }
	for keyword, limit := range map[string]*int64{
		"minLength": schema.MinLength, "maxLength": schema.MaxLength, "minItems": schema.MinItems, "maxItems": schema.MaxItems, "maxProperties": schema.MaxProperties,
	} {
		if limit != nil {
			add("%s %d", keyword, *limit)
		}
	}
	for keyword, limit := range map[string]*float64{"minimum": schema.Minimum, "maximum": schema.Maximum} {
		if limit != nil {
			add("%s %d", keyword, int64(*limit))
		}
	}
	if schema.Pattern != "" {
		add("pattern")
	}
	if len(schema.Enum) > 0 {
		var words []string
		for _, word := range schema.Enum {
			words = append(words, strings.Trim(string(word.Raw), `"`))
		}
		add("enum %q", words)
	}
	for _, validation := range schema.XValidations {
		add("rule %s", validation.Message)
	}
	if schema.XListType != nil && *schema.XListType != "atomic" {
		add("rule Duplicate value")
	}
	switch path[strings.LastIndex(path, ".")+1:] {
	case "affinity", "tolerations", "topologySpreadConstraints", "resources", "parentRefs", "publicFrom", "metricsFrom":
		return found
	}
	join := func(name string) string { return strings.TrimPrefix(path+"."+name, ".") }
	for _, name := range schema.Required {
		found = append(found, join(name)+" required")
	}
	for name, property := range schema.Properties {
		found = append(found, constraints(join(name), &property)...)
	}
	if schema.Items != nil {
		found = append(found, constraints(path+"[]", schema.Items.Schema)...)
	}
	return found
}

type special int

const (
	keep     special = iota // the value that the surroundings give
	leaveOut                // the field is not there
)

// with is a Store that is right but for the field, which has the value.
func with(t *testing.T, namespace, field string, value any) *unstructured.Unstructured {
	t.Helper()
	prefix := ""
	for candidate := range surroundings {
		if strings.HasPrefix(field, candidate) && len(candidate) > len(prefix) {
			prefix = candidate
		}
	}
	object := store(t, namespace, surroundings[prefix])
	if value != keep {
		set(object.Object, strings.Split(field, "."), value)
	}
	return object
}

// set walks to the field, making what is missing.
func set(object map[string]any, path []string, value any) {
	name, isItem := strings.CutSuffix(path[0], "[]")
	last := len(path) == 1
	switch {
	case last && value == leaveOut:
		delete(object, name)
	case last && isItem:
		list, _ := object[name].([]any)
		object[name] = append([]any{value}, list[min(1, len(list)):]...)
	case last:
		object[name] = value
	case isItem:
		set(object[name].([]any)[0].(map[string]any), path[1:], value)
	default:
		child, ok := object[name].(map[string]any)
		if !ok {
			child = map[string]any{}
			object[name] = child
		}
		set(child, path[1:], value)
	}
}

// value makes what a bound speaks of: a number, or a string, a list or a map of a size.
func value(b bound, n int64) any {
	if sizer, ok := sized[b.field]; ok {
		return sizer(n)
	}
	switch b.keyword {
	case "minimum", "maximum":
		return n
	case "minLength", "maxLength":
		return strings.Repeat("a", int(n))
	case "minItems", "maxItems":
		return list(func(int64) any { return map[string]any{} })(n)
	default:
		entries := map[string]any{}
		for i := range n {
			entries[fmt.Sprintf("example.com/%d", i)] = "x"
		}
		return entries
	}
}

func list(item func(i int64) any) func(n int64) any {
	return func(n int64) any {
		made := []any{}
		for i := range n {
			made = append(made, item(i))
		}
		return made
	}
}

// hostName is a name of n characters in labels that are not too long.
func hostName(n int64) string {
	name := "com"
	for int64(len(name)) < n {
		rest := int(n) - len(name) - 1
		label := min(63, rest)
		if rest-label == 1 { // a label of nothing would be left
			label--
		}
		name = strings.Repeat("a", label) + "." + name
	}
	return name
}
