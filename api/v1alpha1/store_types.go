package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Store is an online store: the commerce runtime's API and workers, its
// database and Redis, its certificate and the way in.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=sto,categories=all;gocart
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.api.replicas,statuspath=.status.api.desiredReplicas,selectorpath=.status.api.selector
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.status.url`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="API",type=string,JSONPath=`.status.api.ready`
// +kubebuilder:printcolumn:name="Worker",type=string,JSONPath=`.status.worker.ready`
// +kubebuilder:printcolumn:name="Certificate",type=string,JSONPath=`.status.certificate.notAfter`,priority=1
// +kubebuilder:printcolumn:name="Database",type=string,JSONPath=`.status.database.version`,priority=1
// +kubebuilder:printcolumn:name="Redis",type=string,JSONPath=`.status.redis.version`,priority=1
// +kubebuilder:printcolumn:name="Image",type=string,JSONPath=`.status.image.current`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name becomes part of Service names: use at most 63 lower-case letters, digits and '-', starting with a letter"
type Store struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the store that is wanted.
	// +required
	Spec StoreSpec `json:"spec"`
	// status is what was found; it speaks of the generation in observedGeneration.
	// +optional
	Status StoreStatus `json:"status,omitempty"`
}

// StoreList is a list of Stores.
//
// +kubebuilder:object:root=true
type StoreList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Store `json:"items"`
}

// DeletionPolicy says what becomes of data when its Store is deleted.
// +kubebuilder:validation:Enum=Retain;Delete
type DeletionPolicy string

const (
	// DeletionPolicyRetain keeps the database's and Redis' volumes and the
	// generated passwords, so that a Store of the same name finds them again.
	DeletionPolicyRetain DeletionPolicy = "Retain"
	// DeletionPolicyDelete removes them with the Store.
	DeletionPolicyDelete DeletionPolicy = "Delete"
)

// StoreMode says whether a store is for real buyers.
// +kubebuilder:validation:Enum=Production;Development
type StoreMode string

const (
	// StoreModeProduction takes nothing that is only for trying.
	StoreModeProduction StoreMode = "Production"
	// StoreModeDevelopment takes test API keys and the test payment provider.
	StoreModeDevelopment StoreMode = "Development"
)

// StoreSpec is the store that is wanted.
//
// +kubebuilder:validation:XValidation:rule="!has(self.payments) || !has(self.payments.test) || !self.payments.test.enabled || (has(self.mode) && self.mode == 'Development')",message="payments.test.enabled takes no money and is refused in production: remove payments.test, or set mode: Development"
// +kubebuilder:validation:XValidation:rule="!has(self.payments) || !has(self.payments.stripe) || !has(self.payments.stripe.apiBase) || (has(self.mode) && self.mode == 'Development')",message="payments.stripe.apiBase is for trying and is refused in production: remove it, or set mode: Development"
// +kubebuilder:validation:XValidation:rule="!has(self.exposure) || (!has(self.exposure.ingress) && !has(self.exposure.gateway)) || (has(self.tls.disabled) && self.tls.disabled) || (has(self.security) && has(self.security.trustedProxies) && self.security.trustedProxies.size() > 0)",message="security.trustedProxies must name the addresses of the proxy behind exposure.ingress or exposure.gateway: add the CIDR of its pods, or its requests would all be redirected to HTTPS"
// +kubebuilder:validation:XValidation:rule="!has(self.tls.letsEncrypt) || !has(self.tls.letsEncrypt.solver.http01) || !has(self.tls.letsEncrypt.solver.http01.gateway) || (has(self.exposure) && has(self.exposure.gateway))",message="tls.letsEncrypt.solver.http01.gateway needs exposure.gateway: set exposure.gateway.parentRefs, or solve by http01.ingress or dns01"
type StoreSpec struct {
	// paused stops the operator from changing anything of this store; what
	// runs goes on running. Status is still reported.
	// +optional
	Paused bool `json:"paused,omitempty"`

	// deletionPolicy says what becomes of data when the Store is deleted:
	// Retain (the default) keeps volumes and passwords, Delete removes them.
	// TLS secrets are kept either way, for issuers limit how often a name may be asked for.
	// +optional
	// +kubebuilder:default=Retain
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// mode is Production, or Development, in which test API keys and the test
	// payment provider are taken. By default Production.
	// +optional
	// +kubebuilder:default=Production
	Mode StoreMode `json:"mode,omitempty"`

	// image is the runtime's image. When left out, the operator chooses its own
	// release's image as the store is created, and keeps to that choice: an
	// upgrade of the operator never rolls a store.
	// +optional
	Image *ImageSpec `json:"image,omitempty"`

	// domains are the host names that the store answers to; the first is the
	// canonical one, of status.url and of redirects.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.all(d, d.matches('^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])+[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$'))",message="domains must be full host names in lower case, such as shop.example.com: no scheme, port, path or '*'"
	// +kubebuilder:validation:XValidation:rule="self.all(d, self.exists_one(e, e == d))",message="domains must not repeat: remove the second mention"
	Domains []string `json:"domains"`

	// api serves HTTP.
	// +optional
	API APISpec `json:"api,omitempty"`

	// worker runs background jobs.
	// +optional
	Worker WorkerSpec `json:"worker,omitempty"`

	// tls says where the certificate comes from and how it is served.
	// +required
	TLS TLSSpec `json:"tls"`

	// security holds headers, CORS and the proxies that are trusted.
	// +optional
	Security *SecuritySpec `json:"security,omitempty"`

	// database is PostgreSQL: exactly one of managed, external, cloudNativePG.
	// It can not move to or from managed afterwards: moving data is not the operator's to guess.
	// +optional
	// +kubebuilder:default={managed: {}}
	Database DatabaseSpec `json:"database,omitempty,omitzero"`

	// redis holds what may be lost: exactly one of managed, external.
	// +optional
	// +kubebuilder:default={managed: {}}
	Redis RedisSpec `json:"redis,omitempty,omitzero"`

	// exposure is the way in. By default a ClusterIP Service.
	// +optional
	Exposure *ExposureSpec `json:"exposure,omitempty"`

	// cache keeps answers to catalogue queries in Redis.
	// +optional
	Cache *CacheSpec `json:"cache,omitempty"`

	// payments says how buyers may pay, beside what is paid outside of the store.
	// +optional
	Payments *PaymentsSpec `json:"payments,omitempty"`

	// mail says how the store sends mail. Without it the store tells nobody anything by mail.
	// +optional
	Mail *MailSpec `json:"mail,omitempty"`

	// reports gives the jobs that write reports a place for them. Without it there are none.
	// +optional
	Reports *ReportsSpec `json:"reports,omitempty"`

	// webhooks says where other programs may be told of events.
	// +optional
	Webhooks *WebhooksSpec `json:"webhooks,omitempty"`

	// locale is the language that the store speaks where a customer has named
	// none, such as de or pt-BR. By default en.
	// +optional
	// +kubebuilder:validation:MaxLength=7
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]{2,3}(-([A-Z]{2}|[0-9]{3}))?$')",message="locale must be a language, or a language and a region, such as de or pt-BR: the language in lower case, the region in upper case"
	Locale string `json:"locale,omitempty"`

	// observability is logs and metrics.
	// +optional
	Observability *ObservabilitySpec `json:"observability,omitempty"`

	// networkPolicy limits who may connect to the store's pods.
	// +optional
	NetworkPolicy *NetworkPolicySpec `json:"networkPolicy,omitempty"`
}

// ImageSpec names a container image.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.tag) && has(self.digest))",message="image.tag and image.digest exclude each other: keep the digest to pin the image, or the tag to name a release"
// +kubebuilder:validation:XValidation:rule="has(self.tag) || has(self.digest)",message="image needs a version: set image.tag, or image.digest"
type ImageSpec struct {
	// repository is the image's name without tag or digest. By default the operator's.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9._-]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9]([a-z0-9._-]*[a-z0-9])?)*$')",message="image.repository must be a name such as registry.example.com/team/gocart-runtime: the tag goes in image.tag, the digest in image.digest"
	Repository string `json:"repository,omitempty"`
	// tag names a release, such as 1.4.2.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9_][A-Za-z0-9._-]*$')",message="image.tag may hold letters, digits, '_', '.' and '-': name one tag, such as 1.4.2"
	Tag string `json:"tag,omitempty"`
	// digest pins the image: sha256 and 64 hexadecimal digits.
	// +optional
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:XValidation:rule="self.matches('^sha256:[a-f0-9]{64}$')",message="image.digest must be sha256: followed by 64 hexadecimal digits"
	Digest string `json:"digest,omitempty"`
	// pullPolicy is the kubelet's; by default IfNotPresent.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	// +kubebuilder:default=IfNotPresent
	PullPolicy corev1.PullPolicy `json:"pullPolicy,omitempty"`
	// pullSecrets name Secrets of type kubernetes.io/dockerconfigjson in the Store's namespace.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=10
	PullSecrets []SecretName `json:"pullSecrets,omitempty"`
}

// SecretName names a Secret in the Store's namespace.
type SecretName struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// SecretKey names one key of a Secret in the Store's namespace.
type SecretKey struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// key within the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
}

// APISpec is the HTTP API's Deployment.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.replicas) && has(self.autoscaling))",message="api.replicas and api.autoscaling exclude each other: remove api.replicas to let the autoscaler decide"
type APISpec struct {
	WorkloadSpec `json:",inline"`

	// autoscaling lets a HorizontalPodAutoscaler decide the number of pods.
	// +optional
	Autoscaling *APIAutoscalingSpec `json:"autoscaling,omitempty"`
}

// WorkerSpec is the workers' Deployment.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.replicas) && has(self.autoscaling))",message="worker.replicas and worker.autoscaling exclude each other: remove worker.replicas to let the autoscaler decide"
type WorkerSpec struct {
	WorkloadSpec `json:",inline"`

	// autoscaling lets the jobs that wait decide the number of pods.
	// +optional
	Autoscaling *WorkerAutoscalingSpec `json:"autoscaling,omitempty"`
	// workers is how many workers a pod holds for each queue. By default 10.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Workers *int32 `json:"workers,omitempty"`
	// concurrency is how many jobs one worker works at once: a pod works workers
	// x concurrency jobs of each queue. By default 5.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Concurrency *int32 `json:"concurrency,omitempty"`
	// queues that these workers serve; by default all: high, normal, low.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	Queues []JobQueue `json:"queues,omitempty"`
}

// JobQueue is a queue of background jobs.
// +kubebuilder:validation:Enum=high;normal;low
type JobQueue string

// WorkloadSpec is what every Deployment of a store has.
type WorkloadSpec struct {
	// replicas is the number of pods: 1 by default; 0 stops them all.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Replicas *int32 `json:"replicas,omitempty"`
	// resources of the container. By default it requests 100m of CPU and
	// 128Mi of memory, limited to 512Mi.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// scheduling says where pods may run.
	// +optional
	Scheduling *SchedulingSpec `json:"scheduling,omitempty"`
}

// APIAutoscalingSpec bounds a HorizontalPodAutoscaler.
//
// +kubebuilder:validation:XValidation:rule="!has(self.minReplicas) || self.minReplicas <= self.maxReplicas",message="autoscaling.minReplicas must not be above autoscaling.maxReplicas: lower one or raise the other"
type APIAutoscalingSpec struct {
	// minReplicas is 1 by default.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +kubebuilder:default=1
	MinReplicas *int32 `json:"minReplicas,omitempty"`
	// maxReplicas bounds what a flood can cost.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxReplicas int32 `json:"maxReplicas"`
	// targetCPUUtilizationPercentage of the requested CPU, averaged over the pods. By default 70.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +kubebuilder:default=70
	TargetCPUUtilizationPercentage *int32 `json:"targetCPUUtilizationPercentage,omitempty"`
}

// WorkerAutoscalingSpec says how many worker pods the jobs that wait are worth.
//
// +kubebuilder:validation:XValidation:rule="!has(self.minReplicas) || self.minReplicas <= self.maxReplicas",message="autoscaling.minReplicas must not be above autoscaling.maxReplicas: lower one or raise the other"
type WorkerAutoscalingSpec struct {
	// provider is Native, in which the operator itself looks at the queues every
	// few seconds, or KEDA, in which a ScaledObject has KEDA do so.
	// +optional
	// +kubebuilder:default=Native
	Provider ScalingProvider `json:"provider,omitempty"`
	// minReplicas is 1 by default. With 0 there are no pods while there is nothing
	// to do; the first job waits for one to start.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +kubebuilder:default=1
	MinReplicas *int32 `json:"minReplicas,omitempty"`
	// maxReplicas bounds what a flood can cost.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxReplicas int32 `json:"maxReplicas"`
	// targetWaitingPerReplica is how many jobs may wait for each pod. By default 100.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	// +kubebuilder:default=100
	TargetWaitingPerReplica *int32 `json:"targetWaitingPerReplica,omitempty"`
	// maxAge is how long a job may wait: as long as the oldest has waited longer,
	// pods are added one by one, however few wait. By default 30s.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:default="30s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="autoscaling.maxAge must be between 1s and 24h: write it in hours, minutes and seconds, such as 30s"
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`
	// scaleDownAfter is how long fewer pods must have been enough before any is
	// taken away. By default 2m.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:default="2m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('1h')",message="autoscaling.scaleDownAfter must be between 0s and 1h: write it in hours, minutes and seconds, such as 2m"
	ScaleDownAfter *metav1.Duration `json:"scaleDownAfter,omitempty"`
}

