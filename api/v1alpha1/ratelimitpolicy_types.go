package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RateLimitPolicy says how much callers may ask of one Store, who may not come
// in, and what is done under attack. What it leaves out is as it is in a Store
// without any policy: 60 requests a minute, 1,000 an hour and 10,000 a day for
// an address, 1,000 a minute for an API key.
//
// Several policies of one Store are taken together, the oldest first. Of a
// field that holds one value, the oldest policy that sets it decides; address
// lists are united; rules are united, and of two rules of one name the older
// policy's is taken. What a policy lost is told by its condition Overridden. A
// policy whose condition Accepted is False takes no part.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=rlp,categories=all;gocart
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.targetRef.name`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Enforced",type=string,JSONPath=`.status.conditions[?(@.type=="Enforced")].status`
// +kubebuilder:printcolumn:name="Replicas",type=string,JSONPath=`.status.enforcedReplicas`
// +kubebuilder:printcolumn:name="Refused",type=integer,JSONPath=`.status.refusedLastMinutes`
// +kubebuilder:printcolumn:name="Attack",type=integer,JSONPath=`.status.attackLevel`
// +kubebuilder:printcolumn:name="Counted",type=string,JSONPath=`.status.source`,priority=1
// +kubebuilder:printcolumn:name="Bans",type=integer,JSONPath=`.status.bans`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Enforced")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RateLimitPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what is to hold.
	// +required
	Spec RateLimitPolicySpec `json:"spec"`
	// status is what the Store's pods do; it speaks of the generation in observedGeneration.
	// +optional
	Status RateLimitPolicyStatus `json:"status,omitempty"`
}

// RateLimitPolicyList is a list of RateLimitPolicies.
//
// +kubebuilder:object:root=true
type RateLimitPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RateLimitPolicy `json:"items"`
}

// RateLimitPolicySpec is what is to hold.
//
// +kubebuilder:validation:XValidation:rule="(has(self.acknowledgeLockout) && self.acknowledgeLockout) || !has(self.blocklist) || !self.blocklist.cidrs.exists(c, c.endsWith('/0'))",message="blocklist.cidrs holds a whole address family, which locks everyone of it out: remove the CIDR that ends in /0, or set acknowledgeLockout: true"
// +kubebuilder:validation:XValidation:rule="(has(self.acknowledgeLockout) && self.acknowledgeLockout) || !has(self.address) || !self.address.windows.exists(w, w.requests == 0)",message="address.windows allows no request, which locks everyone out who shows no API key: raise requests, or set acknowledgeLockout: true"
// +kubebuilder:validation:XValidation:rule="(has(self.acknowledgeLockout) && self.acknowledgeLockout) || !has(self.global) || !self.global.windows.exists(w, w.requests == 0)",message="global.windows allows no request, which locks everyone out: raise requests, or set acknowledgeLockout: true"
// +kubebuilder:validation:XValidation:rule="(has(self.acknowledgeLockout) && self.acknowledgeLockout) || !has(self.rules) || !self.rules.exists(r, !has(r.match) && has(r.limits) && !(has(r.shadow) && r.shadow) && r.limits.windows.exists(w, w.requests == 0))",message="a rule of rules matches every request and allows none, which locks everyone out: set its match, raise requests, or set acknowledgeLockout: true"
type RateLimitPolicySpec struct {
	// targetRef names the Store, of the policy's own namespace.
	// +required
	TargetRef PolicyTargetReference `json:"targetRef"`

	// address holds the windows of every client address that shows no valid API
	// key; an IPv6 address counts with its /64. By default 60 in 1m, 1,000 in 1h
	// and 10,000 in 24h.
	// +optional
	Address *LimitsSpec `json:"address,omitempty"`
	// apiKeys holds the windows of every valid API key. By default 1,000 in 1m.
	// +optional
	APIKeys *LimitsSpec `json:"apiKeys,omitempty"`
	// customers holds the windows of every customer who is signed in. By
	// default a customer counts on their address.
	// +optional
	Customers *LimitsSpec `json:"customers,omitempty"`
	// global holds windows for all callers together. By default none.
	// +optional
	Global *LimitsSpec `json:"global,omitempty"`

	// rules treat some requests in another way: further windows, another cost,
	// or no limits at all. Where several match, the windows of all of them
	// count, and the highest cost is taken.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Rules []RateLimitRule `json:"rules,omitempty"`

	// blocklist holds addresses whose every request is answered 403. It wins over allowlist.
	// +optional
	Blocklist *AddressList `json:"blocklist,omitempty"`
	// allowlist holds addresses that are never limited.
	// +optional
	Allowlist *AddressList `json:"allowlist,omitempty"`

	// ddosProtection is what is done against more load than the store can bear.
	// +optional
	DDoSProtection *DDoSProtectionSpec `json:"ddosProtection,omitempty"`

	// failureMode says what is done while Redis, where requests are counted, is
	// away: Local has each pod count alone, Open lets everything pass, Closed
	// refuses with 503. By default Local.
	// +optional
	FailureMode *FailureMode `json:"failureMode,omitempty"`
	// consistency is Strict, in which pods together count exactly, or Leased, in
	// which each takes quota in batches and decides in memory. By default Strict.
	// +optional
	Consistency *LimitConsistency `json:"consistency,omitempty"`

	// acknowledgeLockout says that this policy is meant to lock everyone out:
	// by blocking a whole address family, or by windows that allow no request.
	// Without it such a policy is not accepted.
	// +optional
	AcknowledgeLockout *bool `json:"acknowledgeLockout,omitempty"`
}

// PolicyTargetReference names what a policy is for.
//
// +kubebuilder:validation:XValidation:rule="self.group == 'commerce.rcommerce.app' && self.kind == 'Store'",message="targetRef must name a Store: remove targetRef.group and targetRef.kind, which stand for it by default"
type PolicyTargetReference struct {
	// group of the target.
	// +optional
	// +kubebuilder:default=commerce.rcommerce.app
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group,omitempty"`
	// kind of the target.
	// +optional
	// +kubebuilder:default=Store
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind,omitempty"`
	// name of the target, in the policy's namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
}

