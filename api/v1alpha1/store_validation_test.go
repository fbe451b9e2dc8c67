package v1alpha1_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// minimal is the least that a Store needs; every case is a JSON merge patch of it.
const minimal = `
apiVersion: commerce.rcommerce.app/v1alpha1
kind: Store
metadata: {name: shop}
spec:
  domains: [shop.example.com]
  tls: {disabled: true}
`

const (
	letsEncrypt = `tls: {disabled: null, letsEncrypt: {email: ops@example.com, solver: %s}}`
	rfc2136     = `{nameserver: "ns.example.com:53", tsigKeyName: shop, tsigSecretRef: {name: tsig, key: key}}`
	cloudflare  = `{apiTokenSecretRef: {name: cloudflare, key: token}}`
	http01      = `{http01: {ingress: {className: haproxy}}}`
	someStripe  = `{apiKeySecretRef: {name: stripe, key: apiKey}, webhookSecretRefs: [{name: stripe, key: webhookSecret}]}`
	someMail    = `{urlSecretRef: {name: smtp, key: url}, from: shop@example.com}`
	uri         = `{uriSecretRef: {name: database, key: uri}}`
)

var storeRules = []rule{
	{
		name:  "A name can become part of a Service's name",
		field: "", accepted: `metadata: {name: a-shop-7}`, refused: `metadata: {name: 7shop}`,
		says: []string{"metadata.name", "starting with a letter"},
	}, {
		name:  "A name has no dots",
		field: "", accepted: `metadata: {name: s}`, refused: `metadata: {name: shop.example}`,
		says: []string{"metadata.name", "letters, digits and '-'"},
	}, {
		name:  "A name is at most 63 characters long",
		field: "", accepted: "metadata: {name: " + strings.Repeat("s", 63) + "}", refused: "metadata: {name: " + strings.Repeat("s", 64) + "}",
		says: []string{"metadata.name", "at most 63"},
	}, {
		name:     "A proxy in front of a store that speaks TLS is named as trusted",
		field:    "spec",
		accepted: `{tls: {disabled: null, secretName: shop-tls}, exposure: {ingress: {className: haproxy}}, security: {trustedProxies: [10.0.0.0/8]}}`,
		refused:  `{tls: {disabled: null, secretName: shop-tls}, exposure: {ingress: {className: haproxy}}}`,
		says:     []string{"security.trustedProxies", "add the CIDR of its pods"},
	}, {
		name:     "A Gateway in front of a store that speaks TLS is named as trusted",
		field:    "spec",
		accepted: `exposure: {gateway: {parentRefs: [{name: edge}]}}`,
		refused:  `{tls: {disabled: null, secretName: shop-tls}, exposure: {gateway: {parentRefs: [{name: edge}]}}, security: {trustedProxies: []}}`,
		says:     []string{"security.trustedProxies", "add the CIDR of its pods"},
	}, {
		name:     "HTTP-01 through a Gateway needs the Gateway",
		field:    "spec",
		accepted: `{` + fmt.Sprintf(letsEncrypt, `{http01: {gateway: {}}}`) + `, exposure: {gateway: {parentRefs: [{name: edge}]}}, security: {trustedProxies: [10.0.0.0/8]}}`,
		refused:  fmt.Sprintf(letsEncrypt, `{http01: {gateway: {}}}`),
		says:     []string{"tls.letsEncrypt.solver.http01.gateway", "set exposure.gateway.parentRefs"},
	}, {
		name:     "A domain is a full host name",
		field:    "spec.domains",
		accepted: `domains: [a.example, xn--bcher-kva.example.com, 1.2.example]`, refused: `domains: [shop]`,
		says: []string{"spec.domains", "such as shop.example.com"},
	}, {
		name:     "A domain is not a URL",
		field:    "spec.domains",
		accepted: `domains: [shop.example.com, www.example.com]`, refused: `domains: ["https://shop.example.com/"]`,
		says: []string{"spec.domains", "no scheme, port, path or '*'"},
	}, {
		name:     "A domain is not a wildcard",
		field:    "spec.domains",
		accepted: `domains: [shop.example.com]`, refused: `domains: ["*.example.com"]`,
		says: []string{"spec.domains", "no scheme, port, path or '*'"},
	}, {
		name:     "A domain is in lower case",
		field:    "spec.domains",
		accepted: `domains: [shop.example.com]`, refused: `domains: [Shop.example.com]`,
		says: []string{"spec.domains", "in lower case"},
	}, {
		name:     "A label of a domain is at most 63 characters long",
		field:    "spec.domains",
		accepted: `domains: [` + strings.Repeat("d", 63) + `.example.com]`, refused: `domains: [` + strings.Repeat("d", 64) + `.example.com]`,
		says: []string{"spec.domains", "full host names"},
	}, {
		name:     "Domains do not repeat",
		field:    "spec.domains",
		accepted: `domains: [a.example.com, b.example.com]`, refused: `domains: [a.example.com, b.example.com, a.example.com]`,
		says: []string{"spec.domains", "remove the second mention"},
	}, {
		name:     "An image has a tag or a digest, not both",
		field:    "spec.image",
		accepted: `image: {digest: "sha256:` + strings.Repeat("0f", 32) + `"}`,
		refused:  `image: {tag: "1.4.2", digest: "sha256:` + strings.Repeat("0f", 32) + `"}`,
		says:     []string{"image.tag", "image.digest", "keep the digest"},
	}, {
		name:     "An image has a version",
		field:    "spec.image",
		accepted: `image: {repository: "registry.example.com:5000/team/gocart", tag: latest}`, refused: `image: {repository: registry.example.com/gocart}`,
		says: []string{"spec.image", "set image.tag, or image.digest"},
	}, {
		name:     "An image's repository holds no tag",
		field:    "spec.image.repository",
		accepted: `image: {repository: localhost/gocart_runtime, tag: "1"}`, refused: `image: {repository: "gocart:1.4.2", tag: "1"}`,
		says: []string{"image.repository", "the tag goes in image.tag"},
	}, {
		name:     "An image's tag is one tag",
		field:    "spec.image.tag",
		accepted: `image: {tag: v1.4.2-rc.1_arm}`, refused: `image: {tag: "1.4.2,1.4.3"}`,
		says: []string{"image.tag", "name one tag"},
	}, {
		name:     "An image's digest is a SHA-256",
		field:    "spec.image.digest",
		accepted: `image: {digest: "sha256:` + strings.Repeat("a1", 32) + `"}`, refused: `image: {digest: "sha256:abc"}`,
		says: []string{"image.digest", "64 hexadecimal digits"},
	}, {
		name:     "A pull secret is named once",
		field:    "spec.image.pullSecrets",
		accepted: `image: {tag: "1", pullSecrets: [{name: a}, {name: b}]}`, refused: `image: {tag: "1", pullSecrets: [{name: a}, {name: a}]}`,
		says: []string{"spec.image.pullSecrets[1]", "Duplicate value"},
	}, {
		name:     "The API is either scaled by hand or by itself",
		field:    "spec.api",
		accepted: `api: {autoscaling: {maxReplicas: 4}}`, refused: `api: {replicas: 2, autoscaling: {maxReplicas: 4}}`,
		says: []string{"api.replicas", "remove api.replicas"},
	}, {
		name:     "The worker is either scaled by hand or by itself",
		field:    "spec.worker",
		accepted: `worker: {replicas: 2}`, refused: `worker: {replicas: 0, autoscaling: {maxReplicas: 4}}`,
		says: []string{"worker.replicas", "remove worker.replicas"},
	}, {
		name:     "The API's autoscaling has room between its bounds",
		field:    "spec.api.autoscaling",
		accepted: `api: {autoscaling: {minReplicas: 4, maxReplicas: 4}}`, refused: `api: {autoscaling: {minReplicas: 5, maxReplicas: 4}}`,
		says: []string{"spec.api.autoscaling", "lower one or raise the other"},
	}, {
		name:     "The worker's autoscaling has room between its bounds",
		field:    "spec.worker.autoscaling",
		accepted: `worker: {autoscaling: {minReplicas: 1, maxReplicas: 1}}`, refused: `worker: {autoscaling: {minReplicas: 2, maxReplicas: 1}}`,
		says: []string{"spec.worker.autoscaling", "lower one or raise the other"},
	}, {
		name:     "A job waits for a second at least before there are more workers",
		field:    "spec.worker.autoscaling.maxAge",
		accepted: `worker: {autoscaling: {minReplicas: 0, maxReplicas: 4, maxAge: 24h}}`, refused: `worker: {autoscaling: {maxReplicas: 4, maxAge: 0s}}`,
		says: []string{"autoscaling.maxAge must be between 1s and 24h"},
	}, {
		name:     "Workers are kept for an hour at most",
		field:    "spec.worker.autoscaling.scaleDownAfter",
		accepted: `worker: {autoscaling: {maxReplicas: 4, scaleDownAfter: 0s}}`, refused: `worker: {autoscaling: {maxReplicas: 4, scaleDownAfter: 61m}}`,
		says: []string{"autoscaling.scaleDownAfter must be between 0s and 1h"},
	}, {
		name:     "A queue is named once",
		field:    "spec.worker.queues",
		accepted: `worker: {queues: [low, high]}`, refused: `worker: {queues: [low, low]}`,
		says: []string{"spec.worker.queues[1]", "Duplicate value"},
	}, {
		name:     "TLS has a source",
		field:    "spec.tls",
		accepted: `tls: {disabled: false, secretName: shop-tls}`, refused: `tls: {disabled: false}`,
		says: []string{"spec.tls", "exactly one of letsEncrypt, issuerRef, secretName and disabled", "set one"},
	}, {
		name:     "TLS has one source only",
		field:    "spec.tls",
		accepted: `tls: {disabled: null, issuerRef: {name: ca}}`, refused: `tls: {disabled: null, issuerRef: {name: ca}, secretName: shop-tls}`,
		says: []string{"spec.tls", "exactly one of", "remove the others"},
	}, {
		name:     "HSTS goes with TLS only",
		field:    "spec.tls",
		accepted: `tls: {disabled: null, secretName: shop-tls, hsts: {}}`, refused: `tls: {disabled: true, hsts: {}}`,
		says: []string{"tls.hsts", "remove tls.hsts, or tls.disabled"},
	}, {
		name:     "HSTS preload needs a year",
		field:    "spec.tls.hsts",
		accepted: `tls: {disabled: null, secretName: shop-tls, hsts: {preload: true}}`,
		refused:  `tls: {disabled: null, secretName: shop-tls, hsts: {preload: true, maxAgeSeconds: 31535999}}`,
		says:     []string{"tls.hsts.preload", "maxAgeSeconds of at least 31536000", "raise them or remove preload"},
	}, {
		name:     "HSTS preload needs subdomains",
		field:    "spec.tls.hsts",
		accepted: `tls: {disabled: null, secretName: shop-tls, hsts: {preload: true, includeSubDomains: true, maxAgeSeconds: 63072000}}`,
		refused:  `tls: {disabled: null, secretName: shop-tls, hsts: {preload: true, includeSubDomains: false}}`,
		says:     []string{"tls.hsts.preload", "includeSubDomains: true"},
	}, {
		name:     "Renewal is at least five minutes before expiry",
		field:    "spec.tls.renewBefore",
		accepted: `tls: {renewBefore: 5m}`, refused: `tls: {renewBefore: 4m59s}`,
		says: []string{"tls.renewBefore", "between 5m and 8760h"},
	}, {
		name:     "Renewal is at most a year before expiry",
		field:    "spec.tls.renewBefore",
		accepted: `tls: {renewBefore: 8760h}`, refused: `tls: {renewBefore: 8760h1s}`,
		says: []string{"tls.renewBefore", "between 5m and 8760h"},
	}, {
		name:     "Renewal is not given in days",
		field:    "spec.tls.renewBefore",
		accepted: `tls: {renewBefore: 720h}`, refused: `tls: {renewBefore: 30d}`,
		says: []string{"tls.renewBefore", "write it as hours, such as 720h"},
	}, {
		name:     "Let's Encrypt is given an e-mail address",
		field:    "spec.tls.letsEncrypt.email",
		accepted: fmt.Sprintf(letsEncrypt, http01), refused: strings.Replace(fmt.Sprintf(letsEncrypt, http01), "ops@example.com", `"ops at example.com"`, 1),
		says: []string{"tls.letsEncrypt.email", "such as ops@example.com"},
	}, {
		name:     "An e-mail address holds no space",
		field:    "spec.tls.letsEncrypt.email",
		accepted: strings.Replace(fmt.Sprintf(letsEncrypt, http01), "ops@example.com", `s.s+ops@ssl.example.com`, 1),
		refused:  strings.Replace(fmt.Sprintf(letsEncrypt, http01), "ops@example.com", `"o ps@example.com"`, 1),
		says:     []string{"tls.letsEncrypt.email", "such as ops@example.com"},
	}, {
		name:     "A solver is HTTP-01 or DNS-01",
		field:    "spec.tls.letsEncrypt.solver",
		accepted: fmt.Sprintf(letsEncrypt, `{dns01: {rfc2136: `+rfc2136+`}}`), refused: fmt.Sprintf(letsEncrypt, `{}`),
		says: []string{"tls.letsEncrypt.solver", "exactly one of http01 and dns01", "set one"},
	}, {
		name:     "A solver is not HTTP-01 and DNS-01 at once",
		field:    "spec.tls.letsEncrypt.solver",
		accepted: fmt.Sprintf(letsEncrypt, http01),
		refused:  fmt.Sprintf(letsEncrypt, `{http01: {ingress: {className: a}}, dns01: {cloudflare: `+cloudflare+`}}`),
		says:     []string{"tls.letsEncrypt.solver", "exactly one of http01 and dns01", "remove the other"},
	}, {
		name:     "HTTP-01 goes through an Ingress or a Gateway",
		field:    "spec.tls.letsEncrypt.solver.http01",
		accepted: fmt.Sprintf(letsEncrypt, http01), refused: fmt.Sprintf(letsEncrypt, `{http01: {}}`),
		says: []string{"solver.http01", "exactly one of ingress and gateway", "set one"},
	}, {
		name:     "DNS-01 goes to one provider",
		field:    "spec.tls.letsEncrypt.solver.dns01",
		accepted: fmt.Sprintf(letsEncrypt, `{dns01: {cloudflare: `+cloudflare+`}}`),
		refused:  fmt.Sprintf(letsEncrypt, `{dns01: {cloudflare: `+cloudflare+`, rfc2136: `+rfc2136+`}}`),
		says:     []string{"solver.dns01", "exactly one of rfc2136 and cloudflare", "make a cert-manager issuer"},
	}, {
		name:     "A trusted proxy is a CIDR",
		field:    "spec.security.trustedProxies",
		accepted: `security: {trustedProxies: [10.0.0.0/8, 192.0.2.7/32, "fd00::/8"]}`, refused: `security: {trustedProxies: [192.0.2.7]}`,
		says: []string{"security.trustedProxies", "write a single address as /32 or /128"},
	}, {
		name:     "A trusted proxy is named once",
		field:    "spec.security.trustedProxies",
		accepted: `security: {trustedProxies: []}`, refused: `security: {trustedProxies: [10.0.0.0/8, 10.0.0.0/8]}`,
		says: []string{"spec.security.trustedProxies[1]", "Duplicate value"},
	}, {
		name:     "A content security policy is one line",
		field:    "spec.security.headers.contentSecurityPolicy",
		accepted: `security: {headers: {contentSecurityPolicy: ""}}`, refused: `security: {headers: {contentSecurityPolicy: "default-src 'self'\nSet-Cookie: a"}}`,
		says: []string{"spec.security.headers.contentSecurityPolicy", "remove the line break"},
	}, {
		name:     "A permissions policy is one line",
		field:    "spec.security.headers.permissionsPolicy",
		accepted: `security: {headers: {permissionsPolicy: "camera=(), geolocation=()"}}`, refused: `security: {headers: {permissionsPolicy: "camera=()\r"}}`,
		says: []string{"spec.security.headers.permissionsPolicy", "remove the line break"},
	}, {
		name:     "Credentials are not for every origin",
		field:    "spec.security.cors",
		accepted: `security: {cors: {allowedOrigins: ["https://www.example.com"], allowCredentials: true}}`,
		refused:  `security: {cors: {allowedOrigins: ["*"], allowCredentials: true}}`,
		says:     []string{"security.cors.allowCredentials", "name the origins"},
	}, {
		name:     "An origin has no path",
		field:    "spec.security.cors.allowedOrigins",
		accepted: `security: {cors: {allowedOrigins: ["*", "http://localhost:3000"]}}`, refused: `security: {cors: {allowedOrigins: ["https://www.example.com/"]}}`,
		says: []string{"security.cors.allowedOrigins", "no path and no trailing slash"},
	}, {
		name:     "An origin is named once",
		field:    "spec.security.cors.allowedOrigins",
		accepted: `security: {cors: {allowedOrigins: ["https://a.example", "https://b.example"]}}`, refused: `security: {cors: {allowedOrigins: ["https://a.example", "https://a.example"]}}`,
		says: []string{"spec.security.cors.allowedOrigins[1]", "Duplicate value"},
	}, {
		name:     "A preflight is remembered for a day at most",
		field:    "spec.security.cors.maxAge",
		accepted: `security: {cors: {allowedOrigins: ["*"], maxAge: 24h}}`, refused: `security: {cors: {allowedOrigins: ["*"], maxAge: 25h}}`,
		says: []string{"security.cors.maxAge", "between 0s and 24h"},
	}, {
		name:     "A preflight is not remembered for less than nothing",
		field:    "spec.security.cors.maxAge",
		accepted: `security: {cors: {allowedOrigins: ["*"], maxAge: 0s}}`, refused: `security: {cors: {allowedOrigins: ["*"], maxAge: -1s}}`,
		says: []string{"security.cors.maxAge", "between 0s and 24h"},
	}, {
		name:     "A database is of one kind",
		field:    "spec.database",
		accepted: `database: {external: ` + uri + `}`, refused: `database: {external: ` + uri + `, managed: {}}`,
		says: []string{"spec.database", "exactly one of managed, external and cloudNativePG", "remove the others"},
	}, {
		name:     "A database that is written is of some kind",
		field:    "spec.database",
		accepted: `database: {managed: {}, maxConnections: 20}`, refused: `database: {maxConnections: 20}`,
		says: []string{"spec.database", "exactly one of managed, external and cloudNativePG", "set one"},
	}, {
		name:     "Redis is of one kind",
		field:    "spec.redis",
		accepted: `redis: {external: {urlSecretRef: {name: redis, key: url}}}`, refused: `redis: {external: {urlSecretRef: {name: redis, key: url}}, managed: {}}`,
		says: []string{"spec.redis", "exactly one of managed and external", "remove the other"},
	}, {
		name:     "A store is behind an Ingress or a Gateway, not both",
		field:    "spec.exposure",
		accepted: `exposure: {ingress: {className: haproxy}}`, refused: `exposure: {ingress: {className: haproxy}, gateway: {parentRefs: [{name: edge}]}}`,
		says: []string{"exposure.ingress", "exposure.gateway", "keep the one"},
	}, {
		name:     "A load balancer's class needs a load balancer",
		field:    "spec.exposure.service",
		accepted: `exposure: {service: {type: LoadBalancer, loadBalancerClass: example.com/internal}}`, refused: `exposure: {service: {loadBalancerClass: example.com/internal}}`,
		says: []string{"exposure.service.loadBalancerClass", "type: LoadBalancer", "set it or remove the class"},
	}, {
		name:     "An external traffic policy needs a way in from outside",
		field:    "spec.exposure.service",
		accepted: `exposure: {service: {type: NodePort, externalTrafficPolicy: Local}}`, refused: `exposure: {service: {type: ClusterIP, externalTrafficPolicy: Local}}`,
		says: []string{"exposure.service.externalTrafficPolicy", "type: LoadBalancer or NodePort", "remove the policy"},
	}, {
		name:     "The test payment provider is for stores in development",
		field:    "spec",
		accepted: `mode: Development, payments: {test: {enabled: true}}`, refused: `payments: {test: {enabled: true}}`,
		says: []string{"payments.test.enabled", "refused in production", "mode: Development"},
	}, {
		name:     "What buyers are told of Stripe is no secret",
		field:    "spec.payments.stripe.publishableKey",
		accepted: `payments: {stripe: {apiKeySecretRef: {name: stripe, key: apiKey}, publishableKey: pk_live_1}}`,
		refused:  `payments: {stripe: {apiKeySecretRef: {name: stripe, key: apiKey}, publishableKey: sk_live_1}}`,
		says:     []string{"payments.stripe.publishableKey", "must begin with pk_", "Secret"},
	}, {
		name:     "Another server than Stripe is for stores in development",
		field:    "spec",
		accepted: `mode: Development, payments: {stripe: {apiKeySecretRef: {name: stripe, key: apiKey}, apiBase: "http://stripe-mock:12111"}}`,
		refused:  `payments: {stripe: {apiKeySecretRef: {name: stripe, key: apiKey}, apiBase: "http://stripe-mock:12111"}}`,
		says:     []string{"payments.stripe.apiBase", "refused in production", "mode: Development"},
	}, {
		name:     "Another server than Stripe has an address",
		field:    "spec.payments.stripe.apiBase",
		accepted: `mode: Development, payments: {stripe: {apiKeySecretRef: {name: stripe, key: apiKey}, apiBase: "https://stripe.example:12111"}}`,
		refused:  `mode: Development, payments: {stripe: {apiKeySecretRef: {name: stripe, key: apiKey}, apiBase: "ftp://stripe.example/v1"}}`,
		says:     []string{"payments.stripe.apiBase", "such as http://stripe-mock:12111", "without a path"},
	}, {
		name:     "Payments are compared with those of a while",
		field:    "spec.payments.reconcileWindow",
		accepted: `payments: {reconcileWindow: 2160h}`, refused: `payments: {reconcileWindow: 2161h}`,
		says: []string{"payments.reconcileWindow", "between 1h and 2160h"},
	}, {
		name:     "The sender of mail may have a name",
		field:    "spec.mail.from",
		accepted: `mail: {urlSecretRef: {name: smtp, key: url}, from: "Bücher & Mehr <shop@example.com>"}`,
		refused:  `mail: {urlSecretRef: {name: smtp, key: url}, from: "shop@example.com <Demo shop>"}`,
		says:     []string{"mail.from", "such as Demo shop <shop@example.com>"},
	}, {
		name:     "The sender of mail is an address",
		field:    "spec.mail.from",
		accepted: `mail: ` + someMail, refused: `mail: {urlSecretRef: {name: smtp, key: url}, from: "a..b@example.com"}`,
		says: []string{"mail.from", "such as shop@example.com"},
	}, {
		name:     "The sender of mail adds no header",
		field:    "spec.mail.from",
		accepted: `mail: ` + someMail, refused: `mail: {urlSecretRef: {name: smtp, key: url}, from: "Shop\nBcc: <all@example.com>"}`,
		says: []string{"mail.from", "such as shop@example.com"},
	}, {
		name:     "Staff are told at bare addresses",
		field:    "spec.mail.staff",
		accepted: `mail: {urlSecretRef: {name: smtp, key: url}, from: s@example.com, staff: [ops@example.com, o.p-s+low@example.com]}`,
		refused:  `mail: {urlSecretRef: {name: smtp, key: url}, from: s@example.com, staff: ["Ops <ops@example.com>"]}`,
		says:     []string{"mail.staff", "no names and no brackets"},
	}, {
		name:     "Staff are told once",
		field:    "spec.mail.staff",
		accepted: `mail: {urlSecretRef: {name: smtp, key: url}, from: s@example.com, staff: [a@example.com, b@example.com]}`,
		refused:  `mail: {urlSecretRef: {name: smtp, key: url}, from: s@example.com, staff: [a@example.com, a@example.com]}`,
		says:     []string{"spec.mail.staff[1]", "Duplicate value"},
	}, {
		name:     "A store speaks a language",
		field:    "spec.locale",
		accepted: `locale: de`, refused: `locale: German`,
		says: []string{"locale", "such as de or pt-BR"},
	}, {
		name:     "A language may be that of a region",
		field:    "spec.locale",
		accepted: `locale: pt-BR`, refused: `locale: pt_BR`,
		says: []string{"locale", "the region in upper case"},
	}, {
		name:     "A volume of reports is held in each way once",
		field:    "spec.reports.volume.accessModes",
		accepted: `reports: {volume: {accessModes: [ReadWriteMany, ReadWriteOnce]}}`, refused: `reports: {volume: {accessModes: [ReadWriteMany, ReadWriteMany]}}`,
		says: []string{"spec.reports.volume.accessModes[1]", "Duplicate value"},
	}, {
		name:     "A cached answer lives for a second at least",
		field:    "spec.cache.ttl",
		accepted: `cache: {ttl: 1s}`, refused: `cache: {ttl: 0s}`,
		says: []string{"cache.ttl", "between 1s and 24h", "cache.enabled: false"},
	}, {
		name:     "A cached answer lives for a day at most",
		field:    "spec.cache.ttl",
		accepted: `cache: {ttl: 24h}`, refused: `cache: {ttl: 24h1s}`,
		says: []string{"cache.ttl", "between 1s and 24h"},
	}, {
		name:     "Metrics are read once a second at most",
		field:    "spec.observability.serviceMonitor.interval",
		accepted: `observability: {serviceMonitor: {interval: 1s}}`, refused: `observability: {serviceMonitor: {interval: 999ms}}`,
		says: []string{"observability.serviceMonitor.interval", "between 1s and 1h"},
	}, {
		name:     "Metrics are read once an hour at least",
		field:    "spec.observability.serviceMonitor.interval",
		accepted: `observability: {serviceMonitor: {interval: 1h}}`, refused: `observability: {serviceMonitor: {interval: 61m}}`,
		says: []string{"observability.serviceMonitor.interval", "between 1s and 1h"},
	},
}