// ScalingProvider is who looks at the queues.
// +kubebuilder:validation:Enum=Native;KEDA
type ScalingProvider string

// Providers of scaling.
const (
	ScalingNative ScalingProvider = "Native"
	ScalingKEDA   ScalingProvider = "KEDA"
)

// PlacementSpec says on which nodes pods may run.
type PlacementSpec struct {
	// nodeSelector labels that a node must have.
	// +optional
	// +kubebuilder:validation:MaxProperties=50
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// tolerations of node taints.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// priorityClassName of the pods.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`
}

// SchedulingSpec says where the pods of a Deployment may run.
type SchedulingSpec struct {
	PlacementSpec `json:",inline"`

	// affinity to nodes and pods.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`
	// topologySpreadConstraints replace the default, which spreads pods over
	// nodes and zones where it can. A labelSelector left out is filled with the pods' own.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
}

// TLSSpec says where the certificate comes from and how it is served.
//
// +kubebuilder:validation:XValidation:rule="[has(self.letsEncrypt), has(self.issuerRef), has(self.secretName), has(self.disabled) && self.disabled].filter(x, x).size() == 1",message="tls needs exactly one of letsEncrypt, issuerRef, secretName and disabled: true; set one and remove the others"
// +kubebuilder:validation:XValidation:rule="!has(self.hsts) || !(has(self.disabled) && self.disabled)",message="tls.hsts has no effect over plain HTTP: remove tls.hsts, or tls.disabled"
type TLSSpec struct {
	// letsEncrypt asks Let's Encrypt for a certificate, through cert-manager.
	// +optional
	LetsEncrypt *LetsEncryptSpec `json:"letsEncrypt,omitempty"`
	// issuerRef names a cert-manager issuer of your own.
	// +optional
	IssuerRef *IssuerReference `json:"issuerRef,omitempty"`
	// secretName names a Secret of type kubernetes.io/tls that you maintain.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName *string `json:"secretName,omitempty"`
	// disabled serves plain HTTP: for development, or behind a proxy of yours that speaks TLS.
	// +optional
	Disabled *bool `json:"disabled,omitempty"`

	// minVersion of TLS that is spoken: 1.3, or 1.2 for old clients.
	// +optional
	// +kubebuilder:validation:Enum="1.2";"1.3"
	// +kubebuilder:default="1.3"
	MinVersion string `json:"minVersion,omitempty"`
	// renewBefore is how long before its expiry a certificate is renewed. By default 720h, 30 days.
	// +optional
	// +kubebuilder:default="720h"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5m') && duration(self) <= duration('8760h')",message="tls.renewBefore must be between 5m and 8760h: write it as hours, such as 720h"
	RenewBefore *metav1.Duration `json:"renewBefore,omitempty"`
	// hsts tells browsers to come by HTTPS only.
	// +optional
	HSTS *HSTSSpec `json:"hsts,omitempty"`
}