// LimitsSpec is a list of windows that all have to have room for a request.
type LimitsSpec struct {
	// windows of different periods.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:XValidation:rule="self.all(w, self.exists_one(v, duration(v.period) == duration(w.period)))",message="two windows have the same period, of which only the lower could ever count: remove one of them"
	Windows []RateLimitWindow `json:"windows"`
}

// RateLimitWindow is at most so many requests within a period, which begins
// with the first request that counts.
type RateLimitWindow struct {
	// requests that are let through; 0 lets none through.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000000
	Requests int64 `json:"requests"`
	// period such as 1m, 1h or 24h.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('744h')",message="a window's period must be between 1s and 744h (31 days): write it in hours, minutes and seconds, such as 24h"
	Period metav1.Duration `json:"period"`
}

// RateLimitRule treats some requests in another way.
//
// +kubebuilder:validation:XValidation:rule="has(self.limits) || has(self.cost) || (has(self.disabled) && self.disabled)",message="a rule needs limits, cost or disabled: true, or it would do nothing: set one of them"
// +kubebuilder:validation:XValidation:rule="!(has(self.disabled) && self.disabled) || !(has(self.limits) || has(self.cost) || (has(self.shadow) && self.shadow))",message="a rule with disabled: true frees what it matches from all limits: remove its limits, cost and shadow, or disabled"
// +kubebuilder:validation:XValidation:rule="!(has(self.shadow) && self.shadow) || has(self.limits)",message="a rule with shadow: true needs limits to report on: set limits.windows, or remove shadow"
// +kubebuilder:validation:XValidation:rule="!(has(self.shadow) && self.shadow) || !has(self.cost)",message="a rule with shadow: true changes nothing, and a cost would: remove cost, or shadow"
// +kubebuilder:validation:XValidation:rule="!has(self.cost) || !has(self.limits) || self.limits.windows.all(w, w.requests == 0 || self.cost <= w.requests)",message="cost is above the requests of a window of the same rule, which would let no request through: lower cost, or raise requests"
type RateLimitRule struct {
	// name of the rule, by which answers, metrics and other policies call it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="a rule's name must consist of lower-case letters, digits and '-', such as checkout"
	Name string `json:"name"`
	// match narrows which requests the rule is for. By default all.
	// +optional
	Match *RateLimitMatch `json:"match,omitempty"`
	// limits of what matches, besides those of the levels.
	// +optional
	Limits *LimitsSpec `json:"limits,omitempty"`
	// countBy says whether limits hold for every address, API key or customer
	// apart, or for all of them together. By default Identity.
	// +optional
	// +kubebuilder:default=Identity
	CountBy CountBy `json:"countBy,omitempty"`
	// cost is what one request takes from every window that it counts in. By default 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Cost *int64 `json:"cost,omitempty"`
	// shadow counts and reports, and refuses nothing: for trying a rule.
	// +optional
	Shadow *bool `json:"shadow,omitempty"`
	// disabled frees what matches from all limits.
	// +optional
	Disabled *bool `json:"disabled,omitempty"`
}

// RateLimitMatch matches a request that is in each of its lists; one that is
// left out matches all.
type RateLimitMatch struct {
	// paths of which one matches; /api/v1 may be left out.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Paths []PathMatch `json:"paths,omitempty"`
	// methods of which one matches.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=7
	Methods []HTTPMethod `json:"methods,omitempty"`
	// identities: Address for callers without a valid API key who are not
	// signed in, APIKey for those with one, Customer for those signed in.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	Identities []Identity `json:"identities,omitempty"`
}

