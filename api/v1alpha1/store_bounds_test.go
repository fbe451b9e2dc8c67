package v1alpha1_test

import (
	"fmt"
	"slices"
	"strings"
)

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
		numbers(field+".autoscaling.maxReplicas", 1, 1000),
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

// stores is the kind Store.
var stores = kind{
	name: "Store", plural: "stores", minimal: minimal,
	rules: storeRules, transitions: changesOfStores(), bounds: storeBounds, enums: storeEnums, patterns: storePatterns,
	required: storeRequired, surroundings: storeSurroundings, sized: storeSizes,
}

// changesOfStores are the refusals of transitions.
func changesOfStores() map[string][]string {
	says := map[string][]string{}
	for _, r := range transitions {
		says[r.field] = append(says[r.field], r.says...)
	}
	return says
}

var storeBounds = slices.Concat(
	items("spec.domains", 1, 20),
	[]bound{{"spec.domains[]", "maxLength", 253}},
	lengths("spec.image.repository", 1, 255),
	lengths("spec.image.tag", 1, 128),
	[]bound{{"spec.image.digest", "maxLength", 71}, {"spec.image.pullSecrets", "maxItems", 10}},
	lengths("spec.image.pullSecrets[].name", 1, 253),
	workload("spec.api"),
	numbers("spec.api.autoscaling.minReplicas", 1, 1000),
	numbers("spec.api.autoscaling.targetCPUUtilizationPercentage", 1, 1000),
	workload("spec.worker"),
	numbers("spec.worker.autoscaling.minReplicas", 0, 1000),
	numbers("spec.worker.autoscaling.targetWaitingPerReplica", 1, 100000),
	[]bound{{"spec.worker.autoscaling.maxAge", "maxLength", 32}, {"spec.worker.autoscaling.scaleDownAfter", "maxLength", 32}},
	numbers("spec.worker.workers", 1, 1000),
	numbers("spec.worker.concurrency", 1, 1000),
	items("spec.worker.queues", 1, 3),
	reference("spec.mail.urlSecretRef"),
	lengths("spec.mail.from", 3, 320),
	[]bound{{"spec.mail.staff", "maxItems", 20}, {"spec.mail.staff[]", "maxLength", 254}, {"spec.locale", "maxLength", 7}},
	reference("spec.payments.stripe.apiKeySecretRef"),
	reference("spec.payments.stripe.webhookSecretRefs[]"),
	[]bound{
		{"spec.payments.stripe.webhookSecretRefs", "maxItems", 2}, {"spec.payments.stripe.publishableKey", "maxLength", 255},
		{"spec.payments.stripe.apiBase", "maxLength", 255},
	},
	[]bound{{"spec.reports.volume.className", "maxLength", 253}},
	items("spec.reports.volume.accessModes", 1, 2),
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
	numbers("spec.database.totalConnections", 10, 10000),
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
var storeEnums = map[string][]string{
	"spec.mode":                                               {"Production", "Development"},
	"spec.deletionPolicy":                                     {"Retain", "Delete"},
	"spec.image.pullPolicy":                                   {"Always", "IfNotPresent", "Never"},
	"spec.worker.autoscaling.provider":                        {"Native", "KEDA"},
	"spec.worker.queues[]":                                    {"high", "normal", "low"},
	"spec.reports.volume.accessModes[]":                       {"ReadWriteOnce", "ReadWriteMany"},
	"spec.tls.minVersion":                                     {"1.2", "1.3"},
	"spec.tls.letsEncrypt.environment":                        {"Production", "Staging"},
	"spec.tls.letsEncrypt.solver.dns01.rfc2136.tsigAlgorithm": {"HMACSHA256", "HMACSHA512"},
	"spec.security.headers.frameOptions":                      {"", "DENY", "SAMEORIGIN"},
	"spec.security.forwardedHeader":                           {"X-Forwarded-For", "Forwarded"},
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
var storePatterns = map[string][2]string{
	"spec.database.managed.storage.size": {"1.5Gi", "big"},
	"spec.redis.managed.storage.size":    {"500M", "1 Gi"},
	"spec.reports.volume.size":           {"2Gi", "2GB"},
}

// required lists the fields that must be given, where their parent is.
var storeRequired = []string{
	"spec", "spec.domains", "spec.tls",
	"spec.image.pullSecrets[].name",
	"spec.api.autoscaling.maxReplicas", "spec.worker.autoscaling.maxReplicas",
	"spec.mail.urlSecretRef", "spec.mail.urlSecretRef.name", "spec.mail.urlSecretRef.key", "spec.mail.from",
	"spec.reports.volume",
	"spec.tls.issuerRef.name",
	"spec.tls.letsEncrypt.email", "spec.tls.letsEncrypt.solver",
	"spec.tls.letsEncrypt.solver.http01.ingress.className",
	"spec.tls.letsEncrypt.solver.dns01.cloudflare.apiTokenSecretRef",
	"spec.tls.letsEncrypt.solver.dns01.cloudflare.apiTokenSecretRef.name", "spec.tls.letsEncrypt.solver.dns01.cloudflare.apiTokenSecretRef.key",
	"spec.tls.letsEncrypt.solver.dns01.rfc2136.nameserver", "spec.tls.letsEncrypt.solver.dns01.rfc2136.tsigKeyName", "spec.tls.letsEncrypt.solver.dns01.rfc2136.tsigSecretRef",
	"spec.tls.letsEncrypt.solver.dns01.rfc2136.tsigSecretRef.name", "spec.tls.letsEncrypt.solver.dns01.rfc2136.tsigSecretRef.key",
	"spec.security.cors.allowedOrigins",
	"spec.payments.test.enabled",
	"spec.payments.stripe.apiKeySecretRef", "spec.payments.stripe.apiKeySecretRef.name", "spec.payments.stripe.apiKeySecretRef.key",
	"spec.payments.stripe.webhookSecretRefs[].name", "spec.payments.stripe.webhookSecretRefs[].key",
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
var storeSurroundings = map[string]string{
	"spec.image":                            `image: {tag: "1"}`,
	"spec.image.digest":                     `image: {digest: x}`,
	"spec.image.pullSecrets":                `image: {tag: "1", pullSecrets: [{name: a}]}`,
	"spec.api.autoscaling":                  `api: {autoscaling: {maxReplicas: 1000}}`,
	"spec.worker.autoscaling":               `worker: {autoscaling: {maxReplicas: 1000}}`,
	"spec.worker.queues":                    `worker: {queues: [high]}`,
	"spec.mail":                             `mail: ` + someMail,
	"spec.payments.stripe":                  `mode: Development, payments: {stripe: ` + someStripe + `}`,
	"spec.reports":                          `reports: {volume: {}}`,
	"spec.reports.volume.accessModes":       `reports: {volume: {accessModes: [ReadWriteOnce]}}`,
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
	"spec.database.totalConnections":        `database: {managed: {}}`,
	"spec.database.maxConnections":          `database: {managed: {}}`,
	"spec.redis.external":                   `redis: {external: {urlSecretRef: {name: a, key: b}}}`,
	"spec.redis.external.caSecretRef":       `redis: {external: {urlSecretRef: {name: a, key: b}, caSecretRef: {name: a, key: b}}}`,
	"spec.exposure.ingress":                 `exposure: {ingress: {className: a}}`,
	"spec.exposure.gateway":                 `exposure: {gateway: {parentRefs: [{name: a}]}}`,
	"spec.exposure.service.loadBalancer":    `exposure: {service: {type: LoadBalancer}}`,
	"spec.exposure.service.external":        `exposure: {service: {type: NodePort}}`,
}

// sized makes a value of a length (or with so many items) that breaks no other rule.
var storeSizes = map[string]func(n int64) any{
	"spec.domains":                           list(func(i int64) any { return fmt.Sprintf("shop%d.example.com", i) }),
	"spec.domains[]":                         func(n int64) any { return hostName(n) },
	"spec.image.digest":                      func(n int64) any { return "sha256:" + strings.Repeat("a", int(n)-len("sha256:")) },
	"spec.image.pullSecrets":                 list(func(i int64) any { return map[string]any{"name": fmt.Sprintf("pull-%d", i)} }),
	"spec.worker.queues":                     list(func(i int64) any { return [...]any{"high", "normal", "low", "high"}[i] }),
	"spec.worker.autoscaling.maxAge":         period,
	"spec.worker.autoscaling.scaleDownAfter": period,
	"spec.mail.from":                         mailAddress,
	"spec.mail.staff":                        list(func(i int64) any { return fmt.Sprintf("ops%d@example.com", i) }),
	"spec.mail.staff[]":                      mailAddress,
	"spec.payments.stripe.webhookSecretRefs": list(func(i int64) any { return map[string]any{"name": fmt.Sprintf("stripe-%d", i), "key": "webhookSecret"} }),
	"spec.payments.stripe.apiBase":           func(n int64) any { return "https://" + hostName(n-int64(len("https://"))) },
	"spec.payments.stripe.publishableKey":    func(n int64) any { return "pk_" + strings.Repeat("a", int(n)-len("pk_")) },
	"spec.reports.volume.accessModes":        list(func(i int64) any { return [...]any{"ReadWriteOnce", "ReadWriteMany", "ReadWriteOnce"}[i] }),
	// No tag is as short as none, or longer than the bound.
	"spec.locale":                         func(n int64) any { return atMost(7, "abc-419")(n) },
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

// mailAddress is one of n characters; of none or two there is none.
func mailAddress(n int64) any {
	return strings.Repeat("a", max(0, int(n)-2)) + "@a"
}

func spread(i int64) any {
	return map[string]any{"maxSkew": int64(1), "topologyKey": fmt.Sprintf("example.com/%d", i), "whenUnsatisfiable": "ScheduleAnyway"}
}