// LetsEncryptEnvironment is one of Let's Encrypt's two directories.
// +kubebuilder:validation:Enum=Production;Staging
type LetsEncryptEnvironment string

const (
	// LetsEncryptProduction is trusted by browsers, and limits how often a name may be asked for.
	LetsEncryptProduction LetsEncryptEnvironment = "Production"
	// LetsEncryptStaging is trusted by no browser, and is there to try things out.
	LetsEncryptStaging LetsEncryptEnvironment = "Staging"
)

// LetsEncryptSpec is an ACME account with Let's Encrypt.
type LetsEncryptSpec struct {
	// email that the issuer may write to.
	// +required
	// +kubebuilder:validation:MaxLength=254
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^@\\\\s]+@[^@\\\\s]+[.][^@\\\\s]+$')",message="tls.letsEncrypt.email must be an address such as ops@example.com"
	Email string `json:"email"`
	// environment is Production, or Staging: no browser trusts it, and its limits are wide.
	// +optional
	// +kubebuilder:default=Production
	Environment LetsEncryptEnvironment `json:"environment,omitempty"`
	// solver proves that the domains are yours.
	// +required
	Solver SolverSpec `json:"solver"`
}

// SolverSpec proves to the issuer that the domains are yours.
//
// +kubebuilder:validation:XValidation:rule="[has(self.http01), has(self.dns01)].filter(x, x).size() == 1",message="tls.letsEncrypt.solver needs exactly one of http01 and dns01; set one and remove the other"
type SolverSpec struct {
	// http01 answers over plain HTTP, on port 80 of every domain.
	// +optional
	HTTP01 *HTTP01Spec `json:"http01,omitempty"`
	// dns01 answers by a TXT record, also for stores that the issuer can not reach.
	// +optional
	DNS01 *DNS01Spec `json:"dns01,omitempty"`
}