// PathMatch matches the path of a request.
type PathMatch struct {
	// type is Exact, or Prefix, which ends at a slash: /orders matches /orders/1
	// and not /orders-of-old. By default Prefix.
	// +optional
	// +kubebuilder:default=Prefix
	Type PathMatchType `json:"type,omitempty"`
	// value such as /orders.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^/[^?#\\\\s]*$')",message="a path must begin with '/' and have no query, such as /orders: remove the scheme, the host and what follows '?'"
	Value string `json:"value"`
}

// PathMatchType is how a path is compared.
// +kubebuilder:validation:Enum=Exact;Prefix
type PathMatchType string

// Ways to compare a path.
const (
	PathMatchExact  PathMatchType = "Exact"
	PathMatchPrefix PathMatchType = "Prefix"
)

// HTTPMethod is a method of HTTP.
// +kubebuilder:validation:Enum=GET;HEAD;POST;PUT;PATCH;DELETE;OPTIONS
type HTTPMethod string

// Identity is what a request counts on.
// +kubebuilder:validation:Enum=Address;APIKey;Customer
type Identity string

// Identities.
const (
	IdentityAddress  Identity = "Address"
	IdentityAPIKey   Identity = "APIKey"
	IdentityCustomer Identity = "Customer"
)

// CountBy says for whom a rule's limits hold.
// +kubebuilder:validation:Enum=Identity;Together
type CountBy string

// Ways to count.
const (
	CountByIdentity CountBy = "Identity"
	CountTogether   CountBy = "Together"
)

// AddressList is a list of networks.
type AddressList struct {
	// cidrs such as 192.0.2.0/24 or 2001:db8::/32.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=5000
	// +kubebuilder:validation:items:MaxLength=43
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="must be a CIDR such as 192.0.2.0/24 or 2001:db8::/32: write a single address as /32 or /128"
	CIDRs []string `json:"cidrs"`
}

// ProtectionMode is when the store defends itself.
// +kubebuilder:validation:Enum=Off;Auto;On
type ProtectionMode string

// Modes of protection.
const (
	ProtectionOff  ProtectionMode = "Off"
	ProtectionAuto ProtectionMode = "Auto"
	ProtectionOn   ProtectionMode = "On"
)

// DDoSProtectionSpec is what is done against more load than the store can bear.
type DDoSProtectionSpec struct {
	// mode is Off, in which limits are all there is; Auto, in which the store
	// defends itself step by step while it is under attack; or On, in which it
	// does so always. By default Auto.
	// +optional
	// +kubebuilder:default=Auto
	Mode ProtectionMode `json:"mode,omitempty"`
	// maxInFlightPerAddress bounds the requests of one address at the same
	// time, under attack. By default 10.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxInFlightPerAddress *int32 `json:"maxInFlightPerAddress,omitempty"`
	// banAfter is how many requests of an address are refused within a minute,
	// under attack, before it is banned. By default 300.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	BanAfter *int64 `json:"banAfter,omitempty"`
	// banDuration is for how long. By default 10m.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('744h')",message="ddosProtection.banDuration must be between 1s and 744h (31 days): write it in hours, minutes and seconds, such as 10m"
	BanDuration *metav1.Duration `json:"banDuration,omitempty"`
}

// FailureMode says what is done while Redis is away.
// +kubebuilder:validation:Enum=Local;Open;Closed
type FailureMode string

// Failure modes.
const (
	FailureLocal  FailureMode = "Local"
	FailureOpen   FailureMode = "Open"
	FailureClosed FailureMode = "Closed"
)

// LimitConsistency says how exactly pods count together.
// +kubebuilder:validation:Enum=Strict;Leased
type LimitConsistency string

// Consistencies.
const (
	ConsistencyStrict LimitConsistency = "Strict"
	ConsistencyLeased LimitConsistency = "Leased"
)

// RateLimitPolicyStatus is what the Store's pods do.
type RateLimitPolicyStatus struct {
	// observedGeneration is the generation of the spec that the rest speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Accepted tells whether the policy takes part, Enforced whether
	// every ready pod of the Store's API runs it. Overridden exists only while
	// an older policy decides a field that this one sets too.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// policyHash names the settings that the pods are to run: those of the
	// Store and of all its policies together.
	// +optional
	PolicyHash string `json:"policyHash,omitempty"`
	// enforcedReplicas is how many of the ready pods run them, for printing: 3/3.
	// +optional
	EnforcedReplicas string `json:"enforcedReplicas,omitempty"`
	// source is where requests are counted now: Redis, or Local, Open or Closed
	// while a pod can not reach Redis, by failureMode.
	// +optional
	Source string `json:"source,omitempty"`
	// refusedLastMinutes are the requests that the pods refused within the last
	// five minutes: too many, blocked or banned. It is written every 30 seconds at most.
	// +optional
	RefusedLastMinutes *int64 `json:"refusedLastMinutes,omitempty"`
	// bans in force.
	// +optional
	Bans *int64 `json:"bans,omitempty"`
	// attackLevel is 0 while all is well, up to 3 under attack.
	// +optional
	AttackLevel *int32 `json:"attackLevel,omitempty"`
}