// transitions are rules between an object and what it was.
var transitions = []struct {
	name, field               string
	before, accepted, refused string
	says                      []string
}{
	{
		name:     "A managed database does not become an external one",
		field:    "spec.database",
		before:   `database: {managed: {}}`,
		accepted: `database: {managed: {}, maxConnections: 20}`,
		refused:  `database: {managed: null, external: ` + uri + `}`,
		says:     []string{"spec.database", "can not move between managed and another kind", "create a second Store"},
	}, {
		name:     "An external database does not become a managed one",
		field:    "spec.database",
		before:   `database: {external: ` + uri + `}`,
		accepted: `database: {external: {uriSecretRef: {name: another, key: uri}}}`,
		refused:  `database: {external: null, managed: {}}`,
		says:     []string{"spec.database", "can not move between managed and another kind", "create a second Store"},
	}, {
		name:     "A managed database does not fall out of the spec",
		field:    "spec.database",
		before:   `database: {managed: {storage: {size: 2Gi}}}`,
		accepted: `database: {managed: {storage: {size: 2Gi}, image: "postgres:18"}}`,
		refused:  `database: null`,
		says:     []string{"spec.database.managed.storage", "expand the PersistentVolumeClaim"},
	}, {
		name:     "A managed database's volume keeps its size",
		field:    "spec.database.managed.storage",
		before:   `database: {managed: {storage: {size: 2Gi, className: fast}}}`,
		accepted: `database: {managed: {storage: {size: 2Gi, className: fast}, resources: {limits: {memory: 1Gi}}}}`,
		refused:  `database: {managed: {storage: {size: 3Gi, className: fast}}}`,
		says:     []string{"spec.database.managed.storage", "expand the PersistentVolumeClaim"},
	}, {
		name:     "A managed Redis' volume keeps its class",
		field:    "spec.redis.managed.storage",
		before:   `redis: {managed: {storage: {className: fast}}}`,
		accepted: `redis: {managed: {storage: {className: fast}, image: "redis:8"}}`,
		refused:  `redis: {managed: {storage: {className: slow}}}`,
		says:     []string{"spec.redis.managed.storage", "expand the PersistentVolumeClaim"},
	}, {
		name:     "The volume of reports keeps its size",
		field:    "spec.reports.volume",
		before:   `reports: {volume: {size: 2Gi}}`,
		accepted: `reports: null`,
		refused:  `reports: {volume: {size: 3Gi}}`,
		says:     []string{"reports.volume can not be changed in place", "expand the PersistentVolumeClaim"},
	}, {
		name:     "Redis holds only what may be lost, so it may move",
		field:    "spec.redis",
		before:   `redis: {managed: {}}`,
		accepted: `redis: {managed: null, external: {urlSecretRef: {name: redis, key: url}}}`,
		refused:  `redis: {managed: null}`,
		says:     []string{"spec.redis", "exactly one of managed and external"},
	},
}