// HTTP01Spec says through what the challenge is reached.
//
// +kubebuilder:validation:XValidation:rule="[has(self.ingress), has(self.gateway)].filter(x, x).size() == 1",message="solver.http01 needs exactly one of ingress and gateway; set one and remove the other"
type HTTP01Spec struct {
	// ingress solves through an Ingress of its own.
	// +optional
	Ingress *HTTP01Ingress `json:"ingress,omitempty"`
	// gateway solves through the Gateways of exposure.gateway.
	// +optional
	Gateway *HTTP01Gateway `json:"gateway,omitempty"`
}

// HTTP01Ingress names the class of the challenge's Ingress.
type HTTP01Ingress struct {
	// className of the IngressClass.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ClassName string `json:"className"`
}

// HTTP01Gateway solves through the Gateways of exposure.gateway.
type HTTP01Gateway struct{}

// DNS01Spec names the DNS service of the domains.
//
// +kubebuilder:validation:XValidation:rule="[has(self.rfc2136), has(self.cloudflare)].filter(x, x).size() == 1",message="solver.dns01 needs exactly one of rfc2136 and cloudflare; for another provider make a cert-manager issuer and name it in tls.issuerRef"
type DNS01Spec struct {
	// rfc2136 is dynamic update, as bind9, Knot and PowerDNS speak it.
	// +optional
	RFC2136 *DNS01RFC2136 `json:"rfc2136,omitempty"`
	// cloudflare is Cloudflare's API.
	// +optional
	Cloudflare *DNS01Cloudflare `json:"cloudflare,omitempty"`
}

// DNS01RFC2136 is a name server that takes dynamic updates signed by TSIG.
type DNS01RFC2136 struct {
	// nameserver is host:port, or an address alone for port 53.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=259
	Nameserver string `json:"nameserver"`
	// tsigKeyName as the server knows it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	TSIGKeyName string `json:"tsigKeyName"`
	// tsigAlgorithm of the key.
	// +optional
	// +kubebuilder:validation:Enum=HMACSHA256;HMACSHA512
	// +kubebuilder:default=HMACSHA256
	TSIGAlgorithm string `json:"tsigAlgorithm,omitempty"`
	// tsigSecretRef holds the key, in base64 as the server's configuration has it.
	// +required
	TSIGSecretRef SecretKey `json:"tsigSecretRef"`
}

// DNS01Cloudflare is Cloudflare's API with a token.
type DNS01Cloudflare struct {
	// apiTokenSecretRef holds a token that may edit the zone.
	// +required
	APITokenSecretRef SecretKey `json:"apiTokenSecretRef"`
}

// IssuerReference names a cert-manager issuer.
type IssuerReference struct {
	// name of the issuer.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// kind is Issuer (of the Store's namespace), ClusterIssuer, or an external issuer's kind.
	// +optional
	// +kubebuilder:default=Issuer
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind,omitempty"`
	// group of the issuer's kind.
	// +optional
	// +kubebuilder:default=cert-manager.io
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group,omitempty"`
}

// HSTSSpec is the Strict-Transport-Security header (RFC 6797).
//
// +kubebuilder:validation:XValidation:rule="!self.preload || (self.maxAgeSeconds >= 31536000 && self.includeSubDomains)",message="tls.hsts.preload is accepted by the browsers' list only with maxAgeSeconds of at least 31536000 and includeSubDomains: true; raise them or remove preload"
type HSTSSpec struct {
	// maxAgeSeconds that a browser remembers it; 0 makes browsers forget. By default a year.
	// +optional
	// +kubebuilder:default=31536000
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=63072000
	MaxAgeSeconds *int64 `json:"maxAgeSeconds,omitempty"`
	// includeSubDomains of each domain too. By default true.
	// +optional
	// +kubebuilder:default=true
	IncludeSubDomains *bool `json:"includeSubDomains,omitempty"`
	// preload consents to being built into browsers, which is hard to undo.
	// +optional
	// +kubebuilder:default=false
	Preload *bool `json:"preload,omitempty"`
}

// SecuritySpec holds headers, CORS and the proxies that are trusted.
type SecuritySpec struct {
	// headers replace the defaults; an empty string leaves that header out.
	// +optional
	Headers *HeadersSpec `json:"headers,omitempty"`
	// cors lists origins whose pages may call the API. By default none.
	// +optional
	CORS *CORSSpec `json:"cors,omitempty"`
	// trustedProxies are CIDRs whose word about a client's address and protocol is believed.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.all(c, isCIDR(c))",message="security.trustedProxies must be CIDRs such as 10.0.0.0/8 or fd00::/8: write a single address as /32 or /128"
	TrustedProxies []string `json:"trustedProxies,omitempty"`
	// forwardedHeader is the header that trustedProxies write: X-Forwarded-For
	// (the default; with X-Forwarded-Proto), or Forwarded (RFC 7239). The other
	// one is not looked at, for a proxy hands on what it does not set itself.
	// +optional
	// +kubebuilder:validation:Enum=X-Forwarded-For;Forwarded
	ForwardedHeader *string `json:"forwardedHeader,omitempty"`
}

// HeadersSpec replaces response headers; an empty string leaves a header out.
type HeadersSpec struct {
	// contentSecurityPolicy is "default-src 'self'" by default.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	// +kubebuilder:validation:XValidation:rule="!self.contains('\\n') && !self.contains('\\r')",message="a header's value must be on one line: remove the line break"
	ContentSecurityPolicy *string `json:"contentSecurityPolicy,omitempty"`
	// frameOptions is DENY by default.
	// +optional
	// +kubebuilder:validation:Enum="";DENY;SAMEORIGIN
	FrameOptions *string `json:"frameOptions,omitempty"`
	// referrerPolicy is strict-origin-when-cross-origin by default.
	// +optional
	// +kubebuilder:validation:Enum="";no-referrer;no-referrer-when-downgrade;origin;origin-when-cross-origin;same-origin;strict-origin;strict-origin-when-cross-origin;unsafe-url
	ReferrerPolicy *string `json:"referrerPolicy,omitempty"`
	// permissionsPolicy switches browser features off.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	// +kubebuilder:validation:XValidation:rule="!self.contains('\\n') && !self.contains('\\r')",message="a header's value must be on one line: remove the line break"
	PermissionsPolicy *string `json:"permissionsPolicy,omitempty"`
	// crossOriginOpenerPolicy is same-origin by default.
	// +optional
	// +kubebuilder:validation:Enum="";unsafe-none;same-origin-allow-popups;same-origin;noopener-allow-popups
	CrossOriginOpenerPolicy *string `json:"crossOriginOpenerPolicy,omitempty"`
	// crossOriginResourcePolicy is same-site by default.
	// +optional
	// +kubebuilder:validation:Enum="";same-site;same-origin;cross-origin
	CrossOriginResourcePolicy *string `json:"crossOriginResourcePolicy,omitempty"`
	// xssProtection is "0" by default; "1; mode=block" is for auditors of old lists.
	// +optional
	// +kubebuilder:validation:Enum="";"0";"1; mode=block"
	XSSProtection *string `json:"xssProtection,omitempty"`
}