func TestTransitions(t *testing.T) {
	c := cluster.Client(t)
	for _, tc := range transitions {
		t.Run(tc.name, func(t *testing.T) {
			namespace := cluster.Namespace(t)
			before := store(t, namespace, tc.before)
			if err := c.Create(t.Context(), before); err != nil {
				t.Fatalf("creating what was: %v", err)
			}
			expectRefusal(t, patchSpec(t, c, before, tc.refused), tc.says...)
			if err := patchSpec(t, c, before, tc.accepted); err != nil {
				t.Errorf("a change that keeps the rule is refused: %v", err)
			}
		})
	}
}

func TestAnUnknownFieldIsRefusedByStrictValidation(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	for _, patch := range []string{`replicas: 2`, `api: {replica: 2}`, `tls: {disabled: true, minimumVersion: "1.3"}`} {
		err := c.Create(t.Context(), store(t, namespace, patch), client.DryRunAll, client.FieldValidation("Strict"))
		if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), `unknown field "spec.`) {
			t.Errorf("%s: want a bad request that names the unknown field, got %v", patch, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	c, namespace := cluster.Client(t), cluster.Namespace(t)
	cases := []struct {
		name, patch string
		field       string
		want        any
	}{
		{"Data is kept", ``, "deletionPolicy", "Retain"},
		{"A store is for real buyers", ``, "mode", "Production"},
		{"A database left out is managed", ``, "database", map[string]any{"managed": map[string]any{"storage": map[string]any{}}}},
		{"A Redis left out is managed", ``, "redis", map[string]any{"managed": map[string]any{"storage": map[string]any{}}}},
		{"An external database is not managed too", `database: {external: ` + uri + `}`, "database", map[string]any{"external": map[string]any{"uriSecretRef": map[string]any{"name": "database", "key": "uri"}}}},
		{"TLS 1.3 is the least that is spoken", ``, "tls.minVersion", "1.3"},
		{"A certificate is renewed 30 days before expiry", ``, "tls.renewBefore", "720h"},
		{"HSTS lasts a year", `tls: {disabled: null, secretName: s, hsts: {}}`, "tls.hsts.maxAgeSeconds", int64(31536000)},
		{"HSTS holds for subdomains", `tls: {disabled: null, secretName: s, hsts: {}}`, "tls.hsts.includeSubDomains", true},
		{"HSTS is not preloaded", `tls: {disabled: null, secretName: s, hsts: {}}`, "tls.hsts.preload", false},
		{"HSTS is the operator's to decide when left out", `tls: {disabled: null, secretName: s}`, "tls.hsts", nil},
		{"An issuer is of the Store's namespace", `tls: {disabled: null, issuerRef: {name: ca}}`, "tls.issuerRef", map[string]any{"name": "ca", "kind": "Issuer", "group": "cert-manager.io"}},
		{"Let's Encrypt is the real one", fmt.Sprintf(letsEncrypt, http01), "tls.letsEncrypt.environment", "Production"},
		{"A TSIG key is HMAC-SHA-256", fmt.Sprintf(letsEncrypt, `{dns01: {rfc2136: `+rfc2136+`}}`), "tls.letsEncrypt.solver.dns01.rfc2136.tsigAlgorithm", "HMACSHA256"},
		{"An image is pulled when it is not present", `image: {tag: "1"}`, "image.pullPolicy", "IfNotPresent"},
		{"An image left out is not invented", ``, "image", nil},
		{"Replicas left out are not invented", `api: {}`, "api", map[string]any{}},
		{"No replicas are no replicas", `api: {replicas: 0}`, "api.replicas", int64(0)},
		{"Autoscaling starts at one pod", `api: {autoscaling: {maxReplicas: 3}}`, "api.autoscaling.minReplicas", int64(1)},
		{"Autoscaling aims at 70% of the CPU", `api: {autoscaling: {maxReplicas: 3}}`, "api.autoscaling.targetCPUUtilizationPercentage", int64(70)},
		{"Workers are scaled by the operator, one for every hundred jobs that wait", `worker: {autoscaling: {maxReplicas: 3}}`, "worker.autoscaling",
			map[string]any{"provider": "Native", "minReplicas": int64(1), "maxReplicas": int64(3), "targetWaitingPerReplica": int64(100), "maxAge": "30s", "scaleDownAfter": "2m"}},
		{"A preflight is remembered for ten minutes", `security: {cors: {allowedOrigins: ["*"]}}`, "security.cors.maxAge", "10m"},
		{"A Service is inside the cluster", `exposure: {}`, "exposure.service.type", "ClusterIP"},
		{"A cache that is written is on", `cache: {ttl: 5s}`, "cache.enabled", true},
		{"A cache can be off", `cache: {enabled: false}`, "cache.enabled", false},
		{"Metrics are read every 30 seconds", `observability: {serviceMonitor: {}}`, "observability.serviceMonitor.interval", "30s"},
		{"A network policy that is written is on", `networkPolicy: {}`, "networkPolicy.enabled", true},
		{"A network policy can be off", `networkPolicy: {enabled: false}`, "networkPolicy.enabled", false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			object := store(t, namespace, tc.patch)
			if err := dryRun(t, c, object); err != nil {
				t.Fatal(err)
			}
			got, _, err := unstructured.NestedFieldNoCopy(object.Object, append([]string{"spec"}, strings.Split(tc.field, ".")...)...)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("spec.%s is %#v, want %#v", tc.field, got, tc.want)
			}
		})
	}
}