// CORSSpec lists origins whose pages may call the API.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.allowCredentials) && self.allowCredentials && '*' in self.allowedOrigins)",message="security.cors.allowCredentials must not go with the origin '*': name the origins"
type CORSSpec struct {
	// allowedOrigins are scheme://host[:port], or "*" alone.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=300
	// +kubebuilder:validation:XValidation:rule="self.all(o, o == '*' || o.matches('^https?://[a-z0-9.-]+(:[0-9]+)?$'))",message="security.cors.allowedOrigins must be origins such as https://www.example.com: no path and no trailing slash"
	AllowedOrigins []string `json:"allowedOrigins"`
	// allowCredentials lets pages send cookies and authorization.
	// +optional
	AllowCredentials bool `json:"allowCredentials,omitempty"`
	// maxAge that a browser keeps a preflight's answer. By default 10m.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="security.cors.maxAge must be between 0s and 24h"
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`
}

// DatabaseSpec is PostgreSQL.
//
// +kubebuilder:validation:XValidation:rule="[has(self.managed), has(self.external), has(self.cloudNativePG)].filter(x, x).size() == 1",message="database needs exactly one of managed, external and cloudNativePG; set one and remove the others"
// +kubebuilder:validation:XValidation:rule="has(self.managed) == has(oldSelf.managed)",message="database can not move between managed and another kind in place, for the data would stay behind: create a second Store, move the data, and switch the domains"
type DatabaseSpec struct {
	// managed is one PostgreSQL pod with a volume: for small stores.
	// +optional
	Managed *ManagedDatabaseSpec `json:"managed,omitempty"`
	// external is a PostgreSQL of yours.
	// +optional
	External *ExternalDatabaseSpec `json:"external,omitempty"`
	// cloudNativePG is a Cluster of the CloudNativePG operator in the Store's namespace.
	// +optional
	CloudNativePG *CloudNativePGSpec `json:"cloudNativePG,omitempty"`
	// totalConnections bounds the connections of all pods together, also of those that an autoscaler or a rolling update adds.
	// By default 90: what PostgreSQL takes by itself is 100, of which it keeps some back.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=10000
	TotalConnections *int32 `json:"totalConnections,omitempty"`
	// maxConnections bounds the pool of each pod. By default what totalConnections leaves to each when there are as many pods
	// as there may be; 2 to 10.
	// +optional
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=1000
	MaxConnections *int32 `json:"maxConnections,omitempty"`
}

// ManagedDatabaseSpec is one PostgreSQL pod with a volume.
type ManagedDatabaseSpec struct {
	ManagedServerSpec `json:",inline"`
}

// ManagedServerSpec is what a managed PostgreSQL and a managed Redis have in common.
type ManagedServerSpec struct {
	// image is a full reference to an image that keeps the official image's
	// environment contract. By default the operator's choice at creation.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`
	// storage of the volume; it can not be changed afterwards.
	// +optional
	// +kubebuilder:default={}
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="storage of a managed server can not be changed in place: expand the PersistentVolumeClaim itself where its class allows it"
	Storage StorageSpec `json:"storage,omitempty"`
	// resources of the container.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// scheduling says where the pod may run.
	// +optional
	Scheduling *PlacementSpec `json:"scheduling,omitempty"`
}

// StorageSpec is a persistent volume.
type StorageSpec struct {
	// size of the volume. By default 10Gi for PostgreSQL, 1Gi for Redis and for reports.
	// +optional
	Size *resource.Quantity `json:"size,omitempty"`
	// className of the StorageClass. By default the cluster's.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ClassName *string `json:"className,omitempty"`
}

// ExternalDatabaseSpec is a PostgreSQL of yours.
type ExternalDatabaseSpec struct {
	// uriSecretRef holds a connection URI: postgresql://user:password@host:5432/name?sslmode=verify-full
	// +required
	URISecretRef SecretKey `json:"uriSecretRef"`
	// caSecretRef holds the PEM certificates that the server's certificate
	// must chain to; the connection is then verified in full.
	// +optional
	CASecretRef *SecretKey `json:"caSecretRef,omitempty"`
}

// CloudNativePGSpec is a Cluster of the CloudNativePG operator.
type CloudNativePGSpec struct {
	// clusterName of the Cluster; its Secrets <clusterName>-app and <clusterName>-ca are read.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=50
	ClusterName string `json:"clusterName"`
}

// RedisSpec is Redis.
//
// +kubebuilder:validation:XValidation:rule="[has(self.managed), has(self.external)].filter(x, x).size() == 1",message="redis needs exactly one of managed and external; set one and remove the other"
type RedisSpec struct {
	// managed is one Redis pod with a volume.
	// +optional
	Managed *ManagedRedisSpec `json:"managed,omitempty"`
	// external is a Redis of yours.
	// +optional
	External *ExternalRedisSpec `json:"external,omitempty"`
}

// ManagedRedisSpec is one Redis pod with a volume.
type ManagedRedisSpec struct {
	ManagedServerSpec `json:",inline"`
}

// ExternalRedisSpec is a Redis of yours.
type ExternalRedisSpec struct {
	// urlSecretRef holds redis://user:password@host:6379/0, or rediss:// for TLS. For a Cluster it ends with ?cluster=true,
	// and may name more nodes by &addr=host:6379. For Sentinels it is
	// redis://host:26379/0?master_name=NAME&username=USER&password=PASSWORD, with more of them by &addr=host:26379; user and
	// password before an @ are then those of the Sentinels.
	// +required
	URLSecretRef SecretKey `json:"urlSecretRef"`
	// caSecretRef holds the PEM certificates that the server's certificate must chain to.
	// +optional
	CASecretRef *SecretKey `json:"caSecretRef,omitempty"`
}

// ExposureSpec is the way in.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.ingress) && has(self.gateway))",message="exposure.ingress and exposure.gateway exclude each other: keep the one that your domains point at"
type ExposureSpec struct {
	// service of the API. By default a ClusterIP.
	// +optional
	// +kubebuilder:default={}
	Service ServiceSpec `json:"service,omitempty"`
	// ingress routes the domains to the store by an Ingress.
	// +optional
	Ingress *IngressSpec `json:"ingress,omitempty"`
	// gateway routes the domains to the store by an HTTPRoute (Gateway API).
	// +optional
	Gateway *GatewaySpec `json:"gateway,omitempty"`
}

// ServiceSpec is the API's Service.
//
// +kubebuilder:validation:XValidation:rule="!has(self.loadBalancerClass) || self.type == 'LoadBalancer'",message="exposure.service.loadBalancerClass needs type: LoadBalancer; set it or remove the class"
// +kubebuilder:validation:XValidation:rule="!has(self.externalTrafficPolicy) || self.type != 'ClusterIP'",message="exposure.service.externalTrafficPolicy needs type: LoadBalancer or NodePort; set one or remove the policy"
type ServiceSpec struct {
	// type is ClusterIP, LoadBalancer or NodePort.
	// +optional
	// +kubebuilder:validation:Enum=ClusterIP;LoadBalancer;NodePort
	// +kubebuilder:default=ClusterIP
	Type corev1.ServiceType `json:"type,omitempty"`
	// annotations for the load balancer's controller.
	// +optional
	// +kubebuilder:validation:MaxProperties=50
	Annotations map[string]string `json:"annotations,omitempty"`
	// loadBalancerClass chooses among load balancers.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	LoadBalancerClass *string `json:"loadBalancerClass,omitempty"`
	// externalTrafficPolicy Local keeps clients' addresses.
	// +optional
	// +kubebuilder:validation:Enum=Cluster;Local
	ExternalTrafficPolicy corev1.ServiceExternalTrafficPolicy `json:"externalTrafficPolicy,omitempty"`
}

// IngressSpec is the store's Ingress. The Ingress holds the store's TLS secret;
// its controller speaks plain HTTP to the store and must set X-Forwarded-Proto.
type IngressSpec struct {
	// className of the IngressClass.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ClassName string `json:"className"`
	// annotations for the ingress controller.
	// +optional
	// +kubebuilder:validation:MaxProperties=50
	Annotations map[string]string `json:"annotations,omitempty"`
}

// GatewaySpec is the store's HTTPRoute. The Gateway's listeners hold the certificate.
type GatewaySpec struct {
	// parentRefs are the Gateways that route to the store.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	ParentRefs []gatewayv1.ParentReference `json:"parentRefs"`
}

// CacheSpec keeps answers to catalogue queries in Redis.
type CacheSpec struct {
	// enabled is true by default.
	// +optional
	// +kubebuilder:default=true
	Enabled *bool `json:"enabled,omitempty"`
	// ttl bounds how old an answer can be when an invalidation was missed. By default 30s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="cache.ttl must be between 1s and 24h: set cache.enabled: false to cache nothing"
	TTL *metav1.Duration `json:"ttl,omitempty"`
}

// PaymentsSpec says how buyers may pay.
type PaymentsSpec struct {
	// test is a provider that takes no money, for stores in mode Development.
	// +optional
	Test *TestPaymentsSpec `json:"test,omitempty"`
	// stripe takes cards and whatever else the account at Stripe does.
	// +optional
	Stripe *StripePaymentsSpec `json:"stripe,omitempty"`
	// reconcileWindow is how far back payments are compared with their
	// providers, once a day. By default 72h.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1h') && duration(self) <= duration('2160h')",message="payments.reconcileWindow must be between 1h and 2160h, which are 90 days"
	ReconcileWindow *metav1.Duration `json:"reconcileWindow,omitempty"`
}

// StripePaymentsSpec is an account at Stripe.
type StripePaymentsSpec struct {
	// apiKeySecretRef holds the secret key (sk_...), or a restricted one (rk_...)
	// that may write payment intents and refunds and read charges and disputes.
	// +required
	APIKeySecretRef SecretKey `json:"apiKeySecretRef"`
	// webhookSecretRefs hold what Stripe signs its events with (whsec_...), which
	// it is to send to /webhooks/payments/stripe: one, and two while one takes
	// the place of the other. Without any the store hears of no event, and finds
	// out once a day.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=2
	WebhookSecretRefs []SecretKey `json:"webhookSecretRefs,omitempty"`
	// publishableKey (pk_...) is told to buyers, for Stripe's form.
	// +optional
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.matches('^pk_[A-Za-z0-9_]+$')",message="payments.stripe.publishableKey must begin with pk_: the other keys are secrets, and belong into a Secret"
	PublishableKey string `json:"publishableKey,omitempty"`
	// apiBase is another server than Stripe's own, such as stripe-mock, for
	// stores in mode Development.
	// +optional
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getEscapedPath() in ['', '/'] && url(self).getQuery() == {}",message="payments.stripe.apiBase must be an address such as http://stripe-mock:12111, without a path"
	APIBase string `json:"apiBase,omitempty"`
}

// TestPaymentsSpec is the payment provider for trying.
type TestPaymentsSpec struct {
	// enabled loads it.
	// +required
	Enabled *bool `json:"enabled"`
}

// MailSpec is the SMTP server that the store sends mail by.
type MailSpec struct {
	// urlSecretRef holds smtp://user:password@host:587, which must offer
	// STARTTLS unless the URL ends with ?tls=none, or smtps://user:password@host:465.
	// +required
	URLSecretRef SecretKey `json:"urlSecretRef"`
	// from is the sender, such as Demo shop <shop@example.com>.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=320
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^([\\p{L}\\p{N}!#$%&\\x27*+/^_{|}~. -]+ <[A-Za-z0-9_%+~-]+([.][A-Za-z0-9_%+~-]+)*@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*>|[A-Za-z0-9_%+~-]+([.][A-Za-z0-9_%+~-]+)*@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*)$')",message="mail.from must be an address such as shop@example.com, or a name and an address such as Demo shop <shop@example.com>"
	From string `json:"from"`
	// staff are the addresses that are told what somebody has to see to, such as
	// stock that runs low. By default nobody is.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MaxLength=254
	// +kubebuilder:validation:XValidation:rule="self.all(a, a.matches('^[A-Za-z0-9_%+~-]+([.][A-Za-z0-9_%+~-]+)*@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$'))",message="mail.staff must be addresses such as ops@example.com: no names and no brackets"
	Staff []string `json:"staff,omitempty"`
}

// WebhooksSpec says where other programs may be told of events.
type WebhooksSpec struct {
	// allowPrivateAddresses has endpoints in the cluster's own network told too,
	// also by plain HTTP; never link-local ones, and the pods' own loopback in
	// mode Development only. Whoever has the scope webhooks:write can then reach
	// what the store's pods can. By default false.
	// +optional
	AllowPrivateAddresses *bool `json:"allowPrivateAddresses,omitempty"`
}

// ReportsSpec is where reports are written.
type ReportsSpec struct {
	// volume that worker pods, and pods of JobSchedules with execution Run, hold.
	// It is kept or deleted by deletionPolicy, as other data.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="reports.volume can not be changed in place: expand the PersistentVolumeClaim itself where its class allows it"
	Volume ReportsVolumeSpec `json:"volume"`
}

// ReportsVolumeSpec is the volume of reports.
type ReportsVolumeSpec struct {
	StorageSpec `json:",inline"`

	// accessModes of the volume: ReadWriteMany lets its pods run on several
	// nodes. By default ReadWriteOnce, which keeps them on one.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	AccessModes []VolumeAccessMode `json:"accessModes,omitempty"`
}

// VolumeAccessMode is how a volume may be held.
// +kubebuilder:validation:Enum=ReadWriteOnce;ReadWriteMany
type VolumeAccessMode string

// Access modes of a volume.
const (
	ReadWriteOnce VolumeAccessMode = "ReadWriteOnce"
	ReadWriteMany VolumeAccessMode = "ReadWriteMany"
)

// ObservabilitySpec is logs and metrics.
type ObservabilitySpec struct {
	// logLevel of the runtime. By default info.
	// +optional
	// +kubebuilder:validation:Enum=debug;info;warn;error
	LogLevel string `json:"logLevel,omitempty"`
	// serviceMonitor has Prometheus read the store's metrics (prometheus-operator).
	// +optional
	ServiceMonitor *ServiceMonitorSpec `json:"serviceMonitor,omitempty"`
}

// ServiceMonitorSpec is a ServiceMonitor of prometheus-operator.
type ServiceMonitorSpec struct {
	// interval between two readings. By default 30s.
	// +optional
	// +kubebuilder:default="30s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="observability.serviceMonitor.interval must be between 1s and 1h"
	Interval *metav1.Duration `json:"interval,omitempty"`
	// labels by which a Prometheus selects its monitors.
	// +optional
	// +kubebuilder:validation:MaxProperties=20
	Labels map[string]string `json:"labels,omitempty"`
}

// NetworkPolicySpec limits who may connect to the store's pods. PostgreSQL and
// Redis are reached by the store's own pods only.
type NetworkPolicySpec struct {
	// enabled is true by default.
	// +optional
	// +kubebuilder:default=true
	Enabled *bool `json:"enabled,omitempty"`
	// publicFrom may connect to the API's public ports. By default anyone.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	PublicFrom []networkingv1.NetworkPolicyPeer `json:"publicFrom,omitempty"`
	// metricsFrom may connect to the internal port, as the operator does. By default nobody else.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	MetricsFrom []networkingv1.NetworkPolicyPeer `json:"metricsFrom,omitempty"`
}

// StoreStatus is what was found.
type StoreStatus struct {
	// observedGeneration is the generation of the spec that the rest speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// url of the store.
	// +optional
	URL string `json:"url,omitempty"`
	// conditions tell what is in place and what is not.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// image that runs, and the one whose migration succeeded last.
	// +optional
	Image *ImageStatus `json:"image,omitempty"`
	// api pods.
	// +optional
	API *WorkloadStatus `json:"api,omitempty"`
	// worker pods.
	// +optional
	Worker *WorkloadStatus `json:"worker,omitempty"`
	// certificate that is served.
	// +optional
	Certificate *CertificateStatus `json:"certificate,omitempty"`
	// database as the migration or a pod last saw it.
	// +optional
	Database *ServerStatus `json:"database,omitempty"`
	// redis as a pod last saw it.
	// +optional
	Redis *ServerStatus `json:"redis,omitempty"`
}

// ImageStatus is the runtime's image.
type ImageStatus struct {
	// current is what the pods are told to run.
	// +optional
	Current string `json:"current,omitempty"`
	// migrated is the image whose migration succeeded last.
	// +optional
	Migrated string `json:"migrated,omitempty"`
}

// WorkloadStatus counts pods.
type WorkloadStatus struct {
	// ready is readyReplicas/desiredReplicas, for printing.
	Ready string `json:"ready"`
	// readyReplicas of the current specification.
	ReadyReplicas int32 `json:"readyReplicas"`
	// desiredReplicas by the spec or its autoscaler.
	DesiredReplicas int32 `json:"desiredReplicas"`
	// selector of the pods, for the scale subresource.
	// +optional
	Selector string `json:"selector,omitempty"`
}

// CertificateStatus is the store's certificate.
type CertificateStatus struct {
	// secretName of the Secret that holds it.
	SecretName string `json:"secretName"`
	// notAfter is when it expires.
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`
	// renewalTime is when cert-manager will renew it.
	// +optional
	RenewalTime *metav1.Time `json:"renewalTime,omitempty"`
}

// ServerStatus is a server that the store uses.
type ServerStatus struct {
	// version that the server reports, such as 15.18.
	// +optional
	Version string `json:"version,omitempty"`
}
